"""Substring deduplication killed in each of its phases ends with the bytes of a run that nobody disturbed."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import orjson
import pytest

from tests.contracts.workspaces import command, contents, run

pytestmark = pytest.mark.slow
PIPELINE = """
name: kills
inputs: {docs: {path: docs.jsonl}}
shard_bytes: 4000
stages:
  repeats: {from: docs, use: substring_dedup, params: {min_length: 20}}
  corpus:
    from: [docs, repeats]
    operators: [{use: apply, params: {by: repeats}}, {use: remove_spans, params: {by: repeats}}]
"""
PHASES = ["scratch/anchor", "scratch/repeat", "scratch/window", "scratch/find", "scratch/join", "scratch/name", "receipts"]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some forty small shards whose documents take passages from each other."""
    folder = tmp_path_factory.mktemp("spans")
    passages = [" ".join(f"word{n}x{k}" for k in range(16)) for n in range(300)]
    docs = [
        {"id": f"d{n:04d}", "text": " ".join([f"Page {n}", *(passages[(n * k * 7 + k) % 300] for k in range(1, 4))])} for n in range(300)
    ]
    for n in range(0, 300, 3):
        docs[n]["text"] += " said " + " ".join(passages[n % 40 : n % 40 + 2])
    (folder / "docs.jsonl").write_bytes(b"".join(orjson.dumps(doc, option=orjson.OPT_APPEND_NEWLINE) for doc in docs))
    (folder / "pipeline.yaml").write_text(PIPELINE)
    return folder / "pipeline.yaml"


def _arguments(pipeline: Path, workspace: Path) -> tuple[str, ...]:
    return ("run", str(pipeline), "-w", str(workspace), "--workers", "2", "--on", "local", "--quiet")


def _killed(pipeline: Path, workspace: Path, phase: str) -> None:
    """Kill a run once a phase has left a result; it must not have got to its end."""
    driver = subprocess.Popen(command(*_arguments(pipeline, workspace)), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(workspace.glob(f"datasets/repeats@*/{phase.replace('scratch', '.scratch')}/*.json")) and time.monotonic() < deadline:
        assert driver.poll() is None, "it ended before it could be killed"
    driver.kill()
    driver.wait()


def test_killed_in_every_phase(pipeline: Path, tmp_path: Path) -> None:
    calm = pipeline.parent / "calm"
    run(*_arguments(pipeline, calm))
    assert any("repeats@" in name for name in contents(calm))
    for number, phase in enumerate(PHASES):
        workspace = tmp_path / f"ws{number}"
        _killed(pipeline, workspace, phase)
        assert not list(workspace.glob("datasets/repeats@*/manifest.json"))
        run(*_arguments(pipeline, workspace))
        assert contents(workspace) == contents(calm)
