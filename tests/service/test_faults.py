"""What dies and comes back: the service amid a run, a run, PostgreSQL; and two services on one database."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from curate.service import runs
from curate.service.api.app import make_app
from curate.service.settings import ServiceSettings
from tests.service.calls import Calls
from tests.service.conftest import called_as, small_pipeline
from tests.service.postgres import Postgres
from tests.service.servers import Server
from tests.service.waiting import until


def slow_pipeline(data: Path, name: str = "slow") -> str:
    """A pipeline of some hundred work units, which take seconds together."""
    rows = [{"id": str(i), "text": f"word {i} " * 30} for i in range(900)]
    (data / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return small_pipeline(data, name).replace("stages:", "shard_bytes: 1kB\nstages:")


def begun(workspace: Path) -> bool:
    return any((workspace / "datasets").glob("*/receipts/*.json"))


def processes_of(run_id: str) -> list[psutil.Process]:
    """Return the `curate run` processes of a run, without those that keep them."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if f"--run-id={run_id}" in words and "curate.service.launchers.keeper" not in words:
            found.append(process)
    return found


@pytest.fixture
def server(tmp_path: Path, data: Path) -> Iterator[Server]:
    started = Server(tmp_path / "server", allow=[str(data)], workspace=str(data / "workspace"))
    yield started
    started.stop()


def test_a_run_goes_on_when_the_service_is_killed_and_is_found_again(server: Server, data: Path) -> None:
    run = server.client.submit(slow_pipeline(data))
    until(lambda: begun(data / "workspace"))
    server.kill()
    [process] = processes_of(run.id)
    receipts = data / "workspace" / "datasets"
    before = len(list(receipts.glob("*/receipts/*.json")))
    until(lambda: len(list(receipts.glob("*/receipts/*.json"))) > before or not process.is_running())
    server.start()
    ended = server.client.wait(run.id)
    assert (ended.status, ended.attempt, ended.exit_code) == ("succeeded", 1, 0)
    assert [folder.name for folder in (server.folder / "home" / "runs").iterdir()] == [run.id]


def test_a_run_that_ends_while_the_service_is_dead_is_written_down(server: Server, data: Path) -> None:
    run = server.client.submit(small_pipeline(data))
    folder = server.folder / "home" / "runs" / run.id
    until(lambda: (folder / "started").exists())
    server.kill()
    until(lambda: (folder / "exit").exists())
    server.start()
    assert server.client.wait(run.id).status == "succeeded"


def test_a_killed_run_is_tried_again_and_goes_on_where_it_was(server: Server, data: Path) -> None:
    run = server.client.submit(slow_pipeline(data), retries=1, retry_after_s=0)
    until(lambda: begun(data / "workspace"))
    for process in processes_of(run.id):
        process.kill()
    ended = server.client.wait(run.id)
    assert (ended.status, ended.attempt, ended.attempt_id) == ("succeeded", 2, f"{run.id}.2")
    [stage] = server.client.report(run.id)["stages"]
    assert stage["new_shards"] < stage["shards"]


def test_a_killed_run_without_retries_is_lost_and_says_what_to_do(server: Server, data: Path) -> None:
    run = server.client.submit(slow_pipeline(data))
    until(lambda: begun(data / "workspace"))
    keeper = int((server.folder / "home" / "runs" / run.id / "started").read_text())
    os.killpg(keeper, signal.SIGKILL)
    ended = server.client.wait(run.id)
    assert ended.status == "lost" and ended.error is not None
    assert ended.error["hint"] == "run it again: it goes on where it stopped"


