"""What callers may ask of schedules: the same for the API and for the pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session

from curate.errors import PipelineError
from curate.pipeline import Pipeline
from curate.registry import suggest
from curate.service import pipelines
from curate.service.auth import Caller
from curate.service.pipelines import Checker
from curate.service.schedules import rows
from curate.service.schedules.export import Job, Target, export
from curate.service.schedules.firing import Firing
from curate.service.schedules.inputs import look
from curate.service.schedules.spec import CronTrigger, FilesTrigger, FinishedTrigger, ScheduleSpec
from curate.service.schedules.views import ExportOut, ScheduleOut, TickOut, schedule_out, schedules_out, tick_out
from curate.service.settings import ServiceSettings
from curate.service.state import Database, tables
from curate.service.state.types import now


class Desk:
    """Schedules of one service; every method is one transaction and returns what callers see."""

    def __init__(self, database: Database, checker: Checker, settings: ServiceSettings, clock: Callable[[], datetime] = now) -> None:
        self._database = database
        self._checker = checker
        self._settings = settings
        self._clock = clock

    def add(self, spec: ScheduleSpec, replace: bool, caller: Caller) -> ScheduleOut:
        """Add a schedule, or put it in the place of the one of its name; raise `PipelineError` for one that could never run."""
        self._check(spec)
        with self._database.writing() as session:
            schedule = rows.add(session, spec, replace, caller, self._clock())
            return schedule_out(session, schedule)

    def _check(self, spec: ScheduleSpec) -> None:
        if isinstance(spec.trigger, CronTrigger):
            spec.trigger.times  # noqa: B018 - raises for what is none
        if spec.workspace is not None:
            self._checker.places.check(spec.workspace, self._settings.folder)
        pipeline = self._loaded(spec)
        if isinstance(spec.trigger, FilesTrigger):
            files = [name for name, found in pipeline.inputs.items() if found.artifact is None]
            if spec.trigger.input not in files:
                hint = suggest(spec.trigger.input, files) or f"it reads files of: {', '.join(files) or 'none'}"
                raise PipelineError(f"pipeline `{spec.pipeline}` has no input `{spec.trigger.input}` with files", hint)
        if isinstance(spec.trigger, FinishedTrigger):
            with self._database.reading() as session:
                pipelines.find(session, spec.trigger.pipeline)

    def _loaded(self, spec: ScheduleSpec) -> Pipeline:
        with self._database.reading() as session:
            version = pipelines.version_of(session, spec.pipeline, spec.version)
        return self._checker.load(version.text, Path(version.folder), spec.sets)[0].pipeline

    def page(self, size: int, after: str | None = None, pipeline: str | None = None) -> list[ScheduleOut]:
        """Return schedules by name, those behind `after`."""
        with self._database.reading() as session:
            return schedules_out(session, rows.page(session, size, after, pipeline))

    def show(self, name: str) -> ScheduleOut:
        """Return one schedule."""
        with self._database.reading() as session:
            return schedule_out(session, rows.find(session, name))

    def pause(self, name: str, reason: str, caller: Caller) -> ScheduleOut:
        """Let a schedule rest."""
        with self._changing(name) as (session, schedule):
            rows.pause(session, schedule, reason, caller)
            return schedule_out(session, schedule)

    def resume(self, name: str, caller: Caller) -> ScheduleOut:
        """Let a schedule fire again, from now on."""
        with self._changing(name) as (session, schedule):
            rows.resume(session, schedule, caller, self._clock())
            return schedule_out(session, schedule)

    def remove(self, name: str, caller: Caller) -> ScheduleOut:
        """Take a schedule away; return it as it was."""
        with self._changing(name) as (session, schedule):
            was = schedule_out(session, schedule)
            rows.remove(session, schedule, caller, self._clock())
            return was

    def run(self, name: str, caller: Caller) -> TickOut:
        """Fire at once, paused or not; raise `Conflict` where the schedule skips what overlaps and a run goes on."""
        with self._database.reading() as session:
            spec = rows.spec_of(rows.find(session, name))
        looks = look(self._loaded(spec))
        with self._changing(name) as (session, schedule):
            return tick_out(Firing(session, schedule, self._clock(), self._settings, looks).run_now(caller))

    def history(self, name: str, size: int, before: datetime | None = None) -> list[TickOut]:
        """Return the ticks of a schedule that were due before a moment, newest first."""
        with self._database.reading() as session:
            return [tick_out(tick) for tick in rows.history(session, rows.find(session, name), size, before)]

    def export(self, name: str, target: Target, pipeline_file: str | None, image: str) -> ExportOut:
        """Return a schedule as files for another scheduler."""
        with self._database.reading() as session:
            spec = rows.spec_of(rows.find(session, name))
            version = pipelines.version_of(session, spec.pipeline, spec.version)
        path = pipeline_file or f"/etc/curate/{spec.pipeline}.yaml"
        found = export(spec, target, Job(path, version.text, self._settings.workspace_of(spec.workspace), self._clock(), image))
        return ExportOut(files=dict(found.files), lost=list(found.lost))

    @contextmanager
    def _changing(self, name: str) -> Iterator[tuple[Session, tables.Schedule]]:
        """Give a schedule that nobody else changes meanwhile; wait for who is at it."""
        with self._database.writing() as session:
            schedule = rows.locked(session, rows.find(session, name).id, wait=True)
            assert schedule is not None, "rows of schedules are never deleted"
            yield session, schedule
