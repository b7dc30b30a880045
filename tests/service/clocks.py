"""Schedules in tests: a clock that is set by hand, and a desk and tickers that go by it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from curate.service.auth import ANYBODY
from curate.service.schedules.desk import Desk
from curate.service.schedules.spec import ScheduleSpec
from curate.service.schedules.ticker import Ticker
from curate.service.service import Service
from curate.service.state import tables
from curate.service.state.types import now

RUN_OPTIONS = ("name", "pipeline", "workspace", "sets", "version")


class Hands:
    """A clock, and the schedules of a service that go by it."""

    def __init__(self, service: Service, start: str) -> None:
        self.service = service
        self.moment = datetime.fromisoformat(start).replace(tzinfo=UTC)
        self.desk = Desk(service.database, service.checker, service.settings, lambda: self.moment)
        self.ticker = self.replica()

    def replica(self, ahead: timedelta = timedelta()) -> Ticker:
        """Another ticker on the same database, whose clock may be ahead or behind."""
        return Ticker(self.service.database, self.service.checker, self.service.settings, lambda: self.moment + ahead)

    def add(self, trigger: str | dict[str, Any], zone: str = "UTC", **said: Any) -> None:
        """Add the schedule `nightly` of the pipeline `small`; what is no option of runs is a policy."""
        wanted = {"kind": "cron", "expression": trigger, "zone": zone} if isinstance(trigger, str) else trigger
        options = {"name": "nightly", "pipeline": "small"} | {key: said.pop(key) for key in RUN_OPTIONS if key in said}
        self.desk.add(ScheduleSpec.model_validate({**options, "trigger": wanted, "policies": said}), False, ANYBODY)

    def move(self, by: str = "0s") -> None:
        """Move the clock and look."""
        units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
        self.moment += timedelta(seconds=float(by[:-1]) * units[by[-1]])
        self.ticker.step()

    def set(self, moment: str) -> None:
        """Set the clock and look."""
        self.moment = datetime.fromisoformat(moment).replace(tzinfo=UTC)
        self.ticker.step()

    def ticks(self, name: str = "nightly") -> list[str]:
        """The history, oldest first: day, time and outcome."""
        return [f"{tick.due:%d %H:%M} {tick.outcome}" for tick in reversed(self.desk.history(name, 2000))]

    def notes(self, name: str = "nightly") -> list[str | None]:
        """The notes of the history, oldest first."""
        return [tick.note for tick in reversed(self.desk.history(name, 2000))]

    def runs(self) -> int:
        """How many runs were queued so far."""
        with self.service.database.reading() as session:
            return len(session.scalars(select(tables.Run.id)).all())

    def end(self, status: str = "succeeded", at: datetime | None = None) -> None:
        """Let all runs that have not ended end so, as the watch would write it, and look."""
        with self.service.database.writing() as session:
            for run in session.scalars(select(tables.Run).where(tables.Run.status.in_(("queued", "starting", "running")))):
                run.status, run.ended_at = status, at or now()
                run.error = None if status == "succeeded" else {"message": "it went wrong", "hint": None}
        self.move()
