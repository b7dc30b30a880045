"""`/api/v1/runs/{id}/stages…`: the datasets of a run, their documents and drops by pages, and the story of a document."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from curate.errors import DatasetError
from curate.service.api.problems import PROBLEM
from curate.service.api.viewing import Seen
from curate.service.views import rows
from curate.service.views.limits import Limit
from curate.service.views.runs import finished
from curate.service.views.story import Chapter, tell

router = APIRouter(prefix="/runs/{run_id}", tags=["datasets"], responses=PROBLEM)
Words = Annotated[str, Query(max_length=500)]
Start = Annotated[str, Query(max_length=40, description="`next` of the page before.")]


class StageOut(BaseModel):
    """A stage of a run as its report tells it, or the report so far; `columns` are those of its dataset."""

    name: str
    status: str
    columns: dict[str, str]
    told: dict[str, Any]


class RowsOut(BaseModel):
    """A page of rows. `stopped`: a search looked at all that one request may look at; go on with `next`."""

    rows: list[dict[str, Any]]
    next: str | None
    stopped: bool


class LimitOut(BaseModel):
    """A limit that a document broke: the parameter, its value in the pipeline, and the rule in words."""

    parameter: str
    value: Any
    rule: str


class EventOut(BaseModel):
    """What a stage did with a document."""

    stage: str
    what: str = Field(description="kept, dropped, errored, edited, measured or expanded (to other documents)")
    shard: int
    details: dict[str, Any]
    limit: LimitOut | None


class StoryOut(BaseModel):
    """What became of a document, and its last known text, of which the beginning is shown."""

    id: str
    fate: str
    events: list[EventOut]
    text: str | None
    text_bytes: int
    text_stage: str


@router.get("/stages")
def stages(seen: Seen) -> list[StageOut]:
    """List the stages of a run, as far as they are."""
    return [_stage(seen, name) for name in seen.run.stages]


@router.get("/stages/{stage}")
def stage(seen: Seen, stage: str) -> StageOut:
    """Return one stage: its accounting, statistics and samples."""
    return _stage(seen, stage)


@router.get("/stages/{stage}/documents")
def documents(seen: Seen, stage: str, q: Words = "", after: Start = "") -> RowsOut:
    """Return a page of a dataset's rows, all or those with `q` in their id or text; long values are cut."""
    return _page(rows.documents(seen.dataset(stage), q, rows.place(after)))


@router.get("/stages/{stage}/drops")
def drops(seen: Seen, stage: str, step: Words = "", reason: Words = "", after: Start = "") -> RowsOut:
    """Return a page of dropped documents, all or those of one step and reason."""
    return _page(rows.drops(seen.dataset(stage), step, reason, rows.place(after)))


@router.get("/stages/{stage}/errors")
def errors(seen: Seen, stage: str, after: Start = "") -> RowsOut:
    """Return a page of quarantined rows."""
    return _page(rows.errors(seen.dataset(stage), rows.place(after)))


@router.get("/story")
def story(seen: Seen, id: Annotated[str, Query(max_length=4000)]) -> StoryOut:
    """Tell what every stage did with a document, with the limits that it broke."""
    found = tell(finished(seen.run, seen.storage), id, seen.limits)
    if not found.chapters:
        raise DatasetError(f"no finished stage of run {seen.row.id} has seen a document `{id}`", "ids stand in the datasets of its stages")
    events = [_event(chapter) for chapter in found.chapters]
    return StoryOut(id=id, fate=found.fate, events=events, text=found.text, text_bytes=found.text_bytes, text_stage=found.text_stage)


def _stage(seen: Seen, name: str) -> StageOut:
    told = dict(seen.run.stage(name))
    return StageOut(name=name, status=told["status"], columns=seen.run.stages[name]["columns"], told=told)


def _page(found: rows.Page) -> RowsOut:
    return RowsOut(rows=found.rows, next=None if found.next is None else str(found.next), stopped=found.stopped)


def _event(chapter: Chapter) -> EventOut:
    event = chapter.event
    return EventOut(stage=event.stage, what=event.what, shard=event.shard, details=event.details, limit=_limit(chapter.limit))


def _limit(limit: Limit | None) -> LimitOut | None:
    return None if limit is None else LimitOut(parameter=limit.parameter, value=limit.value, rule=limit.rule)
