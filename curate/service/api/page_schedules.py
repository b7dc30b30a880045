"""The pages of schedules: the list, one with its history, its export, and what can be done with a schedule."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from curate.errors import CurateError
from curate.service import pipelines
from curate.service.api.callers import Operator, ServiceHere, Viewer
from curate.service.api.page_route import PageRoute
from curate.service.api.paging import cut
from curate.service.api.problems import status_of
from curate.service.api.schedules import DeskHere, PauseIn
from curate.service.api.schedules import pause as pause_schedule
from curate.service.auth import Caller
from curate.service.moments import Moment
from curate.service.pages.render import page
from curate.service.pages.schedule_page import schedule_line, schedule_part
from curate.service.schedules.desk import Desk
from curate.service.schedules.export import TARGETS, Target
from curate.service.schedules.rows import OPEN

router = APIRouter(include_in_schema=False, route_class=PageRoute)
Words = Annotated[str, Query(max_length=500)]
_ON_A_PAGE = 50


@router.get("/schedules")
def list_schedules(who: Viewer, service: ServiceHere, desk: DeskHere, pipeline: Words = "", after: Words = "") -> HTMLResponse:
    """The schedules by name, all or those of one pipeline."""
    found, following = cut(desk.page(_ON_A_PAGE + 1, after or None, pipeline or None), _ON_A_PAGE, lambda each: each.name)
    with service.database.reading() as session:
        names = pipelines.names(session)
    context = {
        "schedules": [schedule_line(each) for each in found],
        "active": any(each.last is not None and each.last.outcome in OPEN for each in found),
        "pipelines": names,
        "chosen": pipeline,
        "more": f"/schedules?{urlencode({'pipeline': pipeline})}" if pipeline else "/schedules",
        "next": following,
    }
    return page("schedules.html", _context(who) | context)


@router.get("/schedules/{name}")
def show(name: str, who: Viewer, desk: DeskHere, after: Moment | None = None) -> HTMLResponse:
    """One schedule with its history."""
    return _shown(name, who, desk, after)


@router.get("/schedules/{name}/export")
def export(
    name: str,
    who: Viewer,
    desk: DeskHere,
    target: Annotated[Target, Query(alias="as")] = "systemd",
    pipeline_file: Annotated[str, Query(max_length=2000)] = "",
    image: Words = "registry.example/curate:latest",
) -> HTMLResponse:
    """The schedule as files for another scheduler, to be copied."""
    context = {"name": desk.show(name).name, "targets": TARGETS, "target": target, "pipeline_file": pipeline_file, "image": image}
    try:
        found, error, status = desk.export(name, target, pipeline_file or None, image), None, 200
    except CurateError as refused:
        found, error, status = None, refused, status_of(refused)
    return page("schedule_export.html", _context(who) | context | {"exported": found, "error": error}, status)


@router.post("/schedules/{name}/pause")
def pause(name: str, who: Operator, desk: DeskHere, reason: Annotated[str, Form(max_length=500)] = "") -> RedirectResponse:
    """Let a schedule rest."""
    pause_schedule(name, who, desk, PauseIn(reason=reason.strip() or None))
    return RedirectResponse(f"/schedules/{name}", 303)


@router.post("/schedules/{name}/resume")
def resume(name: str, who: Operator, desk: DeskHere) -> RedirectResponse:
    """Let a schedule fire again."""
    desk.resume(name, who)
    return RedirectResponse(f"/schedules/{name}", 303)


@router.post("/schedules/{name}/run")
def run(name: str, who: Operator, desk: DeskHere, service: ServiceHere) -> Response:
    """Fire at once; the page says why where that cannot be."""
    try:
        desk.run(name, who)
    except CurateError as error:
        return _shown(name, who, desk, error=error)
    service.watch.soon()
    return RedirectResponse(f"/schedules/{name}", 303)


@router.post("/schedules/{name}/remove")
def remove(name: str, who: Operator, desk: DeskHere) -> RedirectResponse:
    """Take a schedule away, and go to the list."""
    desk.remove(name, who)
    return RedirectResponse("/schedules", 303)


def _context(who: Caller) -> dict[str, Any]:
    return {"who": who, "place": "Schedules"}


def _shown(name: str, who: Caller, desk: Desk, before: datetime | None = None, error: CurateError | None = None) -> HTMLResponse:
    schedule = desk.show(name)
    ticks, following = cut(desk.history(name, _ON_A_PAGE + 1, before), _ON_A_PAGE, lambda tick: tick.cursor)
    context = _context(who) | schedule_part(schedule, ticks)
    context |= {"next": following, "error": error, "active": any(tick.outcome in OPEN for tick in ticks)}
    return page("schedule.html", context, status_of(error) if error else 200)
