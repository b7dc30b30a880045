"""Schedules as rows of the database: added, changed, paused, removed; and their history."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session, defer, joinedload

from curate.errors import CurateError, PipelineError
from curate.registry import suggest
from curate.service import audit, pipelines
from curate.service.auth import Caller
from curate.service.pipelines import NotFound
from curate.service.schedules.policies import RUNNING, WAITING
from curate.service.schedules.spec import AtTrigger, CronTrigger, FilesTrigger, FinishedTrigger, ScheduleSpec, dues
from curate.service.state import tables

OPEN = (WAITING, RUNNING)
SKEW = timedelta(minutes=10)
"""By how much clocks of replicas may differ, and the end of a run reach the database later than one that came after it."""
_OPTIONS = ("workspace", "sets", "until", "workers")
_LIGHT = (joinedload(tables.Schedule.pipeline), defer(tables.Schedule.seen))


class Conflict(CurateError):
    """What was asked for does not go together with what is there."""


def spec_of(schedule: tables.Schedule) -> ScheduleSpec:
    """Return what a person said about a schedule."""
    return ScheduleSpec.model_validate(
        {
            "name": schedule.name,
            "pipeline": schedule.pipeline.name,
            "version": schedule.version,
            "trigger": schedule.trigger,
            "policies": schedule.policies,
            **schedule.run,
        }
    )


def add(session: Session, spec: ScheduleSpec, replace: bool, caller: Caller, now: datetime) -> tables.Schedule:
    """Add a schedule, or with `replace` put it in the place of the one of its name, whose history goes on."""
    known = session.scalar(select(tables.Schedule).filter_by(name=spec.name).with_for_update(of=tables.Schedule))
    if known is not None and known.removed_at is None and not replace:
        raise Conflict(f"there is a schedule `{spec.name}` already", "remove it, or replace it: `--replace`, or PUT over the API")
    if isinstance(spec.trigger, AtTrigger) and spec.trigger.at <= now:
        raise PipelineError(f"the time has passed: {spec.trigger.at.isoformat()}", "name one that is to come")
    kept = pipelines.find(session, spec.pipeline)
    _check_circle(session, spec)
    schedule = known or tables.Schedule(name=spec.name, created_by=caller.name, created_at=now)
    said = spec.model_dump(mode="json")
    if schedule.pipeline is not kept:
        schedule.pipeline, schedule.seen = kept, {}
    schedule.version, schedule.kind = spec.version, spec.trigger.kind
    schedule.trigger, schedule.policies = said["trigger"], said["policies"]
    schedule.run = {name: said[name] for name in _OPTIONS}
    schedule.paused, schedule.removed_at, schedule.failures = None, None, 0
    _arm(schedule, spec, now)
    session.add(schedule)
    session.flush()
    audit.note(session, caller, "schedule.replace" if known else "schedule.add", spec.name, pipeline=spec.pipeline)
    return schedule


def find(session: Session, name: str) -> tables.Schedule:
    """Return a schedule by its name; raise `NotFound`."""
    schedule = session.scalar(select(tables.Schedule).filter_by(name=name, removed_at=None))
    if schedule is None:
        known = session.scalars(select(tables.Schedule.name).filter_by(removed_at=None).limit(1000))
        raise NotFound(f"no schedule `{name}`", suggest(name, list(known)))
    return schedule


def locked(session: Session, schedule_id: int, wait: bool = False) -> tables.Schedule | None:
    """Return a schedule that nobody else may change until the transaction ends; without `wait` None when somebody else is at it."""
    query = select(tables.Schedule).filter_by(id=schedule_id).with_for_update(skip_locked=not wait, of=tables.Schedule)
    return session.scalar(query.options(joinedload(tables.Schedule.pipeline)).execution_options(populate_existing=True))


def page(session: Session, size: int, after: str | None = None, pipeline: str | None = None) -> list[tables.Schedule]:
    """Return schedules by name, those behind `after`."""
    query = select(tables.Schedule).filter_by(removed_at=None).order_by(tables.Schedule.name).limit(size)
    if after is not None:
        query = query.where(tables.Schedule.name > after)
    if pipeline is not None:
        query = query.join(tables.Pipeline).where(tables.Pipeline.name == pipeline)
    return list(session.scalars(query.options(*_LIGHT)))


def history(session: Session, schedule: tables.Schedule, size: int, before: datetime | None = None) -> list[tables.Tick]:
    """Return the ticks of a schedule that were due before a moment, newest first."""
    query = select(tables.Tick).filter_by(schedule_id=schedule.id).order_by(tables.Tick.due.desc()).limit(size)
    return list(session.scalars(query if before is None else query.where(tables.Tick.due < before)))


def open_ticks(session: Session, schedule: tables.Schedule) -> list[tables.Tick]:
    """Return the ticks that have not ended, oldest first."""
    query = select(tables.Tick).where(tables.Tick.schedule_id == schedule.id, tables.Tick.outcome.in_(OPEN))
    return list(session.scalars(query.order_by(tables.Tick.due)))


def pause(session: Session, schedule: tables.Schedule, reason: str, caller: Caller) -> None:
    """Let a schedule rest: ticks that wait are skipped, a run that goes on goes on."""
    if schedule.paused is None:
        rest(session, schedule, reason)
        audit.note(session, caller, "schedule.pause", schedule.name, reason=reason)


def rest(session: Session, schedule: tables.Schedule, reason: str) -> None:
    """Keep a schedule from firing, and say why."""
    schedule.paused = reason
    for tick in open_ticks(session, schedule):
        if tick.outcome == WAITING:
            tick.outcome, tick.note = "skipped", "the schedule was paused"


def resume(session: Session, schedule: tables.Schedule, caller: Caller, now: datetime) -> None:
    """Let a schedule fire again, from now on: what was due while it rested was not missed."""
    if schedule.paused is not None:
        schedule.paused, schedule.failures = None, 0
        _arm(schedule, spec_of(schedule), now)
        audit.note(session, caller, "schedule.resume", schedule.name)


def remove(session: Session, schedule: tables.Schedule, caller: Caller, now: datetime) -> None:
    """Take a schedule away; its history stays, and goes on if it is added again."""
    rest(session, schedule, "removed")
    schedule.removed_at, schedule.next_due = now, None
    audit.note(session, caller, "schedule.remove", schedule.name)


def _arm(schedule: tables.Schedule, spec: ScheduleSpec, now: datetime) -> None:
    """Set when it is looked at next."""
    trigger = spec.trigger
    schedule.seen = {**schedule.seen, "since": now.isoformat(), "fired": None}
    if isinstance(trigger, CronTrigger | AtTrigger):
        schedule.next_due = next(dues(trigger, now), None)
    else:
        schedule.next_due = now if isinstance(trigger, FilesTrigger) else None


def rewind(schedule: tables.Schedule, now: datetime) -> None:
    """Bring a schedule back that was moved on by a clock that was ahead; ticks that have fired do not fire again."""
    trigger, since = spec_of(schedule).trigger, datetime.fromisoformat(schedule.seen["since"])
    if isinstance(trigger, CronTrigger):
        was_armed_just_now = now < since < now + SKEW
        schedule.next_due = next(dues(trigger, since if was_armed_just_now else now))
    elif isinstance(trigger, FilesTrigger):
        schedule.next_due = now
    elif since > now + SKEW:
        schedule.seen = {**schedule.seen, "since": now.isoformat()}


def _check_circle(session: Session, spec: ScheduleSpec) -> None:
    """Raise for pipelines that would start each other for ever."""
    if not isinstance(spec.trigger, FinishedTrigger):
        return
    starts: dict[str, set[str]] = {}
    query = select(tables.Schedule).where(tables.Schedule.kind == "finished", tables.Schedule.removed_at.is_(None))
    for other in session.scalars(query.options(*_LIGHT)):
        if other.name != spec.name:
            starts.setdefault(other.trigger["pipeline"], set()).add(other.pipeline.name)
    reached, queue = {spec.pipeline}, [spec.pipeline]
    while queue:
        following = starts.get(queue.pop(), set()) - reached
        reached |= following
        queue += following
    if spec.trigger.pipeline in reached:
        told = f"`{spec.pipeline}` starts when `{spec.trigger.pipeline}` has finished, and that when `{spec.pipeline}` has"
        raise PipelineError(f"schedule `{spec.name}` would never come to rest: {told}", "let one of them run at a time instead")
