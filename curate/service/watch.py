"""Carries out the runs that wait in the database, and finds out how those ended that went on.

Any number of services may watch one database, and none of them leads: every change takes the row's lock, looks whether the
row still says what was read, and is made once. Looking at a run happens outside of transactions, since it may take long.
A service that is killed loses nothing: starting a run is repeated until the launcher knows the run.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from sqlalchemy import or_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from curate.errors import CurateError, TransientError
from curate.pipeline_yaml import to_yaml
from curate.portable import absolute, with_files
from curate.service import pipelines, runs
from curate.service.ends import DEADLINE, LATE, End, end_of
from curate.service.launchers.base import Launcher, Task
from curate.service.pipelines import Checker
from curate.service.retries import wait_before
from curate.service.state import Database, tables
from curate.service.state.types import now
from curate.storage import join, open_storage

LOOK_S = 1.0
LOG_BYTES = 64 << 10
GRACE = timedelta(seconds=60)  # from a request to end until the end is made
_log = logging.getLogger(__name__)
OnEnd = Callable[[Session, tables.Run], None]


class Watch:
    """Looks after the runs of one launcher; `on_end` is called in the transaction that ends a run."""

    def __init__(self, database: Database, launcher: Launcher, checker: Checker, slots: int, on_end: OnEnd) -> None:
        self._database = database
        self._launcher = launcher
        self._checker = checker
        self._slots = slots
        self._on_end = on_end
        self._wake = threading.Event()
        self._stopped = False

    def soon(self) -> None:
        """Look now and not when the pause is over."""
        self._wake.set()

    def loop(self) -> None:
        """Look every second until `stop`; what goes wrong on the way is logged, and tried again."""
        while not self._stopped:
            try:
                self.step()
            except (CurateError, SQLAlchemyError, OSError):
                _log.exception("could not look after the runs")
            self._wake.wait(LOOK_S)
            self._wake.clear()

    def stop(self) -> None:
        """End the loop; runs go on."""
        self._stopped = True
        self._wake.set()

    def step(self) -> None:
        """Look once at every run that goes on here, then start as many as there is room for."""
        for run in self._active():
            with self._told(run):
                self._follow(run)
        for run in self._claimed():
            with self._told(run):
                self._start(run)

    def _active(self) -> list[tables.Run]:
        ours = tables.Run.host == self._launcher.host  # None, for a cluster, is a value like any other here
        with self._database.reading() as session:
            return list(session.scalars(select(tables.Run).where(tables.Run.status.in_(runs.ACTIVE), ours).order_by(tables.Run.id)))

    @contextlib.contextmanager
    def _told(self, run: tables.Run) -> Iterator[None]:
        """Let what is the matter with one run be no matter of the others."""
        try:
            yield
        except TransientError as error:
            _log.warning("cannot see how the run is: %s", error.message, extra={"run": run.id})

    def _follow(self, run: tables.Run) -> None:
        sight = self._launcher.look(run.attempt_id)
        if sight.state == "alive":
            self._hurry(run)
        elif sight.state == "absent" and run.status == "starting":
            self._start(run)
        else:
            self._finish(run, end_of(run, sight, self._launcher.log(run.attempt_id, LOG_BYTES)))

    def _hurry(self, run: tables.Run) -> None:
        """Note that a run goes on, and end one that was cancelled or is late."""
        if _late(run) and run.cancelled_by is None:
            self._change(run, cancelled_by=DEADLINE)
        if run.status == "starting":
            self._change(run, status="running")
        if run.cancelled_by is not None:
            asked = run.stop_asked_at
            if asked is None:
                self._change(run, stop_asked_at=now())
            self._launcher.stop(run.attempt_id, force=asked is not None and now() > asked + GRACE)

    def _claimed(self) -> list[tables.Run]:
        """Take as many waiting runs as there is room for, the oldest first."""
        with self._database.writing() as session:
            self._database.take_turn(session, f"runs on {self._launcher.host}")
            here = select(tables.Run.id).where(tables.Run.status.in_(runs.ACTIVE), tables.Run.host == self._launcher.host)
            room = self._slots - len(session.scalars(here).all())
            if room <= 0:
                return []
            ready = or_(tables.Run.not_before.is_(None), tables.Run.not_before <= now())
            waiting = select(tables.Run).where(tables.Run.status.in_(runs.WAITING), ready).order_by(tables.Run.id).limit(room)
            claimed = list(session.scalars(waiting.with_for_update(skip_locked=True, of=tables.Run)))
            for run in claimed:
                run.status, run.host, run.started_at = "starting", self._launcher.host, run.started_at or now()
            return claimed

    def _start(self, run: tables.Run) -> None:
        """Start an attempt; its pipeline is checked once more, since what links lead to may have changed."""
        if run.cancelled_by is not None or _late(run):
            self._finish(run, LATE if run.cancelled_by is None else End("cancelled"))
            return
        try:
            self._launcher.start(self._task(run))
        except TransientError:
            raise  # tried again at the next look
        except CurateError as error:
            self._finish(run, End("failed", error={"message": error.message, "hint": error.hint}))
        else:
            self._change(run, status="running")

    def _task(self, run: tables.Run) -> Task:
        self._checker.places.check(run.workspace)
        with self._database.reading() as session:
            text = pipelines.text_of(session, run.version_id)
        loaded, built = self._checker.load(text, Path(run.version.folder), run.sets)
        pipeline = absolute(with_files(loaded.pipeline, built, open_storage(run.workspace), join("runs", run.attempt_id)))
        options = [f"--{name}={value}" for name, value in run.options.items()]
        return Task(run.attempt_id, to_yaml(pipeline), run.workspace, options)

    def _finish(self, run: tables.Run, end: End) -> None:
        """Write down how an attempt ended: that is the end of the run, or the run waits for its next attempt."""
        with self._database.writing() as session:
            row = runs.locked(session, run.id)
            if row is None or row.status not in runs.ACTIVE or row.attempt != run.attempt:
                return  # somebody else was faster
            row.exit_code, row.summary, row.error = end.exit_code, end.summary, end.error
            row.stop_asked_at = None
            if end.status in ("lost", "failed") and _may_retry(row):
                row.status, row.host, row.not_before = "queued", None, now() + wait_before(row.attempt, row.retry_after_s)
                row.attempt += 1
            else:
                row.status, row.ended_at = end.status, now()
                self._on_end(session, row)
        _log.info("attempt %s: %s", run.attempt_id, end.status, extra={"run": run.id})

    def _change(self, run: tables.Run, **values: object) -> None:
        """Set fields of a run that is as we saw it, here and in the database."""
        with self._database.writing() as session:
            row = runs.locked(session, run.id)
            if row is not None and (row.status, row.attempt) == (run.status, run.attempt):
                for name, value in values.items():
                    setattr(row, name, value)
                    setattr(run, name, value)


def _may_retry(run: tables.Run) -> bool:
    wrong = run.exit_code == 2  # the pipeline is wrong, and will be next time
    return run.cancelled_by is None and not wrong and run.attempt <= run.retries


def _late(run: tables.Run) -> bool:
    return run.deadline is not None and now() > run.deadline
