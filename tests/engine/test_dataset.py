"""Datasets are read in bounded memory, and damage is told with its place and a remedy."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curate
from curate.dataset import Dataset, RowStream, open_dataset, read_shard, resolve
from curate.errors import DatasetError
from curate.manifest import MANIFEST, FileRecord
from curate.pipeline import Stage, Step
from curate.storage import LocalStorage
from tests.engine import small

SCHEMA = small.DOCUMENTS


def shard(folder: Path, texts: list[str]) -> LocalStorage:
    batch = pa.record_batch({"id": [f"d{i}" for i in range(len(texts))], "text": pa.array(texts, pa.large_string())}, SCHEMA)
    small.write_shard(folder / "part-00000.parquet", [batch], SCHEMA)
    return LocalStorage(folder)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    source = small.write_jsonl(tmp_path / "in/a.jsonl", small.documents(200))
    plan, _ = small.run(small.pipeline(source, {"clean": Stage("crawl", [Step("my_ops.py:Even")])}, shard_bytes=3000), tmp_path / "ws[*]")
    return plan.dataset("clean")


def test_batches_are_bounded(tmp_path: Path) -> None:
    storage = shard(tmp_path, ["x" * 1000] * 2000)
    sizes = [batch.nbytes for batch in read_shard(storage, "part-00000.parquet", batch_bytes=100_000)]
    assert len(sizes) > 10 and max(sizes) < 200_000
    whole = [row for batch in read_shard(storage, "part-00000.parquet", ["id"], batch_bytes=100_000) for row in batch.to_pylist()]
    assert whole == [{"id": f"d{i}"} for i in range(2000)]


def test_one_huge_row_comes_alone_at_worst(tmp_path: Path) -> None:
    storage = shard(tmp_path, ["x" * 5_000_000, "y", "z"])
    batches = list(read_shard(storage, "part-00000.parquet", batch_bytes=1 << 20))
    assert [text for batch in batches for text in batch.column("text").to_pylist()][1:] == ["y", "z"]


def test_the_ways_to_read_agree(dataset: Dataset) -> None:
    rows = small.rows(dataset)
    assert len(dataset.manifest.shards) > 2
    assert dataset.rows == len(rows) == 100
    assert dataset.scan().collect().to_dicts() == rows, "a workspace may have brackets and stars in its name"
    assert dataset.scan().filter(pl.col("id") == rows[7]["id"]).collect().to_dicts() == [rows[7]]
    assert small.rows(curate.load(f"{dataset.storage.url}/{dataset.path}")) == rows
    assert dataset.schema.names == list(dataset.manifest.columns) == list(rows[0])
    assert [row["id"] for batch in dataset.batches(["id"]) for row in batch.to_pylist()] == [row["id"] for row in rows]


def test_what_is_not_finished_is_no_dataset(dataset: Dataset, tmp_path: Path) -> None:
    dataset.storage.delete(f"{dataset.path}/{MANIFEST}")
    with pytest.raises(DatasetError, match="no finished dataset at .*clean@") as raised:
        open_dataset(dataset.storage, dataset.path)
    assert raised.value.hint


@pytest.mark.parametrize("keep", [0, 3, 0.5, -1])
def test_a_file_cut_short_is_an_error_with_a_remedy(dataset: Dataset, keep: float) -> None:
    path = Path(dataset.storage.url) / dataset.shard_path(1)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if 0 < keep < 1 else int(keep)])
    with pytest.raises(DatasetError, match="part-00001.parquet") as raised:
        small.rows(dataset)
    assert "run again" in str(raised.value.hint)


def test_a_flipped_page_is_an_error_with_a_remedy(dataset: Dataset) -> None:
    path = Path(dataset.storage.url) / dataset.shard_path(1)
    data = bytearray(path.read_bytes())
    data[4:80] = bytes(b ^ 0xFF for b in data[4:80])
    path.write_bytes(data)
    with pytest.raises(DatasetError, match="part-00001.parquet") as raised:
        small.rows(dataset)
    assert raised.value.hint


def test_a_missing_file_is_an_error(dataset: Dataset) -> None:
    (Path(dataset.storage.url) / dataset.shard_path(1)).unlink()
    with pytest.raises(DatasetError, match="part-00001.parquet"):
        small.rows(dataset)


@settings(max_examples=50)
@given(sizes=st.lists(st.integers(0, 5), max_size=8), data=st.data())
def test_a_row_stream_hands_out_any_numbers(sizes: list[int], data: st.DataObject) -> None:
    total = sum(sizes)
    whole = pa.record_batch({"n": pa.array(range(total), pa.int64())})
    edges = [sum(sizes[:i]) for i in range(len(sizes))]
    stream = RowStream((whole.slice(edge, size) for edge, size in zip(edges, sizes, strict=True)), "x")
    got: list[int] = []
    while len(got) < total:
        take = data.draw(st.integers(1, total - len(got)))
        batch = stream.take(take)
        assert batch.num_rows == take
        got += batch.column("n").to_pylist()
    stream.finish()
    assert got == list(range(total))
    with pytest.raises(DatasetError, match="x: fewer rows"):
        stream.take(1)


@pytest.mark.parametrize("taken", [1, 3])
def test_rows_left_over_are_an_error(taken: int) -> None:
    batches = [pa.record_batch({"n": [1, 2, 3]}), pa.record_batch({"n": pa.array([], pa.int64())}), pa.record_batch({"n": [4]})]
    stream = RowStream(iter(batches), "x")
    stream.take(taken)
    with pytest.raises(DatasetError, match="x: more rows"):
        stream.finish()


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("part-00001.parquet", "datasets/a@1/part-00001.parquet"),
        ("../a@0/drops/part-00001.parquet", "datasets/a@0/drops/part-00001.parquet"),
    ],
)
def test_records_may_lie_in_a_sibling(path: str, found: str) -> None:
    assert resolve("datasets/a@1", FileRecord(path, 0, 0, "")) == found
