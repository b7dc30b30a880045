"""Every row that went into a shuffle comes out once, in its partition, in order."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import shuffle
from curate.errors import DatasetError
from curate.shuffle import PARTITION_BYTES, ShuffleWriter, partitions_for, ranges
from curate.storage import LocalStorage
from curate.work import Place

SCHEMA = pa.schema({"id": pa.string(), "n": pa.int64(), "inner": pa.struct({"tags": pa.list_(pa.large_string())})})
FILES = st.lists(st.lists(st.lists(st.integers(0, 10), max_size=12), max_size=5), min_size=1, max_size=4)


def batches(partitions: list[list[int]], file: int) -> list[tuple[Any, pa.RecordBatch]]:
    made = []
    for number, partition in enumerate(partitions):
        rows = [
            {"id": f"{file}-{number}-{i}" if i % 4 else None, "n": p, "inner": {"tags": ["x" * i, None]} if i % 3 else None}
            for i, p in enumerate(partition)
        ]
        padded = pa.RecordBatch.from_pylist([{"id": "before"}, *rows, {"id": "after"}], SCHEMA)
        made.append((np.array(partition, np.uint64 if number % 2 else np.int32), padded.slice(1, len(rows))))
    return made


@settings(max_examples=80)
@given(files=FILES, count=st.integers(1, 12), flush=st.sampled_from([1, 300, 64 << 20]))
def test_rows_come_back_by_partition_in_order(
    files: list[list[list[int]]], count: int, flush: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    storage = LocalStorage(tmp_path_factory.mktemp("shuffle"))
    files = [[[p % count for p in batch] for batch in file] for file in files]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffle, "FLUSH_BYTES", flush)
        made = [Place(storage, f"f{i}").write_shuffle(count, SCHEMA, iter(batches(file, i))) for i, file in enumerate(files)]
    parts = ranges(storage, made)
    assert len(parts) == count
    went_in = [row for i, file in enumerate(files) for _, batch in batches(file, i) for row in batch.to_pylist()]
    for partition in range(count):
        rows = [row for batch in shuffle.read(storage, parts[partition], SCHEMA) for row in batch.to_pylist()]
        assert rows == [row for row in went_in if row["n"] == partition]


def test_no_file_has_no_partition_and_an_empty_file_has_empty_ones(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    assert ranges(storage, []) == []
    assert ranges(storage, [Place(storage, "f").write_shuffle(3, SCHEMA, iter(()))]) == [[], [], []]
    assert list(shuffle.read(storage, [], SCHEMA)) == []


@pytest.mark.parametrize("partition", [[0, 3], [-1, 0], [0], [0, 1, 2]])
def test_a_row_without_a_partition_is_refused(partition: list[int]) -> None:
    writer = ShuffleWriter(io.BytesIO(), "f", 3, pa.schema({"n": pa.int64()}))
    with pytest.raises(ValueError, match="every row needs a partition from 0 to 2"):
        writer.write(np.array(partition), pa.record_batch({"n": [1, 2]}))


def test_partitions_follow_from_the_data() -> None:
    assert partitions_for(0, 64) == partitions_for(1, 64) == 1
    assert partitions_for(PARTITION_BYTES // 64, 64) == 1 and partitions_for(PARTITION_BYTES // 64 + 1, 64) == 2
    assert partitions_for(10**9, 64) == -(-64 * 10**9 // PARTITION_BYTES)


def test_a_file_cut_short_is_an_error(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    file = Place(storage, "f").write_shuffle(1, SCHEMA, iter(batches([[0] * 50], 0)))
    parts = ranges(storage, [file])
    (tmp_path / file.path).write_bytes((tmp_path / file.path).read_bytes()[:100])
    with pytest.raises(DatasetError, match="f.shuffle: cut short"):
        list(shuffle.read(storage, parts[0], SCHEMA))
    (tmp_path / file.path).unlink()
    with pytest.raises(DatasetError, match=r"f\.shuffle"):
        list(shuffle.read(storage, parts[0], SCHEMA))


def test_an_interrupted_task_leaves_no_file(tmp_path: Path) -> None:
    def rows() -> Any:
        yield from batches([[0] * 5], 0)
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        Place(LocalStorage(tmp_path), "f").write_shuffle(1, SCHEMA, rows())
    assert list(tmp_path.iterdir()) == []


def test_tables_come_back(tmp_path: Path) -> None:
    place = Place(LocalStorage(tmp_path), "scratch/part-00000")
    for table in (pa.table({"n": [1, None], "t": ["a", "b"]}), pa.table({"n": pa.array([], pa.int8())})):
        path = place.write_table("keys", table)
        assert path == "scratch/part-00000.keys.arrow" and place.read_table(path).equals(table)
