"""The form of schedules: an empty one, one that a schedule fills, and what is wrong with what was typed, beside it."""

from __future__ import annotations

from functools import cache
from typing import Annotated
from zoneinfo import available_timezones

from fastapi import APIRouter, Form, Query, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from curate.errors import CurateError
from curate.service import pipelines
from curate.service.api.callers import Operator, ServiceHere
from curate.service.api.page_route import PageRoute
from curate.service.api.problems import status_of
from curate.service.api.schedules import DeskHere
from curate.service.auth import Caller
from curate.service.pages.render import page
from curate.service.pages.schedule_form import OPTIONS, POLICIES, Typed, is_opened, typed_of
from curate.service.pages.schedule_read import Wrong, spec_of
from curate.service.pipelines import Mistake
from curate.service.schedules.rows import Conflict
from curate.service.service import Service

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/new/schedule")
def new_schedule(who: Operator, service: ServiceHere, pipeline: Annotated[str, Query(max_length=500)] = "") -> HTMLResponse:
    """The empty form."""
    return _form(who, service, Typed(pipeline=pipeline))


@router.post("/schedules")
def add(who: Operator, service: ServiceHere, desk: DeskHere, typed: Annotated[Typed, Form()]) -> Response:
    """Add a schedule or change one; what is wrong comes back beside what was typed."""
    spec, wrong = spec_of(typed)
    if spec is None:
        return _form(who, service, typed, wrong)
    try:
        desk.add(spec, typed.replaces == spec.name, who)
    except Conflict as error:
        return _form(who, service, typed, {"name": Mistake(None, error.message, "choose another name, or change that schedule")})
    except CurateError as error:
        return _form(who, service, typed, error=error)
    return RedirectResponse(f"/schedules/{spec.name}", 303)


@router.get("/schedules/{name}/change")
def change(name: str, who: Operator, service: ServiceHere, desk: DeskHere) -> HTMLResponse:
    """The form, filled with what the schedule says."""
    return _form(who, service, typed_of(desk.show(name)))


def _form(who: Caller, service: Service, typed: Typed, wrong: Wrong | None = None, error: CurateError | None = None) -> HTMLResponse:
    """Return the form with what was typed, what is wrong with its fields, and what is wrong with the whole."""
    wrong = wrong or {}
    with service.database.reading() as session:
        names = pipelines.names(session)
    context = {
        "who": who,
        "place": "Schedules",
        "typed": typed,
        "wrong": wrong,
        "error": error,
        "pipelines": [("", "choose one"), *((name, name) for name in dict.fromkeys([*names, typed.pipeline]) if name)],
        "zones": _zones(),
        "opened": {"policies": is_opened(typed, wrong, POLICIES), "options": is_opened(typed, wrong, OPTIONS)},
    }
    return page("schedule_form.html", context, status_of(error) if error else 422 if wrong else 200)


@cache
def _zones() -> list[str]:
    """The zones to choose from, without names that stand for fixed offsets or are old."""
    return ["UTC", *sorted(name for name in available_timezones() if "/" in name and not name.startswith("Etc/"))]
