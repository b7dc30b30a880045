"""A run on a Ray cluster of several nodes, one of which dies in the middle of a stage: a retry, and the same bytes."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from curate.launch import Request, launch
from curate.pipeline_yaml import load_pipeline
from tests.contracts.workspaces import contents, run

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """Twenty shards whose documents each take a moment."""
    lines = [orjson.dumps({"id": f"d{n:03d}", "text": f"document number {n} waits"}) for n in range(40)]
    (tmp_path / "docs.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    shutil.copy(Path(__file__).parents[1] / "faults" / "rules.py", tmp_path / "rules.py")
    text = """
name: cluster
inputs: {docs: {path: docs.jsonl}}
shard_bytes: 100
stages:
  slow: {from: docs, operators: [{use: "rules.py:Sleeps", params: {word: waits, seconds: 0.4}}]}
  dedup: {from: slow, use: exact_dedup}
  corpus: {from: [slow, dedup], apply: [dedup]}
"""
    path = tmp_path / "pipeline.yaml"
    path.write_text(text)
    return path


def test_a_node_that_dies_costs_a_retry_and_not_the_run(pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        victim = cluster.add_node(num_cpus=2)
        cluster.wait_for_nodes()
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        done: list[Mapping[str, Any]] = []

        def kill_in_the_middle(event: Mapping[str, Any]) -> None:
            if event["event"] == "shard_done":
                done.append(event)
            if len(done) < 3 or victim not in cluster.worker_nodes:
                return
            raylet = psutil.Process(victim.all_processes["raylet"][0].process.pid)
            processes = [raylet, *raylet.children(recursive=True)]
            if not any("ray::_carry_out" in " ".join(process.cmdline()) for process in processes):
                return  # its workers are still starting: a node that does nothing costs no retry
            for process in processes:
                process.kill()
            cluster.remove_node(victim, allow_graceful=False)

        loaded = load_pipeline(pipeline)
        report = launch(loaded.pipeline, loaded.positions, Request(workspace=str(tmp_path / "stormy"), on="auto"), kill_in_the_middle)
        assert report["status"] == "done", report["error"]
        assert victim not in cluster.worker_nodes
        assert report["stages"][0]["retries"] >= 1
    finally:
        ray.shutdown()
        cluster.shutdown()
    monkeypatch.delenv("RAY_ADDRESS")
    run("run", str(pipeline), "-w", str(tmp_path / "calm"), "--workers", "2", "-q")
    assert contents(tmp_path / "stormy") == contents(tmp_path / "calm")


def test_a_run_sent_as_a_job_gives_the_bytes_of_a_local_one(pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.cluster_utils import Cluster

    rules = tmp_path / "rules" / "rules.py"  # in a folder of its own: what travels keeps its meaning, not its place
    rules.parent.mkdir()
    (tmp_path / "rules.py").rename(rules)
    pipeline.write_text(
        pipeline.read_text().replace('"rules.py:Sleeps"', '"rules/rules.py:Sleeps"').replace("seconds: 0.4", "seconds: 0.01")
    )
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    ports = {"dashboard_port": 0, "dashboard_agent_listen_port": 0}  # two clusters on one machine may not want the same one
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": True, **ports})
    try:
        address = f"http://{cluster.head_node.webui_url}"
        sent = run("run", str(pipeline), "-w", str(tmp_path / "job"), "--on", address, "--set", "slow.Sleeps.seconds=0.02")
        assert "40 in + 0 added = 40 out" in sent.stderr
        wrong = run("run", str(pipeline), "-w", str(tmp_path / "job"), "--on", address, "--set", "slow.Sleeps.secs=1", code=2)
        assert "did you mean `seconds`?" in wrong.stderr
    finally:
        cluster.shutdown()
    run("run", str(pipeline), "-w", str(tmp_path / "local"), "--workers", "2", "-q", "--set", "slow.Sleeps.seconds=0.02")
    assert contents(tmp_path / "job") == contents(tmp_path / "local")
