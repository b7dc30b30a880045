"""Folders of text and HTML files, and what all readers share."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from curate.errors import DatasetError, PipelineError
from curate.readers import FORMATS, Format, ReadOptions, reader
from curate.storage import LocalStorage

Read = Callable[..., Any]


def test_one_document_per_file(tmp_path: Path, read: Read) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\n")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"zwei\0"))
    (tmp_path / "sub" / "c.md").write_bytes(b"")
    found = read("text")
    assert found.rows == [
        {"id": "in/a.txt", "text": "one\r\n", "path": "a.txt", "source": "in"},
        {"id": "in/b.txt.gz", "text": "zwei\0", "path": "b.txt.gz", "source": "in"},
    ]
    assert read("text", id="path").ids == ["a.txt", "b.txt.gz"]
    with pytest.raises(DatasetError, match="files offer `path`"):
        read("text", id="name")


def test_html_stays_bytes(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.html").write_bytes(b"<p>\xff")
    assert read("html").rows == [{"id": "in/a.html", "html": b"<p>\xff", "path": "a.html", "source": "in"}]


def test_bad_files_are_drops_and_errors(tmp_path: Path, read: Read) -> None:
    (tmp_path / "bad.txt").write_bytes(b"ab\xff")
    (tmp_path / "bomb.txt.gz").write_bytes(gzip.compress(bytes(30_000_000)))
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"x" * 1000)[:-9])
    (tmp_path / "fine.txt").write_bytes(b"x" * 100)
    (tmp_path / "large.txt").write_bytes(b"x" * 101)
    found = read("text", max_record_bytes=100)
    assert found.ids == ["in/fine.txt"]
    assert [(drop.id, drop.reason, drop.value) for drop in found.drops] == [
        ("in/bomb.txt.gz", "too_large", 30_000_000.0),
        ("in/large.txt", "too_large", 101.0),
    ]
    assert [(error.id, error.error) for error in found.errors] == [
        ("in/bad.txt", "invalid UTF-8 at byte 2"),
        ("in/cut.txt.gz", "unreadable: gzip: the file ends in the middle of a member"),
    ]


def test_every_format_has_a_reader() -> None:
    assert set(FORMATS) == set(get_args(Format))
    for format in FORMATS:
        assert reader(format) is not None
    with pytest.raises(PipelineError, match="formats: parquet"):
        reader("csv")  # type: ignore[arg-type]


def test_importing_the_package_loads_no_reader() -> None:
    code = "import sys, curate.readers; print([m for m in sys.modules if m.startswith(('curate.readers.', 'fastwarc', 'pyarrow.parquet'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['curate.readers.base']"


@pytest.mark.parametrize(
    ("format", "name"), [("jsonl", "a.jsonl"), ("warc", "a.warc"), ("wet", "a.wet"), ("text", "a.txt"), ("html", "a.html")]
)
def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path: Path, format: Format, name: str) -> None:
    (tmp_path / name).write_bytes(b'{"text": "a"}\n')
    storage, chosen, options = LocalStorage(tmp_path), reader(format), ReadOptions("in")
    files = storage.list()
    schema = chosen.schema(storage, files, options)
    batches = chosen.read(storage, chosen.split(storage, files[0], 1 << 30)[0], schema, options)
    next(batches)
    (tmp_path / name).write_bytes(b'{"text": "other"}\n')
    with pytest.raises(DatasetError, match="changed during the run"):
        list(batches)
