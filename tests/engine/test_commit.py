"""A shard exists exactly when its receipt does, however and whenever its attempts are killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate.commit import Attempt, Told, receipt_path, receipts, sweep
from curate.errors import DatasetError
from curate.ledger import DROPS, ERRORS
from curate.manifest import Counts, Measured, Receipt
from curate.storage import LocalStorage
from tests.engine import small

FOLDER = "datasets/clean@1"
SCHEMA = small.DOCUMENTS


def attempt_shard(workspace: Path, shard: int = 0, rows: int = 3, epoch: int = 1, said: int | None = None) -> Receipt:
    """Make a shard with two drops and one error."""
    docs = pa.RecordBatch.from_pylist(small.documents(rows), SCHEMA)
    with Attempt(LocalStorage(workspace), FOLDER, shard, SCHEMA) as attempt:
        attempt.write("data", docs)
        attempt.write("drops", pa.RecordBatch.from_pylist([{"id": "a", "step": "s", "reason": "r"}] * 2, DROPS))
        attempt.write("errors", pa.RecordBatch.from_pylist([{"id": "b", "step": "s", "error": "e"}], ERRORS))
        counts = Counts(rows_in=rows + 3 if said is None else said, rows_out=rows, errored=1, dropped={"s": {"r": 2}})
        return attempt.commit("unit", counts, Told({"n": {"x": 1}}), Measured(), epoch)


def files(workspace: Path) -> dict[str, bytes]:
    return {str(path.relative_to(workspace)): path.read_bytes() for path in workspace.rglob("*") if path.is_file()}


def test_a_commit_leaves_files_and_a_receipt(tmp_path: Path) -> None:
    receipt = attempt_shard(tmp_path)
    assert set(files(tmp_path)) == {
        f"{FOLDER}/{name}"
        for name in ("part-00000.parquet", "drops/part-00000.parquet", "errors/part-00000.parquet", "receipts/part-00000.json")
    }
    assert receipts(LocalStorage(tmp_path), FOLDER) == {0: receipt}
    assert receipt.trace is None and receipt.drops is not None and receipt.drops.rows == 2
    assert receipt.counts.bytes_out == receipt.data.bytes == len(files(tmp_path)[f"{FOLDER}/part-00000.parquet"])
    assert small.shard_rows(tmp_path / FOLDER / "part-00000.parquet") == small.documents(3)


def test_an_aborted_attempt_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="the cause"), Attempt(LocalStorage(tmp_path), FOLDER, 0, SCHEMA) as attempt:
        attempt.write("data", pa.RecordBatch.from_pylist(small.documents(3), SCHEMA))
        attempt.write("drops", pa.RecordBatch.from_pylist([{"id": "a"}], DROPS))
        raise RuntimeError("the cause")
    assert files(tmp_path) == {}


def test_what_does_not_add_up_is_not_committed(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="clean@1/part-00000: the receipt does not add up"):
        attempt_shard(tmp_path, said=7)
    assert files(tmp_path) == {}


def test_racing_attempts_leave_one_receipt(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda epoch: attempt_shard(tmp_path, epoch=epoch), range(8)))
    standing = receipts(LocalStorage(tmp_path), FOLDER)[0]
    assert all(receipt == standing for receipt in made), "losers return what the winner wrote"
    assert small.shard_rows(tmp_path / FOLDER / standing.data.path) == small.documents(3)


KILLED = """
import os, signal, sys
from pathlib import Path
from curate.storage.local import LocalStorage
from tests.engine.test_commit import attempt_shard

point, number = sys.argv[2], int(sys.argv[3])
calls = 0

def dies(method, before):
    def call(self, *args):
        global calls
        calls += 1
        if before and calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        result = method(self, *args)
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call

