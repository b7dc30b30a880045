"""Exact deduplication killed in each of its phases ends with the bytes of a run that nobody disturbed; what is damaged is told."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import orjson
import pytest

from tests.contracts.workspaces import command, contents, run

pytestmark = pytest.mark.slow
PHASES = {"hash": ".scratch/hash/*.json", "decide": ".scratch/decide/*.json", "write": "receipts/*.json"}
PIPELINE = """
name: kills
inputs: {docs: {path: docs.jsonl}}
shard_bytes: 1500
stages:
  dedup: {from: docs, use: exact_dedup, params: {keep: [{highest: score}, longest]}}
  corpus: {from: [docs, dedup], apply: [dedup]}
"""


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty small shards, a third of whose documents are copies."""
    folder = tmp_path_factory.mktemp("dedup-kills")
    docs = [{"id": f"d{n:04d}", "text": f"document number {n * n % 800} {' ' * (n % 5)}", "score": n % 3} for n in range(1200)]
    (folder / "docs.jsonl").write_bytes(b"".join(orjson.dumps(doc, option=orjson.OPT_APPEND_NEWLINE) for doc in docs))
    (folder / "pipeline.yaml").write_text(PIPELINE)
    return folder / "pipeline.yaml"


@pytest.fixture(scope="module")
def calm(pipeline: Path) -> dict[str, str]:
    """What a run that nobody disturbs leaves."""
    return _finished(pipeline, pipeline.parent / "calm")


def _finished(pipeline: Path, workspace: Path) -> dict[str, str]:
    run("run", str(pipeline), "-w", str(workspace), "--workers", "2", "--on", "local", "--quiet")
    return contents(workspace)


def _killed(pipeline: Path, workspace: Path, phase: str, files: int) -> None:
    """Kill a run once a phase has left so many results; it must not have got to its end."""
    driver = subprocess.Popen(
        command("run", str(pipeline), "-w", str(workspace), "--workers", "2", "--on", "local", "--quiet"), stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while len(list(workspace.glob(f"datasets/dedup@*/{PHASES[phase]}"))) < files and time.monotonic() < deadline:
        assert driver.poll() is None, "it ended before it could be killed"
    driver.kill()
    driver.wait()


@pytest.mark.parametrize("phase", ["hash", "write"])
def test_killed_in_the_middle_of_a_phase(phase: str, pipeline: Path, calm: dict[str, str], tmp_path: Path) -> None:
    _killed(pipeline, tmp_path / "ws", phase, 5)
    assert not list((tmp_path / "ws").glob("datasets/dedup@*/manifest.json"))
    assert _finished(pipeline, tmp_path / "ws") == calm


def test_killed_between_phases(pipeline: Path, calm: dict[str, str], tmp_path: Path) -> None:
    _killed(pipeline, tmp_path / "ws", "decide", 1)
    assert _finished(pipeline, tmp_path / "ws") == calm


@pytest.mark.parametrize("name", ["hash/*00003.shuffle", "hash/*00004.keys.arrow"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_intermediate_fails_loudly_and_is_no_result(name: str, damage: str, pipeline: Path, tmp_path: Path) -> None:
    _killed(pipeline, tmp_path / "ws", "decide", 1)
    [found] = (tmp_path / "ws").glob(f"datasets/dedup@*/.scratch/{name}")
    data = found.read_bytes()
    found.unlink() if damage == "gone" else found.write_bytes(data[: len(data) // 2])
    done = run("run", str(pipeline), "-w", str(tmp_path / "ws"), "--workers", "1", "--quiet", code=1)
    assert found.name in done.stderr
    assert not list((tmp_path / "ws").glob("datasets/dedup@*/manifest.json"))
