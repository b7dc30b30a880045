"""`/api/v1/pipelines`: texts checked, kept in versions, compared."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from curate.service import audit, pipelines
from curate.service.api.callers import Operator, ServiceHere, Viewer
from curate.service.api.paging import Cursor, Page, Size, cut
from curate.service.api.problems import PROBLEM, MistakeOut
from curate.service.state import tables

router = APIRouter(prefix="/pipelines", tags=["pipelines"], responses=PROBLEM)
Number = Annotated[int, Field(ge=1, le=2**31 - 1)]


class TextIn(BaseModel):
    """A pipeline file: its text, the folder where its relative paths start, and overrides as `--set` takes them."""

    text: str
    folder: str | None = None
    sets: list[str] = []


class CheckedOut(BaseModel):
    """What the checker says: no mistakes, or where and what they are."""

    name: str | None
    ok: bool
    mistakes: list[MistakeOut]
    warnings: list[str]
    stages: list[str]


class PipelineOut(BaseModel):
    """A pipeline, and the number of its newest version."""

    name: str
    version: int
    created_at: datetime


class VersionOut(BaseModel):
    """One version of a pipeline; `text` only where one version is asked for."""

    pipeline: str
    number: int
    folder: str
    sha256: str
    created_at: datetime
    created_by: str
    text: str | None = None


class DiffOut(BaseModel):
    """What changed from one version to another, as a unified diff."""

    older: int
    newer: int
    diff: str


@router.post("/check")
def check(body: TextIn, caller: Viewer, service: ServiceHere) -> CheckedOut:
    """Say what `curate check` says of a text; nothing is kept."""
    checked = service.checker.check(body.text, service.checker.folder(body.folder), body.sets)
    found = [MistakeOut(line=m.line, message=m.message, hint=m.hint) for m in checked.mistakes]
    return CheckedOut(name=checked.name, ok=not found, mistakes=found, warnings=checked.warnings, stages=checked.stages)


@router.post("", status_code=201)
def save(body: TextIn, caller: Operator, service: ServiceHere) -> VersionOut:
    """Keep a text as the newest version of the pipeline that it names; a wrong one is refused with all its mistakes."""
    loaded, _ = service.checker.load(body.text, service.checker.folder(body.folder))

    def kept(session: Session) -> VersionOut:
        version = pipelines.save(session, loaded.pipeline, body.text, caller.name)
        audit.note(session, caller, "pipeline.save", loaded.pipeline.name, version=version.number)
        return version_out(version, with_text=True)

    return service.database.change(kept)


@router.get("")
def listed(caller: Viewer, service: ServiceHere, limit: Size = 50, cursor: Cursor = None) -> Page[PipelineOut]:
    """List pipelines by name."""
    newest = select(tables.PipelineVersion.pipeline_id, func.max(tables.PipelineVersion.number).label("number"))
    numbers = newest.group_by(tables.PipelineVersion.pipeline_id).subquery()
    query = select(tables.Pipeline, numbers.c.number).join(numbers, numbers.c.pipeline_id == tables.Pipeline.id)
    if cursor is not None:
        query = query.where(tables.Pipeline.name > cursor)
    with service.database.reading() as session:
        rows, following = cut(session.execute(query.order_by(tables.Pipeline.name).limit(limit + 1)).all(), limit, lambda row: row[0].name)
    items = [PipelineOut(name=row[0].name, version=row[1], created_at=row[0].created_at) for row in rows]
    return Page(items=items, next=following)


@router.get("/{name}")
def newest(name: str, caller: Viewer, service: ServiceHere) -> VersionOut:
    """Return the newest version of a pipeline."""
    with service.database.reading() as session:
        return version_out(pipelines.version_of(session, name), with_text=True)


@router.get("/{name}/versions")
def versions(
    name: str, caller: Viewer, service: ServiceHere, limit: Size = 50, cursor: Annotated[Number | None, Query()] = None
) -> Page[VersionOut]:
    """List the versions of a pipeline, newest first."""
    with service.database.reading() as session:
        kept = pipelines.find(session, name)
        query = select(tables.PipelineVersion).filter_by(pipeline_id=kept.id).order_by(tables.PipelineVersion.number.desc())
        if cursor is not None:
            query = query.where(tables.PipelineVersion.number < cursor)
        rows, following = cut(list(session.scalars(query.limit(limit + 1))), limit, lambda version: version.number)
        return Page(items=[version_out(version) for version in rows], next=following)


@router.get("/{name}/versions/{number}")
def version(name: str, number: Number, caller: Viewer, service: ServiceHere) -> VersionOut:
    """Return one version of a pipeline."""
    with service.database.reading() as session:
        return version_out(pipelines.version_of(session, name, number), with_text=True)


@router.get("/{name}/diff")
def diff(name: str, older: Number, newer: Number, caller: Viewer, service: ServiceHere) -> DiffOut:
    """Return what changed between two versions of a pipeline."""
    with service.database.reading() as session:
        texts = [pipelines.version_of(session, name, number) for number in (older, newer)]
        return DiffOut(older=older, newer=newer, diff=pipelines.difference(texts[0], texts[1]))


def version_out(version: tables.PipelineVersion, with_text: bool = False) -> VersionOut:
    """Return a version as the API shows it."""
    return VersionOut(
        pipeline=version.pipeline.name,
        number=version.number,
        folder=version.folder,
        sha256=version.sha256,
        created_at=version.created_at,
        created_by=version.created_by,
        text=version.text if with_text else None,
    )
