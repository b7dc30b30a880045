"""A year of a service's past, put into its tables: pipelines in versions, runs, schedules with their ticks, and the audit trail.

What a run's page reads is there for the newest runs: copies of what a real run of the quickstart left.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert, update
from sqlalchemy.orm import Session

from curate import run_pipeline
from curate.pipeline_yaml import load_pipeline, parse_pipeline
from curate.report.build import summary
from curate.service.auth import ANYBODY
from curate.service.pipelines import save
from curate.service.schedules import rows
from curate.service.schedules.inputs import look
from curate.service.schedules.spec import ScheduleSpec
from curate.service.state import Database, tables
from curate.service.state.types import now
from tests.benchmarks import corpus

PIPELINES, VERSIONS = 20, 5
SHOWN = 100  # runs whose pages are asked for
LIVE = 4
ELSEWHERE = "another-machine"  # the service leaves runs alone that go on there
_ENDS = ("succeeded",) * 92 + ("failed",) * 4 + ("gated", "cancelled", "cancelled", "lost")
_AT_ONCE = 5000


@dataclass(frozen=True)
class Past:
    """What there is to ask for: runs that have ended and are whole in the workspace, and runs that go on."""

    workspace: Path
    ended: Sequence[str]
    live: Sequence[str]


def fill(url: str, folder: Path, run_count: int, schedule_count: int) -> Past:
    """Make the tables and everything in them."""
    workspace, file = folder / "workspace", folder / "quickstart.yaml"
    text = (corpus.SAMPLE.parent / "quickstart.yaml").read_text()
    file.write_text(text.replace("path: sample", f"path: {corpus.SAMPLE}").replace("../corpora", str(folder)))
    report = run_pipeline(file, str(workspace), on="local", workers=1)
    made, began = Filling(now(), str(workspace), summary(report), random.Random(0)), str(report["run_id"])
    database = Database(url)
    database.upgrade()
    with database.writing() as session:
        versions = [_version(session, file, number) for number in range(PIPELINES * VERSIONS)]
        marks = {name: found.marks for name, found in look(load_pipeline(file).pipeline).items()}
        schedules = [_schedule(session, number, made.now, marks) for number in range(schedule_count)]
        ended, live = list(made.runs(versions, schedules, run_count)), list(made.live(versions))
        _insert(session, tables.Run, [*ended, *live])
        _insert(session, tables.Tick, map(_tick, ended))
        _insert(session, tables.Audit, map(_entry, ended))
        last = [{"id": run["schedule_id"], "last_due": run["created_at"]} for run in ended[-schedule_count:]]
        session.execute(update(tables.Schedule), last)
    database.close()
    past = Past(workspace, [run["id"] for run in ended[-SHOWN:]], [run["id"] for run in live])
    for run in (*past.ended, *past.live):
        shutil.copytree(workspace / "runs" / began, workspace / "runs" / run)
    for run in past.live:
        (workspace / "runs" / run / "report.json").unlink()
        shutil.rmtree(workspace / "runs" / run / "events")
    return past


@dataclass(frozen=True)
class Filling:
    """Makes rows of runs; the last of them was asked for just before `now`."""

    now: datetime
    workspace: str
    summary: dict[str, Any]
    chance: random.Random

    def runs(self, versions: Sequence[tables.PipelineVersion], schedules: Sequence[int], count: int) -> Iterator[dict[str, Any]]:
        """Yield runs that have ended, spread over a year, the oldest first."""
        for number in range(count):
            created = self.now - timedelta(days=365) * (count - number) / count
            status = self.chance.choice(_ENDS)
            ended = {"ended_at": created + timedelta(minutes=self.chance.uniform(1, 9)), "exit_code": int(status != "succeeded")}
            error = None if status == "succeeded" else {"message": f"stage clean, shard {number % 50}: it went wrong", "hint": None}
            told = {"summary": self.summary, "error": error, "schedule_id": schedules[number % len(schedules)]}
            yield self._row(created, self.chance.choice(versions), status) | ended | told

    def live(self, versions: Sequence[tables.PipelineVersion]) -> Iterator[dict[str, Any]]:
        """Yield runs that go on."""
        for number in range(LIVE):
            row = self._row(self.now - timedelta(seconds=LIVE - number), versions[number], "running")
            yield row | {"host": ELSEWHERE, "ended_at": None, "exit_code": None, "summary": None, "error": None, "schedule_id": None}

    def _row(self, created: datetime, version: tables.PipelineVersion, status: str) -> dict[str, Any]:
        return {
            "id": f"{created:%Y%m%d-%H%M%S}-{created.microsecond:05x}{self.chance.randrange(4096):03x}",
            "pipeline": version.pipeline.name,
            "version_id": version.id,
            "workspace": self.workspace,
            "status": status,
            "host": None,
            "created_at": created,
            "created_by": "schedule nightly",
            "started_at": created + timedelta(seconds=1),
        }


def _version(session: Session, file: Path, number: int) -> tables.PipelineVersion:
    text = file.read_text().replace("name: quickstart", f"name: web_{number % PIPELINES:02d}") + f"# version {number // PIPELINES}\n"
    return save(session, parse_pipeline(text, file.name, file.parent).pipeline, text, "ana")


def _schedule(session: Session, number: int, moment: datetime, marks: dict[str, str]) -> int:
    """Add a schedule: of twenty, one looks for new files each minute, one follows a pipeline, the others are due in some hours."""
    trigger: dict[str, Any] = {"kind": "cron", "expression": f"{number % 60} {(moment.hour + 3 + number % 20) % 24} * * *"}
    if number % 20 == 0:
        trigger = {"kind": "files", "input": "crawl", "every_s": 60}
    elif number % 20 == 1:
        trigger = {"kind": "finished", "pipeline": f"web_{number // 20 % 10:02d}"}
    said = {"name": f"schedule-{number:04d}", "pipeline": f"web_{10 + number % 10:02d}", "trigger": trigger}
    schedule = rows.add(session, ScheduleSpec.model_validate(said), False, ANYBODY, moment)
    schedule.seen = {**schedule.seen, "inputs": marks}
    return schedule.id


def _tick(run: dict[str, Any]) -> dict[str, Any]:
    details = {"inputs": {"crawl": {"files": 3, "new": 1, "examples": ["sample/pages-0002.warc.gz"]}}}
    outcome = {"gated": "failed", "lost": "failed"}.get(run["status"], run["status"])
    named = {"schedule_id": run["schedule_id"], "due": run["created_at"], "fired_at": run["created_at"], "run_id": run["id"]}
    return named | {"outcome": outcome, "note": None, "details": details}


def _entry(run: dict[str, Any]) -> dict[str, Any]:
    details = {"pipeline": run["pipeline"], "version": 1}
    return {"time": run["created_at"], "actor": run["created_by"], "action": "run.submit", "target": run["id"], "details": details}


def _insert(session: Session, table: Any, values: Iterator[dict[str, Any]] | Sequence[dict[str, Any]]) -> None:
    given = list(values)
    for start in range(0, len(given), _AT_ONCE):
        session.execute(insert(table), given[start : start + _AT_ONCE])
