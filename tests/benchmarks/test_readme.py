"""Tests of writing tables into README.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import quality, readme


def test_replaces_its_own_text_only(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text("top\n<!-- one -->\nold\n<!-- end of one -->\nmiddle\n<!-- two -->\nstays\n<!-- end of two -->\n")
    for _ in range(2):
        readme.write("one", "new", file)
    assert file.read_text() == "top\n<!-- one -->\nnew\n<!-- end of one -->\nmiddle\n<!-- two -->\nstays\n<!-- end of two -->\n"


def test_appends_what_has_no_marks(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text("top\n")
    for text in ("first", "second"):
        readme.write("one", text, file)
    assert file.read_text() == "top\n\n<!-- one -->\nsecond\n<!-- end of one -->\n"


def test_refuses_a_mark_without_end(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text("<!-- one -->\nold\n\n## What follows\n")
    with pytest.raises(ValueError, match="without"):
        readme.write("one", "new", file)
    assert "What follows" in file.read_text()


def test_every_benchmark_has_its_place() -> None:
    text = readme.README.read_text()
    for name in (*quality.SECTIONS, "measured", "fidelity", "speed of filters", "limits by language", "near-duplicates", "dump after dump"):
        assert [text.count(mark) for mark in readme.marks(name)] == [1, 1], name
