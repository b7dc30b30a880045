"""Schedules and ticks as callers see them, over the API and on the command line."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel
from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from curate.service.schedules import rows
from curate.service.schedules.cron import jitter
from curate.service.schedules.spec import AtTrigger, CronTrigger, Policies, Trigger, dues
from curate.service.state import tables

UPCOMING = 5
Outcome = Literal["waiting", "running", "succeeded", "failed", "cancelled", "skipped", "missed"]


class TickOut(BaseModel):
    """One moment at which a schedule was due, and what came of it.

    `inputs` says of each input how many `files` it had, how many of them were `new` since the last success, and names some in
    `examples`; or the `problem` that kept them from being listed.
    """

    due: datetime
    fired_at: datetime
    outcome: Outcome
    note: str | None
    run_id: str | None
    inputs: dict[str, Any] | None

    @property
    def cursor(self) -> str:
        """What the page of the history behind this tick is asked for with."""
        return f"{self.due:%Y-%m-%dT%H:%M:%S.%fZ}"


class ScheduleOut(BaseModel):
    """A schedule: what was said about it, and how it stands.

    `paused` says why it rests. `next_due` is its next time, `next_fires` the same with its jitter; for a trigger `files` they are
    the next look. `upcoming` are times after that, where one schedule is asked for. `problem` is what kept the last look at an input
    from succeeding. `failures` counts ticks that failed in a row.
    """

    name: str
    pipeline: str
    version: int | None
    trigger: Trigger
    policies: Policies
    workspace: str | None
    sets: list[str]
    until: str | None
    workers: int | None
    paused: str | None
    failures: int
    next_due: datetime | None
    next_fires: datetime | None
    last: TickOut | None
    upcoming: list[datetime] = []
    problem: str | None = None
    created_at: datetime
    created_by: str


class ExportOut(BaseModel):
    """Files by name for another scheduler, and what it cannot do of what the schedule says."""

    files: dict[str, str]
    lost: list[str]


def schedules_out(session: Session, schedules: Sequence[tables.Schedule]) -> list[ScheduleOut]:
    """Return schedules as lists show them."""
    last = _last_ticks(session, schedules)
    return [_schedule_out(schedule, last.get(schedule.id)) for schedule in schedules]


def schedule_out(session: Session, schedule: tables.Schedule) -> ScheduleOut:
    """Return one schedule with the times to come."""
    shown = _schedule_out(schedule, _last_ticks(session, [schedule]).get(schedule.id))
    upcoming: list[datetime] = []
    if isinstance(shown.trigger, CronTrigger | AtTrigger) and shown.next_due is not None:
        upcoming = list(itertools.islice(dues(shown.trigger, shown.next_due), UPCOMING))
    return shown.model_copy(update={"upcoming": upcoming, "problem": schedule.seen.get("problem")})


def tick_out(tick: tables.Tick) -> TickOut:
    """Return a tick as callers see it."""
    return TickOut.model_validate(
        {name: getattr(tick, name) for name in ("due", "fired_at", "outcome", "note", "run_id")}
        | {"inputs": (tick.details or {}).get("inputs")}
    )


def _schedule_out(schedule: tables.Schedule, last: tables.Tick | None) -> ScheduleOut:
    spec = rows.spec_of(schedule)
    rests = schedule.paused is not None or schedule.next_due is None
    next_due = None if rests else schedule.next_due
    return ScheduleOut(
        **{name: getattr(spec, name) for name in ("name", "pipeline", "version", "trigger", "policies", "workspace", "until", "workers")},
        **{name: getattr(schedule, name) for name in ("paused", "failures", "created_at", "created_by")},
        sets=list(spec.sets),
        next_due=next_due,
        next_fires=next_due and next_due + jitter(schedule.name, next_due, spec.policies.jitter_s),
        last=tick_out(last) if last is not None else None,
    )


def _last_ticks(session: Session, schedules: Sequence[tables.Schedule]) -> dict[int, tables.Tick]:
    last = and_(tables.Tick.schedule_id == tables.Schedule.id, tables.Tick.due == tables.Schedule.last_due)
    query = select(tables.Tick).join(tables.Schedule, last).where(tables.Schedule.id.in_([each.id for each in schedules]))
    return {tick.schedule_id: tick for tick in session.scalars(query)}
