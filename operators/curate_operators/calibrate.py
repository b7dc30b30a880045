"""Says what share of a reference each score stands above, so that thresholds travel: a table of exact quantiles.

The artifact has one file, `quantiles.json`:

| field       | is                                                                                              |
|-------------|-------------------------------------------------------------------------------------------------|
| `column`    | the score's name in the reference                                                               |
| `group_by`  | the column that there is a table for each value of; null = one table                            |
| `steps`     | how many steps of equal share there are between the lowest and the highest score                |
| `groups`    | a table each: `group`, `documents` (with a score), `without_score`, and the columns of the table |
| › `scores`  | the different scores at the steps, ascending                                                    |
| › `below`   | how many documents of the reference have a lower score                                          |
| › `equal`   | how many have this very score                                                                   |

Its shard has the same rows: `id` (group and number of the row), `group`, `score`, `below`, `equal`, `documents`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from curate import beside
from curate.dataset import Dataset
from curate.errors import PipelineError
from curate.manifest import Kind
from curate.protocols import DatasetOperator
from curate.report.units import count, plural
from curate.thresholds import Group, Mark, json_number, score_of
from curate.work import Curve, Place, Verdict, Work
from curate_operators import quantile_rounds as rounds
from curate_operators.quantile_rounds import Item, Ranking

FILE, FORMAT = "quantiles.json", 1
SHOWN, POINTS = 50, 200
TOLD = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)


@dataclass(frozen=True)
class Calibrate(DatasetOperator):
    """Measures the quantiles of a score on a reference, for `quantile` to turn scores of other data into shares of it.

    ## What it does
    Finds the exact scores at `steps` steps of equal share, and how many documents of the reference lie below each of them and at it.
    Documents whose score is null or NaN are left out. The table is the artifact's file `quantiles.json`.

    ## Why
    A score of 0.018 means nothing for another model or another crawl, the best tenth of a reference pool does. DCLM reads its
    threshold off a pool and cuts the whole corpus by it; with a table the pool is measured once, and what arrives later is cut as
    the pool was.

    ## Example
        calibration: {from: [pool, scores], use: calibrate, params: {column: scores.quality}}
        ranked:
          from: new_dump
          operators:
            - {use: fasttext, into: quality, params: {model: quality.bin, label: good}}
            - {use: quantile, into: rank, params: {column: quality, table: "stage:calibration"}}
            - {use: where, params: {keep: "rank >= 0.9"}}

    ## Parameters
    - `column`: the score, such as `quality`, or `scores.quality` for attributes of a stage `scores`; compared as a double.
    - `steps`: how many steps the table has; between two of them `quantile` interpolates, so that it is off by less than one.
    - `group_by`: a column such as `source` or `lang.code`; each of its values, null too, has a table of its own.

    ## Source
    Quantiles by radix selection over the 64 bits of the scores; DCLM (Li et al. 2024) for thresholds of a reference pool.
    """

    version: ClassVar[int] = 1
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "artifact"

    column: str
    steps: int = 1000
    group_by: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 1_000_000:
            raise PipelineError(f"calibrate: `steps` is {self.steps}, not from 1 to a million", "1000 tell a thousandth from the next")

    @property
    def ranking(self) -> Ranking:
        """What the phases must know."""
        return Ranking(self.column, highest=False, group_by=self.group_by)

    def reads(self) -> tuple[str, ...]:
        return self.ranking.paths

    def adds(self) -> Mapping[str, pa.DataType]:
        count = pa.int64()
        return {"group": pa.string(), "score": pa.float64(), "below": count, "equal": count, "documents": count}

    def verify(self, schema: pa.Schema) -> None:
        self.ranking.verify("calibrate", schema)

    def verify_sources(self, sources: Mapping[str, Kind]) -> None:
        beside.verify_sources("calibrate", sources, "SCORES")

    def run(self, inputs: list[Dataset], work: Work) -> None:
        items = beside.shard_items("calibrate", inputs, "SCORES")
        local, bins = rounds.measured(work, items, self.ranking, [shard.data.bytes for shard in inputs[0].manifest.shards])
        groups = rounds.totals(bins)
        marks = rounds.settled(
            work, local, [mark for group, found in groups.items() for mark in self._targets(group, found["scored"])], bins
        )
        tables = [_table(group, found, [mark for mark in marks if mark.group == group]) for group, found in groups.items()]
        about = {"format": FORMAT, "column": self.column, "group_by": self.group_by, "steps": self.steps}
        work.about = {"operator": "calibrate", **about, "groups": [table["group"] for table in tables]}
        work.write_file(FILE, work.map("table", rounds.write_json, [about | {"groups": tables}])[0])
        work.write_shards(table_rows, [tables])
        work.note("quantiles", _verdict(self, tables))

    def _targets(self, group: Group, documents: int) -> list[Mark]:
        """Return the ranks of the lowest score and of the one at the end of each step."""
        ranks = {max(1, -(-step * documents // self.steps)) for step in range(self.steps + 1)}
        return [Mark(group, rank) for rank in sorted(ranks) if documents]


def _table(group: Group, found: Mapping[str, int], marks: Sequence[Mark]) -> dict[str, Any]:
    """Return the table of one group: a row for each different score."""
    rows = sorted({mark.least: (mark.docs_before, mark.docs) for mark in marks}.items())
    return {
        "group": group,
        "documents": found["scored"],
        "without_score": found["docs"] - found["scored"],
        "scores": [json_number(score_of(key, highest=False)) for key, _ in rows],
        "below": [below for _, (below, _) in rows],
        "equal": [equal for _, (_, equal) in rows],
    }


def table_rows(item: list[Item], place: Place) -> Iterator[pa.RecordBatch]:
    """Yield the rows of every group's table."""
    for table in item:
        rows = len(table["scores"])
        name = table["group"] if table["group"] is not None else ""
        columns = [
            pa.array([f"{name}/{row}" for row in range(rows)], pa.string()),
            pa.array([table["group"]] * rows, pa.string()),
            pa.array([float(score) for score in table["scores"]], pa.float64()),
            *(pa.array(table[column], pa.int64()) for column in ("below", "equal")),
            pa.array([table["documents"]] * rows, pa.int64()),
        ]
        yield pa.RecordBatch.from_arrays(columns, ["id", "group", "score", "below", "equal", "documents"])


