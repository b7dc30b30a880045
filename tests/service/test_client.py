"""`curate.Client` and `curate run --service` against a real service."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

import curate
from tests.service.conftest import small_pipeline
from tests.service.servers import Server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("client")
    (folder / "in.jsonl").write_text("".join(f'{{"id": "{i}", "text": "{"word " * i}"}}\n' for i in range(1, 41)))
    (folder / "pipeline.yaml").write_text(small_pipeline(folder))
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    started = Server(folder / "service", allow=[str(folder)], workspace=str(folder / "workspace"))
    yield started
    assert started.stop() == 0, started.log


def curate_run(server: Server, folder: Path, *words: str, token: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"CURATE_TOKEN": token or server.token, "CURATE_SERVICE": server.url}
    command = [sys.executable, "-m", "curate", "run", "pipeline.yaml", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_events_are_told_as_they_come_and_end(server: Server, folder: Path) -> None:
    run = server.client.submit(small_pipeline(folder, "told"))
    events = [event["event"] for event in server.client.events(run.id)]
    assert (events[0], events[-1]) == ("run_started", "run_done")
    ended = server.client.run(run.id)
    assert (ended.status, ended.ended) == ("succeeded", True)
    assert [event["event"] for event in server.client.events(run.id)] == events, "a run that has ended is told from its beginning"
    assert run.id in [other.id for other in server.client.runs(pipeline="told")]


def test_the_same_key_gives_the_same_run(server: Server, folder: Path) -> None:
    text = small_pipeline(folder, "once")
    first, again = (server.client.submit(text, key="a key") for _ in range(2))
    assert first.id == again.id
    with pytest.raises(curate.PipelineError, match="used for another run"):
        server.client.submit(text, key="a key", limit=5)
    assert server.client.submit(text, key="another key").id != first.id


def test_curate_run_shows_the_same_as_without_a_service(server: Server, folder: Path) -> None:
    done = curate_run(server, folder, "--json", "--set", "long.length.min_chars=110")
    assert done.returncode == 0, done.stderr
    assert orjson.loads(done.stdout)["stages"]["long"]["rows_out"] == 19
    assert "long: done, 40 in, 19 out" in done.stderr
    wrong = curate_run(server, folder, "--set", "long.length.min_chars=many")
    assert wrong.returncode == 2
    assert "--set long.length.min_chars=many: `min_chars` of `length` must be" in wrong.stderr


def test_a_wrong_token_is_told_in_words(server: Server, folder: Path) -> None:
    refused = curate_run(server, folder, token="curate_forged")
    assert refused.returncode == 1
    assert "error: the token is not known, has expired or was revoked\nhint: " in refused.stderr
