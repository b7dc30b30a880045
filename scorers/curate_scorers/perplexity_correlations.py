"""Marks the documents or domains whose losses order models as a benchmark does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import pyarrow as pa

from curate import beside, shuffle
from curate.dataset import Dataset
from curate.document import TEXT, type_at
from curate.errors import OperatorError, PipelineError
from curate.manifest import Kind
from curate.protocols import DatasetOperator
from curate.shuffle import ShuffleFile
from curate.work import Verdict, Work
from curate_scorers import correlations_units as phases
from curate_scorers.correlations_projection import Projection, Spread, search

DOCUMENT = "document"
Estimator = Literal["product", "sign", "sign_cdf", "sign_sign", "spearman"]


@dataclass(frozen=True)
class PerplexityCorrelations(DatasetOperator):
    """Marks the documents or domains whose losses order models as a benchmark does, within a budget of tokens.

    ## What it does
    Needs the losses of N models on each document (bits per UTF-8 byte, one column per model) and each model's score on a
    benchmark. The estimate of a unit (a document, or all documents of a domain) says how well low losses go with high scores. The
    projection makes estimates sampling shares: each token at most once, all shares together the budget. Emits per document:

    | column     | type   | is                                                                                        |
    |------------|--------|-------------------------------------------------------------------------------------------|
    | `keep`     | bool   | whether it is drawn: by the hash of its id, with the share of its unit that is used       |
    | `estimate` | double | its unit's estimate, higher = more useful; null without losses                            |
    | `weight`   | double | its share of the training tokens; all sum to 1                                            |
    | `reason`   | string | `low_estimate`, `not_sampled`, `no_loss`, `no_unit`, `no_tokens`; null if `keep`          |
    | `value`    | double | the estimate, null if `keep`                                                              |

    ## Why
    Text on which better models have lower loss is text like what the benchmark asks for. No model is trained for it: losses of
    public models are enough. Train `train_fasttext` on `keep` to carry the choice from a sample to a corpus. It is weak on
    corpora that were filtered before, and where the models' scores are near chance.

    ## Example
        chosen:
          from: [sample, losses]
          use: perplexity_correlations
          params:
            losses: [losses.small, losses.medium, losses.large]
            scores: [0.31, 0.38, 0.52]
            unit: meta.domain

    ## Parameters
    - `losses`: columns of losses, one per model; the more models the better (the paper has 90), of several families.
    - `scores`: the models' scores in the same order, higher = better (for a perplexity its negative).
    - `estimator`: `spearman` and `sign_cdf` rank alike and no outlier moves them; `sign_sign` is PreSelect's pair order; `sign` and
      `product` weigh differences of losses, and `product` those of scores, from their mean, too.
    - `projection`: `linear` takes the highest estimates whole; `l2` is nearest to the estimates and spreads over more units.
      `l2` depends on the estimates' scale.
    - `unit`: `document`, or a column such as a domain. A group's loss is that of its documents by their tokens.
    - `tokens`: the column with each document's tokens; null = the UTF-8 bytes of `text`, so that bytes are the tokens of all else.
    - `fraction`: share of all tokens to take; the paper keeps a tenth.
    - `budget`: tokens to take, instead of `fraction`.
    - `seed`: which documents of a unit that is used in part are drawn.

    ## Source
    Thrush, Potts, Hashimoto, *Improving Pretraining Data Using Perplexity Correlations* (2024). Ties have average ranks, and share.
    """

    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "attributes"

    losses: tuple[str, ...]
    scores: tuple[float, ...]
    estimator: Estimator = "spearman"
    projection: Projection = "linear"
    unit: str = DOCUMENT
    tokens: str | None = None
    fraction: float = 0.1
    budget: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.losses) != len(self.scores):
            raise PipelineError(
                f"perplexity_correlations: {len(self.losses)} losses, {len(self.scores)} scores", "one score for each model"
            )
        if repeated := sorted({path for path in self.losses if self.losses.count(path) > 1}):
            raise PipelineError(f"perplexity_correlations: losses has `{repeated[0]}` twice", "one column for each model")
        if not all(math.isfinite(score) for score in self.scores):
            raise PipelineError("perplexity_correlations: a score is not a finite number", "leave that model out")
        if len(set(self.scores)) < 2:
            raise PipelineError("perplexity_correlations: the scores do not differ, so no loss goes with them", "give models that differ")
        if not 0 < self.fraction <= 1 or (self.budget is not None and self.budget < 1):
            raise PipelineError("perplexity_correlations: nothing to choose: `fraction` is from 0 to 1, `budget` 1 token or more")

    def reads(self) -> tuple[str, ...]:
        by = () if self.unit == DOCUMENT else (self.unit,)
        return tuple(dict.fromkeys([*self.losses, *by, self.tokens or TEXT]))

    def verify(self, schema: pa.Schema) -> None:
        for path in self.losses:
            _verify_type(schema, path, (pa.types.is_floating, pa.types.is_integer), "a loss is a number")
        if self.tokens is not None:
            _verify_type(schema, self.tokens, (pa.types.is_integer,), "tokens are counted in whole numbers")

    def verify_sources(self, sources: Mapping[str, Kind]) -> None:
        beside.verify_sources("perplexity_correlations", sources, "LOSSES")

    def adds(self) -> Mapping[str, pa.DataType]:
        number = pa.float64()
        return {"keep": pa.bool_(), "estimate": number, "weight": number, "reason": pa.string(), "value": number}

    def run(self, inputs: list[Dataset], work: Work) -> None:
        documents = inputs[0]
        sizes = [shard.data.bytes for shard in documents.manifest.shards]
        shared = self._shared(documents)
        places = beside.shard_items("perplexity_correlations", inputs, "LOSSES")
        items = [shared | place | {"shard": i} for i, place in enumerate(places)]
        measured = work.map("measure", phases.measure_shard, items, sizes)
        units, told = (measured, [[]] * len(items)) if self.unit == DOCUMENT else _joined(shared, measured, work)
        budget = self._budget(measured, units)
        parts = [shared | {"units": unit["units"], "budget": budget} for unit in units if unit["count"]]
        edge = search(self.projection, budget, _spread(units), Rounds(parts, work).filled)
        marks = [
            item | {"local": found["local"], "parts": answers, "budget": budget, "edge": asdict(edge)}
            for item, found, answers in zip(items, measured, told, strict=True)
        ]
        work.write_shards(phases.mark_shard, marks, sizes)
        work.note("choice", self._verdict(budget, units, edge.at))

    def _shared(self, documents: Dataset) -> phases.Item:
        """Return what every task knows."""
        by = None if self.unit == DOCUMENT else self.unit
        row_bytes = 64 + 16 * len(self.losses)
        partitions = shuffle.partitions_for(documents.rows, row_bytes)
        shards = len(documents.manifest.shards)
        return asdict(self) | {"reads": self.reads(), "by": by, "partitions": partitions, "shards": shards}

    def _budget(self, measured: list[Any], units: list[Any]) -> int:
        every, available = sum(one["tokens"] for one in measured), sum(one["available"] for one in units)
        budget = self.budget if self.budget is not None else max(1, round(self.fraction * every))
        if available < budget:
            raise OperatorError(
                f"perplexity_correlations: a budget of {budget:,} tokens, but only {available:,} of {every:,} have an estimate",
                "each token is used once at most: give a smaller budget, or losses for more documents",
            )
        return budget

    def _verdict(self, budget: int, units: list[Any], edge: float) -> Verdict:
        noun = "documents" if self.unit == DOCUMENT else f"groups (`{self.unit}`)"
        count, every = sum(one["count"] for one in units), sum(one["of"] for one in units)
        available = sum(one["available"] for one in units)
        measures = {"models": len(self.losses), "units": every, "with an estimate": count, "tokens with an estimate": available}
        message = f"{budget:,} of {available:,} tokens with an estimate are chosen, from {count:,} of {every:,} {noun}"
        return Verdict(True, message, measures | {"tokens chosen": budget, "edge" if self.projection == "linear" else "offset": edge})


class Rounds:
    """Adds up over all units how much of the budget is full, one phase for each time that it is asked."""

    def __init__(self, parts: list[phases.Item], work: Work) -> None:
        self._parts = parts
        self._work = work
        self._round = 0

    def filled(self, points: list[float]) -> list[int]:
        items = [part | {"points": points} for part in self._parts]
        found = self._work.map(f"project-{self._round}", phases.fill_part, items)
        self._round += 1
        return [sum(column) for column in zip(*found, strict=True)]


def _joined(shared: phases.Item, measured: list[Any], work: Work) -> tuple[list[Any], list[list[Any]]]:
    """Return what the groups are, and where each shard is told of its own."""
    parts = shuffle.ranges(work.storage, [ShuffleFile(**one["shuffle"]) for one in measured])
    units = work.map("units", phases.join_units, [shared | {"parts": [asdict(part) for part in group]} for group in parts])
    answers = shuffle.ranges(work.storage, [ShuffleFile(**one["answers"]) for one in units])
    return units, [[asdict(part) for part in group] for group in answers]


def _spread(units: list[Any]) -> Spread:
    known = [one for one in units if one["count"]]
    lowest, highest = min(one["lowest"] for one in known), max(one["highest"] for one in known)
    return Spread(lowest, highest, max(one["most"] for one in known))


def _verify_type(schema: pa.Schema, path: str, kinds: tuple[Any, ...], rule: str) -> None:
    """Raise `PipelineError` when a column that is there has none of these kinds."""
    kind = type_at(schema, path)
    if kind is not None and not any(is_kind(kind) for is_kind in kinds):
        raise PipelineError(f"perplexity_correlations: column `{path}` is {kind}", rule)
