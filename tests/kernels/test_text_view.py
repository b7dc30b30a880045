"""Views of Arrow columns, what is remembered of them, and what is carried over when rows are dropped."""

from __future__ import annotations

import gc
import random
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import kernels
from curate.kernels import text_view
from tests.kernels import columns

COMPUTED: dict[str, Callable[[kernels.Texts], Any]] = {
    "words": kernels.words,
    "german words": lambda texts: kernels.words(texts, "de"),
    "lines": kernels.lines,
    "paragraphs": lambda texts: kernels.lines(texts, "blank"),
    "characters": kernels.characters,
}


SPANS = ("first", "start", "end", "chars", "kind", "hashes")
COUNTS = ("all", "letters", "digits", "upper", "spaces", "punctuation", "symbols")


def rows(texts: kernels.Texts) -> list[bytes]:
    return [bytes(texts.data[a:b]) for a, b in zip(texts.offsets, texts.offsets[1:], strict=False)]


def values(found: Any, origin: int = 0) -> dict[str, list[int]]:
    """Return all arrays of a result; places count from an origin."""
    names = SPANS if hasattr(found, "start") else COUNTS
    return {name: (getattr(found, name) - (origin if name in ("start", "end") else 0)).tolist() for name in names}


@given(columns.columns())
def test_a_view_has_the_rows_of_its_column(column: columns.Column) -> None:
    texts = kernels.Texts.of(column.array)
    assert rows(texts) == column.contents
    assert len(texts) == len(column.rows)
    assert texts.valid.tolist() == [row is not None for row in column.rows]
    assert texts.sizes.tolist() == [len(content) for content in column.contents]


@given(columns.columns())
def test_a_slice_gives_the_same_as_a_copy(column: columns.Column) -> None:
    texts, copy = kernels.Texts.of(column.array), kernels.Texts.of(columns.of(*column.contents))
    if not texts.valid.all():  # a null's bytes lie between the others
        texts = kernels.Texts.of(columns.column([(row, True) for row in [b"#", *column.contents]], begin=1).array)
    for compute in COMPUTED.values():
        assert values(compute(texts), int(texts.offsets[0])) == values(compute(copy))


@given(columns.columns())
def test_nulls_are_empty_texts(column: columns.Column) -> None:
    texts = kernels.Texts.of(column.array)
    empty = kernels.Texts.of(columns.of(*column.contents))
    for compute in COMPUTED.values():
        one, other = compute(texts), compute(empty)
        assert np.array_equal(one.first, other.first) if hasattr(one, "first") else values(one) == values(other)


@given(columns.columns(), st.data())
def test_what_is_known_is_carried_over_to_the_rows_that_are_left(column: columns.Column, data: st.DataObject) -> None:
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(column.rows), max_size=len(column.rows))), np.bool_)
    before = kernels.texts(column.array)
    for name, compute in COMPUTED.items():
        before.remember(name, compute)
    left = column.array.filter(pa.array(kept))
    text_view.select(column.array, left, kept)
    carried = kernels.texts(left)
    anew = kernels.Texts.of(left)
    for name, compute in COMPUTED.items():
        assert values(carried.remember(name, _computed_anew)) == values(compute(anew))
        assert values(compute(carried)) == values(compute(anew))
    text_view.forget()


def _computed_anew(texts: kernels.Texts) -> Any:
    pytest.fail("computed anew")


@given(columns.columns(), st.randoms(use_true_random=False), st.sampled_from(["en", "de", "fr"]))
def test_words_are_carried_over_to_the_lines_that_are_left(column: columns.Column, draw: random.Random, language: str) -> None:
    before = kernels.texts(column.array)
    lines = kernels.lines(before)
    start, end = kernels.trimmed(before, lines.start, lines.end)
    kept = np.array([draw.random() < 0.6 for _ in start], np.bool_)
    edited = np.array([draw.random() < 0.2 for _ in column.rows], np.bool_)
    spans = kernels.Texts.of(kernels.joined_spans(before, lines.first, start, end, kept))
    left = columns.of(*(b"Not (this) one." + row if other else row for row, other in zip(rows(spans), edited, strict=True)))
    known = kernels.words(before, language)
    text_view.leave(left, text_view.Left(before, np.concatenate([[0], np.cumsum(kept)])[lines.first], start[kept], end[kept], edited))
    carried = kernels.words(kernels.texts(left), language)
    assert values(carried) == values(kernels.words(kernels.Texts.of(left), language))
    assert known is kernels.words(before, language)
    assert values(kernels.lines(kernels.texts(left))) == values(kernels.lines(kernels.Texts.of(left)))
    text_view.forget()


def test_what_follows_from_lines_is_not_computed_anew() -> None:
    class Known:
        def left(self, spans: text_view.Left, after: kernels.Texts, compute: Any) -> str:
            return "follows"

    before = kernels.texts(pa.array(["a\nb"]))
    before.remember("known", lambda texts: Known())
    before.remember("other", lambda texts: object())
    after, place = pa.array(["b"]), np.array([2])
    text_view.leave(after, text_view.Left(before, np.array([0, 1]), place, place + 1, np.array([False])))
    assert kernels.texts(after).remember("known", _computed_anew) == "follows"
    assert kernels.texts(after).remember("other", lambda texts: "computed") == "computed"


