"""JSON Lines: what is kept, what is an error, and that no cut of a file changes what is read."""

from __future__ import annotations

import bz2
import gzip
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import DatasetError
from curate.readers import ReadOptions, reader
from curate.readers.base import Slice
from curate.storage import LocalStorage

Read = Callable[..., Any]


def write(path: Path, *rows: Any) -> Path:
    lines = [row if isinstance(row, bytes) else json.dumps(row, ensure_ascii=False).encode() for row in rows]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def test_keys_become_columns_and_ids_are_byte_offsets(tmp_path: Path, read: Read) -> None:
    write(tmp_path / "a.jsonl", {"text": "Grüße", "n": 1, "tags": ["x"], "meta": {"k": 1.5}}, {"text": "b", "n": None})
    first, second = read("jsonl").rows
    assert first == {"id": "in/a.jsonl:0", "text": "Grüße", "n": 1, "tags": ["x"], "meta": {"k": 1.5}, "source": "in", "extra": None}
    offset = (tmp_path / "a.jsonl").read_bytes().index(b"\n") + 1
    assert second["id"] == f"in/a.jsonl:{offset}"
    assert second["n"] is None


@pytest.mark.parametrize("given", ["doc", None])
def test_given_ids_are_kept_and_whole_numbers_become_decimal(tmp_path: Path, read: Read, given: str | None) -> None:
    column = given or "id"
    write(tmp_path / "a.jsonl", {column: 12, "text": "1"}, {column: None, "text": "2"}, {column: -7, "text": "3"})
    found = read("jsonl", id=given)
    assert found.ids == ["12", "-7"]
    assert [(error.id, error.error) for error in found.errors] == [(f"in/a.jsonl:{len(column) + 22}", f"the id `{column}` is null")]


def test_ids_may_be_strings_in_one_file_and_numbers_in_another(tmp_path: Path, read: Read) -> None:
    write(tmp_path / "a.jsonl", {"id": "x", "text": "1"})
    write(tmp_path / "b.jsonl", {"id": 2**64 - 1, "text": "2"})
    assert read("jsonl").ids == ["x", "18446744073709551615"]


def test_an_id_that_names_nothing_is_an_error(tmp_path: Path, read: Read) -> None:
    late_rows(tmp_path, {"text": "late", "id": 1.5})
    (error,) = read("jsonl").errors
    assert error.error == "the id `id` is a float, not a string or a whole number"
    write(tmp_path / "a.jsonl", {"id": 1.5, "text": "1"})
    with pytest.raises(DatasetError, match="the id column `id` is double"):
        read("jsonl")


def test_a_row_without_the_named_id_is_an_error_but_without_id_it_gets_one(tmp_path: Path, read: Read) -> None:
    write(tmp_path / "a.jsonl", {"id": "x", "text": "1"}, {"text": "2"})
    assert len(read("jsonl").ids) == 2
    assert [error.error for error in read("jsonl", id="id").errors] == ["no id: the object has no `id`"]


def test_missing_columns_are_errors_with_a_suggestion(tmp_path: Path, read: Read) -> None:
    write(tmp_path / "a.jsonl", {"content": "x", "doc_id": "1"})
    with pytest.raises(DatasetError, match="did you mean `content`"):
        read("jsonl", text="contents")
    with pytest.raises(DatasetError, match="did you mean `doc_id`"):
        read("jsonl", id="docid")


def test_text_is_renamed_and_what_stood_there_is_kept(tmp_path: Path, read: Read) -> None:
    write(tmp_path / "a.jsonl", {"content": "x", "text": "old", "source": "theirs"}, {"content": "y", "text": None})
    rows = read("jsonl", text="content").rows
    assert [row["text"] for row in rows] == ["x", "y"]
    assert [row["original_text"] for row in rows] == ["old", None]
    assert [row["source"] for row in rows] == ["theirs", "in"]


def test_a_source_that_is_no_string_is_kept_beside_ours(tmp_path: Path, read: Read) -> None:
    write(tmp_path / "a.jsonl", {"text": "x", "source": {"site": "s"}})
    (row,) = read("jsonl").rows
    assert (row["source"], row["original_source"]) == ("in", {"site": "s"})


def late_rows(tmp_path: Path, *rows: Any) -> None:
    """Write a file whose first megabyte, the sample, shows only text, `n` and `meta.k`."""
    write(tmp_path / "a.jsonl", *[{"text": "x" * 1000, "n": 1, "meta": {"k": 1}} for _ in range(1100)], *rows)


