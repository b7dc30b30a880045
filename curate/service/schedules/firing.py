"""What happens to one schedule in one transaction, while its row is locked.

Each tick is a row of its own, unique by schedule and due time, and is written in the transaction that queues its run and moves
the schedule on: a service that is killed leaves all of it or nothing. A tick that runs begins as `waiting` and gets its run when
no earlier tick of the schedule has one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any
from urllib.parse import quote

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from curate.report.units import plural
from curate.service import pipelines, runs
from curate.service.auth import Caller
from curate.service.notices import announce
from curate.service.schedules import rows
from curate.service.schedules.cron import jitter
from curate.service.schedules.inputs import Look, told
from curate.service.schedules.policies import RUNNING, WAITING, Due, Fired, end_of, failures_after, fire, is_to_pause, meet, overlap_of
from curate.service.schedules.spec import CronTrigger, FilesTrigger, FinishedTrigger, ScheduleSpec, dues
from curate.service.settings import ServiceSettings
from curate.service.state import tables

MOST_TICKS = 1000
LOOK_BACK = timedelta(days=31)
"""After a longer silence, ticks are told from here on: neither that many rows nor the time to count them help anybody."""
NOTE_CHARS = 500


@dataclass(frozen=True)
class Firing:
    """One schedule, locked, at a moment; `looks` is what its inputs were found to hold."""

    session: Session
    schedule: tables.Schedule
    now: datetime
    settings: ServiceSettings
    looks: Mapping[str, Look] = field(default_factory=dict)

    @cached_property
    def spec(self) -> ScheduleSpec:
        """What was said about it."""
        return rows.spec_of(self.schedule)

    def tend(self) -> None:
        """End ticks whose runs have ended, fire what is due, and start what waits."""
        self.settle()
        if self.schedule.paused is None and self.schedule.removed_at is None:
            self.fire()
        self.start()

    def settle(self) -> None:
        """Note how runs ended that have, and pause a schedule that fails and fails."""
        for tick in rows.open_ticks(self.session, self.schedule):
            run = self.session.get(tables.Run, tick.run_id) if tick.run_id else None
            if run is not None and run.status in runs.ENDED:
                self._end(tick, run)

    def _end(self, tick: tables.Tick, run: tables.Run) -> None:
        end = end_of(run.status)
        tick.outcome = end
        if end == "failed" and run.error is not None:
            tick.note = str(run.error["message"])[:NOTE_CHARS]
        details = dict(tick.details or {})
        marks = details.pop("marks", None)
        tick.details = details or None
        if end == "succeeded" and marks is not None:
            self.schedule.seen = {**self.schedule.seen, "inputs": marks}
        self.schedule.failures = failures_after(self.schedule.failures, end)
        if self.schedule.paused is None and is_to_pause(self.schedule.failures, self.spec.policies):
            rows.rest(self.session, self.schedule, f"{plural(self.schedule.failures, 'tick')} in a row failed, the last with run {run.id}")
            self._tell("schedule.paused", str(self.schedule.paused))

    def _tell(self, event: str, what: str) -> None:
        told = {"schedule": self.schedule.name, "pipeline": self.schedule.pipeline.name, "error": {"message": what, "hint": None}}
        url = f"{self.settings.url}/schedules/{quote(self.schedule.name, safe='')}"
        announce(self.session, event, told | {"url": url}, mailing=self.settings.mail is not None)

    def fire(self) -> None:
        """Write the ticks whose time has come."""
        trigger = self.spec.trigger
        if isinstance(trigger, FilesTrigger):
            self._fire_files(trigger)
        elif isinstance(trigger, FinishedTrigger):
            self._fire_finished(trigger)
        elif self.schedule.next_due is not None:
            ready, following = self._due()
            self.schedule.next_due = following
            self._write(ready)

    def _due(self) -> tuple[list[datetime], datetime | None]:
        """Return the due times that have come, oldest first, and the next one."""
        trigger, next_due = self.spec.trigger, self.schedule.next_due
        assert next_due is not None and not isinstance(trigger, FilesTrigger | FinishedTrigger)
        start = max(next_due, self.now - LOOK_BACK) if isinstance(trigger, CronTrigger) else next_due
        ready: deque[datetime] = deque(maxlen=MOST_TICKS)
        for due in dues(trigger, start - timedelta(microseconds=1)):
            if self._fires(due) > self.now:
                return list(ready), due
            ready.append(due)
        return list(ready), None

    def _fires(self, due: datetime) -> datetime:
        return due + jitter(self.schedule.name, due, self.spec.policies.jitter_s)

    def _write(self, moments: Sequence[datetime]) -> None:
        """Write a tick for each moment that has none yet."""
        policies = self.spec.policies
        known = self._fired(moments)
        new = [Due(due, self._fires(due)) for due in moments if due not in known]
        unfinished = len(rows.open_ticks(self.session, self.schedule))
        written = fire(new, self.now, policies)
        for fired in written:
            unfinished += self._admit(fired, unfinished)
        missed = [fired.due for fired in written if not fired.runs]
        if missed:
            self._tell("schedule.missed", f"{len(missed)} ticks were missed, the last at {missed[-1]:%Y-%m-%d %H:%M} UTC")

    def _fired(self, moments: Sequence[datetime]) -> set[datetime]:
        """Return those of the moments, oldest first, that have a tick: clocks may have gone back since, or differ between replicas."""
        if not moments:
            return set()
        query = select(tables.Tick.due).where(tables.Tick.schedule_id == self.schedule.id)
        return set(self.session.scalars(query.where(tables.Tick.due.between(moments[0], moments[-1]))))

    def _admit(self, fired: Fired, unfinished: int) -> bool:
        """Write one tick; return whether it is to run."""
        if not fired.runs:
            self._add(fired.due, "missed", fired.note)
            return False
        meeting = meet(unfinished, overlap_of(fired, self.spec.policies))
        if meeting.action == "skip":
            self._add(fired.due, "skipped", "the run before it went on")
            return False
        if meeting.cancels:
            self._make_way()
        self._add(fired.due, WAITING, fired.note)
        return True

    def _add(self, due: datetime, outcome: str, note: str | None, details: dict[str, Any] | None = None) -> tables.Tick:
        tick = tables.Tick(schedule_id=self.schedule.id, due=due, fired_at=self.now, outcome=outcome, note=note, details=details)
        self.session.add(tick)
        self.schedule.last_due = due
        return tick

    def _make_way(self) -> None:
        """Skip ticks that wait; the run that goes on is cancelled by `start`."""
        for tick in rows.open_ticks(self.session, self.schedule):
            if tick.outcome == WAITING:
                tick.outcome, tick.note = "skipped", "a newer tick took its place"

    def _fire_files(self, trigger: FilesTrigger) -> None:
        """Fire when there are new files; on a disk, only once they are as they were at the look before."""
        seen, found = self.schedule.seen, self.looks.get(trigger.input)
        self.schedule.next_due = self.now + timedelta(seconds=trigger.every_s)
        if found is None or found.problem is not None:
            self.schedule.seen = {**seen, "problem": found.problem if found else f"the pipeline has no input `{trigger.input}`"}
            return
        self.schedule.seen = {**seen, "problem": None, "look": found.digest}
        unfinished = rows.open_ticks(self.session, self.schedule)
        settled = found.at_once or seen.get("look") == found.digest
        new = found.new(seen.get("inputs", {}).get(trigger.input))
        if not new or not settled or seen.get("fired") == found.digest or any(tick.outcome == WAITING for tick in unfinished):
            return
        if unfinished and self.spec.policies.overlap == "skip":
            return  # they are still new when the run has ended
        self.schedule.seen = {**self.schedule.seen, "fired": found.digest}
        self._admit(Fired(self.now, True), len(unfinished))

    def _fire_finished(self, trigger: FinishedTrigger) -> None:
        ended = [moment for moment in finished(self.session, self.schedule, trigger) if self._fires(moment) <= self.now]
        if ended:
            since = max(datetime.fromisoformat(self.schedule.seen["since"]), ended[-1] - rows.SKEW)
            self.schedule.seen = {**self.schedule.seen, "since": since.isoformat()}
            self._write(ended)

    def start(self) -> None:
        """Give the oldest tick that waits its run, once no other tick of the schedule has one."""
        unfinished = rows.open_ticks(self.session, self.schedule)
        waiting = [tick for tick in unfinished if tick.outcome == WAITING]
        running = [tick for tick in unfinished if tick.outcome == RUNNING]
        if waiting and running and self.spec.policies.overlap == "cancel_older":
            for tick in running:
                self._cancel(tick.run_id)
            self.settle()  # a run that had not begun has ended by that
            running = [tick for tick in running if tick.outcome == RUNNING]
        if waiting and not running:
            self._submit(waiting[0])

    def _cancel(self, run_id: str | None) -> None:
        run = runs.locked(self.session, run_id) if run_id else None
        if run is not None:  # else the watch is at it, and it is cancelled at the next look
            runs.cancel(self.session, run, self._caller())

    def _submit(self, tick: tables.Tick) -> None:
        spec, seen = self.spec, self.schedule.seen.get("inputs", {})
        version = pipelines.version_of(self.session, spec.pipeline, spec.version)
        order = runs.Order(
            workspace=self.settings.workspace_of(spec.workspace),
            sets=spec.sets,
            until=spec.until,
            workers=spec.workers or self.settings.workers,
            retries=spec.policies.retries,
            retry_after_s=spec.policies.backoff_s,
            deadline_s=spec.policies.deadline_s,
        )
        run = runs.submit(self.session, version, order, self._caller(), schedule_id=self.schedule.id)
        tick.run_id, tick.outcome = run.id, RUNNING
        marks = {name: found.marks for name, found in self.looks.items() if found.problem is None}
        tick.details = {**(tick.details or {}), "inputs": told(self.looks, seen), "marks": marks}

    def _caller(self) -> Caller:
        return Caller(f"schedule {self.schedule.name}", "operator", f"schedule:{self.schedule.id}")

    def run_now(self, caller: Caller) -> tables.Tick:
        """Fire at once because somebody asks for it; raise `Conflict` where overlapping ticks are skipped."""
        self.settle()
        unfinished = rows.open_ticks(self.session, self.schedule)
        meeting = meet(len(unfinished), self.spec.policies.overlap)
        if meeting.action == "skip":
            name = unfinished[0].run_id
            raise rows.Conflict(f"schedule `{self.schedule.name}` has a run that goes on: {name}", "wait for its end, or cancel it")
        if meeting.cancels:
            self._make_way()
        due = self.now
        while self._fired([due]):
            due += timedelta(microseconds=1)
        tick = self._add(due, WAITING, f"asked for by {caller.name}")
        self.start()
        return tick


def finished(session: Session, schedule: tables.Schedule, trigger: FinishedTrigger) -> list[datetime]:
    """Return when runs of the other pipeline succeeded that this schedule has not fired for, oldest first."""
    since = datetime.fromisoformat(schedule.seen["since"])
    fired = exists().where(tables.Tick.schedule_id == schedule.id, tables.Tick.due == tables.Run.ended_at)
    query = select(tables.Run.ended_at).where(tables.Run.pipeline == trigger.pipeline, tables.Run.status == "succeeded", ~fired)
    ended = session.scalars(query.where(tables.Run.ended_at > since).order_by(tables.Run.ended_at).limit(MOST_TICKS))
    return [moment for moment in ended if moment is not None]
