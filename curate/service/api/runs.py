"""`/api/v1/runs`: submitted, listed, looked at, cancelled, asked for again."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy.orm import Session

from curate.errors import DatasetError
from curate.pipeline_yaml import Loaded
from curate.service import pipelines, runs
from curate.service.api.callers import Operator, ServiceHere, Viewer
from curate.service.api.paging import Cursor, Page, Size, cut
from curate.service.api.pipelines import Number
from curate.service.api.problems import PROBLEM
from curate.service.ends import read_report
from curate.service.service import Service
from curate.service.state import tables

router = APIRouter(prefix="/runs", tags=["runs"], responses=PROBLEM)
Status = Literal["queued", "starting", "running", "succeeded", "failed", "gated", "cancelled", "lost"]
Key = Annotated[
    str | None, Header(max_length=200, description="The same key from the same caller gives the same run, however often it is sent.")
]
_YEAR_S = 366 * 86400.0


class RunIn(BaseModel):
    """A pipeline that is kept, by name and perhaps version, or a text, which is kept first; and the options of `curate run`.

    A run that is lost or fails is tried again `retries` times, after `retry_after_s` seconds at first and twice as long each time;
    it goes on where it stopped. `deadline_s` counts from now.
    """

    model_config = ConfigDict(extra="forbid")

    pipeline: str | None = None
    version: Number | None = None
    text: str | None = None
    folder: str | None = Field(None, max_length=2000)
    workspace: str | None = Field(None, max_length=2000)
    sets: list[str] = Field([], max_length=1000)
    limit: int | None = Field(None, ge=1, lt=2**63)
    until: str | None = None
    workers: int | None = Field(None, ge=1, le=4096)
    retries: int = Field(0, ge=0, le=100)
    retry_after_s: float = Field(60.0, ge=0, le=_YEAR_S)
    deadline_s: float | None = Field(None, gt=0, le=_YEAR_S)

    @model_validator(mode="after")
    def _one_pipeline(self) -> RunIn:
        if (self.pipeline is None) == (self.text is None):
            raise ValueError("a run has `pipeline` or `text`")
        return self


class RunOut(BaseModel):
    """One run. Its parts in the workspace are called `attempt_id`; `summary` is what `curate run --json` prints."""

    id: str
    attempt_id: str
    pipeline: str
    version: int
    workspace: str
    status: Status
    attempt: int
    retries: int
    sets: list[str]
    options: dict[str, Any]
    schedule_id: int | None
    created_at: datetime
    created_by: str
    started_at: datetime | None
    ended_at: datetime | None
    not_before: datetime | None
    cancelled_by: str | None
    exit_code: int | None
    summary: dict[str, Any] | None
    error: dict[str, Any] | None


@router.post("", status_code=201)
def submit(body: RunIn, caller: Operator, service: ServiceHere, idempotency_key: Key = None) -> RunOut:
    """Queue a run."""
    order = _order(body, service)
    loaded = _checked(body, service)

    def queued(session: Session) -> RunOut:
        if loaded is not None:
            version = pipelines.save(session, loaded.pipeline, loaded.text, caller.name)
        else:
            version = pipelines.version_of(session, body.pipeline or "", body.version)
        return run_out(runs.submit(session, version, order, caller, key=idempotency_key))

    answer = service.database.change(queued)
    service.watch.soon()
    return answer


def _checked(body: RunIn, service: Service) -> Loaded | None:
    """Return a text that was sent, checked; of a pipeline by name, check that the overrides fit."""
    if body.text is not None:
        return service.checker.load(body.text, service.checker.folder(body.folder), body.sets)[0]
    if body.sets:
        with service.database.reading() as session:
            version = pipelines.version_of(session, body.pipeline or "", body.version)
        service.checker.load(version.text, Path(version.folder), body.sets)
    return None


@router.get("")
def listed(
    caller: Viewer,
    service: ServiceHere,
    status: Annotated[list[Status], Query(description="Only runs of these statuses.")] = [],  # noqa: B006 - FastAPI copies it
    pipeline: str | None = None,
    limit: Size = 50,
    cursor: Cursor = None,
) -> Page[RunOut]:
    """List runs, newest first."""
    with service.database.reading() as session:
        rows, following = cut(runs.page(session, limit + 1, cursor, status, pipeline), limit, lambda run: run.id)
        return Page(items=[run_out(run) for run in rows], next=following)


@router.get("/{run_id}")
def show(run_id: str, caller: Viewer, service: ServiceHere) -> RunOut:
    """Return one run."""
    with service.database.reading() as session:
        return run_out(runs.find(session, run_id))


@router.post("/{run_id}/cancel")
def cancel(run_id: str, caller: Operator, service: ServiceHere) -> RunOut:
    """End a run: at once if it waits, as by Ctrl-C if it goes on. What is finished stays."""
    with service.database.writing() as session:
        run = runs.found_locked(session, run_id)
        runs.cancel(session, run, caller)
        answer = run_out(run)
    service.watch.soon()
    return answer


@router.post("/{run_id}/again", status_code=201)
def again(run_id: str, caller: Operator, service: ServiceHere) -> RunOut:
    """Queue the same once more; stages that are finished are not done again."""
    with service.database.writing() as session:
        run = runs.find(session, run_id)
        answer = run_out(runs.submit(session, run.version, runs.order_of(run), caller))
    service.watch.soon()
    return answer


@router.get("/{run_id}/report")
def report(run_id: str, caller: Viewer, service: ServiceHere) -> dict[str, Any]:
    """Return the report of a run's last attempt, as `report.json` holds it."""
    with service.database.reading() as session:
        run = runs.find(session, run_id)
    found = read_report(run)
    if found is None:
        raise DatasetError(f"run {run_id} has no report", "a run writes it at its end; one that was killed writes none")
    return found


@router.get("/{run_id}/log", response_class=PlainTextResponse)
def log(run_id: str, caller: Viewer, service: ServiceHere, last_bytes: Annotated[int, Query(ge=1, le=1 << 20)] = 64 << 10) -> str:
    """Return the end of what a run's last attempt printed."""
    with service.database.reading() as session:
        run = runs.find(session, run_id)
    return service.launcher.log(run.attempt_id, last_bytes)


def _order(body: RunIn, service: Service) -> runs.Order:
    workspace = service.settings.workspace_of(body.workspace)
    service.checker.places.check(workspace, service.settings.folder)
    return runs.Order(
        workspace=workspace,
        sets=body.sets,
        limit=body.limit,
        until=body.until,
        workers=body.workers or service.settings.workers,
        retries=body.retries,
        retry_after_s=body.retry_after_s,
        deadline_s=body.deadline_s,
    )


def run_out(run: tables.Run) -> RunOut:
    """Return a run as the API shows it."""
    fields = {name: getattr(run, name) for name in RunOut.model_fields if name != "version"}
    return RunOut(**fields, version=run.version.number)