def test_keys_that_the_sample_did_not_show_go_to_extra(tmp_path: Path, read: Read) -> None:
    late_rows(
        tmp_path,
        {"text": "late", "new": [1, {"a": None}], "n": 2},
        {"text": "nested", "meta": {"k": 2, "z": 3}},
        {"text": "null", "new": None},
    )
    found = read("jsonl")
    assert found.errors == []
    new, nested, null = found.rows[-3:]
    assert json.loads(new["extra"]) == {"new": [1, {"a": None}]}
    assert nested["meta"] == {"k": 2} and json.loads(nested["extra"]) == {"meta": {"k": 2, "z": 3}}
    assert null["extra"] is None
    assert {row["extra"] for row in found.rows[:-3]} == {None}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": "t", "n": "one"}, "`n` is a string, which does not fit the column's type int64"),
        ({"text": "t", "n": 1.5}, "`n` is a number, which"),
        ({"text": "t", "n": True}, "`n` is true or false, which"),
        ({"text": "t", "n": 2**63}, "`n` is a whole number, which"),
        ({"text": ["t"]}, "`text` is a list, which"),
        ({"text": "t", "meta": {"k": "s"}}, "`meta` is an object, which"),
    ],
)
def test_a_value_of_another_type_is_an_error_of_its_row_alone(tmp_path: Path, read: Read, row: Any, said: str) -> None:
    late_rows(tmp_path, row, {"text": "after"})
    found = read("jsonl")
    assert len(found.rows) == 1101 and found.rows[-1]["text"] == "after"
    (error,) = found.errors
    assert error.error.startswith(said)


def test_whole_numbers_and_fractions_are_one_column(tmp_path: Path, read: Read) -> None:
    write(tmp_path / "a.jsonl", {"text": "a", "score": 1, "list": [1, 2.5]}, {"text": "b", "score": 0.5})
    assert [row["score"] for row in read("jsonl").rows] == [1.0, 0.5]
    assert read("jsonl").rows[0]["list"] == [1.0, 2.5]


def test_conflicting_types_name_both_places(tmp_path: Path, read: Read) -> None:
    write(tmp_path / "a.jsonl", {"text": "a"}, {"text": "a", "year": 2020})
    write(tmp_path / "b.jsonl", {"text": "b", "year": "2020"})
    with pytest.raises(DatasetError, match=r"column `year` is a whole number in .*a\.jsonl line 2 but string in .*b\.jsonl line 1"):
        read("jsonl")


def test_lists_of_mixed_types_go_to_extra(tmp_path: Path, read: Read) -> None:
    write(tmp_path / "a.jsonl", {"text": "a", "spans": [[3, 10, "NAME"]]}, {"text": "b", "spans": []})
    first, second = read("jsonl").rows
    assert json.loads(first["extra"]) == {"spans": [[3, 10, "NAME"]]}
    assert "spans" not in first
    assert json.loads(second["extra"]) == {"spans": []}


BROKEN = [
    (b"[1, 2]", "the line is a list, not an object"),
    (b"7", "the line is a whole number, not an object"),
    (b'{"text": "a"', "not JSON: "),
    (b'{"text": "\xff"}', "invalid UTF-8 at byte 10 of the line"),
    (b'{"text": "a\x00b"}', "NUL byte at byte 11 of the line"),
    (b'{"text": "\\ud800"}', "not JSON: "),
]


@pytest.mark.parametrize(("line", "said"), BROKEN)
def test_a_broken_line_is_one_error_and_never_quoted(tmp_path: Path, read: Read, line: bytes, said: str) -> None:
    write(tmp_path / "a.jsonl", {"text": "secret one"}, line, {"text": "two"})
    found = read("jsonl")
    assert [row["text"] for row in found.rows] == ["secret one", "two"]
    (error,) = found.errors
    assert error.error.startswith(said)
    assert error.id == f"in/a.jsonl:{len(json.dumps({'text': 'secret one'})) + 1}"


def test_escaped_nul_blank_lines_crlf_and_byte_order_mark_are_fine(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "a\\u0000"}\r\n\r\n  \n{"text": "b"}')
    found = read("jsonl")
    assert [row["text"] for row in found.rows] == ["a\0", "b"]
    assert found.errors == []


def test_a_line_over_the_limit_is_dropped_with_its_size(tmp_path: Path, read: Read) -> None:
    write(tmp_path / "a.jsonl", {"text": "a"}, {"text": "x" * 900_000}, {"text": "b"})
    found = read("jsonl", max_record_bytes=1000)
    assert [row["text"] for row in found.rows] == ["a", "b"]
    assert [(drop.reason, drop.value) for drop in found.drops] == [("too_large", 900_012.0)]


