"""Lines and paragraphs beside Python's own splitting, on real text and on any bytes."""

from __future__ import annotations

import unicodedata
from typing import get_args

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given

from curate import kernels
from curate.kernels import line_spans, unicode
from curate.kernels.line_spans import Breaks
from tests.kernels import columns, plain

KINDS = get_args(Breaks)


def ends_sentence(line: str) -> bool:
    return bool(line) and bool(unicode.classes()[ord(line[-1])] & unicode.SENTENCE_END)


def check(array: pa.Array, contents: list[str], breaks: Breaks) -> None:
    texts = kernels.Texts.of(array)
    lines = kernels.lines(texts, breaks)
    wanted = [plain.BREAKS[breaks](content) for content in contents]
    assert plain.spans(texts, lines.first, lines.start, lines.end) == wanted
    flat = [line for one in wanted for line in one]
    assert lines.chars.tolist() == [len(line) for line in flat]
    bits = {
        line_spans.BULLET: [line.lstrip().startswith(("•", "-")) for line in flat],
        line_spans.ELLIPSIS: [line.rstrip().endswith(("...", "…")) for line in flat],
        line_spans.SENTENCE_END: [ends_sentence(line) for line in flat],
        line_spans.EMPTY: [not line.strip() for line in flat],
    }
    for bit, holds in bits.items():
        assert ((lines.kind & bit) > 0).tolist() == holds
    exact = [bytes(texts.data[a:b]) for a, b in zip(lines.start, lines.end, strict=True)]
    assert len({*zip(lines.hashes.tolist(), exact, strict=True)}) == len(set(exact)) == len(set(lines.hashes.tolist()))


@pytest.mark.parametrize("breaks", KINDS)
def test_lines_of_real_texts(real_texts: pa.Array, breaks: Breaks) -> None:
    check(real_texts, real_texts.to_pylist(), breaks)


@pytest.mark.parametrize("breaks", ["any", "feed", "runs"])
@given(columns.columns())
def test_lines_of_any_bytes(breaks: Breaks, column: columns.Column) -> None:
    check(column.array, [plain.decode(content) for content in column.contents], breaks)


@given(columns.columns())
def test_paragraphs_of_any_bytes(column: columns.Column) -> None:
    check(column.array, [plain.decode(content) for content in column.contents], "blank")


def test_a_broken_byte_behind_white_space_is_no_white_space() -> None:
    texts = kernels.Texts.of(columns.of(b"a \x80", b"\xc2\xa0\x80", b"\x80 "))
    start, end = kernels.trimmed(texts, texts.offsets[:-1], texts.offsets[1:])
    assert (end - start).tolist() == [3, 1, 1]


@pytest.mark.parametrize(
    ("text", "breaks", "expected"),
    [
        ("", "any", []),
        ("", "feed", [""]),
        ("", "blank", [""]),
        ("a\n", "any", ["a"]),
        ("a\n", "feed", ["a", ""]),
        ("a\n\n\nb\n", "runs", ["a", "b", ""]),
        ("\n\na\nb\n\n\nc\n\n", "blank", ["a\nb", "c"]),
        ("a\r\nb\rc\x85d\u2028e", "any", ["a", "b", "c", "d", "e"]),
        ("a\r\nb", "feed", ["a\r", "b"]),
        ("a\r\n\r\nb", "blank", ["a\r\n\r\nb"]),
    ],
)
def test_where_lines_are_cut(text: str, breaks: Breaks, expected: list[str]) -> None:
    texts = kernels.Texts.of(pa.array([text]))
    lines = kernels.lines(texts, breaks)
    assert plain.spans(texts, lines.first, lines.start, lines.end) == [expected]


@pytest.mark.parametrize(
    ("line", "bits"),
    [
        ("  • a", line_spans.BULLET),
        ("- a", line_spans.BULLET),
        ("* a", 0),
        ("a... ", line_spans.ELLIPSIS),
        ("a…", line_spans.ELLIPSIS),
        ("a. ..", line_spans.SENTENCE_END),
        ("a....", line_spans.ELLIPSIS | line_spans.SENTENCE_END),
        ("a. ", 0),
        ("终。", line_spans.SENTENCE_END),
        (" \xa0", line_spans.EMPTY),
        ("…", line_spans.ELLIPSIS),
        ('a."', 0),
    ],
)
def test_kinds_of_lines(line: str, bits: int) -> None:
    assert kernels.lines(kernels.Texts.of(pa.array([line]))).kind.tolist() == [bits]


@given(columns.columns())
def test_plain_words_of_any_bytes(column: columns.Column) -> None:
    texts = kernels.Texts.of(column.array)
    count, longest = kernels.plain_words(texts, texts.offsets[:-1], texts.offsets[1:])
    runs = [plain.decode(content).split() for content in column.contents]
    assert count.tolist() == [len(words) for words in runs]
    assert longest.tolist() == [max(map(len, words), default=0) for words in runs]


@given(columns.columns())
def test_joining_all_lines_gives_the_text_back(column: columns.Column) -> None:
    texts = kernels.Texts.of(column.array)
    lines = kernels.lines(texts, "feed")
    joined = kernels.joined_spans(texts, lines.first, lines.start, lines.end, np.ones(len(lines.start), np.bool_))
    assert joined.cast(pa.large_binary()).to_pylist() == list(column.rows)


@given(columns.columns())
def test_joining_the_long_lines(column: columns.Column) -> None:
    texts = kernels.Texts.of(column.array)
    lines = kernels.lines(texts, "feed")
    joined = kernels.joined_spans(texts, lines.first, lines.start, lines.end, lines.end - lines.start > 4)
    kept = [None if row is None else b"\n".join(line for line in row.split(b"\n") if len(line) > 4) for row in column.rows]
    assert joined.cast(pa.large_binary()).to_pylist() == kept


def test_sentence_ends_are_those_of_unicode() -> None:
    ends = {chr(code) for code in np.flatnonzero(unicode.classes() & unicode.SENTENCE_END)}
    assert set(".!?。！？؟।։") <= ends
    assert not ends & set(",;:\"')…")
    assert all(unicodedata.category(char) in ("Po", "Cn") for char in ends)
