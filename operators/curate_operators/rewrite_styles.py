"""Decides which documents are rewritten in which styles: by a score, by chance, or all in all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from curate.errors import PipelineError
from curate.hashing import chances, hash64
from curate.registry import suggest
from curate_operators.prompt_sets import Style, without_query

Choose = Literal["each", "one"]
KEYS = ("ratio", "min_score", "max_score")
Flags = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Route:
    """The documents that a style takes: those with scores within bounds, and of them a share."""

    style: Style
    ratio: float = 1.0
    min_score: float | None = None
    max_score: float | None = None

    def fits(self, scores: Any) -> Flags:
        """Tell for each score whether it lies within the bounds; a score that is none (NaN) lies within none."""
        fits: Flags = np.ones(len(scores), bool)
        if self.min_score is not None:
            fits &= scores >= self.min_score
        if self.max_score is not None:
            fits &= scores <= self.max_score
        return fits

    def share(self, routes: Sequence[Route], choose: Choose) -> float:
        """Return the share of documents that it takes among `routes`, where all of them fit."""
        weights = sum(route.ratio for route in routes)
        return self.ratio if choose == "each" or not weights else self.ratio / weights


def read_routes(given: Mapping[str, Mapping[str, float]], styles: Mapping[str, Style], score: str | None) -> tuple[Route, ...]:
    """Return a route for each style that a pipeline names; without names, for each that there is."""
    for name, rules in given.items():
        if name not in styles:
            raise PipelineError(f"styles: there is no style `{name}`", suggest(name, list(styles)) or f"styles: {', '.join(styles)}")
        _check(name, rules, score)
    used = given or {name: {} for name in styles}
    return tuple(Route(without_query(styles[name], "rewrite"), **rules) for name, rules in used.items())


def _check(name: str, rules: Mapping[str, float], score: str | None) -> None:
    for key in rules:
        if key not in KEYS:
            raise PipelineError(f"styles: `{name}`: unknown key `{key}`", suggest(key, list(KEYS)) or f"keys are: {', '.join(KEYS)}")
        if not _is_comparable(rules[key]):
            raise PipelineError(f"styles: `{name}`: {key} is no number that can be compared with scores")
    if not 0 <= rules.get("ratio", 1) <= 1:
        raise PipelineError(f"styles: `{name}`: ratio is not between 0 and 1: {rules['ratio']}")
    if rules.get("min_score", -math.inf) > rules.get("max_score", math.inf):
        raise PipelineError(f"styles: `{name}`: no score is at least {rules['min_score']} and at most {rules['max_score']}")
    if score is None and rules.keys() & {"min_score", "max_score"}:
        raise PipelineError(f"styles: `{name}` has bounds of a score", "name the column with `score`")


def _is_comparable(value: float) -> bool:
    try:
        return not math.isnan(value)
    except OverflowError:  # a whole number that no float can hold
        return False


def chosen(routes: tuple[Route, ...], ids: pa.Array, scores: Any, choose: Choose, seed: int) -> list[Flags]:
    """Return for each route which documents go there.

    `each`: a style takes its share of the documents by itself, `one`: a document goes to one of the styles that it fits, drawn with
    their ratios as weights. What a document draws depends on its id and the seed alone.
    """
    fits = [route.fits(scores) for route in routes]
    if choose == "each":
        seeds = [int(hash64(pa.array([route.style.name]), seed)[0]) for route in routes]
        return [fit & (chances(ids, at) < route.ratio) for fit, route, at in zip(fits, routes, seeds, strict=True)]
    weights = np.array([fit * route.ratio for fit, route in zip(fits, routes, strict=True)], np.float64)
    ends = np.cumsum(weights, axis=0)
    place = chances(ids, seed) * ends[-1]
    starts = np.vstack([np.zeros(len(ids)), ends[:-1]])
    return [(start <= place) & (place < end) for start, end in zip(starts, ends, strict=True)]
