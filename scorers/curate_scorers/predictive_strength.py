"""Measures how well the losses of several language models on a document foretell which of the models are good.

Emits a struct: `strength` (0 to 1), `margin` (−1 to 1) and `score` (0 to 1), all doubles; with `targets`, a struct of such structs.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate.document import TEXT, leaf, type_at
from curate.errors import OperatorError, PipelineError
from curate.files import local_file
from curate.protocols import Scorer
from curate.report.units import plural

MEASURES = ("strength", "margin", "score")
STRENGTH = pa.struct([pa.field(name, pa.float64()) for name in MEASURES])
ALONE = ""  # the target without a name


@dataclass(frozen=True)
class PredictiveStrength(Scorer):
    """Measures how well models' losses on a document order the models as benchmarks do.

    ## What it does
    Looks at all pairs of models whose benchmark averages differ. `strength` is the share of pairs in which the better model has the
    strictly lower loss on the document. `margin` is the mean over pairs of (worse model's loss − better model's) / (their sum).
    `score`, to sort by, is (pairs in order + (1 + `margin`) / 2) / (pairs + 1): higher strength first, ties by margin. Null where
    a loss is null, negative or not a number, and where the text is shorter than `min_chars`.

    ## Why
    Text on which good models do better than bad ones is text that teaches what the benchmarks ask. A few models give few
    different strengths, so without the margin most documents are equal. A family of one architecture gives orders with
    less noise than models of many; `train_family` makes one.

    ## Example
        - use: predictive_strength
          into: strength
          params: {losses: [a.bits_per_byte, b.bits_per_byte, c.bits_per_byte], scores: [31.2, 33.0, 35.9]}

    ## Parameters
    - `losses`: the column of each model's loss, such as what `lm_loss` emits.
    - `scores`: each model's benchmark average, in the order of `losses`; higher is better.
    - `targets`: several lists of scores by name; the result has a field for each.
    - `family`: or a `family.json`, such as `stage:NAME/family.json` of `train_family`: the scores of models in the order of `losses`.
    - `target`: which of the family's scores; null = the mean of all.
    - `min_chars`: shorter texts have no measure, for their order of models is noise; 0 = off.

    ## Source
    Shum et al., *Predictive Data Selection: The Data That Predicts Is the Data That Teaches* (2025); the margin is our own.
    """

    files: ClassVar[tuple[str, ...]] = ("family",)

    losses: tuple[str, ...]
    scores: tuple[float, ...] | None = None
    targets: Mapping[str, Sequence[float]] = field(default_factory=dict, hash=False)
    family: str | None = None
    target: str | None = None
    min_chars: int = 100

    def __post_init__(self) -> None:
        if len(set(self.losses)) != len(self.losses) or len(self.losses) < 2:
            raise PipelineError("predictive_strength: losses are not those of two or more models", "name a column for each model")
        if (self.scores is not None) + bool(self.targets) + (self.family is not None) != 1:
            raise PipelineError("predictive_strength: the models' scores are not told once", "give `scores`, `targets` or `family`")
        if self.target is not None and self.family is None:
            raise PipelineError(f"predictive_strength: `target: {self.target}` names a score of a `family`, and there is none")
        if self.min_chars < 0:
            raise PipelineError(f"predictive_strength: min_chars is negative: {self.min_chars}")
        for name, scores in self._told.items():
            ordered_pairs(scores, len(self.losses), f"`{name}`" if name else "`scores`")

    def reads(self) -> tuple[str, ...]:
        return (*self.losses, TEXT) if self.min_chars else self.losses

    def verify(self, schema: pa.Schema) -> None:
        for path in self.losses:
            kind = type_at(schema, path)
            if kind is not None and not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
                fields = f"name a field: {path}.{kind[0].name}" if pa.types.is_struct(kind) and kind.num_fields else "losses are numbers"
                raise PipelineError(f"predictive_strength: column `{path}` is {kind}, no number", fields)

    def output(self) -> pa.DataType:
        return pa.struct([pa.field(name, STRENGTH) for name in self.targets]) if self.targets else STRENGTH

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        losses = np.array([_doubles(leaf(docs, path)) for path in self.losses]).reshape(len(self.losses), docs.num_rows)
        known = (np.isfinite(losses) & (losses >= 0)).all(axis=0)
        if self.min_chars:
            chars = pc.fill_null(pc.utf8_length(docs.column(TEXT)), 0)
            known &= pc.greater_equal(chars, self.min_chars).to_numpy(zero_copy_only=False)
        losses[:, ~known] = 0.0
        found = {name: _struct(strengths(losses, pairs), ~known) for name, pairs in self._pairs.items()}
        if not self.targets:
            return found[ALONE]
        return pa.StructArray.from_arrays(list(found.values()), fields=list(self.output()), mask=pa.array(~known))

    def verify_file(self, parameter: str, path: Path) -> None:
        self._ordered({ALONE: family_scores(path, self.target)})

    @property
    def _told(self) -> Mapping[str, Sequence[float]]:
        return self.targets or ({ALONE: self.scores} if self.scores is not None else {})

    @functools.cached_property
    def _pairs(self) -> dict[str, Any]:
        told = self._told if self.family is None else {ALONE: family_scores(local_file(self.family), self.target)}
        return self._ordered(told)

    def _ordered(self, told: Mapping[str, Sequence[float]]) -> dict[str, Any]:
        """Return the pairs of models that each target tells apart."""
        return {name: ordered_pairs(scores, len(self.losses), f"`{name or self.family or 'scores'}`") for name, scores in told.items()}


def ordered_pairs(scores: Sequence[float], models: int, name: str) -> Any:
    """Return the numbers of the worse and of the better model of each pair that differs; raise `PipelineError` if none does."""
    odd = [score for score in scores if not (isinstance(score, (int, float)) and math.isfinite(score))]
    if len(scores) != models or odd:
        said = f"{odd[0]}, which is no finite number" if odd else f"{plural(len(scores), 'number')} for {plural(models, 'model')}"
        raise PipelineError(f"predictive_strength: {name} has {said}", "one number for each model, in the order of `losses`")
    pairs = [(a, b) if scores[a] < scores[b] else (b, a) for a, b in combinations(range(models), 2) if scores[a] != scores[b]]
    if not pairs:
        raise PipelineError(f"predictive_strength: {name} says that all models are equally good", "models must differ on the benchmarks")
    return np.array(pairs)


def strengths(losses: Any, pairs: Any) -> tuple[Any, Any, Any]:
    """Return strength, margin and score of each document, from losses by model and document."""
    worse, better = losses[pairs[:, 0]], losses[pairs[:, 1]]
    total = worse + better
    in_order = (worse > better).sum(axis=0)
    margin = np.divide(worse - better, total, out=np.zeros_like(total), where=total > 0).mean(axis=0)
    return in_order / len(pairs), margin, (in_order + (1 + margin) / 2) / (len(pairs) + 1)


def family_scores(path: Path, target: str | None) -> list[float]:
    """Return the scores that a `family.json` has for its models."""
    try:
        found = [model["scores"] for model in orjson.loads(path.read_bytes())["models"]]
        return [float(each[target]) if target is not None else float(np.mean(list(each.values()))) for each in found]
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        wanted = f"scores for `{target}`" if target else "scores"
        raise OperatorError(
            f"predictive_strength: {path} has no {wanted} of its models: {type(error).__name__}: {error}",
            'it holds {"models": [{"scores": {TARGET: NUMBER}}, …]}',
        ) from error


def _struct(measures: tuple[Any, Any, Any], none: Any) -> pa.Array:
    columns = [pa.array(values, mask=none) for values in measures]
    return pa.StructArray.from_arrays(columns, fields=list(STRENGTH), mask=pa.array(none))


def _doubles(column: pa.Array) -> Any:
    """Return a column as doubles, NaN for null."""
    return pc.fill_null(pc.cast(column, pa.float64(), safe=False), math.nan).to_numpy(zero_copy_only=False)
