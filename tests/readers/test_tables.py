"""Parquet and Arrow: the union of schemas, ids, damage in every place, and cuts that change nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import DatasetError
from curate.readers import ReadOptions, reader
from curate.readers.schema import Incompatible, unify
from curate.storage import LocalStorage

Read = Callable[..., Any]
TABLES = ["parquet", "arrow"]


def save(path: Path, table: Any, row_group_size: int | None = None) -> None:
    table = pa.table(table)
    if path.suffix == ".parquet":
        pq.write_table(
            table,
            path,
            row_group_size=row_group_size,
            write_page_checksum=True,
            data_page_size=4096,
            write_batch_size=64,
            use_dictionary=False,
        )
    else:
        with pa.ipc.new_stream(path, table.schema) as out:
            out.write_table(table, max_chunksize=row_group_size)


@pytest.mark.parametrize("format", TABLES)
def test_ids_are_row_numbers_of_the_file(tmp_path: Path, read: Read, format: str) -> None:
    save(tmp_path / f"a.{format}", {"text": [f"t{n}" for n in range(10)]}, row_group_size=3)
    found = read(format, target_bytes=1)
    assert found.ids == [f"in/a.{format}:{n}" for n in range(10)]
    assert found.rows[7] == {"id": f"in/a.{format}:7", "text": "t7", "source": "in"}


@pytest.mark.parametrize("format", TABLES)
def test_given_ids_null_ids_and_numbers(tmp_path: Path, read: Read, format: str) -> None:
    save(tmp_path / f"a.{format}", {"id": pa.array([5, None, -7]), "text": ["a", "b", "c"]})
    save(tmp_path / f"b.{format}", {"id": ["x"], "text": ["d"]})
    save(tmp_path / f"c.{format}", {"text": ["e"]})
    found = read(format)
    assert found.ids == ["5", "-7", "x", f"in/c.{format}:0"]
    assert [(error.id, error.error) for error in found.errors] == [(f"in/a.{format}:1", "the id is null")]


@pytest.mark.parametrize("format", TABLES)
def test_another_column_can_be_the_id_and_stays(tmp_path: Path, read: Read, format: str) -> None:
    save(tmp_path / f"a.{format}", {"id": [1.5], "url": ["u"], "body": ["a"], "text": ["old"]})
    assert read(format, id="url", text="body").rows == [
        {"id": "u", "original_id": 1.5, "url": "u", "text": "a", "original_text": "old", "source": "in"}
    ]
    with pytest.raises(DatasetError, match="did you mean `url`"):
        read(format, id="urls")
    with pytest.raises(DatasetError, match="the id column `id` is double"):
        read(format)


@pytest.mark.parametrize("format", TABLES)
def test_columns_are_the_union_by_name_and_widen(tmp_path: Path, read: Read, format: str) -> None:
    save(
        tmp_path / f"a.{format}",
        {"text": ["a"], "n": pa.array([1], pa.int32()), "meta": [{"x": 1}], "kind": pa.array(["k"]).dictionary_encode()},
    )
    save(
        tmp_path / f"b.{format}",
        {"score": [0.5], "n": pa.array([2**40]), "text": pa.array(["b"], pa.large_string()), "meta": [{"y": "z", "x": None}]},
    )
    a, b = read(format).rows
    assert list(a) == ["id", "text", "n", "meta", "kind", "score", "source"]
    assert (a["n"], b["n"], a["score"], b["kind"]) == (1, 2**40, None, None)
    assert (a["meta"], b["meta"]) == ({"x": 1, "y": None}, {"x": None, "y": "z"})
    assert a["kind"] == "k"


@pytest.mark.parametrize("format", TABLES)
def test_types_that_lose_values_together_name_both_files(tmp_path: Path, read: Read, format: str) -> None:
    save(tmp_path / f"a.{format}", {"text": ["a"], "n": [2**60]})
    save(tmp_path / f"b.{format}", {"text": ["a"], "n": [0.5]})
    with pytest.raises(DatasetError, match=rf"column `n` is int64 in .*a\.{format} but double in .*b\.{format}"):
        read(format)


@pytest.mark.parametrize("format", TABLES)
def test_a_text_column_that_is_no_text_is_an_error(tmp_path: Path, read: Read, format: str) -> None:
    save(tmp_path / f"a.{format}", {"text": [1]})
    with pytest.raises(DatasetError, match="the text column `text` is int64"):
        read(format)


@pytest.mark.parametrize("format", TABLES)
def test_invalid_utf8_is_an_error_of_its_row(tmp_path: Path, read: Read, format: str) -> None:
    binary = pa.array([b"ok", b"\xff\xfe", b"fine", None])
    text = pa.Array.from_buffers(pa.string(), 4, binary.buffers())
    nested = pa.ListArray.from_arrays(
        pa.array([0, 1, 1, 2, 2], pa.int32()), pa.Array.from_buffers(pa.string(), 2, pa.array([b"a", b"\xff"]).buffers())
    )
    save(tmp_path / f"a.{format}", {"text": text, "tags": nested})
    found = read(format)
    assert [row["text"] for row in found.rows] == ["ok", None]
    assert [error.error for error in found.errors] == ["column `text`: invalid UTF-8", "column `tags`: invalid UTF-8"]
    assert [error.id for error in found.errors] == [f"in/a.{format}:1", f"in/a.{format}:2"]


@pytest.mark.parametrize("format", TABLES)
def test_too_large_texts_are_dropped_with_their_size(tmp_path: Path, read: Read, format: str) -> None:
    save(tmp_path / f"a.{format}", {"text": ["x" * 10, "y" * 11, "z" * 9]})
    found = read(format, max_record_bytes=10)
    assert [row["text"][0] for row in found.rows] == ["x", "z"]
    assert [(drop.id, drop.reason, drop.value) for drop in found.drops] == [(f"in/a.{format}:1", "too_large", 11.0)]


@pytest.mark.parametrize("format", TABLES)
@pytest.mark.parametrize("keep", [0, 3, 100, 0.5])
def test_a_cut_file_is_one_error(tmp_path: Path, read: Read, format: str, keep: float) -> None:
    save(tmp_path / f"a.{format}", {"text": ["good"]})
    save(tmp_path / f"b.{format}", {"text": [f"{n}" * 50 for n in range(1000)]})
    whole = (tmp_path / f"b.{format}").read_bytes()
    (tmp_path / f"b.{format}").write_bytes(whole[: int(len(whole) * keep) if isinstance(keep, float) else keep])
    found = read(format, target_bytes=10)
    assert [row["text"] for row in found.rows] == ["good"]
    assert [error.id for error in found.errors] == [f"in/b.{format}"]


def test_an_arrow_stream_cut_between_two_batches_is_an_error(tmp_path: Path, read: Read) -> None:
    save(tmp_path / "a.arrow", {"text": ["a", "b"]}, row_group_size=1)
    (tmp_path / "a.arrow").write_bytes((tmp_path / "a.arrow").read_bytes()[:-8])
    found = read("arrow")
    assert len(found.rows) == 2
    assert [error.id for error in found.errors] == ["in/a.arrow:2"]


def damage(path: Path, row_group: int, column: int, share: float) -> None:
    chunk = pq.ParquetFile(path).metadata.row_group(row_group).column(column)
    data = bytearray(path.read_bytes())
    at = chunk.data_page_offset + int(chunk.total_compressed_size * share)
    data[at : at + 8] = bytes(byte ^ 0x5A for byte in data[at : at + 8])
    path.write_bytes(data)


@pytest.mark.parametrize("batch_bytes", [1, 5_000, 1 << 20])
def test_damage_in_a_row_group_loses_countable_rows_and_no_other_group(tmp_path: Path, read: Read, batch_bytes: int) -> None:
    texts = [f"{n} {np.random.default_rng(n).bytes(40).hex()}" for n in range(3000)]
    save(tmp_path / "a.parquet", {"text": texts}, row_group_size=1000)
    damage(tmp_path / "a.parquet", 1, 0, 0.8)
    found = read("parquet", batch_bytes=batch_bytes)
    (error,) = found.errors
    lost = 3000 - len(found.rows)
    first = 2000 - lost
    assert 1000 < first < 2000, "rows before the damaged page are saved, whatever the batch size"
    assert error.id == f"in/a.parquet:{first}"
    assert error.error.startswith(f"rows {first}-1999 unreadable ({lost} rows): ")
    assert [row["text"] for row in found.rows] == texts[:first] + texts[2000:]


rows = st.lists(st.tuples(st.text(max_size=20), st.none() | st.integers(-5, 5)), min_size=1, max_size=40)


@settings(max_examples=40)
@given(rows, st.integers(1, 15), st.integers(1, 3000), st.integers(1, 2000))
@pytest.mark.parametrize("format", TABLES)
def test_no_split_and_no_batch_size_changes_what_is_read(
    read_folder: Read, format: str, rows: list[tuple[str, int | None]], group: int, target: int, batch_bytes: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        save(Path(name) / f"a.{format}", {"text": [text for text, _ in rows], "n": pa.array([n for _, n in rows], pa.int8())}, group)
        whole = read_folder(format, Path(name))
        assert [(row["text"], row["n"]) for row in whole.rows] == rows
        assert read_folder(format, Path(name), ReadOptions("in", batch_bytes=batch_bytes), target).rows == whole.rows


@settings(max_examples=60)
@given(st.data())
def test_damaged_parquet_never_raises_and_says_what_is_missing(read_folder: Read, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.parquet"
        save(path, {"text": [f"text {n}" for n in range(300)], "n": list(range(300))}, row_group_size=100)
        raw = bytearray(path.read_bytes())
        footer = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")
        at = data.draw(st.integers(4, footer - 1))
        raw[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(raw)
        found = read_folder("parquet", Path(name))
        assert len(found.rows) == 300 or found.errors


@pytest.mark.parametrize("format", TABLES)
def test_splits_and_reads_refuse_a_file_that_changed(tmp_path: Path, format: str) -> None:
    save(tmp_path / f"a.{format}", {"text": ["a"]})
    storage, chosen, options = LocalStorage(tmp_path), reader(format), ReadOptions("in")  # type: ignore[arg-type]
    (file,) = storage.list()
    schema = chosen.schema(storage, [file], options)
    (part,) = chosen.split(storage, file, 1 << 30)
    save(tmp_path / f"a.{format}", {"text": ["other"]})
    with pytest.raises(DatasetError, match="changed during the run"):
        list(chosen.read(storage, part, schema, options))
    (tmp_path / f"a.{format}").unlink()
    with pytest.raises(DatasetError, match="vanished during the run"):
        list(chosen.read(storage, part, schema, options))


WIDER = [
    (pa.int8(), pa.uint8(), pa.int16()),
    (pa.int64(), pa.uint32(), pa.int64()),
    (pa.int32(), pa.float32(), pa.float64()),
    (pa.int16(), pa.float32(), pa.float32()),
    (pa.string(), pa.large_string(), pa.large_string()),
    (pa.binary(4), pa.binary(), pa.binary()),
    (pa.timestamp("s"), pa.timestamp("us"), pa.timestamp("us")),
    (pa.date32(), pa.date64(), pa.date64()),
    (pa.decimal128(5, 2), pa.decimal128(6, 4), pa.decimal128(7, 4)),
    (pa.null(), pa.list_(pa.int8()), pa.list_(pa.int8())),
    (pa.list_(pa.int8()), pa.list_(pa.int32()), pa.list_(pa.int32())),
    (pa.dictionary(pa.int8(), pa.string()), pa.string(), pa.string()),
]


@pytest.mark.parametrize(("a", "b", "wide"), WIDER)
def test_types_widen_without_loss(a: pa.DataType, b: pa.DataType, wide: pa.DataType) -> None:
    assert unify(a, b) == unify(b, a) == wide


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (pa.int64(), pa.float64()),
        (pa.uint64(), pa.int8()),
        (pa.string(), pa.int8()),
        (pa.bool_(), pa.int8()),
        (pa.timestamp("s"), pa.timestamp("s", "UTC")),
        (pa.list_(pa.int8()), pa.int8()),
    ],
)
def test_types_that_would_lose_are_refused(a: pa.DataType, b: pa.DataType) -> None:
    for first, second in ((a, b), (b, a)):
        with pytest.raises(Incompatible):
            unify(first, second)
