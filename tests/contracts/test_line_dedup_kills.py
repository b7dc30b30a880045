"""Line and paragraph deduplication killed in each of their phases end with the bytes of a run that nobody disturbed."""

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
  repeats: {from: docs, use: USE}
  corpus:
    from: [docs, repeats]
    operators: [{use: apply, params: {by: repeats}}, {use: remove_lines, params: {by: repeats}}]
"""
PHASES = {
    "line_dedup": ["scratch/count", "scratch/decide", "scratch/name", "receipts"],
    "paragraph_dedup": ["scratch/hash", "scratch/look_up-1", "scratch/settle-1", "scratch/ask", "scratch/find", "scratch/name", "receipts"],
}


@pytest.fixture(scope="module", params=list(PHASES))
def pipeline(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some forty small shards whose documents take lines from each other."""
    folder = tmp_path_factory.mktemp(request.param)
    lines = [" ".join(f"word{n}x{k}" for k in range(16)) for n in range(300)]
    docs = [{"id": f"d{n:04d}", "text": "\n".join([f"Page {n}", *(lines[n * k * 7 % 300] for k in range(1, 4))])} for n in range(300)]
    (folder / "docs.jsonl").write_bytes(b"".join(orjson.dumps(doc, option=orjson.OPT_APPEND_NEWLINE) for doc in docs))
    (folder / "pipeline.yaml").write_text(PIPELINE.replace("USE", request.param))
    return folder / "pipeline.yaml"


def _finished(pipeline: Path, workspace: Path) -> dict[str, str]:
    run("run", str(pipeline), "-w", str(workspace), "--workers", "2", "--on", "local", "--quiet")
    return contents(workspace)


def _killed(pipeline: Path, workspace: Path, phase: str) -> None:
    """Kill a run once a phase has left a result; it must not have got to its end."""
    arguments = ("run", str(pipeline), "-w", str(workspace), "--workers", "2", "--on", "local", "--quiet")
    driver = subprocess.Popen(command(*arguments), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(workspace.glob(f"datasets/repeats@*/{phase.replace('scratch', '.scratch')}/*.json")) and time.monotonic() < deadline:
        assert driver.poll() is None, "it ended before it could be killed"
    driver.kill()
    driver.wait()


def test_killed_in_every_phase(pipeline: Path, tmp_path: Path) -> None:
    calm = _finished(pipeline, pipeline.parent / "calm")
    for number, phase in enumerate(PHASES[pipeline.parent.name.rstrip("0123456789")]):
        workspace = tmp_path / f"ws{number}"
        _killed(pipeline, workspace, phase)
        assert not list(workspace.glob("datasets/repeats@*/manifest.json"))
        assert _finished(pipeline, workspace) == calm
