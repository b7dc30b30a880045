"""Runs over the API: submitted, carried out by `curate run`, read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import event

from curate.service import runs
from tests.service.calls import Calls
from tests.service.servers import Server
from tests.service.test_faults import processes_of, slow_pipeline
from tests.service.waiting import until


@pytest.fixture
def watch(app: FastAPI) -> Any:
    return app.state.service.watch


def test_a_run_is_carried_out_and_its_report_read(calls: Calls, watch: Any, text: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATE_SERVICE", "http://127.0.0.1:1")  # whoever starts a service may be a client of one
    queued = calls.post("/runs", {"text": text})
    assert (queued["status"], queued["pipeline"], queued["version"]) == ("queued", "small", 1)
    run = calls.watched_to_end(watch, queued["id"])
    assert (run["status"], run["exit_code"], run["error"]) == ("succeeded", 0, None)
    assert run["summary"]["stages"]["long"]["rows_out"] == 21
    assert Path(run["summary"]["outputs"]["long"]).parent == data / "out" / "small"
    assert calls.get(f"/runs/{run['id']}/report")["stages"][0]["counts"]["dropped"] == {"length": {"too_few_chars": 19}}
    assert "long: done, 40 in, 21 out" in calls.get(f"/runs/{run['id']}/log")


def test_overrides_that_do_not_fit_a_kept_pipeline_queue_no_run(calls: Calls, text: str) -> None:
    calls.post("/pipelines", {"text": text})
    told = calls.post("/runs", {"pipeline": "small", "sets": ["long.lenght.min_chars=1"]}, 422)
    assert "stage `long` has no step `lenght`" in told["detail"] and told["hint"] == "did you mean `length`?"
    assert calls.get("/runs")["items"] == []


def test_a_run_that_fails_says_what_the_command_line_says(calls: Calls, watch: Any, text: str, data: Path) -> None:
    queued = calls.post("/runs", {"text": text})
    (data / "in.jsonl").unlink()
    run = calls.watched_to_end(watch, queued["id"])
    assert (run["status"], run["exit_code"]) == ("failed", 2)
    assert run["error"]["message"].startswith(f"no such file or folder: {data}/in.jsonl")
    calls.get(f"/runs/{run['id']}/report", 404)


def test_a_mistake_that_only_the_run_finds_names_the_pipeline_and_no_file_of_the_service(calls: Calls, watch: Any, text: str) -> None:
    wrong = text.replace("      - use: length", "      - { use: where, params: { keep: stars > 3 } }\n      - use: length")
    run = calls.watched_to_end(watch, calls.post("/runs", {"text": wrong})["id"])
    assert run["status"] == "failed"
    assert run["error"]["message"].startswith("pipeline `small`: ") and "stars" in run["error"]["message"], run["error"]


def test_a_run_that_is_asked_for_again_has_as_much_time(app: FastAPI, calls: Calls, text: str) -> None:
    first = calls.post("/runs", {"text": text, "deadline_s": 3600, "retries": 2})["id"]
    again = calls.post(f"/runs/{first}/again")["id"]
    with app.state.service.database.reading() as session:
        run = runs.find(session, again)
    assert run.retries == 2 and run.deadline is not None
    assert abs((run.deadline - run.created_at).total_seconds() - 3600) < 60


def test_lists_come_in_pages_newest_first(calls: Calls, text: str) -> None:
    made = [calls.post("/runs", {"text": text, "sets": [f"long.length.min_chars={n}"]})["id"] for n in range(5)]
    seen, cursor = [], ""
    while cursor is not None:
        page = calls.get(f"/runs?limit=2{cursor and f'&cursor={cursor}'}")
        seen += [run["id"] for run in page["items"]]
        cursor = page["next"]
    assert seen == made[::-1], "by when they were asked for, within a second too"
    calls.post(f"/runs/{made[0]}/cancel", status=200)
    assert [run["id"] for run in calls.get("/runs?status=cancelled&pipeline=small")["items"]] == [made[0]]
    assert calls.get("/runs?pipeline=other")["items"] == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_list_of_runs_reads_no_pipelines(app: FastAPI, calls: Calls, text: str) -> None:
    calls.post("/runs", {"text": text})
    asked: list[str] = []
    event.listen(app.state.service.database.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    assert calls.get("/runs")["items"][0]["version"] == 1
    assert any("pipeline_versions" in each for each in asked) and not any("pipeline_versions_1.text" in each for each in asked), asked


def test_no_run_sees_a_secret_of_the_service(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {"CURATE_TEST_DATABASE": f"sqlite:///{tmp_path}/service.db", "CURATE_HOOK_TEST": "a key"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    server = Server(tmp_path / "server", allow=[str(data)], workspace=str(data / "workspace"), database="env:CURATE_TEST_DATABASE")
    try:
        run = server.client.submit(slow_pipeline(data))
        seen = until(lambda: processes_of(run.id))[0].environ()
        assert "PATH" in seen and not secrets.keys() & seen.keys()
        server.client.cancel(run.id)
        server.client.wait(run.id)
    finally:
        server.stop()
