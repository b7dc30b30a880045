"""Rules with a threshold each: what the heuristic filters are made of."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.protocols import decisions


def ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """Return part ÷ whole, NaN for a ratio of nothing, which breaks no rule."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


class Verdict:
    """Collects the first broken rule of every document, in the order in which rules are stated."""

    def __init__(self, rows: int) -> None:
        self._reasons: list[str] = []
        self._broken = np.full(rows, -1, np.int32)
        self._values = np.zeros(rows, np.float64)
        self._rows: NDArray[np.int64] | None = None

    def at(self, rows: NDArray[np.int64]) -> Self:
        """Return the same verdict, for judging only the documents at some places next."""
        self._rows = rows
        return self

    def below(self, reason: str, limit: float | None, values: NDArray[Any]) -> None:
        """Drop where a value is below a limit; null = off."""
        if limit is not None:
            self.where(reason, values < limit, values)

    def above(self, reason: str, limit: float | None, values: NDArray[Any]) -> None:
        """Drop where a value is above a limit; null = off."""
        if limit is not None:
            self.where(reason, values > limit, values)

    def where(self, reason: str, broken: NDArray[np.bool_], values: NDArray[Any]) -> None:
        """Drop where a condition holds."""
        if reason not in self._reasons:
            self._reasons.append(reason)
        rows = np.flatnonzero(broken) if self._rows is None else self._rows[broken]
        new = self._broken[rows] < 0
        self._broken[rows[new]] = self._reasons.index(reason)
        self._values[rows[new]] = values[broken][new]

    def decisions(self) -> pa.Array:
        """Return what `Filter.drop` returns."""
        broken = pa.array(self._broken, mask=self._broken < 0)
        reasons = pa.DictionaryArray.from_arrays(broken, pa.array(self._reasons or [""]))
        return decisions(reasons, pa.array(self._values))