def test_a_cancelled_run_ends_as_by_ctrl_c_and_a_late_one_fails(server: Server, data: Path) -> None:
    run = server.client.submit(slow_pipeline(data))
    until(lambda: begun(data / "workspace"))
    server.client.cancel(run.id)
    ended = server.client.wait(run.id)
    assert (ended.status, ended.exit_code) == ("cancelled", 130)
    other = slow_pipeline(data, "late").replace("min_chars: 100", "min_chars: 101")  # nothing of it is done yet
    late = server.client.wait(server.client.submit(other, deadline_s=1.0, retries=3).id)
    assert (late.status, late.attempt) == ("failed", 1)
    assert late.error is not None and late.error["message"] == "the run was not done by its deadline"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_disk_that_takes_nothing_fails_the_run_and_not_the_service(
    app: FastAPI, calls: Calls, settings: ServiceSettings, text: str
) -> None:
    settings.home.mkdir(exist_ok=True)
    (settings.home / "runs").write_text("a file where a folder must be")
    ended = calls.watched_to_end(app.state.service.watch, calls.post("/runs", {"text": text})["id"])
    assert ended["status"] == "failed" and ended["error"]["message"].startswith("cannot start a run in ")


@pytest.mark.service
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_postgresql_may_die(app: FastAPI, served: TestClient, calls: Calls, postgres: Postgres, text: str) -> None:
    """Requests fail clearly, nothing is lost, the run goes on, and all is well when the database is back."""
    run = calls.post("/runs", {"text": text})["id"]
    app.state.service.watch.step()
    looking = threading.Thread(target=app.state.service.watch.loop)
    postgres.kill()
    looking.start()
    try:
        for method, path, body in (("GET", "/runs", None), ("POST", "/runs", {"text": text})):
            refused = calls.ask(method, path, body)
            assert (refused.status_code, refused.json()["detail"]) == (503, "the database of the service does not answer")
            assert refused.headers["retry-after"]
        assert served.get("/readyz").status_code == 503
        assert served.get("/healthz").status_code == 200
        time.sleep(1.5)  # the watch meets the dead database as well
        postgres.start()
        until(lambda: served.get("/readyz").status_code == 200)
        assert until(lambda: calls.get(f"/runs/{run}")["status"] == "succeeded")
        assert [item["id"] for item in calls.get("/runs")["items"]] == [run], "what failed left nothing"
    finally:
        app.state.service.watch.stop()
        looking.join()


def test_two_services_on_one_database_start_each_run_once(app: FastAPI, calls: Calls, settings: ServiceSettings, data: Path) -> None:
    other = make_app(settings, watching=False)
    made = [calls.post("/runs", {"text": small_pipeline(data, f"p{n}")})["id"] for n in range(4)]
    watches = [app.state.service.watch, other.state.service.watch]
    threads = [threading.Thread(target=watch.loop) for watch in watches]
    for thread in threads:
        thread.start()
    try:
        for run in made:
            assert until(lambda run=run: calls.get(f"/runs/{run}")["ended_at"])
    finally:
        for watch, thread in zip(watches, threads, strict=True):
            watch.stop()
            thread.join()
        other.state.service.database.close()
    for run in made:
        assert calls.get(f"/runs/{run}")["status"] == "succeeded"
        assert calls.get(f"/runs/{run}/log").count(f"run {run}: 1 stage") == 1


def test_a_key_sent_many_times_at_once_gives_one_run(app: FastAPI, served: TestClient, text: str) -> None:
    calls = called_as(app, served, "operator")
    answers: list[Any] = []

    def send() -> None:
        answers.append(calls.post("/runs", {"text": text}, headers={"Idempotency-Key": "one"})["id"])

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 6 and len(set(answers)) == 1
    assert len(calls.get("/runs")["items"]) == 1


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_run_that_is_just_being_started_is_not_cancelled_behind_its_starter(app: FastAPI, calls: Calls, data: Path) -> None:
    """Else its process would go on and nobody would know of it: whoever cancels waits for whoever starts."""
    run = calls.post("/runs", {"text": small_pipeline(data)})["id"]
    database = app.state.service.database
    with database.writing() as session:
        runs.found_locked(session, run).status = "starting"
        session.flush()
        cancelling = threading.Thread(target=lambda: calls.post(f"/runs/{run}/cancel", status=200))
        cancelling.start()
        cancelling.join(1.0)
        assert cancelling.is_alive(), "it did not wait"
    cancelling.join()
    told = calls.get(f"/runs/{run}")
    assert (told["status"], told["cancelled_by"], told["ended_at"]) == ("starting", "the admin", None)
