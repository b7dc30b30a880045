"""Runs as jobs of a real Ray head with its job server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from curate.errors import TransientError
from curate.service.api.app import make_app
from curate.service.launchers.base import Task
from curate.service.launchers.ray import RayLauncher
from curate.service.service import Service
from curate.service.settings import ServiceSettings
from curate.service.state.types import now
from tests.service.calls import Calls
from tests.service.conftest import called_as, small_pipeline
from tests.service.ray_head import RayHead
from tests.service.waiting import until

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    started = RayHead()
    yield started
    started.stop()


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """Either database would do: what is at stake is the cluster."""
    return f"sqlite:///{tmp_path / 'service.db'}"


@pytest.fixture
def sent(settings: ServiceSettings, head: RayHead) -> Iterator[tuple[Calls, Service]]:
    app = make_app(settings.model_copy(update={"cluster": head.address}), watching=False)
    with TestClient(app, base_url="http://127.0.0.1:8300") as client:
        yield called_as(app, client, "admin"), app.state.service


def scheduled(calls: Calls, service: Service, text: str, **policies: Any) -> str:
    """Return the run that a schedule starts in a moment."""
    calls.post("/pipelines", {"text": text})

    def added() -> bool:
        trigger = {"kind": "at", "at": (now() + timedelta(seconds=0.5)).isoformat()}
        said = {"name": "once", "pipeline": "small", "trigger": trigger, "policies": policies}
        return bool(calls.ask("POST", "/schedules", said).status_code == 201)

    def fired() -> list[Any]:
        service.ticker.step()
        return list(calls.get("/schedules/once/history")["items"])

    until(added)  # the moment must not have passed by then
    return str(until(fired)[0]["run_id"])


def test_a_run_is_a_job(sent: tuple[Calls, Service], data: Path) -> None:
    calls, service = sent
    done = calls.watched_to_end(service.watch, calls.post("/runs", {"text": small_pipeline(data)})["id"])
    assert (done["status"], done["exit_code"]) == ("succeeded", 0)
    assert calls.get(f"/runs/{done['id']}/report")["executor"].startswith("ray")
    assert "long: done, 40 in, 21 out" in calls.get(f"/runs/{done['id']}/log")


def test_starting_twice_makes_one_job(head: RayHead, tmp_path: Path, data: Path) -> None:
    launcher = RayLauncher(head.address)
    assert launcher.look("a-run").state == "absent"
    task = Task("a-run", small_pipeline(data), str(tmp_path / "workspace"))
    for _ in range(2):
        launcher.start(task)
    assert launcher.look("a-run").state == "alive"
    for name in ("a-run", "no-run"):
        launcher.stop(name, force=False)


def test_a_scheduled_run_that_fails_is_tried_again_and_its_schedule_rests(sent: tuple[Calls, Service], data: Path) -> None:
    calls, service = sent
    (data / "out").write_text("a file where a folder must be")
    run = scheduled(calls, service, small_pipeline(data), retries=1, backoff_s=0, pause_after=1)
    ended = calls.watched_to_end(service.watch, run)
    assert (ended["status"], ended["attempt"], ended["exit_code"]) == ("failed", 2, 1)
    service.ticker.step()
    assert calls.get("/schedules/once")["paused"] == f"1 tick in a row failed, the last with run {run}"


def test_a_head_that_dies_costs_an_attempt_and_not_the_scheduled_run(sent: tuple[Calls, Service], head: RayHead, data: Path) -> None:
    calls, service = sent
    text = small_pipeline(data).replace("stages:", "shard_bytes: 64B\nstages:")  # dozens of tasks, so that there is time to die
    run = scheduled(calls, service, text, retries=1, backoff_s=0)
    while not any((data / "workspace" / "datasets").glob("*/receipts/*.json")):
        service.watch.step()
        time.sleep(0.1)
    head.kill()
    with pytest.raises(TransientError, match="does not answer"):
        RayLauncher(head.address).look(run)
    service.watch.step()
    assert calls.get(f"/runs/{run}")["status"] == "running", "nothing is known, so nothing is changed"
    head.start()
    ended = calls.watched_to_end(service.watch, run)
    assert (ended["status"], ended["attempt"]) == ("succeeded", 2)
    stage = calls.get(f"/runs/{run}/report")["stages"][0]
    assert stage["new_shards"] < stage["shards"], "what was finished is not done again"
    service.ticker.step()
    assert [tick["outcome"] for tick in calls.get("/schedules/once/history")["items"]] == ["succeeded"]
