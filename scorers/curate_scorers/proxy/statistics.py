"""Says how sure a difference between two corpora is, from paired measurements over seeds and items.

A comparison is measured with several seeds, each of which makes a model of either corpus, on the same items (documents held out, or
questions). Both are samples: other seeds and other items would have given another number. `effect` treats them as what they are, two
crossed random effects, and gives Student's interval for the mean: what varies from seed to seed and what varies from item to item both
widen it. Closed formulas, no resampling, so the same data give the same verdict.

The variance of the mean over n seeds and m items is (MS_seeds + MS_items − MS_rest) / nm, the mean squares being those of a two-way
analysis of variance; where items vary no more than the rest does, their part is zero. Its degrees of freedom are Satterthwaite's: about
those of the seeds when seeds make the noise, and many when items do. Nothing needs SciPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from curate.errors import OperatorError

LEAST_SEEDS = 2
TURNS, TINY, EXACT = 500, 1e-300, 1e-15

Answer = Literal["better", "worse", "cannot tell"]


@dataclass(frozen=True)
class Effect:
    """A mean difference with its interval, the two-sided p of no difference at all, and the standard errors that seeds and items bring."""

    difference: float
    low: float
    high: float
    p: float
    degrees: float
    of_seeds: float
    of_items: float

    def answer(self, lower_is_better: bool = True) -> Answer:
        """Return what the interval says: nothing where it holds zero."""
        if self.low <= 0 <= self.high:
            return "cannot tell"
        return "better" if (self.high < 0) == lower_is_better else "worse"


@dataclass(frozen=True)
class _Spread:
    """The variance of one set's mean that items bring, and the square of its own standard error over two."""

    variance: float
    uncertainty: float


def effect(sets: Sequence[Any], confidence: float = 0.95) -> Effect:
    """Return the mean over sets of the mean difference in each; every set is an array of differences, seeds × items.

    Raises `OperatorError` for fewer than two seeds, or sets of different seeds.
    """
    seeds = {len(each) for each in sets}
    if len(seeds) != 1 or min(seeds) < LEAST_SEEDS:
        raise OperatorError("an interval needs two seeds at least, the same for every set", "train with more `seeds`")
    [count] = seeds
    by_seed = np.mean([np.asarray(each, np.float64).mean(axis=1) for each in sets], axis=0)
    of_seeds = float(by_seed.var(ddof=1)) / count
    spreads = [_of_items(np.asarray(each, np.float64)) for each in sets]
    of_items = sum(each.variance for each in spreads) / len(sets) ** 2
    variance = of_seeds + of_items
    uncertainty = of_seeds**2 / (count - 1) + sum(each.uncertainty for each in spreads) / len(sets) ** 4
    degrees = variance**2 / uncertainty if uncertainty > 0 else float(count - 1)
    mean, error = float(by_seed.mean()), math.sqrt(variance)
    half = student_quantile(0.5 + confidence / 2, degrees) * error
    p = 2 * student_tail(abs(mean) / error, degrees) if error > 0 else float(mean == 0)
    return Effect(mean, mean - half, mean + half, p, degrees, math.sqrt(of_seeds), math.sqrt(of_items))


def _of_items(differences: Any) -> _Spread:
    """Return what items bring to the variance of a set's mean beyond what the rest does."""
    seeds, items = differences.shape
    if items < 2:
        return _Spread(0.0, 0.0)
    by_item, by_seed = differences.mean(axis=0), differences.mean(axis=1)
    rest = differences - by_item - by_seed[:, None] + differences.mean()
    free = (seeds - 1) * (items - 1)
    of_items, of_rest = seeds * float(by_item.var(ddof=1)), float((rest**2).sum()) / free
    if of_items <= of_rest:
        return _Spread(0.0, 0.0)
    cells = seeds * items
    uncertainty = (of_items / cells) ** 2 / (items - 1) + (of_rest / cells) ** 2 / free
    return _Spread((of_items - of_rest) / cells, uncertainty)


def ratio_differences(candidate: Any, baseline: Any, size: Any) -> Any:
    """Return differences (seeds × items) whose mean is the difference of two ratios of sums, such as bits per byte of a whole set.

    `candidate` and `baseline` are seeds × items, `size` is of each item. Of a ratio of sums it is not an item's difference that varies,
    but how far the item lies off the ratio (the textbook linearisation of a ratio estimator).
    """
    difference = np.asarray(candidate, np.float64) - np.asarray(baseline, np.float64)
    size = np.asarray(size, np.float64)
    ratio = difference.sum(axis=1, keepdims=True) / size.sum()
    return ratio + (difference - ratio * size) / size.mean()


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Return Holm's adjusted p: of all the differences called real at 0.05, the chance that any is none stays below 0.05."""
    adjusted, least = {}, 0.0
    for rank, (name, value) in enumerate(sorted(p.items(), key=lambda entry: (entry[1], entry[0]))):
        least = max(least, min(1.0, (len(p) - rank) * value))
        adjusted[name] = least
    return {name: adjusted[name] for name in p}


def signal_to_noise(scores: Any) -> float | None:
    """Return the spread of corpora over the spread of seeds, of scores in an array corpora × seeds; None where there is no noise.

    The spread is the standard deviation, of the corpora's means and, pooled, within each corpus. A set whose value is about
    1/√seeds tells nothing apart: that is what noise alone gives.
    """
    scores = np.asarray(scores, np.float64)
    if scores.shape[0] < 2 or scores.shape[1] < 2:
        return None
    noise = math.sqrt(float(scores.var(axis=1, ddof=1).mean()))
    return float(scores.mean(axis=1).std(ddof=1)) / noise if noise > 0 else None


def student_tail(t: float, degrees: float) -> float:
    """Return the probability that Student's t exceeds `t`."""
    if math.isinf(degrees):
        return 0.5 * math.erfc(t / math.sqrt(2))
    half = 0.5 * _beta(degrees / (degrees + t * t), degrees / 2, 0.5)
    return half if t >= 0 else 1 - half


def student_quantile(probability: float, degrees: float) -> float:
    """Return the t below which Student's t lies with a probability above one half."""
    high = 1.0
    while student_tail(high, degrees) > 1 - probability:
        high *= 2
    return _bisected(lambda t: student_tail(t, degrees) - (1 - probability), 0.0, high)


def _bisected(falling: Callable[[float], float], low: float, high: float) -> float:
    for _ in range(TURNS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def _beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(1 - x, b, a)
    log = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log) * _fraction(x, a, b) / a


def _fraction(x: float, a: float, b: float) -> float:
    """Return the continued fraction of the incomplete beta function, by Lentz's method."""
    above, below = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    value = below
    for turn in range(1, TURNS):
        even = turn * (b - turn) * x / ((a + 2 * turn - 1) * (a + 2 * turn))
        odd = -(a + turn) * (a + b + turn) * x / ((a + 2 * turn) * (a + 2 * turn + 1))
        for term in (even, odd):
            below = 1 / _not_zero(1 + term * below)
            above = _not_zero(1 + term / above)
            value *= above * below
        if abs(above * below - 1) < EXACT:
            break
    return value


def _not_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY
