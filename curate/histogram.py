"""Mergeable histograms: plain `{lower edge: count}` made in one numpy pass, added up with `curate.manifest.add_nested`.

Lengths fall in log bins, eight to a decade, with whole lower edges: `0 1 2 3 4 6 7 10 13 18 24 …`. Scores fall in bins
of 0.02 between -1 and 1 (1 itself belongs to the last) and, beyond, in log bins, sixteen to a decade. Values beyond the
last edge, 1e15, are in its bin; scores that are not finite are under `nan`, `inf` and `-inf`. The edges are the numbers
that the keys print, so that a bin means the same on every machine, whatever its `log10` rounds to.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[Any]

_DECADES = 15
LENGTH_EDGES: tuple[float, ...] = (0.0, *sorted({float(round(10 ** (k / 8))) for k in range(8 * _DECADES + 1)}))
_LOG_EDGES = tuple(float(f"{10 ** (k / 16):.4g}") for k in range(16 * _DECADES + 1))
_UNIT_EDGES = tuple(k / 50 for k in range(-50, 50))
SCORE_EDGES: tuple[float, ...] = (*(-edge for edge in reversed(_LOG_EDGES[1:])), *_UNIT_EDGES, *_LOG_EDGES)

_SPECIAL = ("nan", "inf", "-inf")

# A cell is all doubles with the same exponent and first six bits of the mantissa: narrower than any bin from 1/64 on,
# so that it holds one edge at most. Cell 0 is everything nearer to 0 than 1/64, the last one everything beyond 1e15.
_SHIFT = 52 - 6
_FIRST = int(np.array(1 / 64).view(np.int64) >> _SHIFT)
_CELLS = int(np.array(10.0**_DECADES).view(np.int64) >> _SHIFT) - _FIRST + 2


def length_histogram(values: Values) -> dict[str, int]:
    """Count whole lengths ≥ 0 by log bins."""
    return _histogram(values.astype(np.float64), LENGTH_EDGES)


def score_histogram(values: Values) -> dict[str, int]:
    """Count scores: linear bins within [-1, 1], log bins beyond; whatever is not finite under its own name."""
    scores = np.ascontiguousarray(values, dtype=np.float64)
    finite = np.isfinite(scores)
    if finite.all():
        return _histogram(scores, SCORE_EDGES)
    return _histogram(scores[finite], SCORE_EDGES) | _not_finite(scores[~finite])


def score_bins(values: Values) -> npt.NDArray[np.int64]:
    """Return the bin of each finite score: the place of its lower edge in `SCORE_EDGES`. `named` makes a histogram of their counts."""
    return _bins(values, SCORE_EDGES)


def named(numbers: Sequence[int], known: Sequence[float] = SCORE_EDGES) -> dict[str, int]:
    """Return a histogram of the counts of all bins, in their order."""
    return {_key(edge): number for edge, number in zip(known, numbers, strict=True) if number}


def edges(histograms: Sequence[Mapping[str, int]], known: Sequence[float]) -> list[float]:
    """Return the edges, first lower to last upper, of the bins from the lowest to the highest that hold something."""
    keys = [float(key) for histogram in histograms for key in histogram if key not in _SPECIAL]
    if not keys:
        return []
    first, last = bisect_right(known, min(keys)) - 1, bisect_right(known, max(keys))
    return [*known[max(first, 0) : last], known[last] if last < len(known) else known[-1] * 10]


def counts(histogram: Mapping[str, int], between: Sequence[float]) -> list[int]:
    """Return the counts of the bins between `edges`, in order."""
    found = [0] * max(len(between) - 1, 0)
    for key, number in histogram.items():
        if key not in _SPECIAL:
            found[min(bisect_right(between, float(key)), len(found)) - 1] += number
    return found


def without_value(histogram: Mapping[str, int]) -> int:
    """Return how many values were not finite."""
    return sum(histogram.get(key, 0) for key in _SPECIAL)


def median(histogram: Mapping[str, int], known: Sequence[float]) -> float | None:
    """Return the median, interpolated within its bin; None for an empty histogram."""
    between = edges([histogram], known)
    half = sum(counts(histogram, between)) / 2
    for lower, upper, number in zip(between, between[1:], counts(histogram, between), strict=False):
        if number and half <= number:
            return lower + (upper - lower) * half / number
        half -= number
    return None


def _not_finite(scores: Values) -> dict[str, int]:
    numbers = (int(np.isnan(scores).sum()), int(np.isposinf(scores).sum()), int(np.isneginf(scores).sum()))
    return {key: number for key, number in zip(_SPECIAL, numbers, strict=True) if number}


def _histogram(values: Values, known: tuple[float, ...]) -> dict[str, int]:
    return named(np.bincount(_bins(values, known), minlength=len(known)).tolist(), known)


def _bins(values: Values, known: tuple[float, ...]) -> npt.NDArray[np.int64]:
    """Return the bin of each double by its leading bits: no logarithm and no search, two look-ups."""
    bins, inner = _tables(known)
    bits = values.view(np.int64) >> _SHIFT
    cell = bits & (1 << (63 - _SHIFT)) - 1
    np.clip(cell - (_FIRST - 1), 0, _CELLS - 1, out=cell)
    cell += (bits < 0) * _CELLS
    return np.asarray(bins[cell] + (values >= inner[cell]), np.int64)


@cache
def _tables(known: tuple[float, ...]) -> tuple[Values, Values]:
    """Return, per cell, first the positive then the negative ones, the bin of its lowest value and the edge inside (or infinity)."""
    starts = (np.arange(_FIRST, _FIRST + _CELLS - 1) << _SHIFT).view(np.float64)
    sizes = np.concatenate(([0.0], starts, [np.inf]))
    lowest = np.concatenate((sizes[:-1], -sizes[1:]))
    highest = np.concatenate((np.nextafter(sizes[1:], 0), -sizes[:-1]))
    bins = np.maximum(np.searchsorted(known, lowest, side="right") - 1, 0)
    inner = np.array((*known, np.inf))[bins + 1]
    inner[inner > highest] = np.inf
    if known is SCORE_EDGES:  # 1 itself belongs to the last linear bin
        one = int(np.searchsorted(sizes, 1.0))
        bins[one], inner[one] = known.index(1.0) - 1, np.nextafter(1.0, 2)
    return bins, inner


def _key(edge: float) -> str:
    return str(int(edge)) if edge.is_integer() else f"{edge:.4g}"
