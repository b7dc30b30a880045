"""Intervals of paired differences: beside SciPy, and at their nominal level where there is nothing to find."""

from __future__ import annotations

import math

import numpy as np
import pytest

from curate.errors import OperatorError
from curate_scorers.proxy.compare_effects import LEAST_ITEMS
from curate_scorers.proxy.statistics import (
    Effect,
    effect,
    holm,
    ratio_differences,
    signal_to_noise,
    student_quantile,
    student_tail,
)

scipy_stats = pytest.importorskip("scipy.stats")

GRANTED = 4  # standard errors that a simulated rate may lie off


@pytest.mark.parametrize("degrees", [1.0, 2.0, 4.0, 4.7, 30.0, 1000.0, math.inf])
def test_students_distribution_is_scipys(degrees: float) -> None:
    theirs = scipy_stats.norm if math.isinf(degrees) else scipy_stats.t(degrees)
    for t in (-3.0, 0.0, 1e-3, 0.5, 2.0, 12.7, 60.0):
        assert student_tail(t, degrees) == pytest.approx(theirs.sf(t), rel=1e-9)
    for probability in (0.6, 0.95, 0.975, 0.9995):
        assert student_quantile(probability, degrees) == pytest.approx(theirs.ppf(probability), rel=1e-9)


def test_one_item_is_the_paired_t_test() -> None:
    candidate, baseline = np.array([1.02, 0.97, 1.01, 0.95, 0.99]), np.array([1.05, 1.01, 1.02, 1.01, 0.98])
    found = effect([(candidate - baseline)[:, None]])
    theirs = scipy_stats.ttest_rel(candidate, baseline)
    low, high = theirs.confidence_interval(0.95)
    assert (found.difference, found.p) == (pytest.approx(theirs.statistic * found.of_seeds), pytest.approx(theirs.pvalue))
    assert (found.low, found.high, found.degrees) == (pytest.approx(low), pytest.approx(high), pytest.approx(4))


def test_items_widen_the_interval_when_they_differ_from_each_other() -> None:
    """Worked by hand: two seeds and two items, [[1, 5], [2, 8]]: means of seeds 3 and 5, of items 1.5 and 6.5; mean squares 4, 25, 1."""
    found = effect([np.array([[1.0, 5.0], [2.0, 8.0]])])
    assert found.difference == 4
    assert found.of_seeds**2 == pytest.approx(4 / 4)
    assert found.of_items**2 == pytest.approx((25 - 1) / 4)
    assert found.degrees == pytest.approx(7**2 / (1**2 + (25 / 4) ** 2 + (1 / 4) ** 2))
    half = scipy_stats.t(found.degrees).ppf(0.975) * math.sqrt(7)
    assert (found.low, found.high) == (pytest.approx(4 - half), pytest.approx(4 + half))


def test_the_difference_of_ratios_is_that_of_the_sums() -> None:
    rng = np.random.default_rng(1)
    size = rng.integers(10, 1000, 40).astype(float)
    candidate, baseline = rng.random((3, 40)) * size, rng.random((3, 40)) * size
    values = ratio_differences(candidate, baseline, size)
    assert values.mean(axis=1) == pytest.approx((candidate.sum(axis=1) - baseline.sum(axis=1)) / size.sum())
    exact = ratio_differences(baseline + 0.25 * size, baseline, size)  # every document a quarter of a bit a byte worse, whatever its length
    assert effect([exact]).difference == pytest.approx(0.25) and effect([exact]).of_items == pytest.approx(0, abs=1e-12)


def test_nothing_at_all_is_no_difference_and_a_sure_one_is() -> None:
    assert effect([np.zeros((3, 4))]) == Effect(0, 0, 0, 1, 2, 0, 0)
    assert effect([np.zeros((3, 4))]).answer() == "cannot tell"
    sure = effect([np.full((3, 4), -0.5)])
    assert (sure.answer(), sure.answer(lower_is_better=False), sure.p) == ("better", "worse", 0)


def test_one_seed_is_refused() -> None:
    with pytest.raises(OperatorError, match="two seeds"):
        effect([np.zeros((1, 4))])
    with pytest.raises(OperatorError, match="the same for every set"):
        effect([np.zeros((2, 4)), np.zeros((3, 4))])


@pytest.mark.parametrize(
    ("of_items", "sets", "items"), [(0.0, 1, 40), (1.0, 1, 40), (0.3, 4, 40), (5.0, 2, 40), (1.0, 1, LEAST_ITEMS), (5.0, 1, LEAST_ITEMS)]
)
def test_false_verdicts_are_as_frequent_as_promised(of_items: float, sets: int, items: int) -> None:
    """Seeds and items drawn anew each time, nothing to find: at 95 % one interval in twenty misses zero, and not more."""
    rng = np.random.default_rng(7)
    times, seeds = 800, 5
    wrong = 0
    for _ in range(times):
        shared = rng.normal(0, 0.2, (seeds, 1))
        drawn = [shared + rng.normal(0, of_items, items) + rng.normal(0, 1, (seeds, items)) for _ in range(sets)]
        wrong += effect(drawn).answer() != "cannot tell"
    granted = GRANTED * math.sqrt(0.05 * 0.95 / times)
    assert wrong / times < 0.05 + granted
    assert wrong / times > 0.015  # nor so wide that it finds nothing


def test_real_differences_are_found() -> None:
    rng = np.random.default_rng(3)
    found = [effect([-0.5 + rng.normal(0, 0.2, (5, 1)) + rng.normal(0, 1, (5, 40))]).answer() for _ in range(100)]
    assert found.count("better") > 75 and "worse" not in found


def test_holm_is_the_worked_example() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({}) == {}


def test_signal_to_noise() -> None:
    assert signal_to_noise([[1, 3], [11, 13]]) == pytest.approx(math.sqrt(50) / math.sqrt(2))
    assert signal_to_noise([[1, 3]]) is None and signal_to_noise([[1, 1], [2, 2]]) is None
