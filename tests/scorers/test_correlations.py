"""Estimators and projections: numbers worked by hand, those of the authors' package, and what theory expects of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from curate_scorers.correlations import ESTIMATORS, estimate
from curate_scorers.correlations_projection import Floats, Projection, Spread, Units, l2, linear, search, sums, use

ERRORS = np.array([0.2, 0.5, 0.8])
HAND = np.array([[1.0, 2.0, 3.0], [1.0, 3.0, 2.0], [2.0, 2.0, 2.0], [1.0, 1.0, 4.0]])
"""Losses of three models: in the errors' order, with the last two exchanged, all alike, with a tie and an outlier."""
WORKED = {
    "product": [3.6 / 3, 3.3 / 3, 3.0 / 3, 3.9 / 3],
    "sign": [(3 - 1) * 2 / 3, (2 - 1) * 2 / 3, 0, (4 - 1) * 2 / 3],  # the middle model wins once and loses once
    "sign_cdf": [4 / 9, 2 / 9, 0, (3 - 1.5) * 2 / 9],
    "sign_sign": [1, 1 / 3, 0, 2 / 3],
    "spearman": [1, 0.5, 0, math.sqrt(0.75)],
}

LOSSES = np.array(
    [
        [1.271, 1.531, 1.457, 1.013, 1.528, 1.571, 1.564],
        [0.497, 0.944, 1.128, 0.739, 0.851, 1.152, 1.362],
        [1.097, 0.609, 1.211, 1.445, 0.663, 1.052, 0.805],
        [1.482, 0.472, 0.972, 1.477, 0.916, 0.567, 1.346],
        [1.557, 1.58, 1.515, 0.843, 1.279, 1.562, 1.088],
    ]
)
BENCHMARK = np.array([0.61, 0.35, 0.48, 0.29, 0.72, 0.44, 0.53])
# Made once with the authors' package, perplexity-correlations 0.1.2 of PyPI: `estimation.NAME(LOSSES.T, BENCHMARK).round(9)`.
PEER = {
    "product": [0.703515714, 0.46154, 0.46422, 0.512355714, 0.665605714],
    "sign": [0.096952381, -0.033142857, -0.154, 0.106285714, 0.075047619],
    "sign_cdf": [0.027210884, -0.027210884, -0.108843537, 0.081632653, -0.027210884],
    "sign_sign": [0.047619048, 0.047619048, -0.238095238, 0.238095238, -0.142857143],
    "spearman": [0.071428571, -0.071428571, -0.285714286, 0.214285714, -0.071428571],
}


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_numbers_by_hand(name: str) -> None:
    assert estimate(name, HAND, ERRORS) == pytest.approx(WORKED[name])


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_numbers_of_the_authors_package(name: str) -> None:
    assert estimate(name, LOSSES, BENCHMARK) == pytest.approx(PEER[name], abs=1e-9)


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_missing_losses_have_no_estimate_and_rows_do_not_touch_each_other(name: str) -> None:
    rows = np.random.default_rng(1).gamma(4, 0.3, (50, 9))
    errors = np.random.default_rng(2).random(9)
    whole = estimate(name, rows, errors)
    rows[3, 2], rows[8, 0] = np.nan, np.inf
    holed = estimate(name, rows, errors)
    assert np.flatnonzero(np.isnan(holed)).tolist() == [3, 8]
    assert np.array_equal(np.delete(holed, [3, 8]), np.delete(whole, [3, 8]))
    assert np.array_equal(np.concatenate([estimate(name, rows[i : i + 1], errors) for i in range(50)]), holed, equal_nan=True)


def test_two_pairs_of_estimators_rank_alike() -> None:
    rng = np.random.default_rng(5)
    rows, errors, models = rng.random((40, 11)), rng.random(11), 11
    assert estimate("sign_cdf", rows, errors) == pytest.approx(estimate("spearman", rows, errors) * (models + 1) / (3 * models))
    pairs = [(g, k) for g in range(models) for k in range(g)]
    right = np.mean([(rows[:, g] > rows[:, k]) == (errors[g] > errors[k]) for g, k in pairs], axis=0)
    assert estimate("sign_sign", rows, errors) == pytest.approx(2 * right - 1)