def _verdict(operator: Calibrate, tables: Sequence[Mapping[str, Any]]) -> Verdict:
    """Return what the reference is and some of its quantiles; it does not pass when nothing has a score."""
    documents, without = (sum(table[name] for table in tables) for name in ("documents", "without_score"))
    groups = f" in {plural(len(tables), 'group')} of `{operator.group_by}`" if operator.group_by else ""
    message = f"quantiles of `{operator.column}` over {plural(documents, 'document')}{groups}"
    message += f"; {count(without)} without a score are left out" if without else ""
    largest = sorted((table for table in tables if table["documents"]), key=lambda table: -int(table["documents"]))[:SHOWN]
    unnamed = "(none)" if operator.group_by else "all"
    shown = {str(table["group"] if table["group"] is not None else unnamed): _shown(table) for table in largest}
    return Verdict(documents > 0, message, shown, _curve(operator, largest[0]) if len(tables) == 1 and largest else None)


def _shown(table: Mapping[str, Any]) -> dict[str, Any]:
    reach = np.array(table["below"]) + np.array(table["equal"])
    at = np.searchsorted(reach, [share * table["documents"] for share in TOLD])
    return {"documents": table["documents"]} | {f"{100 * share:g}%": table["scores"][i] for share, i in zip(TOLD, at, strict=True)}


def _curve(operator: Calibrate, table: Mapping[str, Any]) -> Curve:
    chosen = np.unique(np.linspace(0, len(table["scores"]) - 1, POINTS).astype(int)).tolist()
    points = [(table["scores"][i], (table["below"][i] + table["equal"][i] / 2) / table["documents"]) for i in chosen]
    line = [(score, share) for score, share in points if not isinstance(score, str)]
    return Curve(f"score {operator.column}", "share of the reference below", {"reference": line})
