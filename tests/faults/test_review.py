"""What a reviewer broke once, and must not break again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from tests.contracts.workspaces import command, run
from tests.faults.conftest import Make

LENGTH = {"use": "length", "params": {"min_chars": 1}}
TEXTS = [f"document number {n}" for n in range(20)]


def test_a_disk_that_fills_up_while_a_shard_is_written(make: Make, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        texts = [f"{n} " + os.urandom(20000).hex() for n in range(300)]
        done = run("run", str(make(texts, [LENGTH])), "-w", str(disk / "ws"), "-q", "--workers", "2", code=1)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert "no space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_numbers_that_no_column_can_reach(make: Make, tmp_path: Path) -> None:
    pipeline = make(TEXTS, [{"use": "length", "params": {"max_chars": 10**30}}])
    done = run("run", str(pipeline), "-w", str(tmp_path / "ws"), "-q", code=2)
    assert f"{pipeline}:11: `max_chars` of `length` is too large" in done.stderr


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return docs.drop_columns(['text'])", "lost text, which it does not declare"),
        ("return docs.append_column('new', docs.column('id'))", "added new, which it does not declare"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
    ],
)
def test_operators_that_misbehave_quietly(make: Make, tmp_path: Path, body: str, message: str) -> None:
    pipeline = make(TEXTS, [{"use": "odd.py:Odd"}])
    (tmp_path / "odd.py").write_text(
        "from dataclasses import dataclass\nimport curate\n\n@dataclass(frozen=True)\nclass Odd(curate.Mapper):\n"
        f"    def map(self, docs):\n        {body}\n"
    )
    done = run("run", str(pipeline), "-w", str(tmp_path / "ws"), "-q", code=1)
    assert message in done.stderr


@pytest.mark.parametrize(
    "break_it",
    [
        lambda path: path.write_bytes(path.read_bytes()[:200]),
        lambda path: path.write_bytes(b""),
    ],
    ids=["half", "empty"],
)
def test_the_only_file_is_damaged(make: Make, tmp_path: Path, break_it: Callable[[Path], None]) -> None:
    pipeline = make(TEXTS, [LENGTH])
    pq.write_table(pa.table({"id": ["a"], "text": ["words"]}), tmp_path / "docs.parquet")
    break_it(tmp_path / "docs.parquet")
    pipeline.write_text(pipeline.read_text().replace("docs.jsonl", "docs.parquet"))
    done = run("run", str(pipeline), "-w", str(tmp_path / "ws"), "-q", code=1)
    assert "cannot read `docs/docs.parquet`" in done.stderr
    assert "Traceback" not in done.stderr


def test_rows_of_a_damaged_block_are_all_counted(make: Make, tmp_path: Path) -> None:
    pipeline = make(TEXTS, [LENGTH], max_errors=1000)
    path = tmp_path / "docs.parquet"
    texts = [os.urandom(50).hex() for _ in range(1000)]
    pq.write_table(pa.table({"id": [str(n) for n in range(1000)], "text": texts}), path, compression="zstd", use_dictionary=False)
    data = bytearray(path.read_bytes())
    middle = slice(len(data) // 4, len(data) // 2)
    data[middle] = bytes(len(data[middle]))
    path.write_bytes(bytes(data))
    pipeline.write_text(pipeline.read_text().replace("docs.jsonl", "docs.parquet"))
    stage = orjson.loads(run("run", str(pipeline), "-w", str(tmp_path / "ws"), "-q", "--json").stdout)["stages"]["clean"]
    assert stage["rows_in"] == 1000 == stage["rows_out"] + stage["errored"]
    assert stage["errored"] > 1


def test_a_limited_run_neither_publishes_nor_supersedes(make: Make, tmp_path: Path) -> None:
    pipeline = make(TEXTS, [LENGTH])
    workspace = str(tmp_path / "ws")
    run("run", str(pipeline), "-w", workspace, "-q")
    run("run", str(pipeline), "-w", workspace, "-q", "--limit", "3")
    run("run", str(pipeline), "-w", workspace, "-q", "--until", "clean")
    assert curate.load(str(tmp_path / "out")).rows == 20
    assert "nothing to remove" in run("clean", "-w", workspace, "--yes").stdout


def test_an_occupied_output_is_refused_before_any_work(make: Make, tmp_path: Path) -> None:
    pipeline = make(TEXTS, [LENGTH])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep me")
    done = run("run", str(pipeline), "-w", str(tmp_path / "ws"), "-q", code=2)
    assert "is not empty: it holds mine.txt" in done.stderr
    assert not (tmp_path / "ws" / "datasets").exists()


@pytest.mark.parametrize("args", [("--run-id", "../../evil"), ("--run-id", "a b"), ("-w", "")])
def test_names_that_lead_elsewhere(make: Make, tmp_path: Path, args: tuple[str, ...]) -> None:
    pipeline = make(TEXTS, [LENGTH])
    run("run", str(pipeline), "-w", str(tmp_path / "ws"), "-q", *args, code=2)
    assert not (tmp_path / "evil").exists() and not (tmp_path / "ws").exists()


def test_sigterm_ends_as_ctrl_c_does(make: Make, tmp_path: Path) -> None:
    pipeline = make(TEXTS, [{"use": "rules.py:Sleeps", "params": {"word": "document", "seconds": 20}}])
    process = subprocess.Popen(
        command("run", str(pipeline), "-w", str(tmp_path / "ws"), "-q", "--workers", "2"), stderr=subprocess.PIPE, text=True
    )
    while not any((tmp_path / "ws").glob("datasets/*/.fence/*.json")):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130 and "run the same command again" in told


def test_unknown_columns_and_jsonl_outputs_are_told(make: Make, tmp_path: Path) -> None:
    pipeline = make(TEXTS, [LENGTH])
    pipeline.write_text(pipeline.read_text().replace("path: out", "path: out\n    format: jsonl"))
    run("run", str(pipeline), "-w", str(tmp_path / "ws"), "-q")
    assert run("show", "clean", "-w", str(tmp_path / "ws"), "--errors").stderr == "no errors in clean\n"
    assert "did you mean `text`?" in run("show", "clean", "-w", str(tmp_path / "ws"), "-c", "id,txt", code=1).stderr
    assert "read it as an input with `format: jsonl`" in run("show", str(tmp_path / "out"), code=1).stderr
