"""Disks that are full, folders that may not be written, files that change, runs that meet: clear errors, nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from tests.contracts.workspaces import command, contents, run
from tests.faults.conftest import Make

WORDS = "the quick brown fox jumps over the lazy dog and runs away from the hounds "
LENGTH = {"use": "length", "params": {"min_chars": 1}}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk(make: Make, small_disk: Path) -> None:
    texts = [f"{n} " + os.urandom(2000).hex() for n in range(500)]
    done = run("run", str(make(texts, [LENGTH])), "-w", str(small_disk / "ws"), "-q", code=1)
    assert "no space left" in done.stderr
    assert "hint: free some space and run the same command again" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_read_only_workspace(make: Make, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    done = run("run", str(make(["text"], [LENGTH])), "-w", str(small_disk / "ws"), "-q", code=1)
    assert "Read-only file system" in done.stderr or "may not be written" in done.stderr
    assert "--workspace" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_workspace_that_is_a_file(make: Make, tmp_path: Path) -> None:
    (tmp_path / "ws").write_text("not a folder")
    done = run("run", str(make(["text"], [LENGTH])), "-w", str(tmp_path / "ws"), "-q", code=1)
    assert "ws" in done.stderr and "Traceback" not in done.stderr


def test_two_runs_on_one_workspace(make: Make, tmp_path: Path) -> None:
    slow = [{"use": "rules.py:Sleeps", "params": {"word": "fox", "seconds": 8}}]
    pipeline = make([WORDS] * 3, slow)
    first = subprocess.Popen(
        command("run", str(pipeline), "-w", str(tmp_path / "ws"), "-q", "--run-id", "first"), stdout=subprocess.DEVNULL
    )
    _until(lambda: any((tmp_path / "ws").glob("datasets/*/.fence/*.json")))
    second = run("run", str(pipeline), "-w", str(tmp_path / "ws"), "-q", code=1)
    assert "run first is working on datasets/clean@" in second.stderr
    assert f"process {first.pid} on" in second.stderr
    first.send_signal(signal.SIGKILL)
    first.wait()


def test_a_vanished_and_a_changed_input(make: Make, tmp_path: Path) -> None:
    slow = [{"use": "rules.py:Sleeps", "params": {"word": "fox", "seconds": 2}}]
    pipeline = make([WORDS] * 2, slow)
    text = pipeline.read_text().replace("path: docs.jsonl", "path: '*.jsonl'").replace("name: faults", "name: faults\nshard_bytes: 1")
    pipeline.write_text(text)
    for name in ("e1", "e2"):
        (tmp_path / f"{name}.jsonl").write_bytes(b'{"id": "%s", "text": "late"}\n' % name.encode())
    process = subprocess.Popen(
        command("run", str(pipeline), "-w", str(tmp_path / "ws"), "-q", "--workers", "1"), stderr=subprocess.PIPE, text=True
    )
    _until(lambda: any((tmp_path / "ws").glob("datasets/*/.fence/*.json")))
    (tmp_path / "e1.jsonl").unlink()
    (tmp_path / "e2.jsonl").write_bytes(b'{"id": "e2", "text": "changed meanwhile"}\n')
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "e1.jsonl" in told or "e2.jsonl" in told
    assert "hint:" in told and "Traceback" not in told
    again = run("run", str(pipeline), "-w", str(tmp_path / "ws"), "-q", "--json")
    assert orjson.loads(again.stdout)["stages"]["clean"]["rows_out"] == 3, "a new plan lists the files anew"


def test_ctrl_c_stops_cleanly_and_the_next_run_goes_on(make: Make, tmp_path: Path) -> None:
    slow = [{"use": "rules.py:Sleeps", "params": {"word": "fox", "seconds": 3}}]
    pipeline = make([WORDS] * 3, slow)
    process = subprocess.Popen(
        command("run", str(pipeline), "-w", str(tmp_path / "ws"), "-q", "--workers", "2"), stderr=subprocess.PIPE, text=True
    )
    _until(lambda: any((tmp_path / "ws").glob("datasets/*/.fence/*.json")))
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert told.strip().endswith("interrupted: run the same command again to go on from the finished shards")
    run("run", str(pipeline), "-w", str(tmp_path / "ws"), "-q")
    run("run", str(pipeline), "-w", str(tmp_path / "calm"), "-q")
    assert contents(tmp_path / "ws") == contents(tmp_path / "calm")


def test_a_damaged_dataset_fails_loudly(make: Make, tmp_path: Path) -> None:
    pipeline = make([WORDS] * 3, [LENGTH])
    text = pipeline.read_text().replace("outputs:", "  next: {from: clean, operators: [{use: length}]}\noutputs:")
    pipeline.write_text(text)
    run("run", str(pipeline), "-w", str(tmp_path / "ws"), "-q", "--until", "clean")
    part = next((tmp_path / "ws").glob("datasets/clean@*/part-00000.parquet"))
    part.write_bytes(part.read_bytes()[:-100])
    done = run("run", str(pipeline), "-w", str(tmp_path / "ws"), "-q", code=1)
    assert "part-00000.parquet: not a readable Parquet file" in done.stderr
    assert "hint:" in done.stderr


def _until(condition: object) -> None:
    for _ in range(300):
        if condition():  # type: ignore[operator]
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen within 30 s")
