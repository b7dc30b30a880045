"""Runs that the service was asked for: submitting, finding, cancelling. `curate.service.watch` carries them out."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from sqlalchemy import select
from sqlalchemy.orm import Session

from curate.errors import PipelineError
from curate.service import audit
from curate.service.auth import Caller
from curate.service.pipelines import NotFound
from curate.service.state import tables
from curate.service.state.types import now

WAITING: Final = ("queued",)
ACTIVE: Final = ("starting", "running")
ENDED: Final = ("succeeded", "failed", "gated", "cancelled", "lost")
STATUSES: Final = (*WAITING, *ACTIVE, *ENDED)


@dataclass(frozen=True)
class Order:
    """What to run and how: the options of `curate run`, and how often to try again when a run is lost or fails."""

    workspace: str
    sets: Sequence[str] = ()
    limit: int | None = None
    until: str | None = None
    workers: int | None = None
    retries: int = 0
    retry_after_s: float = 60.0
    deadline_s: float | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What is set of the options that `curate run` takes."""
        chosen = {"limit": self.limit, "until": self.until, "workers": self.workers}
        return {name: value for name, value in chosen.items() if value is not None}


def submit(
    session: Session,
    version: tables.PipelineVersion,
    order: Order,
    caller: Caller,
    key: str | None = None,
    schedule_id: int | None = None,
) -> tables.Run:
    """Queue a run of a version of a pipeline, and note who asked for it; the same key of a caller gives the same run."""
    digest = hashlib.sha256(orjson.dumps([version.id, asdict(order)])).hexdigest()
    known = session.get(tables.Idempotency, (caller.key, key)) if key is not None else None
    if known is not None:
        return _again(session, known, digest)
    run = _queued(version, order)
    run.created_by, run.schedule_id = caller.name, schedule_id
    session.add(run)
    session.flush()
    if key is not None:
        session.add(tables.Idempotency(caller=caller.key, key=key, digest=digest, run_id=run.id))
        session.flush()
    audit.note(session, caller, "run.submit", run.id, pipeline=run.pipeline, version=version.number)
    return run


def _queued(version: tables.PipelineVersion, order: Order) -> tables.Run:
    return tables.Run(
        id=_new_id(now()),
        pipeline=version.pipeline.name,
        version=version,
        workspace=order.workspace,
        sets=list(order.sets),
        options=order.options,
        retries=order.retries,
        retry_after_s=order.retry_after_s,
        deadline=now() + timedelta(seconds=order.deadline_s) if order.deadline_s is not None else None,
    )


def _again(session: Session, known: tables.Idempotency, digest: str) -> tables.Run:
    if known.digest != digest:
        raise PipelineError(
            "this idempotency key was used for another run", "use a new key for each run, and the old one to repeat a request"
        )
    return find(session, known.run_id)


def order_of(run: tables.Run) -> Order:
    """Return what a run was asked to do, so that it can be asked for again."""
    deadline_s = (run.deadline - run.created_at).total_seconds() if run.deadline is not None else None
    order = Order(run.workspace, run.sets, retries=run.retries, retry_after_s=run.retry_after_s, deadline_s=deadline_s)
    return replace(order, **run.options)


def find(session: Session, run_id: str) -> tables.Run:
    """Return a run; raise `NotFound`."""
    run = session.get(tables.Run, run_id)
    if run is None:
        raise NotFound(f"no run `{run_id}`")
    return run


def found_locked(session: Session, run_id: str) -> tables.Run:
    """Return a run that nobody else may change until the transaction ends, after whoever is at it; raise `NotFound`."""
    run = session.get(tables.Run, run_id, with_for_update={"of": tables.Run}, populate_existing=True)
    if run is None:
        raise NotFound(f"no run `{run_id}`")
    return run


def locked(session: Session, run_id: str) -> tables.Run | None:
    """Return a run that nobody else may change until the transaction ends, or None when somebody else is at it."""
    query = select(tables.Run).filter_by(id=run_id).with_for_update(skip_locked=True, of=tables.Run)
    return session.scalar(query.execution_options(populate_existing=True))


def page(
    session: Session,
    size: int,
    before: str | None = None,
    status: Sequence[str] = (),
    pipeline: str | None = None,
    schedule_id: int | None = None,
) -> list[tables.Run]:
    """Return runs, newest first, that are older than `before`."""
    query = select(tables.Run).order_by(tables.Run.id.desc()).limit(size)
    if before is not None:
        query = query.where(tables.Run.id < before)
    if status:
        query = query.where(tables.Run.status.in_(status))
    if pipeline is not None:
        query = query.where(tables.Run.pipeline == pipeline)
    if schedule_id is not None:
        query = query.where(tables.Run.schedule_id == schedule_id)
    return list(session.scalars(query))


def cancel(session: Session, run: tables.Run, caller: Caller) -> None:
    """End a run that waits at once; ask for the end of one that goes on. One that has ended stays as it is. The run is locked."""
    if run.status in ENDED or run.cancelled_by is not None:
        return
    run.cancelled_by = caller.name
    if run.status in WAITING:
        run.status, run.ended_at = "cancelled", now()
    audit.note(session, caller, "run.cancel", run.id)


def _new_id(moment: datetime) -> str:
    """Return an id that sorts by time: the day, the second, the microsecond in hexadecimal, and a little chance."""
    return f"{moment:%Y%m%d-%H%M%S}-{moment.microsecond:05x}{secrets.token_hex(2)[:3]}"
