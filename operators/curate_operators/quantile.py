"""Turns a score into the share of a reference that lies below it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate.document import leaf
from curate.errors import OperatorError
from curate.files import local_file
from curate.protocols import Scorer
from curate.thresholds import Group, coded
from curate_operators.quantile_rounds import Ranking

Doubles = np.ndarray[Any, np.dtype[np.float64]]
HINT = "make it with `calibrate`, whose artifact holds `quantiles.json`"


@dataclass(frozen=True)
class Table:
    """The scores of a reference at some steps, ascending, and how many of its documents are below each of them and at it."""

    scores: Doubles
    below: Doubles
    equal: Doubles
    documents: int

    def shares(self, values: Doubles) -> Doubles:
        """Return the share of the reference below each value, ties counted half; a value between two steps is interpolated."""
        after = np.searchsorted(self.scores, values)
        at, before = np.minimum(after, len(self.scores) - 1), np.maximum(after - 1, 0)
        low, high = self.below[before] + self.equal[before], self.below[at]
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):  # steps may be infinite, or end where the value does
            way = (values - self.scores[before]) / (self.scores[at] - self.scores[before])
        ranks = low + (high - low) * np.nan_to_num(way, nan=0.5, posinf=0.5, neginf=0.5)
        ranks = np.where(after == len(self.scores), self.documents, np.where(after == 0, 0, ranks))
        ranks = np.where(self.scores[at] == values, self.below[at] + self.equal[at] / 2, ranks)
        return np.asarray(ranks / self.documents, np.float64)


@dataclass(frozen=True)
class Quantile(Scorer):
    """Measures the share of a reference whose score is lower, from a table that `calibrate` made.

    ## What it does
    Emits a number from 0 to 1 (float32). For a score `s` that stands in the table it is (documents of the reference below `s` +
    half of those at `s`) / all of them: the mid-rank, so that a value that half of the reference shares does not stand for its end.
    Between two scores `a < s < b` of the table it is interpolated: the rank goes from the end of `a` to the beginning of `b` as `s`
    goes from `a` to `b`, which is off by less than one step. Below all of the reference it is 0, above it 1. A score that is null or
    NaN, and a group that the reference lacks, has no answer (null).

    ## Why
    Thresholds on shares travel: `rank >= 0.9` is the best tenth of the reference for any model, dump and language.

    ## Example
        - use: quantile
          into: rank
          params: {column: quality, table: "stage:calibration"}

    ## Parameters
    - `column`: the score, such as `quality` or `top.probability`.
    - `table`: the file `quantiles.json` of `calibrate`: a path relative to the pipeline file, a URL, or
      `stage:NAME` for that of a stage; its content is part of the identity.
    - `group_by`: the column whose value says which table of the file counts, when `calibrate` had one.

    ## Source
    Mid-rank percentiles; DCLM (Li et al. 2024) for thresholds of a reference pool.
    """

    version: ClassVar[int] = 1
    files: ClassVar[tuple[str, ...]] = ("table",)

    column: str
    table: str
    group_by: str | None = None

    def reads(self) -> tuple[str, ...]:
        return (self.column,) if self.group_by is None else (self.column, self.group_by)

    def verify(self, schema: pa.Schema) -> None:
        Ranking(self.column, group_by=self.group_by).verify("quantile", schema)

    def output(self) -> pa.DataType:
        return pa.float32()

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        values = pc.cast(leaf(docs, self.column), pa.float64(), safe=False)
        numbers = pc.fill_null(values, np.nan).to_numpy(zero_copy_only=False)
        labels = leaf(docs, self.group_by) if self.group_by is not None else pa.nulls(docs.num_rows, pa.string())
        codes, names = coded(labels)
        shares = np.full(docs.num_rows, np.nan)
        for code, name in enumerate(names):
            rows = np.flatnonzero((codes == code) & ~np.isnan(numbers))
            if name in self._tables and len(rows):
                shares[rows] = self._tables[name].shares(numbers[rows])
        return pa.array(shares.astype(np.float32), mask=np.isnan(shares))

    def verify_file(self, parameter: str, path: Path) -> None:
        self._read(path)

    @functools.cached_property
    def _tables(self) -> Mapping[Group, Table]:
        return self._read(local_file(self.table))

    def _read(self, path: Path) -> Mapping[Group, Table]:
        """Return the table of each group; raise `OperatorError` when a file has none, or has other groups."""
        try:
            found = orjson.loads(path.read_bytes())
            tables = {group["group"]: _table(group) for group in found["groups"] if group["documents"]}
            grouped = found["group_by"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OperatorError(f"quantile: {path} is no table of quantiles: {type(error).__name__}: {error}", HINT) from error
        if (grouped is None) != (self.group_by is None):
            made = f"for each `{grouped}`" if grouped is not None else "for all documents at once"
            raise OperatorError(f"quantile: {path} was made {made}", "give `group_by` here and to `calibrate`, or to neither")
        return tables


def _table(group: Mapping[str, Any]) -> Table:
    """Return a group's table; raise ValueError when its columns do not fit one another."""
    scores, below, equal = (np.array([float(value) for value in group[name]]) for name in ("scores", "below", "equal"))
    ends = below + equal
    in_order = (np.diff(scores) > 0).all() and (ends[:-1] <= below[1:]).all() and (equal > 0).all() and (below >= 0).all()
    if not len(scores) == len(below) == len(equal) > 0 or not in_order or ends[-1] > group["documents"]:
        raise ValueError("its columns do not fit one another")
    return Table(scores, below, equal, group["documents"])
