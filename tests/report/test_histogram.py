"""Histograms: every value in the bin that its key names, whole = sum of parts, and what a chart asks of them."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.histogram import LENGTH_EDGES, SCORE_EDGES, counts, edges, length_histogram, median, score_histogram, without_value
from curate.manifest import add_nested

LENGTHS = st.lists(st.integers(0, 2**53))
SCORES = st.lists(st.one_of(st.floats(-2, 2), st.floats(allow_nan=False, allow_infinity=False)))


def searched(values: Sequence[float], known: Sequence[float]) -> dict[float, int]:
    """Count by binary search: slow, and obviously right."""
    return dict(Counter(known[max(bisect_right(known, value) - 1, 0)] for value in values))


def by_edge(histogram: dict[str, int]) -> dict[float, int]:
    return {float(key): number for key, number in histogram.items()}


@given(LENGTHS)
def test_a_length_is_in_the_bin_whose_lower_edge_is_its_key(values: list[int]) -> None:
    assert by_edge(length_histogram(np.array(values, dtype=np.int64))) == searched(values, LENGTH_EDGES)


@given(SCORES)
def test_a_score_is_in_the_bin_whose_lower_edge_is_its_key(values: list[float]) -> None:
    expected = searched([value if value != 1 else 0.99 for value in values], SCORE_EDGES)
    assert by_edge(score_histogram(np.array(values, dtype=np.float64))) == expected


@pytest.mark.parametrize("known", [LENGTH_EDGES, SCORE_EDGES])
def test_every_edge_and_its_neighbours_fall_on_the_right_side(known: tuple[float, ...]) -> None:
    near = [value for edge in known for value in (math.nextafter(edge, -math.inf), edge, math.nextafter(edge, math.inf)) if value != 1]
    if known is LENGTH_EDGES:
        near = [value for value in near if value >= 0]
        assert by_edge(length_histogram(np.array(near))) == searched(near, known)
    else:
        assert by_edge(score_histogram(np.array(near))) == searched(near, known)


def test_keys_are_the_lower_edges() -> None:
    assert length_histogram(np.array([0, 1, 5, 9, 10, 999, 1000])) == {"0": 1, "1": 1, "4": 1, "7": 1, "10": 1, "750": 1, "1000": 1}
    assert score_histogram(np.array([0.0, 0.58, 1.0, 1.5, 12.0, -0.3, -2.0])) == {
        "-2.054": 1, "-0.3": 1, "0": 1, "0.58": 1, "0.98": 1, "1.334": 1, "11.55": 1,
    }  # fmt: skip


def test_values_that_are_not_finite_have_names_of_their_own() -> None:
    histogram = score_histogram(np.array([math.nan, math.nan, math.inf, -math.inf, 0.5]))
    assert histogram == {"0.5": 1, "nan": 2, "inf": 1, "-inf": 1}
    assert without_value(histogram) == 4
    assert edges([histogram], SCORE_EDGES) == [0.5, 0.52]


def test_parts_add_up_to_the_whole_whatever_the_split() -> None:
    values = np.random.default_rng(3).normal(0, 4, 10_000)
    merged: dict[str, int] = {}
    for part in np.array_split(values, 7):
        add_nested(merged, score_histogram(part))
    assert merged == score_histogram(values)
    assert sum(merged.values()) == len(values)


def test_other_number_types_count_alike() -> None:
    values = np.array([0, 3, 70, 4000])
    assert length_histogram(values.astype(np.int32)) == length_histogram(values.astype(np.uint64)) == length_histogram(values)
    assert score_histogram(np.array([0.25, 0.5], dtype=np.float32)) == {"0.24": 1, "0.5": 1}
    assert score_histogram(np.arange(6.0)[::2]) == score_histogram(np.array([0.0, 2.0, 4.0]))


def test_nothing_gives_nothing() -> None:
    assert length_histogram(np.array([], dtype=np.int64)) == {}
    assert score_histogram(np.array([])) == {}
    assert edges([{}, {}], LENGTH_EDGES) == []
    assert median({}, LENGTH_EDGES) is None


def test_edges_and_counts_cover_what_lies_between() -> None:
    between = edges([{"1000": 2}, {"1778": 5}], LENGTH_EDGES)
    assert between == [1000, 1334, 1778, 2371]
    assert counts({"1000": 2, "1778": 5, "nan": 9}, between) == [2, 0, 5]


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=300))
def test_the_median_is_within_a_bin_of_the_true_one(values: list[int]) -> None:
    true = sorted(values)[(len(values) - 1) // 2]
    found = median(length_histogram(np.array(values)), LENGTH_EDGES)
    assert found is not None
    lower = LENGTH_EDGES[bisect_right(LENGTH_EDGES, true) - 1]
    assert lower <= found <= LENGTH_EDGES[bisect_right(LENGTH_EDGES, true)]
