"""Two services on one PostgreSQL, killed again and again while schedules fire: each tick has exactly one run."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import select

from curate.service.auth import ANYBODY
from curate.service.schedules.desk import Desk
from curate.service.schedules.spec import ScheduleSpec
from curate.service.state import tables
from curate.service.state.types import now
from tests.service.calls import Calls
from tests.service.servers import Server
from tests.service.waiting import until

KILLS = 20
TICKS = 200

pytestmark = [pytest.mark.service, pytest.mark.slow]


class Replica(Server):
    """A service that is started again on a thread, so that the other one may die meanwhile."""

    def start(self) -> None:
        self.starting = threading.Thread(target=super().start)
        self.starting.start()


@pytest.fixture
def replicas(app: FastAPI, database_url: str, tmp_path: Path) -> Iterator[list[Replica]]:
    """They allow nothing that the pipeline reads, so that each run ends as it starts, and costs no processes."""
    allowed = tmp_path / "nothing"
    folders = [tmp_path / name for name in ("one", "other")]
    settings = {"database": database_url, "home": str(tmp_path / "home"), "allow": [str(allowed)], "workspace": str(allowed)}
    started = [Replica(folder, **settings) for folder in folders]
    yield started
    for replica in started:
        replica.starting.join()
        replica.stop()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_twenty_kills_over_two_hundred_ticks(app: FastAPI, calls: Calls, replicas: list[Replica], text: str) -> None:
    calls.post("/pipelines", {"text": text})
    chance, service = random.Random(20), app.state.service
    desk = Desk(service.database, service.checker, service.settings, lambda: now() - timedelta(minutes=1))  # takes what is due already
    for kill in range(KILLS):
        victim = chance.choice(replicas)
        victim.starting.join()
        for number in range(TICKS // KILLS):
            at = now() + timedelta(seconds=chance.uniform(0, 1))
            said = {"name": f"s{kill}-{number}", "pipeline": "small", "trigger": {"kind": "at", "at": at}}
            desk.add(ScheduleSpec.model_validate(said), False, ANYBODY)
        time.sleep(chance.uniform(0, 1))  # somewhere amid them
        victim.kill()
        victim.start()

    def open_ticks() -> int:
        with service.database.reading() as session:
            ended = session.scalars(select(tables.Tick.id).where(tables.Tick.outcome == "failed"))
            return TICKS - len(ended.all())

    until(lambda: open_ticks() == 0)
    with service.database.reading() as session:
        ticks = session.execute(select(tables.Tick.schedule_id, tables.Tick.run_id)).all()
        made = session.execute(select(tables.Run.schedule_id, tables.Run.id)).all()
        assert sorted(map(tuple, ticks)) == sorted(map(tuple, made)) and len(made) == TICKS
        assert set(Counter(tick.schedule_id for tick in ticks).values()) == {1}
        assert {run.attempt for run in session.scalars(select(tables.Run))} == {1}