def test_scale_of_errors_only_matters_to_product() -> None:
    rng = np.random.default_rng(6)
    rows, errors = rng.random((20, 8)), rng.random(8)
    for name in ESTIMATORS:
        same = np.allclose(estimate(name, rows, np.exp(5 * errors)), estimate(name, rows, errors))
        assert same == (name != "product")


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_estimators_find_weights(noise: float) -> None:
    """For errors that rise with w·x + noise, x normal, both signs have expected values (Thrush et al.)."""
    rng = np.random.default_rng(7)
    weights = np.array([0.8, 0.5, 0.3, -0.14, 0.0])
    weights /= np.linalg.norm(weights)
    rows = rng.normal(size=(5, 3000))
    errors = np.asarray(1 / (1 + np.exp(-(weights @ rows + noise * rng.normal(size=3000)))))
    spread = math.sqrt(1 + noise**2)
    assert estimate("sign_cdf", rows, errors) == pytest.approx(2 / np.pi * np.arcsin(weights / (2 * spread)), abs=0.03)
    assert estimate("sign_sign", rows, errors) == pytest.approx(2 / np.pi * np.arcsin(weights / spread), abs=0.05)


GIVEN, CAPS = np.array([-0.3, 4, 1, 0.9, 0]), np.array([0.2, 0.5, 0.9, 0.4, 1])


def test_projections_by_hand() -> None:
    """The highest two fill 0.5 and what is left; nearest to the estimates, c = -0.7 takes 0.3 and 0.2 of the next two."""
    assert linear(GIVEN, CAPS) == pytest.approx([0, 0.5, 0.5, 0, 0])
    assert l2(GIVEN, CAPS) == pytest.approx([0, 0.5, 0.3, 0.2, 0])


def test_equal_estimates_at_the_edge_share_what_is_left() -> None:
    assert linear(np.array([2.0, 1, 1, 0]), np.array([0.4, 0.6, 1.8, 1])) == pytest.approx([0.4, 0.15, 0.45, 0])


def searched(units: Units, projection: Projection, budget: int, parts: int = 1) -> Floats:
    """Return the shares that the search finds when each of so many parts of the units is added up apart."""
    cut = [Units(units.estimates[i::parts], units.tokens[i::parts]) for i in range(parts)]

    def filled(points: list[float]) -> list[int]:
        return [sum(column) for column in zip(*(sums(part, projection, budget, points) for part in cut), strict=True)]

    spread = Spread(float(units.estimates.min()), float(units.estimates.max()), int(units.tokens.max()))
    return use(units, search(projection, budget, spread, filled), projection, budget) * units.tokens / budget


def test_the_search_finds_the_numbers_by_hand() -> None:
    units = Units(GIVEN, np.array([2, 5, 9, 4, 10]))
    assert searched(units, "linear", 10) == pytest.approx([0, 0.5, 0.5, 0, 0])
    assert searched(units, "l2", 10) == pytest.approx([0, 0.5, 0.3, 0.2, 0], abs=1e-9)


ESTIMATE = st.one_of(st.floats(-2, 2), st.sampled_from([0.0, -0.0, 0.1, 1e-300, -1e-300, 50.0, -50.0]))


@settings(max_examples=60)
@given(st.lists(st.tuples(ESTIMATE, st.integers(0, 10_000)), min_size=1, max_size=30), st.floats(0.001, 1), st.data())
def test_the_search_agrees_with_sorting(drawn: list[tuple[float, int]], fraction: float, data: Any) -> None:
    units = Units(np.array([one for one, _ in drawn]), np.array([tokens for _, tokens in drawn], np.int64))
    assume(units.tokens.sum())
    budget = max(1, int(fraction * units.tokens.sum()))
    directs: dict[Projection, Any] = {"linear": linear, "l2": l2}
    for projection, direct in directs.items():
        shares = searched(units, projection, budget)
        assert shares.sum() == pytest.approx(1, abs=1e-7)
        assert shares == pytest.approx(direct(units.estimates, units.tokens / budget), abs=1e-7)
        order = np.array(data.draw(st.permutations(range(len(drawn)))))
        other = searched(Units(units.estimates[order], units.tokens[order]), projection, budget, parts=3)
        assert np.array_equal(other, shares[order])  # to the last bit