def test_a_json_array_is_refused_with_the_remedy(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.json").write_text('[{"text": "a"}]')
    with pytest.raises(DatasetError, match="jq"):
        read("jsonl")


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.jsonl.bz2"])
def test_an_empty_file_has_no_documents(tmp_path: Path, read: Read, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    found = read("jsonl")
    assert (found.rows, found.drops, found.errors) == ([], [], [])


def compress(data: bytes, kind: str) -> bytes:
    if kind == "gz":
        return gzip.compress(data)
    if kind == "bz2":
        return bz2.compress(data)
    return bytes(pa.compress(data, "zstd", asbytes=True)) if kind == "zst" else data


@pytest.mark.parametrize("kind", ["gz", "zst", "bz2"])
def test_compressed_files_read_like_plain_ones(tmp_path: Path, read_folder: Read, kind: str) -> None:
    rows = [{"text": f"{n} " + "y" * (n % 999)} for n in range(3000)]
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    plain.mkdir(), packed.mkdir()
    data = write(plain / "a.jsonl", *rows).read_bytes()
    half = data.index(b"\n", len(data) // 2) + 1
    (packed / f"a.jsonl.{kind}").write_bytes(compress(data[:half], kind) + compress(data[half:], kind))
    expected = [(row["text"], row["id"].rpartition(":")[2]) for row in read_folder("jsonl", plain).rows]
    assert [(row["text"], row["id"].rpartition(":")[2]) for row in read_folder("jsonl", packed).rows] == expected


@pytest.mark.parametrize("kind", ["gz", "zst", "bz2"])
def test_a_truncated_archive_keeps_what_came_and_says_what_is_missing(tmp_path: Path, read: Read, kind: str) -> None:
    import random

    random.seed(7)
    data = b"".join(json.dumps({"text": random.randbytes(500).hex()}).encode() + b"\n" for _ in range(4000))
    packed = compress(data, kind)
    (tmp_path / f"a.jsonl.{kind}").write_bytes(packed[: len(packed) // 2])
    found = read("jsonl")
    assert 1000 < len(found.rows) < 2500
    (error,) = found.errors
    assert error.error.startswith("the rest of the file is unreadable: ")
    assert error.id == f"in/a.jsonl.{kind}:{len(found.rows) * (len(data) // 4000)}"


documents = st.lists(st.text(st.characters(codec="utf-8"), max_size=40), min_size=1, max_size=30)


@settings(max_examples=60)
@given(documents, st.integers(1, 200), st.integers(1, 4000))
def test_no_split_and_no_batch_size_changes_what_is_read(read_folder: Read, texts: list[str], target: int, batch_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "a.jsonl", *[{"text": text} for text in texts])
        whole = read_folder("jsonl", folder)
        assert [row["text"] for row in whole.rows] == texts
        cut = read_folder("jsonl", folder, ReadOptions("in", batch_bytes=batch_bytes), target)
        assert cut.rows == whole.rows


@settings(max_examples=60)
@given(documents, st.data())
def test_a_slice_owns_the_lines_that_start_in_it(texts: list[str], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = write(Path(name) / "a.jsonl", *[{"text": text} for text in texts])
        storage, options, chosen = LocalStorage(name), ReadOptions("in"), reader("jsonl")
        (file,) = storage.list()
        schema = chosen.schema(storage, [file], options)
        at = data.draw(st.integers(0, path.stat().st_size))
        ids = [
            [i for batch in chosen.read(storage, part, schema, options) for i in batch.docs["id"].to_pylist()]
            for part in (Slice(file, 0, at), Slice(file, at, file.size))
        ]
        assert all(int(i.rpartition(":")[2]) < at for i in ids[0])
        assert all(int(i.rpartition(":")[2]) >= at for i in ids[1])
        assert len(ids[0]) + len(ids[1]) == len(texts)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100)
@given(st.lists(st.dictionaries(st.sampled_from(["p", "q", "r"]), json_values, max_size=3), min_size=1, max_size=6))
def test_every_object_is_refused_for_a_conflict_or_kept_whole(read_folder: Read, objects: list[dict[str, Any]]) -> None:
    """Columns and `extra` together hold all that is not null."""
    with tempfile.TemporaryDirectory() as name:
        write(Path(name) / "a.jsonl", *objects)
        try:
            found = read_folder("jsonl", Path(name))
        except DatasetError as error:
            assert "column `" in str(error)
            return
        assert len(found.rows) == len(objects) and not found.errors
        for row, original in zip(found.rows, objects, strict=True):
            extra = json.loads(row["extra"] or "{}")
            for key, value in original.items():
                assert pruned(extra.get(key, row.get(key))) == pruned(value)


def pruned(value: Any) -> Any:
    """Leave out nulls of objects: a column cannot tell them from absent keys."""
    if isinstance(value, dict):
        return {key: pruned(item) for key, item in value.items() if item is not None}
    return [pruned(item) for item in value] if isinstance(value, list) else value
