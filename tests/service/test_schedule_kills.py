"""Two services on one PostgreSQL, killed again and again while schedules fire: each tick has exactly one run."""

from __future__ import annotations

import multiprocessing
import random
import socket
import time
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import func, select

from curate.service.auth import ANYBODY
from curate.service.schedules.desk import Desk
from curate.service.schedules.spec import ScheduleSpec
from curate.service.server import serve
from curate.service.settings import ServiceSettings
from curate.service.state import tables
from curate.service.state.types import now
from tests.service.calls import Calls
from tests.service.waiting import until

KILLS = 20
TICKS = 200
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["curate.service.server"])  # so that a service is there in a moment

pytestmark = [pytest.mark.service, pytest.mark.slow]


class Replica:
    """A service in a process of its own, that can be killed and started again."""

    def __init__(self, settings: ServiceSettings) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._settings = settings.model_copy(update={"port": free.getsockname()[1]})
        self.start()

    def start(self) -> None:
        self._process = FORKS.Process(target=serve, args=(self._settings, print))
        self._process.start()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def answers(self) -> bool:
        assert self._process.is_alive()
        try:
            with urllib.request.urlopen(f"{self._settings.url}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture
def replicas(settings: ServiceSettings, tmp_path: Path) -> Iterator[list[Replica]]:
    """They allow nothing that the pipeline reads, so that each run ends as it starts, and costs no processes."""
    changed = settings.model_copy(update={"allow": (str(tmp_path / "nothing"),), "runs_at_once": TICKS})
    started = [Replica(changed) for _ in range(2)]
    yield started
    for replica in started:
        replica.kill()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_twenty_kills_over_two_hundred_ticks(app: FastAPI, calls: Calls, replicas: list[Replica], text: str) -> None:
    calls.post("/pipelines", {"text": text})
    chance, service = random.Random(20), app.state.service
    desk = Desk(service.database, service.checker, service.settings, lambda: now() - timedelta(minutes=1))  # takes what is due already
    for kill in range(KILLS):
        victim = chance.choice(replicas)
        until(victim.answers)
        for number in range(TICKS // KILLS):
            at = now() + timedelta(seconds=chance.uniform(0, 1))
            said = {"name": f"s{kill}-{number}", "pipeline": "small", "trigger": {"kind": "at", "at": at}}
            desk.add(ScheduleSpec.model_validate(said), False, ANYBODY)
        time.sleep(chance.uniform(0, 1))  # somewhere amid them
        victim.kill()
        victim.start()

    with service.database.reading() as session:
        ended = select(func.count()).select_from(tables.Tick).where(tables.Tick.outcome == "failed")
        until(lambda: session.scalar(ended) == TICKS)
        ticks = session.execute(select(tables.Tick.schedule_id, tables.Tick.run_id)).all()
        made = session.execute(select(tables.Run.schedule_id, tables.Run.id)).all()
        assert len({tick.schedule_id for tick in ticks}) == len(ticks) == len(made) == TICKS
        assert {tuple(tick) for tick in ticks} == {tuple(run) for run in made}, "each tick has a run, and each run a tick"
        assert {run.attempt for run in session.scalars(select(tables.Run))} == {1}