when, name = point.split()
setattr(LocalStorage, name, dies(getattr(LocalStorage, name), when == "before"))
attempt_shard(Path(sys.argv[1]))
"""


@pytest.mark.parametrize(
    ("point", "number"),
    [
        ("before open_output", 1),
        ("before adopt", 1),
        ("after adopt", 1),
        ("after adopt", 2),
        ("after adopt", 3),
        ("before create", 1),
        ("after create", 1),
    ],
)
def test_a_kill_at_any_point_leaves_a_rerun_the_same_bytes(tmp_path: Path, point: str, number: int) -> None:
    calm, stormy = tmp_path / "calm", tmp_path / "stormy"
    attempt_shard(calm)
    done = subprocess.run([sys.executable, "-c", KILLED, str(stormy), point, str(number)], cwd=small.FOLDER.parent.parent, check=False)
    assert done.returncode == -signal.SIGKILL
    storage = LocalStorage(stormy)
    found = receipts(storage, FOLDER)
    assert set(found) == ({0} if point == "after create" else set())
    receipt = found.get(0) or attempt_shard(stormy)
    sweep(storage, FOLDER, [receipt])
    assert files(stormy) == files(calm)


@pytest.mark.parametrize("harm", ["missing", "short", "long", "drops missing"])
def test_a_receipt_without_its_files_is_taken_back(tmp_path: Path, harm: str) -> None:
    attempt_shard(tmp_path)
    attempt_shard(tmp_path, shard=1)
    path = tmp_path / FOLDER / ("drops/part-00000.parquet" if harm == "drops missing" else "part-00000.parquet")
    data = path.read_bytes()
    path.unlink()
    if harm in ("short", "long"):
        path.write_bytes(data[:-1] if harm == "short" else data + b"x")
    storage = LocalStorage(tmp_path)
    assert set(receipts(storage, FOLDER)) == {1}
    assert storage.info(receipt_path(FOLDER, 0)) is None
    attempt_shard(tmp_path)
    assert set(receipts(storage, FOLDER)) == {0, 1} and path.read_bytes() == data


def test_a_receipt_that_was_half_written_is_taken_back(tmp_path: Path) -> None:
    attempt_shard(tmp_path)
    path = tmp_path / receipt_path(FOLDER, 0)
    whole = path.read_bytes()
    for cut in (0, 10, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert receipts(LocalStorage(tmp_path), FOLDER) == {}
    path.write_bytes(whole.replace(b'"format":1', b'"format":99'))
    with pytest.raises(DatasetError, match="format 99"):
        receipts(LocalStorage(tmp_path), FOLDER)


def test_a_sweep_takes_leftovers_and_nothing_else(tmp_path: Path) -> None:
    receipt = attempt_shard(tmp_path)
    kept = files(tmp_path)
    for name in (".attempts/dead/part-00000.parquet", ".attempts/dead/drops/.1.tmp", ".2.tmp", "receipts/.3.tmp"):
        (tmp_path / FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / FOLDER / name).write_bytes(b"x")
    sweep(LocalStorage(tmp_path), FOLDER, [receipt])
    assert files(tmp_path) == kept
    assert not (tmp_path / FOLDER / ".attempts").exists()


def test_a_sweep_keeps_attempts_that_receipts_name(tmp_path: Path) -> None:
    """Object stores cannot rename: there the receipt names the attempt's own file."""
    receipt = attempt_shard(tmp_path)
    for name in ("kept", "lost"):
        small.write_shard(tmp_path / FOLDER / ".attempts" / name / "part-00000.parquet", [], SCHEMA)
    named: Any = Receipt(0, "u", receipt.data.__class__(".attempts/kept/part-00000.parquet", 0, 1, ""), None, None, None, Counts())
    sweep(LocalStorage(tmp_path), FOLDER, [named])
    assert {path.parent.name for path in (tmp_path / FOLDER / ".attempts").rglob("*.parquet")} == {"kept"}


def test_rows_of_many_batches_are_one_shard(tmp_path: Path) -> None:
    docs = pa.RecordBatch.from_pylist(small.documents(100), SCHEMA)
    made = []
    for shard, cuts in enumerate(([0, 100], list(range(101)), [0, 7, 50, 100])):
        with Attempt(LocalStorage(tmp_path), FOLDER, shard, SCHEMA) as attempt:
            for start, stop in np.column_stack((cuts[:-1], cuts[1:])).tolist():
                attempt.write("data", docs.slice(start, stop - start))
            made.append(attempt.commit("unit", Counts(rows_in=100, rows_out=100), Told(), Measured(), 1).data.sha256)
    assert len(set(made)) == 1
