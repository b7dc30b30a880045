"""The whole job on an S3 server: inputs, workspace and outputs in buckets, killed and resumed, the same bytes as on a local disk."""

from __future__ import annotations

import random
import signal
import subprocess
from pathlib import Path

import orjson
import pytest

import curate
from tests.contracts.workspaces import command, run
from tests.s3_server import S3Server

pytestmark = [pytest.mark.s3, pytest.mark.slow]


@pytest.fixture
def on_s3(s3: S3Server, quickstart: Path, tmp_path: Path) -> tuple[str, Path]:
    """A bucket that holds the sample, and the quickstart over it."""
    bucket = s3.new_bucket()
    for path in (quickstart.parent / "sample").glob("*.warc.gz"):
        s3.client().put_object(Bucket=bucket, Key=f"raw/{path.name}", Body=path.read_bytes())
    text = (
        quickstart.read_text()
        .replace("sample/{site}", f"s3://{bucket}/raw/{{site}}")
        .replace("../corpora/quickstart", f"s3://{bucket}/out")
    )
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text(text)
    return f"s3://{bucket}", pipeline


def hashes(summary: dict[str, dict[str, dict[str, str]]]) -> dict[str, list[str]]:
    """Return the content hashes of every stage's shards."""
    return {
        name: [record.sha256 for shard in curate.load(stage["dataset"]).manifest.shards for record in (shard.data, shard.drops) if record]
        for name, stage in summary["stages"].items()
    }


def test_the_store_does_not_matter(on_s3: tuple[str, Path], quickstart: Path, tmp_path: Path) -> None:
    bucket, pipeline = on_s3
    remote = orjson.loads(run("run", str(pipeline), "-w", f"{bucket}/ws", "--workers", "2", "-q", "--json").stdout)
    local = run("run", str(quickstart), "-w", str(tmp_path / "ws"), "-q", "--json", "--set", f"outputs.corpus.path={tmp_path}/out")
    assert hashes(remote) == hashes(orjson.loads(local.stdout))
    corpus = curate.load(f"{bucket}/out")
    assert corpus.rows == curate.load(str(tmp_path / "out")).rows == corpus.scan().collect().height
    again = orjson.loads(run("run", str(pipeline), "-w", f"{bucket}/ws", "--workers", "2", "-q", "--json").stdout)
    assert {stage["status"] for stage in again["stages"].values()} == {"reused"}
    assert "dedup: duplicate" in run("report", "last", "-w", f"{bucket}/ws").stdout


def test_kills_leave_the_same_bytes(on_s3: tuple[str, Path], tmp_path: Path) -> None:
    bucket, pipeline = on_s3
    dice = random.Random(7)
    for _ in range(4):
        driver = subprocess.Popen(
            command("run", str(pipeline), "-w", f"{bucket}/stormy", "--workers", "2", "-q"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            driver.wait(dice.uniform(0.8, 2.5))
        except subprocess.TimeoutExpired:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
    stormy = orjson.loads(run("run", str(pipeline), "-w", f"{bucket}/stormy", "--workers", "2", "-q", "--json").stdout)
    calm = orjson.loads(run("run", str(pipeline), "-w", f"{bucket}/calm", "--workers", "2", "-q", "--json").stdout)
    assert hashes(stormy) == hashes(calm)


def test_secrets_are_written_nowhere(on_s3: tuple[str, Path], s3: S3Server, tmp_path: Path) -> None:
    bucket, pipeline = on_s3
    told = run("run", str(pipeline), "-w", f"{bucket}/ws", "--workers", "1")
    client, name = s3.client(), bucket.removeprefix("s3://")
    written = b"".join(
        client.get_object(Bucket=name, Key=entry["Key"])["Body"].read()
        for entry in client.list_objects_v2(Bucket=name, Prefix="ws/runs").get("Contents", [])
    )
    for secret in (s3.secret, s3.key):
        assert secret not in told.stdout + told.stderr
        assert secret.encode() not in written
