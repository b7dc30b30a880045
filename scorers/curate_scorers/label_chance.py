"""Turns a score into the chance that people would give a label, by a curve that `calibrate_labels` fitted."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate.document import leaf, type_at
from curate.errors import OperatorError, PipelineError
from curate.files import local_file
from curate.protocols import Scorer
from curate_scorers.label_curves import LabelCurve

HINT = "make it with `calibrate_labels`, whose artifact holds `chances.json`"


@dataclass(frozen=True)
class LabelChance(Scorer):
    """Tells how likely people would give a document the label, from its score.

    ## What it does
    Emits a number from 0 to 1: the share of labelled documents with such a score that have the label, in straight lines between scores that
    were fitted, and the ends' share beyond them. A score that is null or NaN has no answer (null).

    ## Why
    A threshold on a chance says what it means, and stays the same when the judge or its rubric changes.

    ## Example
        - use: label_chance
          into: good
          params: {column: quality.score, table: "stage:chances"}

    ## Parameters
    - `column`: the score, such as `quality.score` of `llm_judge`.
    - `table`: the file `chances.json` of `calibrate_labels`: a path relative to the pipeline file, a URL, or `stage:NAME` for that of a
      stage; its content is part of the identity.

    ## Source
    As `calibrate_labels`.
    """

    files: ClassVar[tuple[str, ...]] = ("table",)

    column: str
    table: str

    def reads(self) -> tuple[str, ...]:
        return (self.column,)

    def verify(self, schema: pa.Schema) -> None:
        kind = type_at(schema, self.column)
        if kind is not None and not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise PipelineError(f"label_chance: column `{self.column}` is {kind}, not a number", "a field of a struct: `quality.score`")

    def verify_file(self, parameter: str, path: Path) -> None:
        _read(path)

    def output(self) -> pa.DataType:
        return pa.float64()

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        scores = pc.cast(leaf(docs, self.column), pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
        return pa.array(self._curve.chances(scores), mask=np.isnan(scores))

    @functools.cached_property
    def _curve(self) -> LabelCurve:
        return _read(local_file(self.table))


def _read(path: Path) -> LabelCurve:
    """Return the curve of a file; raise `OperatorError` when it holds none."""
    try:
        return LabelCurve.of(orjson.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OperatorError(f"label_chance: {path} is no curve of chances: {type(error).__name__}: {error}", HINT) from error
