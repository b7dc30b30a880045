"""A shard's bytes follow from its rows alone, whatever their types and however they were cut into batches."""

from __future__ import annotations

import decimal
import hashlib
import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import writers
from curate.writers import ParquetShard, row_bytes

WORDS = st.text(alphabet="abcdefgß𝄞 \n", max_size=12)
STRUCT = pa.struct({"code": pa.string(), "confidence": pa.float32(), "deep": pa.struct({"raw": pa.binary(), "n": pa.int8()})})
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "text": pa.large_string(),
        "html": pa.binary(),
        "lang": STRUCT,
        "tags": pa.list_(pa.string()),
        "vectors": pa.large_list(pa.list_(pa.float64())),
        "n": pa.int64(),
        "flag": pa.bool_(),
    }
)
DEEP = st.fixed_dictionaries({"raw": st.none() | st.binary(max_size=5), "n": st.none() | st.integers(-100, 100)})
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": WORDS,
            "text": st.none() | WORDS,
            "html": st.none() | st.binary(max_size=20),
            "lang": st.none()
            | st.fixed_dictionaries(
                {"code": st.none() | st.sampled_from(["en", "de"]), "confidence": st.just(0.5), "deep": st.none() | DEEP}
            ),
            "tags": st.none() | st.lists(st.none() | WORDS, max_size=4),
            "vectors": st.none() | st.lists(st.lists(st.floats(allow_nan=False), max_size=3), max_size=3),
            "n": st.none() | st.integers(-(2**63), 2**63 - 1),
            "flag": st.none() | st.booleans(),
        }
    ),
    max_size=40,
)


def written(schema: pa.Schema, batches: list[pa.RecordBatch]) -> tuple[bytes, ParquetShard]:
    out = io.BytesIO()
    shard = ParquetShard(out, schema)
    for batch in batches:
        shard.write(batch)
    shard.close()
    return out.getvalue(), shard


def read(data: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(data))


def with_offset(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows as a slice of a larger batch, so that every array has an offset."""
    return pa.Table.from_batches([batch, batch, batch]).combine_chunks().to_batches()[0].slice(batch.num_rows, batch.num_rows)


@settings(max_examples=60)
@given(
    rows=ROWS,
    cuts=st.lists(st.integers(0, 40), max_size=6),
    limits=st.sampled_from([(1 << 25, 1 << 17), (200, 1 << 17), (1 << 25, 3), (90, 2)]),
)
def test_bytes_do_not_depend_on_the_batches(rows: list[dict[str, Any]], cuts: list[int], limits: tuple[int, int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writers, "ROW_GROUP_BYTES", limits[0])
        patch.setattr(writers, "ROW_GROUP_ROWS", limits[1])
        whole = pa.RecordBatch.from_pylist(rows, SCHEMA)
        edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]  # empty batches among them
        pieces = [whole.slice(start, stop - start) for start, stop in zip(edges, edges[1:], strict=False)]
        one, shard = written(SCHEMA, [whole])
        assert written(SCHEMA, pieces)[0] == one
        assert written(SCHEMA, [pa.RecordBatch.from_pylist(piece.to_pylist(), SCHEMA) for piece in pieces])[0] == one
        if rows:
            assert written(SCHEMA, [with_offset(whole)])[0] == one
    assert shard.rows == len(rows)
    assert shard.file.size == len(one) and shard.file.sha256 == hashlib.sha256(one).hexdigest()
    assert read(one).to_pylist() == whole.to_pylist()
    assert read(one).schema.equals(SCHEMA)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([decimal.Decimal("1.50"), None]),
        pa.array([1, None], pa.timestamp("us", "UTC")),
        pa.array([1, None], pa.date32()),
        pa.array([1, None], pa.time64("us")),
        pa.array([1.5, None], pa.float16()),
        pa.array([2**64 - 1, None], pa.uint64()),
        pa.array([b"abcd", None], pa.binary(4)),
        pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2)),
        pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int32())),
        pa.array([None, None], pa.null()),
        pa.array([{"a": []}, None], pa.struct({"a": pa.list_(pa.struct({"b": pa.large_string()}))})),
        pa.array(["x", None], pa.string()),
    ],
    ids=lambda values: str(values.type),
)
@pytest.mark.parametrize("name", ["value", "text", "id"])
def test_any_type_can_be_written(values: pa.Array, name: str) -> None:
    schema = pa.schema([pa.field(name, values.type)])
    whole = pa.RecordBatch.from_arrays([values], schema=schema)
    data, _ = written(schema, [whole])
    assert written(schema, [whole.slice(0, 1), whole.slice(1)])[0] == data
    assert read(data).column(0).to_pylist() == values.to_pylist()


def test_no_rows_are_a_file_with_the_columns() -> None:
    data, shard = written(SCHEMA, [])
    assert shard.rows == 0 and read(data).schema.equals(SCHEMA) and read(data).num_rows == 0


def test_a_row_group_ends_with_the_row_that_reaches_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "ROW_GROUP_BYTES", 1000)
    schema = pa.schema({"id": pa.string(), "text": pa.large_string()})
    texts = ["x" * 100] * 30 + ["y" * 50_000] + ["z"] * 10
    batch = pa.record_batch({"id": [str(i) for i in range(41)], "text": pa.array(texts, pa.large_string())}, schema)
    data, _ = written(schema, [batch])
    footer = pq.ParquetFile(io.BytesIO(data)).metadata
    groups = [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]
    expected, group, size = [], 0, 0
    for doc_id, text in zip(batch.column("id").to_pylist(), texts, strict=True):
        group, size = group + 1, size + 16 + len(doc_id) + len(text)
        if size >= 1000:
            expected.append(group)
            group, size = 0, 0
    assert groups == [*expected, group]
    assert read(data).column("text").to_pylist() == texts


def test_lists_and_structs_count_towards_a_row_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "ROW_GROUP_BYTES", 1 << 20)
    schema = pa.schema({"id": pa.string(), "vector": pa.list_(pa.float32(), 1024), "inner": pa.struct({"raw": pa.binary()})})
    rows = 1000  # 4 to 8 kB each: without the vectors all would be one group
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(rows * 1024, np.float32)), 1024)
    inner = pa.array([{"raw": b"x" * 100}] * rows, pa.struct({"raw": pa.binary()}))
    data, _ = written(schema, [pa.record_batch([pa.array(map(str, range(rows))), vectors, inner], schema=schema)])
    assert pq.ParquetFile(io.BytesIO(data)).metadata.num_row_groups == rows * (8 * 1024) // (1 << 20) + 1


@settings(max_examples=40)
@given(rows=ROWS, start=st.integers(0, 10))
def test_row_bytes_are_those_of_each_row_alone(rows: list[dict[str, Any]], start: int) -> None:
    batch = pa.RecordBatch.from_pylist(rows, SCHEMA).slice(min(start, len(rows)))
    alone = [int(row_bytes(pa.RecordBatch.from_pylist([row], SCHEMA))[0]) for row in batch.to_pylist()]
    assert row_bytes(batch).tolist() == alone


def test_an_abandoned_shard_writes_nothing_more() -> None:
    out = io.BytesIO()
    shard = ParquetShard(out, SCHEMA)
    shard.write(pa.RecordBatch.from_pylist([{"id": "a"}], SCHEMA))
    shard.abandon()
    size = len(out.getvalue())
    del shard
    assert len(out.getvalue()) == size