@given(columns.columns(), columns.columns())
def test_chunks_are_put_together(one: columns.Column, other: columns.Column) -> None:
    chunks = [column.array.cast(pa.large_binary()).cast(pa.large_string(), safe=False) for column in (one, other) if _valid(column)]
    texts = kernels.texts(pa.chunked_array(chunks, pa.large_string()))
    assert rows(texts) == [content for column in (one, other) if _valid(column) for content in column.contents]


def _valid(column: columns.Column) -> bool:
    try:
        column.array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


@pytest.mark.parametrize(
    "array",
    [
        pa.array([], pa.string()),
        pa.array([], pa.large_string()),
        pa.array(["x", "y"])[2:],
        pa.nulls(2),
        pa.nulls(2, pa.string()),
        pa.array(["", ""]),
        pa.chunked_array([], pa.string()),
    ],
)
def test_columns_without_a_byte(array: pa.Array | pa.ChunkedArray) -> None:
    texts = kernels.texts(array)
    assert rows(texts) == [b""] * len(array)
    assert kernels.words(texts).first.tolist() == [0] * (len(array) + 1)
    assert kernels.lines(texts).first.tolist() == [0] * (len(array) + 1)
    assert kernels.characters(texts).all.tolist() == [0] * len(array)
    assert [counts.shape for counts in kernels.repeated_grams(kernels.words(texts))] == [(len(array), 3), (len(array), 6)]


def test_other_columns_are_refused() -> None:
    with pytest.raises(TypeError, match="kernels work on string columns, not on int64"):
        kernels.texts(pa.array([1, 2]))


def test_a_view_copies_nothing() -> None:
    column = pa.array(["one", "two", "three"], pa.large_string())[1:]
    texts = kernels.Texts.of(column)
    assert texts.data.ctypes.data == column.buffers()[2].address
    assert not texts.data.flags.writeable


def test_the_latest_column_is_remembered() -> None:
    column = pa.array(["one two", "three"])
    texts = kernels.texts(column)
    words = kernels.words(texts)
    again = pa.record_batch({"text": column}).column("text")
    assert kernels.texts(again) is texts
    assert kernels.words(kernels.texts(again)) is words
    assert kernels.words(texts, "de") is not words
    assert kernels.words(texts, "nl") is kernels.words(texts, "de")  # the same rules
    assert kernels.texts(column[1:]) is not texts
    assert kernels.texts(column) is not texts, "only the latest is kept"


def test_of_leaves_the_latest_column_alone() -> None:
    column = pa.array(["one two", "three"])
    texts = kernels.texts(column)
    kernels.Texts.of(pa.array(["other"]))
    assert kernels.texts(column) is texts


def test_forgetting() -> None:
    column = pa.array(["one"])
    texts = kernels.texts(column)
    text_view.forget()
    assert kernels.texts(column) is not texts


def test_what_is_known_is_carried_over_twice() -> None:
    column = pa.array(["a b", "c", "d e f", "g"])
    kernels.words(kernels.texts(column))
    for kept in ([True, False, True, True], [False, True, True]):
        left = column.filter(pa.array(kept))
        text_view.select(column, left, np.array(kept))
        column = left
    assert kernels.words(kernels.texts(column)).first.tolist() == [0, 3, 4]
    assert kernels.lines(kernels.texts(column)).chars.tolist() == [5, 1]


def test_texts_are_freed_at_once() -> None:
    """Cycles would hold buffers of many megabytes until the garbage collector comes (measured: 19 batches of 60)."""
    gc.disable()
    try:
        texts = kernels.texts(pa.array(["a b"]))
        for compute in COMPUTED.values():
            compute(texts)
        _ = kernels.lines(texts).kind
        alive = weakref.ref(texts)
        text_view.forget()
        del texts
        assert alive() is None
    finally:
        gc.enable()


def test_nothing_is_carried_over_from_another_column() -> None:
    column, other = pa.array(["a b", "c"]), pa.array(["d e f", "g"])
    kernels.words(kernels.texts(column))
    left = other[:1]
    text_view.select(other, left, np.array([True, False]))
    assert kernels.words(kernels.texts(left)).first.tolist() == [0, 3]


def test_threads_remember_columns_of_their_own() -> None:
    column = pa.array(["a b"])
    here = kernels.texts(column)
    there: list[kernels.Texts] = []
    thread = threading.Thread(target=lambda: there.append(kernels.texts(column)))
    thread.start()
    thread.join()
    assert there[0] is not here
    assert kernels.texts(column) is here


def test_the_same_bytes_with_other_nulls_are_another_column() -> None:
    one = pa.array(["ab", "cd"])
    other = pa.StringArray.from_buffers(2, one.buffers()[1], one.buffers()[2], pc.is_valid(pa.array([1, None])).buffers()[1])
    assert kernels.texts(one).sizes.tolist() == [2, 2]
    assert kernels.texts(other).sizes.tolist() == [2, 0]
