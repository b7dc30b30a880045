"""Marks the documents with the best scores, up to a share or a budget.

Emits attributes, one row per document, in its order:

| column | type   | is                                                                                              |
|--------|--------|-------------------------------------------------------------------------------------------------|
| id     | string | the document                                                                                    |
| keep   | bool   | whether it is selected                                                                          |
| value  | double | its score, null if it has none                                                                  |
| reason | string | null if `keep`, else `below_threshold` (`above_threshold` for `highest: false`),                |
|        |        | `tied_at_threshold`, `no_score`, `no_tokens`                                                    |

What was found is in the manifest's `about`, and beside the shards as `thresholds.json`: a row per group with `threshold`, `next` (the
best score that is not kept), `reached`, and documents and weights, all and kept. JSON has no infinity: it is a word there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import beside
from curate.dataset import Dataset, read_shard
from curate.document import ID
from curate.errors import DatasetError, PipelineError
from curate.manifest import Kind
from curate.protocols import DatasetOperator
from curate.thresholds import Group, Mark, Unit, json_number, score_of, scores_of
from curate.work import Place, Work
from curate_operators import quantile_rounds as rounds
from curate_operators import select_top_notes as notes
from curate_operators.quantile_rounds import Item, Ranking
from curate_operators.select_top_ties import Cut, cuts, kept_at

FILE = "thresholds.json"
REASONS = ("no_score", "no_tokens", "tied_at_threshold")


@dataclass(frozen=True)
class SelectTop(DatasetOperator):
    """Marks the documents with the best scores, up to a share or a budget of documents, characters, bytes or tokens.

    ## What it does
    Orders documents by a score, ties by id, and keeps them from the best on until their weights reach `fraction` of all documents'
    weight, or `budget`. The document with which it is reached is kept, so that the selection is over it by less than one document,
    and holds one at least. A document whose score is null or NaN is never selected, though it counts in the total that `fraction`
    is a share of. The threshold that follows is exact; it is noted, and kept as `thresholds.json`. Nothing is removed here: `apply`
    on a later stage does that.

    ## Why
    Constants do not travel: PreSelect keeps 10 % of characters, DCLM 10 % of a reference pool, others a budget of tokens, and each
    reads its threshold off the data. To see what thresholds would keep, `curate thresholds`; to carry one to other data, `calibrate`.

    ## Example
        scores:
          from: clean
          operators: [{use: fasttext, into: quality, params: {model: quality.bin, label: good}}]
          emits: attributes
        top: {from: [clean, scores], use: select_top, params: {column: scores.quality, fraction: 0.1, unit: chars}}
        corpus: {from: [clean, top], apply: [top]}

    ## Parameters
    - `column`: the score, such as `quality`, `top.probability`, or `scores.quality` for attributes of a stage `scores`; compared as
      a double.
    - `fraction`: the share of the weight to keep, above 0 and up to 1; 1 keeps all that have a score.
    - `budget`: the weight to keep, instead of a share.
    - `unit`: what a document weighs: `docs` one, `chars` its characters (code points), `bytes` those of its text in UTF-8, `tokens`
      what the column `tokens` says. A document without a count of tokens is not selected.
    - `tokens`: the column of counts of tokens, for `unit: tokens`.
    - `group_by`: a column such as `source` or `lang.code`; each of its values, null too, has a share or a budget of its own.
    - `highest`: whether high scores are the best.

    ## Source
    methods of PreSelect (Shum et al. 2025), DCLM (Li et al. 2024), perplexity correlations (Thrush et al. 2024); thresholds by
    radix selection over the 64 bits of the scores.
    """

    version: ClassVar[int] = 1
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "attributes"

    column: str
    fraction: float | None = None
    budget: int | None = None
    unit: Unit = "docs"
    tokens: str | None = None
    group_by: str | None = None
    highest: bool = True

    def __post_init__(self) -> None:
        if (self.fraction is None) == (self.budget is None):
            raise PipelineError("select_top: give either `fraction` or `budget`", "`fraction: 0.1` keeps a tenth")
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise PipelineError(f"select_top: `fraction` is {self.fraction}, not above 0 and up to 1", "`fraction: 0.1` keeps a tenth")
        if self.budget is not None and self.budget < 1:
            raise PipelineError(f"select_top: `budget` is {self.budget}, not a number above 0")
        if (self.unit == "tokens") != (self.tokens is not None):
            raise PipelineError("select_top: `tokens` names the column of counts for `unit: tokens`", "give both or neither")

    @property
    def ranking(self) -> Ranking:
        """What the phases must know."""
        return Ranking(self.column, self.highest, self.unit, self.tokens, self.group_by)

    def reads(self) -> tuple[str, ...]:
        return self.ranking.paths

    def verify(self, schema: pa.Schema) -> None:
        self.ranking.verify("select_top", schema)

    def verify_sources(self, sources: Mapping[str, Kind]) -> None:
        beside.verify_sources("select_top", sources, "SCORES")

    def adds(self) -> Mapping[str, pa.DataType]:
        return {"keep": pa.bool_(), "value": pa.float64(), "reason": pa.string()}

    def target(self, weight: int) -> int:
        """Return the weight at which a group's selection ends; a fraction is taken as it is written, not as the nearest double."""
        if self.budget is not None:
            return self.budget
        share = Fraction(str(self.fraction)) * weight
        return weight + 1 if self.fraction == 1 else -(-share.numerator // share.denominator)

    def run(self, inputs: list[Dataset], work: Work) -> None:
        items = beside.shard_items("select_top", inputs, "SCORES")
        sizes = [shard.data.bytes for shard in inputs[0].manifest.shards]
        local, bins = rounds.measured(work, items, self.ranking, sizes)
        groups = rounds.totals(bins)
        targets = [Mark(group, self.target(found["weight"])) for group, found in groups.items()]
        found_marks = rounds.settled(work, local, targets, bins, notes.points(groups))
        marks, curve = found_marks[: len(targets)], found_marks[len(targets) :]
        ends = cuts(work, items, local, marks)
        choices = [_choice(mark, ends.get(mark.group)) for mark in marks]
        shards = [
            {"documents": item["documents"], "local": path, "choices": choices, "highest": self.highest}
            for item, path in zip(items, local, strict=True)
        ]
        work.write_shards(mark_shard, shards, sizes)
        found = [self._found(mark, ends.get(mark.group), groups[mark.group]) for mark in marks]
        about = {"column": self.column, "unit": self.unit, "group_by": self.group_by, "highest": self.highest, "thresholds": found}
        work.about = {"operator": "select_top", **about}
        work.write_file(FILE, work.map("thresholds", rounds.write_json, [about])[0])
        work.note("threshold", notes.verdict(about, curve))

    def _found(self, mark: Mark, cut: Cut | None, total: Mapping[str, int]) -> dict[str, Any]:
        """Return what a group's threshold is and keeps, and the best score that it does not keep."""
        keeps = mark.target > 0 and mark.docs > 0
        docs, weight = (mark.docs_before + mark.docs, mark.weight_before + mark.weight) if keeps else (0, 0)
        if cut is not None:
            docs, weight = cut.docs, cut.weight
        split = cut is not None and cut.docs < mark.docs_before + mark.docs
        following = mark.least if split or not keeps else mark.following
        found = {
            "group": mark.group,
            "threshold": json_number(score_of(mark.least, self.highest)) if keeps else None,
            "next": json_number(score_of(following, self.highest)) if following is not None and mark.docs else None,
            "reached": self.fraction == 1 or (mark.reached and bool(mark.docs)),
            "documents": total["docs"],
            "without_score": total["docs"] - total["scored"],
            "kept_documents": docs,
        }
        return found | ({} if self.unit == "docs" else {self.unit: total["weight"], f"kept_{self.unit}": weight})


def _choice(mark: Mark, cut: Cut | None) -> tuple[Group, int | None, str | None]:
    """Return a group's threshold as a key, and the last id that is kept there: None for all of them."""
    return mark.group, mark.least if mark.target > 0 and mark.docs else None, cut.id if cut is not None else None


def mark_shard(item: Item, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield one row of attributes per document of a shard, in its order."""
    local = place.read_table(item["local"])
    docs, state = rounds.weighed(local), local.column("state").to_numpy()
    before, tied, last = kept_at(docs, item["choices"])
    values = pa.array(scores_of(docs.keys, item["highest"]), mask=state == rounds.NO_SCORE)
    beyond, begun = "below_threshold" if item["highest"] else "above_threshold", 0
    for batch in read_shard(place.storage, item["documents"], [ID]):
        rows = slice(begun, begun + batch.num_rows)
        ids = batch.column(ID).cast(pa.string())
        if len(state) < rows.stop:
            break
        first = pc.fill_null(pc.less_equal(ids, last[rows]), True).to_numpy(zero_copy_only=False)
        keep = before[rows] | (tied[rows] & first)
        codes = np.select([state[rows] == rounds.NO_SCORE, state[rows] == rounds.NO_TOKENS, tied[rows]], [0, 1, 2], 3)
        reason = pa.array([*REASONS, beyond]).take(pa.array(codes, mask=keep))
        yield pa.RecordBatch.from_arrays([ids, pa.array(keep), values[rows], reason], ["id", "keep", "value", "reason"])
        begun = rows.stop
    if begun != len(state):
        raise DatasetError(f"{item['documents']} changed: it had {len(state)} rows when they were measured", "run again")
