"""Projections of estimates onto sampling shares: w with sum 1 and 0 ≤ w ≤ cap, one entry per unit (document or domain).

A cap is the share of the budget that a unit can fill with each of its tokens used once: tokens / budget. Projections return the
*use* of each unit, w / cap, from 0 to 1, for it is the same number for every token of the unit.

`linear` maximises the sum of estimate × w: units are used whole from the highest estimate down. Those whose estimates equal the one
at the edge are all used alike, so that no order of units matters. `l2` takes the nearest point: w = clip(estimate + c, 0, cap) for
the c with sum 1; it depends on the estimates' scale, `linear` on their order alone.

Both are searches for one number, made in rounds: each round adds up, at points within an interval, how much of the budget is full, and
the interval narrows to the two points around it. Parts of the units can be added up apart. All sums are of whole numbers, so that
no order of units or parts changes any bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Projection = Literal["linear", "l2"]

POINTS = 64  # of a round; `linear`, whose sums cost a look-up each, takes 512
L2_TOLERANCE = 1e-13
_TOP = np.int64(-(2**63))
_FRACTION = float(2**30)  # parts of a token that `l2` adds up: 2^33 units of a budget fit 63 bits


@dataclass(frozen=True)
class Units:
    """Some or all units: their estimates (finite) and tokens (≥ 0)."""

    estimates: Floats
    tokens: Integers


@dataclass(frozen=True)
class Edge:
    """The result of a search: `at` is the edge's estimate or c; `share` how much is used of units right at the edge."""

    at: float
    share: float = 0.0


@dataclass(frozen=True)
class Spread:
    """Between which numbers all units lie: the lowest and highest estimate, and the most tokens of one."""

    lowest: float
    highest: float
    most: int


Sums = Callable[[list[float]], list[int]]
"""Return how much of the budget is full at each point, in 2^-30 tokens for `l2` and tokens for `linear`, over all units."""


def use(units: Units, edge: Edge, projection: Projection, budget: int) -> Floats:
    """Return how much of each unit is used, from 0 to 1."""
    if projection == "linear":
        return np.where(units.estimates > edge.at, 1.0, np.where(units.estimates == edge.at, edge.share, 0.0))
    caps = units.tokens / budget
    wanted = np.clip(units.estimates + edge.at, 0.0, caps)
    return np.divide(wanted, caps, out=np.zeros(len(caps)), where=caps > 0)


def sums(units: Units, projection: Projection, budget: int, points: list[float]) -> list[int]:
    """Return what these units fill at each point: for `linear` the tokens with estimates beyond it, for `l2` sum clip(estimate + c)."""
    if projection == "linear":
        order = np.argsort(units.estimates, kind="stable")
        below = np.concatenate(([0], np.cumsum(units.tokens[order])))
        places = np.searchsorted(units.estimates[order], points, side="right")
        return [int(below[-1] - below[place]) for place in places]
    return [_whole(np.clip((units.estimates + c) * budget, 0.0, units.tokens)) for c in points]


def _whole(values: Floats) -> int:
    """Return the sum of values ≥ 0 in 2^-30, exactly, whatever their order."""
    floors = np.floor(values)
    rest = np.rint((values - floors) * _FRACTION).astype(np.int64)
    return int(floors.astype(np.int64).sum()) * int(_FRACTION) + int(rest.sum())


def search(projection: Projection, budget: int, spread: Spread, filled: Sums) -> Edge:
    """Return the edge at which the units, which must have as many tokens as the budget, fill it."""
    if projection == "linear":
        return _search_linear(budget, (spread.lowest, spread.highest), filled)
    return _search_l2(budget, (-spread.highest, spread.most / budget - spread.lowest), filled)  # nothing used, all used


def _search_linear(budget: int, bounds: tuple[float, float], filled: Sums) -> Edge:
    """Find the lowest estimate beyond which the budget has room, among all doubles in their order."""
    low, high = (_ordinal(bound) for bound in bounds)  # at `high` nothing lies beyond
    low -= 1
    beyond_low, beyond_high = filled([_double(low)])[0], 0
    while high - low > 1:
        inner = sorted({low + (high - low) * k // (8 * POINTS + 1) for k in range(1, 8 * POINTS + 1)} - {low})
        for point, beyond in zip(inner, filled([_double(point) for point in inner]), strict=True):
            if beyond < budget:
                high, beyond_high = point, beyond
                break
            low, beyond_low = point, beyond
    return Edge(_double(high), (budget - beyond_high) / max(beyond_low - beyond_high, 1))


def _search_l2(budget: int, bounds: tuple[float, float], filled: Sums) -> Edge:
    """Narrow the interval of c, then go straight between its ends."""
    goal = budget * int(_FRACTION)
    (low, high), (at_low, at_high) = bounds, filled(list(bounds))
    while high - low > L2_TOLERANCE * max(1.0, abs(low), abs(high)):
        inner = [point for point in np.linspace(low, high, POINTS + 2)[1:-1].tolist() if low < point < high]
        if not inner:
            break
        for point, full in zip(inner, filled(inner), strict=True):
            if full >= goal:
                high, at_high = point, full
                break
            low, at_low = point, full
    step = (goal - at_low) / (at_high - at_low) if at_high > at_low else 1.0
    return Edge(low + (high - low) * step)


def _ordinal(value: float) -> int:
    """Return a double's place among all doubles, 0 for zero."""
    bits = int(np.float64(value).view(np.int64))
    return bits if bits >= 0 else int(_TOP) - bits


def _double(place: int) -> float:
    return float(np.int64(place if place >= 0 else int(_TOP) - place).view(np.float64))


def linear(estimates: Floats, caps: Floats) -> Floats:
    """Return the shares that maximise the sum of estimate × share; caps are shares of the budget and must sum to 1 or more."""
    order = np.argsort(-estimates, kind="stable")
    _, tied = np.unique(-estimates[order], return_inverse=True)
    room = np.bincount(tied, weights=caps[order])
    left = np.clip(1.0 - np.concatenate(([0.0], np.cumsum(room)[:-1])), 0.0, room)
    shares: Any = np.empty(len(caps))
    shares[order] = caps[order] * np.divide(left, room, out=np.zeros(len(room)), where=room > 0)[tied]
    return np.asarray(shares, np.float64)


def l2(estimates: Floats, caps: Floats) -> Floats:
    """Return the shares nearest to the estimates: clip(estimate + c, 0, cap), by the corners of their sum as a function of c."""
    corners = np.sort(np.concatenate((-estimates, caps - estimates)))
    full = np.array([np.clip(estimates + c, 0.0, caps).sum() for c in corners])
    after = min(max(int(np.searchsorted(full, 1.0)), 1), len(corners) - 1)
    (low, high), (at_low, at_high) = corners[after - 1 : after + 1], full[after - 1 : after + 1]
    offset = low + (high - low) * (1.0 - at_low) / (at_high - at_low) if at_high > at_low else high
    return np.asarray(np.clip(estimates + offset, 0.0, caps), np.float64)
