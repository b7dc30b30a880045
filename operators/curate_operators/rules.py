"""Rules with a threshold each: what the heuristic filters are made of."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import kernels
from curate.document import TEXT, leaf
from curate.kernels.text_view import Texts
from curate.protocols import Filter, decisions
from curate_operators.languages import limits, verify_language


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


class LanguageFilter(Filter):
    """A filter whose rules depend on the language: that of `language_column` for each document, else `language`."""

    language: str
    language_column: str | None
    language_limits: bool

    def reads(self) -> tuple[str, ...]:
        return (TEXT,) if self.language_column is None else (TEXT, self.language_column)

    def verify(self, schema: pa.Schema) -> None:
        verify_language(schema, self.language_column)

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        column = docs.column(TEXT)
        verdict = Verdict(len(column))
        if self.language_column is None:
            self.judge(kernels.texts(column), self.language, verdict)
            return verdict.decisions()
        languages = pc.fill_null(pc.cast(leaf(docs, self.language_column), pa.large_string()), self.language)
        for language in sorted(pc.unique(languages).to_pylist()):
            rows = np.flatnonzero(pc.equal(languages, language).to_numpy(zero_copy_only=False))
            self.judge(kernels.Texts.of(column.take(pa.array(rows))), language, verdict.at(rows))
        return verdict.decisions()

    def limit(self, name: str, language: str) -> Any:
        """Return a limit for a language: the language's own where it has one and ours is left at the default, else ours."""
        value, own = getattr(self, name), limits(language) if self.language_limits else {}
        # A dataclass leaves its defaults on the class.
        return own[name] if name in own and value == getattr(type(self), name) else value

    @abstractmethod
    def judge(self, texts: Texts, language: str, verdict: Verdict) -> None:
        """Apply the rules to texts of one language."""
