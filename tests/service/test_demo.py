"""`make service`: a service with something to look at, which starts again on what it left."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from curate import Client
from tests.conftest import ROOT
from tests.service.servers import START_S, free_port


@contextmanager
def demo(folder: Path) -> Iterator[Client]:
    """Start the demo and yield a client of it once it has said where to look; end it as Ctrl-C does."""
    port, log = free_port(), folder / "demo.log"
    with open(log, "wb") as written:
        command = [sys.executable, "-m", "curate.demo", str(folder), str(port)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=written, stderr=written)
    until = time.monotonic() + START_S
    told = f"look at http://127.0.0.1:{port} with the token in {folder / 'admin-token'}"
    while told not in log.read_text():
        assert process.poll() is None and time.monotonic() < until, log.read_text()
        time.sleep(0.1)
    yield Client(f"http://127.0.0.1:{port}", (folder / "admin-token").read_text().strip())
    process.terminate()
    assert process.wait(30) == 0, log.read_text()


def test_the_demo_runs_the_quickstart_and_starts_again_on_what_it_left(tmp_path: Path) -> None:
    with demo(tmp_path) as client:
        [run] = client.runs()
        assert client.wait(run.id).status == "succeeded"
        [nightly] = client.listed("/schedules")
        assert (nightly["name"], nightly["pipeline"], nightly["paused"]) == ("nightly", "quickstart", None)
        assert nightly["next_due"] is not None
    assert (tmp_path / "corpora" / "quickstart").is_dir()
    with demo(tmp_path) as client:
        assert [(again.id, again.status) for again in client.runs()] == [(run.id, "succeeded")]
        assert len(list(client.listed("/schedules"))) == 1
        assert client.call("GET", "/pipelines/quickstart")["number"] == 1
