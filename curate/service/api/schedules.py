"""`/api/v1/schedules`: added, looked at, paused, run at once; their history, and how other schedulers would say them."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from curate.errors import PipelineError
from curate.service.api.callers import Operator, ServiceHere, Viewer
from curate.service.api.paging import Cursor, Page, Size, cut
from curate.service.api.problems import PROBLEM
from curate.service.moments import Moment
from curate.service.schedules.desk import Desk
from curate.service.schedules.spec import ScheduleSpec
from curate.service.schedules.views import ExportOut, ScheduleOut, TickOut

router = APIRouter(prefix="/schedules", tags=["schedules"], responses=PROBLEM)


class PauseIn(BaseModel):
    """Why a schedule is paused."""

    model_config = ConfigDict(extra="forbid")

    reason: str | None = Field(None, max_length=500)


def _desk(service: ServiceHere) -> Desk:
    return Desk(service.database, service.checker, service.settings)


DeskHere = Annotated[Desk, Depends(_desk)]


@router.post("", status_code=201)
def add(body: ScheduleSpec, caller: Operator, desk: DeskHere) -> ScheduleOut:
    """Add a schedule; a name that is taken is refused."""
    return desk.add(body, False, caller)


@router.put("/{name}")
def put(name: str, body: ScheduleSpec, caller: Operator, desk: DeskHere) -> ScheduleOut:
    """Add a schedule, or put it in the place of the one of its name, whose history goes on."""
    if name != body.name:
        raise PipelineError(f"the address says `{name}`, and the schedule `{body.name}`", "say the same name in both")
    return desk.add(body, True, caller)


@router.get("")
def listed(caller: Viewer, desk: DeskHere, pipeline: str | None = None, limit: Size = 50, cursor: Cursor = None) -> Page[ScheduleOut]:
    """List schedules by name."""
    items, following = cut(desk.page(limit + 1, cursor, pipeline), limit, lambda schedule: schedule.name)
    return Page(items=list(items), next=following)


@router.get("/{name}")
def show(name: str, caller: Viewer, desk: DeskHere) -> ScheduleOut:
    """Return one schedule with the times to come."""
    return desk.show(name)


@router.delete("/{name}")
def remove(name: str, caller: Operator, desk: DeskHere) -> ScheduleOut:
    """Take a schedule away and return it as it was; a run that goes on goes on, and the history stays."""
    return desk.remove(name, caller)


@router.post("/{name}/pause")
def pause(name: str, caller: Operator, desk: DeskHere, body: PauseIn | None = None) -> ScheduleOut:
    """Let a schedule rest; ticks that wait are skipped, a run that goes on goes on."""
    said = body.reason if body is not None and body.reason else f"by {caller.name}"
    return desk.pause(name, said, caller)


@router.post("/{name}/resume")
def resume(name: str, caller: Operator, desk: DeskHere) -> ScheduleOut:
    """Let a schedule fire again, from now on; what was due while it rested was not missed."""
    return desk.resume(name, caller)


@router.post("/{name}/run", status_code=201)
def run(name: str, caller: Operator, desk: DeskHere, service: ServiceHere) -> TickOut:
    """Fire at once, paused or not; refused where overlapping ticks are skipped and a run goes on."""
    tick = desk.run(name, caller)
    service.watch.soon()
    return tick


@router.get("/{name}/history")
def history(
    name: str,
    caller: Viewer,
    desk: DeskHere,
    limit: Size = 50,
    cursor: Annotated[Moment | None, Query(description="`next` of the page before.")] = None,
) -> Page[TickOut]:
    """List what came of each due time, newest first."""
    items, following = cut(desk.history(name, limit + 1, cursor), limit, lambda tick: tick.cursor)
    return Page(items=list(items), next=following)


@router.get("/{name}/export")
def export(
    name: str,
    caller: Viewer,
    desk: DeskHere,
    target: Annotated[Literal["cron", "systemd", "k8s-cronjob", "airflow"], Query(alias="as")],
    pipeline_file: Annotated[str | None, Query(max_length=2000, description="Where the pipeline lies there.")] = None,
    image: Annotated[str, Query(max_length=500, description="What Kubernetes runs.")] = "registry.example/curate:latest",
) -> ExportOut:
    """Return a schedule as files for another scheduler."""
    return desk.export(name, target, pipeline_file, image)
