"""Repeated lines and n-grams beside plain Python: both conventions, on real text and on text that repeats itself."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import kernels
from curate.kernels.line_spans import Breaks
from curate.kernels.repeats import Counting
from tests.kernels import plain

TOP, REPEATED = (2, 3, 4), (5, 6, 7, 8, 9, 10)
COUNTINGS = get_args(Counting)
repetitive = st.lists(st.sampled_from(["a", "b", "cc", "d."]), max_size=60).map(" ".join)


def check_grams(array: pa.Array, counting: Counting, top: tuple[int, ...] = TOP, repeated: tuple[int, ...] = REPEATED) -> None:
    texts = kernels.Texts.of(array)
    words = kernels.words(texts)
    listed = plain.spans(texts, words.first, words.start, words.end)
    most, chars = kernels.repeated_grams(words, top, repeated, counting)
    assert most.tolist() == [[plain.top_gram(one, n) for n in top] for one in listed]
    assert chars.tolist() == [[plain.repeated_gram(one, n, counting) for n in repeated] for one in listed]


@pytest.mark.parametrize("counting", COUNTINGS)
def test_grams_of_real_texts(real_texts: pa.Array, counting: Counting) -> None:
    check_grams(real_texts[::3], counting)


@pytest.mark.parametrize("counting", COUNTINGS)
@given(texts=st.lists(repetitive, max_size=4))
def test_grams_of_repetitive_texts(counting: Counting, texts: list[str]) -> None:
    check_grams(pa.array(texts, pa.string()), counting)


@pytest.mark.parametrize(("top", "repeated"), [((), ()), ((3,), (5, 9)), ((2, 7), ()), ((), (2,)), ((4,), (2, 3))])
@given(texts=st.lists(repetitive, max_size=3))
def test_any_choice_of_n(top: tuple[int, ...], repeated: tuple[int, ...], texts: list[str]) -> None:
    check_grams(pa.array(texts, pa.string()), "later", top, repeated)


def test_worked_grams() -> None:
    words = kernels.words(kernels.Texts.of(pa.array(["x y x y x y", "a b c d e a b c d e", "one"])))
    most, later = kernels.repeated_grams(words, (2, 3), (2, 5), "later")
    _, every = kernels.repeated_grams(words, (2, 3), (2, 5), "all")
    assert most.tolist() == [[9, 10], [6, 10], [0, 0]]  # "x y" thrice, "x y x" twice, "a b" twice, "a b c" twice
    assert later.tolist() == [[4, 0], [4, 5], [0, 0]]  # x y, x y | a b, c d | a b c d e
    assert every.tolist() == [[6, 0], [10, 10], [0, 0]]  # every word stands in a pair that occurs twice


@pytest.mark.parametrize("breaks", get_args(Breaks))
@pytest.mark.parametrize("counting", COUNTINGS)
@pytest.mark.parametrize("skip_empty", [False, True])
def test_repeated_lines_of_real_texts(real_texts: pa.Array, breaks: Breaks, counting: Counting, skip_empty: bool) -> None:
    found = kernels.repeated_lines(kernels.lines(kernels.Texts.of(real_texts), breaks), counting, skip_empty)
    wanted = [plain.repeated_lines(plain.BREAKS[breaks](text), counting, skip_empty) for text in real_texts.to_pylist()]
    assert np.stack(found, 1).tolist() == [list(one) for one in wanted]


@pytest.mark.parametrize("counting", COUNTINGS)
@given(st.lists(st.lists(st.sampled_from(["", " ", "a", "b", "-"]), max_size=30).map("\n".join), max_size=4))
def test_repeated_lines_of_repetitive_texts(counting: Counting, texts: list[str]) -> None:
    for skip in (False, True):
        found = kernels.repeated_lines(kernels.lines(kernels.Texts.of(pa.array(texts, pa.string())), "feed"), counting, skip)
        wanted = [plain.repeated_lines(text.split("\n"), counting, skip) for text in texts]
        assert np.stack(found, 1).tolist() == [list(one) for one in wanted]


def test_worked_lines() -> None:
    lines = kernels.lines(kernels.Texts.of(pa.array(["aa\nb\naa\n\naa\n"])), "feed")
    assert [counts.tolist() for counts in kernels.repeated_lines(lines)] == [[6], [3], [4]]  # aa twice more, the second empty line
    assert [counts.tolist() for counts in kernels.repeated_lines(lines, "all")] == [[6], [5], [6]]
    assert [counts.tolist() for counts in kernels.repeated_lines(lines, "all", skip_empty=True)] == [[4], [3], [6]]


@given(st.lists(st.lists(st.integers(-5, 5), max_size=5), max_size=6))
def test_sums(values: list[list[int]]) -> None:
    first = np.concatenate([[0], np.cumsum([len(one) for one in values])]).astype(np.int64)
    flat = np.array([value for one in values for value in one], np.int32)
    assert kernels.sums(flat, first).tolist() == [sum(one) for one in values]
    assert kernels.sums(flat > 0, first).tolist() == [sum(value > 0 for value in one) for one in values]


@given(st.lists(st.text("ab .", max_size=20), max_size=4), st.lists(st.sampled_from(["a", "b", "ab", ".", "x"]), max_size=5))
def test_matches(texts: list[str], wanted: list[str]) -> None:
    view = kernels.Texts.of(pa.array(texts, pa.string()))
    words = kernels.words(view)
    listed = plain.spans(view, words.first, words.start, words.end)
    different, occurrences = kernels.matches(words, wanted)
    assert different.tolist() == [len({*one} & {*wanted}) for one in listed]
    assert occurrences.tolist() == [sum(word in wanted for word in one) for one in listed]


def test_matches_of_a_long_list() -> None:
    view = kernels.Texts.of(pa.array(["w1 w500 w500 w1000 W1", ""]))
    different, occurrences = kernels.matches(kernels.words(view), [f"w{k}" for k in range(1000)])
    assert (different.tolist(), occurrences.tolist()) == ([2, 0], [3, 0])
