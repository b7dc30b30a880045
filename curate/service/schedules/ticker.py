"""Finds schedules that need something, and sees to each of them, every second.

Any number of services may do this on one database. Who locks a schedule's row sees to it, the others pass by; who comes later
finds the tick written and the schedule moved on. Looking at inputs may take long and happens outside of transactions, each
schedule on a thread of its own, so that a store that does not answer holds up nobody else.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Row, func, or_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from curate.errors import CurateError
from curate.service import pipelines, runs
from curate.service.pipelines import Checker
from curate.service.schedules import rows
from curate.service.schedules.cron import jitter
from curate.service.schedules.firing import Firing, finished
from curate.service.schedules.inputs import Look, look
from curate.service.schedules.policies import RUNNING, WAITING
from curate.service.schedules.spec import FinishedTrigger
from curate.service.settings import ServiceSettings
from curate.service.state import Database, tables
from curate.service.state.types import now

LOOK_S = 1.0
THREADS = 8
_log = logging.getLogger(__name__)


class Ticker:
    """Fires the schedules of one database; `clock` tells the time, `on_run` is called when runs were queued."""

    def __init__(
        self,
        database: Database,
        checker: Checker,
        settings: ServiceSettings,
        clock: Callable[[], datetime] = now,
        on_run: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._checker = checker
        self._settings = settings
        self._clock = clock
        self._on_run = on_run
        self._last: datetime | None = None
        self._busy: dict[int, Future[None]] = {}
        self._pool = ThreadPoolExecutor(THREADS, "schedule")
        self._stopped = threading.Event()

    def loop(self) -> None:
        """Look every second until `stop`; what goes wrong on the way is logged, and tried again."""
        while not self._stopped.is_set():
            try:
                self._begin()
            except (CurateError, SQLAlchemyError, OSError):
                _log.exception("could not look after the schedules")
            self._stopped.wait(LOOK_S)
        self._pool.shutdown()

    def stop(self) -> None:
        """End the loop once it has finished what it is at."""
        self._stopped.set()

    def step(self) -> None:
        """Look once, and see to everything that was found."""
        for future in self._begin():
            future.result()

    def _begin(self) -> list[Future[None]]:
        moment = self._clock()
        if self._last is None or moment < self._last:
            self._rewind(moment)
        self._last = moment
        with self._database.reading() as session:
            needed = found_in(session, moment)
        self._busy = {key: future for key, future in self._busy.items() if not future.done()}
        begun = {key: self._pool.submit(self._tend, key, moment, needed[key]) for key in sorted(needed.keys() - self._busy.keys())}
        self._busy |= begun
        return list(begun.values())

    def _rewind(self, moment: datetime) -> None:
        """Undo what a clock that was ahead has done to schedules."""
        later = or_(tables.Schedule.next_due > moment, tables.Schedule.kind == "finished")
        with self._database.writing() as session:
            query = select(tables.Schedule).where(*_AWAKE, later, tables.Schedule.kind != "at")
            for schedule in session.scalars(query.with_for_update(skip_locked=True, of=tables.Schedule)):
                rows.rewind(schedule, moment)

    def _tend(self, key: int, moment: datetime, starts: bool) -> None:
        try:
            looks = self._looks(key) if starts else {}
            with self._database.writing() as session:
                schedule = rows.locked(session, key)
                if schedule is not None:  # else another service is at it
                    Firing(session, schedule, moment, self._settings, looks).tend()
        except (CurateError, SQLAlchemyError, OSError):
            _log.exception("could not see to schedule %s", key)
        else:
            self._on_run()

    def _looks(self, key: int) -> dict[str, Look]:
        """Look at the inputs of a schedule's pipeline; a pipeline that is wrong by now says so when its run starts."""
        with self._database.reading() as session:
            schedule = session.get_one(tables.Schedule, key)
            name, sets = schedule.pipeline.name, schedule.run["sets"]
            version = pipelines.version_of(session, name, schedule.version)
        try:
            return look(self._checker.readable(version.text, Path(version.folder), sets))
        except CurateError as error:
            _log.warning("cannot look at the inputs of pipeline %s: %s", name, error.message)
            return {}


_AWAKE = (tables.Schedule.paused.is_(None), tables.Schedule.removed_at.is_(None))


def found_in(session: Session, moment: datetime) -> dict[int, bool]:
    """Return the keys of schedules that need something, and whether a run may start by it."""
    return dict(_moving(session)) | dict.fromkeys(_due(session, moment), True) | dict.fromkeys(_following(session, moment), True)


def _due(session: Session, moment: datetime) -> Iterator[int]:
    """Yield the keys of schedules whose time has come, and its jitter has passed."""
    columns = (tables.Schedule.id, tables.Schedule.name, tables.Schedule.next_due, tables.Schedule.policies)
    for row in session.execute(select(*columns).where(*_AWAKE, tables.Schedule.next_due <= moment)):
        if row.next_due + jitter(row.name, row.next_due, row.policies["jitter_s"]) <= moment:
            yield row.id


def _following(session: Session, moment: datetime) -> Iterator[int]:
    """Yield the keys of schedules whose other pipeline has finished; of nearly all, one query tells that there is nothing new."""
    followed = tables.Schedule.trigger["pipeline"].as_string()
    newest = select(func.max(tables.Run.ended_at)).where(tables.Run.pipeline == followed, tables.Run.status == "succeeded")
    since = tables.Schedule.seen["since"].as_string()
    columns = (tables.Schedule.id, tables.Schedule.last_due, tables.Schedule.policies, since, newest.scalar_subquery())
    for key, last_due, policies, start, ended in session.execute(select(*columns).where(*_AWAKE, tables.Schedule.kind == "finished")).all():
        if ended is None or ended <= datetime.fromisoformat(start):
            continue
        wait_s = policies["jitter_s"]
        if last_due is not None and ended <= last_due and ended + timedelta(seconds=wait_s) < moment - rows.SKEW:
            continue  # it has fired for the newest, and none that ended before comes after it any more
        schedule = session.get_one(tables.Schedule, key)
        trigger = rows.spec_of(schedule).trigger
        assert isinstance(trigger, FinishedTrigger)
        if any(due + jitter(schedule.name, due, wait_s) <= moment for due in finished(session, schedule, trigger)):
            yield schedule.id


def _moving(session: Session) -> Iterator[tuple[int, bool]]:
    """Yield the keys of schedules with a tick whose run has ended, or one that waits and need not, or is to make another end."""
    columns = (tables.Tick.schedule_id, tables.Tick.outcome, tables.Run.status, tables.Run.cancelled_by, tables.Schedule.policies)
    query = select(*columns).select_from(tables.Tick).join(tables.Schedule).outerjoin(tables.Run, tables.Run.id == tables.Tick.run_id)
    found: dict[int, list[Row[tuple[int, str, str, str | None, dict[str, object]]]]] = {}
    for row in session.execute(query.where(tables.Tick.outcome.in_(rows.OPEN))):
        found.setdefault(row.schedule_id, []).append(row)
    for key, ticks in found.items():
        running = [tick for tick in ticks if tick.outcome == RUNNING]
        waits = any(tick.outcome == WAITING for tick in ticks)
        ended = any(tick.status in runs.ENDED for tick in running)
        cancels = ticks[0].policies["overlap"] == "cancel_older" and any(tick.cancelled_by is None for tick in running)
        if ended or (waits and (cancels or not running)):
            yield key, waits
