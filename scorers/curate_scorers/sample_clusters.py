"""Draws documents evenly from clusters, and splits them into sets to train, to validate and to test on.

Emits attributes, one row per document, in its order:

| column  | type   | is                                                                                                    |
|---------|--------|-------------------------------------------------------------------------------------------------------|
| id      | string | the document                                                                                          |
| keep    | bool   | whether it is drawn                                                                                   |
| reason  | string | null if `keep`, else `not_sampled`, `no_cluster`, or why its cluster was dropped                      |
| split   | string | `train`, `validation` or `test`, null unless `keep`                                                   |

What each cluster has and gives stands in the manifest's `about`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal

import pyarrow as pa

from curate import beside, shuffle
from curate.dataset import Dataset
from curate.errors import OperatorError, PipelineError
from curate.manifest import Kind
from curate.protocols import DatasetOperator
from curate.report.units import count, plural
from curate.shuffle import ShuffleFile
from curate.work import Verdict, Work
from curate_scorers import card_inputs as inputs_of
from curate_scorers import sample_clusters_phases as phases
from curate_scorers.card_inputs import Item
from curate_scorers.card_sums import UNIT
from curate_scorers.sample_clusters_quota import quotas, weights_of

SHOWN, ROW_BYTES = 40, 64


@dataclass(frozen=True)
class SampleClusters(DatasetOperator):
    """Draws as many documents of each cluster, or so many that clusters weigh what they should, and splits them.

    ## What it does
    Shares `documents` out among the clusters that are left, evenly: so many each, the remainder one each to the lowest numbers. A
    cluster with fewer documents gives all it has, and what it lacks is shared out among the others. Documents are drawn by the lowest
    hashes of their ids, which no order of the corpus and no number of workers changes. Of those that are drawn, exactly `test` and
    `validation` are set apart by other hashes, from the whole of the sample; the others are to train on. `apply` drops the rest.

    With `omega`, a cluster C of mean distance rho to its centroid has the weight

        |C| * (1 + omega * rho)

    and shares are weights over their sum: 0 = each cluster as large as it is, above 0 in favour of clusters that lie far apart, below 0
    of dense ones.

    ## Why
    A crawl is uneven, an even sample of its clusters is diverse: MiniPile draws 1,010,500 documents of 182 clusters. The copy of it
    that weighs by density multiplies by 1 - omega * rho and means the opposite: rho is the mean distance, so that sparse clusters lose.
    `select_top` by `draw` with `group_by` draws so many of each cluster too, but neither shares out what small ones lack nor splits.

    ## Example
        sample:
          from: [text, clusters, dropped]
          use: sample_clusters
          params: {documents: 1010500, dropped: dropped, validation: 500, test: 10000}

    ## Parameters
    - `documents`: how many to draw; all there are, with a warning, when there are fewer.
    - `dropped`: the attributes of `drop_clusters` among the stage's sources; what they drop is not drawn, and keeps its reason.
    - `omega`: null = evenly; a number above -0.5 = by size and mean distance.
    - `validation`, `test`: how many documents of the sample these sets have.
    - `cluster`, `distance`: the columns that `cluster` made; distances are read with `omega` only.
    - `seed`: which sample, from 0; other seeds are independent.

    ## Source
    Kaddour, *The MiniPile Challenge* (2023).
    """

    version: ClassVar[int] = 1
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "attributes"

    documents: int
    dropped: str | None = None
    omega: float | None = None
    validation: int = 0
    test: int = 0
    cluster: str = "clusters.cluster"
    distance: str = "clusters.distance"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("documents", 1), ("validation", 0), ("test", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise PipelineError(f"sample_clusters: `{name}` is less than {least}: {getattr(self, name)}")
        if self.omega is not None and not -0.5 < self.omega < float("inf"):
            hint = "distances reach 2, where 1 + omega * rho must still be above 0"
            raise PipelineError(f"sample_clusters: `omega` is {self.omega}, not a number above -0.5", hint)
        if self.validation + self.test > self.documents:
            told = f"{count(self.validation)} to validate and {count(self.test)} to test on"
            raise PipelineError(f"sample_clusters: {told} are more than the {plural(self.documents, 'document')} that are drawn")

    def reads(self) -> tuple[str, ...]:
        marks = (f"{self.dropped}.keep", f"{self.dropped}.reason") if self.dropped else ()
        return (self.cluster, *((self.distance,) if self.omega is not None else ()), *marks)

    def verify(self, schema: pa.Schema) -> None:
        inputs_of.check_columns("sample_clusters", schema, self.cluster, self.distance if self.omega is not None else None)

    def verify_sources(self, sources: Mapping[str, Kind]) -> None:
        beside.verify_sources("sample_clusters", sources, "CLUSTERS")

    def adds(self) -> Mapping[str, pa.DataType]:
        return {"keep": pa.bool_(), "reason": pa.string(), "split": pa.string()}

    def run(self, inputs: list[Dataset], work: Work) -> None:
        shared = {"cluster": self.cluster, "dropped": self.dropped, "seed": self.seed, "test": self.test, "validation": self.validation}
        shared["distance"] = self.distance if self.omega is not None else None
        items = [item | shared for item in beside.shard_items("sample_clusters", inputs, "CLUSTERS")]
        sizes = [shard.data.bytes for shard in inputs[0].manifest.shards]
        there, distances = _totals(work.map("count", phases.count_shard, items, sizes))
        if not there:
            raise OperatorError(
                "sample_clusters: no cluster is left to draw from", "see what `drop_clusters` dropped, or that there are clusters"
            )
        given = quotas(self.documents, there, weights_of(there, distances, self.omega))
        drawn = sum(given.values())
        if drawn < self.validation + self.test:
            raise OperatorError(f"sample_clusters: only {plural(drawn, 'document')} to validate and to test on", "ask for fewer")
        told = [[number, quota, quota == there[number]] for number, quota in given.items()]
        items = [item | {"quotas": told} for item in items]
        limits = _limits(work, items, sizes, told)
        items = [item | {"limits": limits} for item in items]
        ends = self._ends(work, items, sizes)
        work.write_shards(phases.mark_shard, [item | {"ends": ends} for item in items], sizes)
        self._tell(work, there, given)

    def _ends(self, work: Work, items: Sequence[Item], sizes: Sequence[int]) -> list[list[Any]]:
        """Return the last of the test set and of the validation set."""
        if not self.test + self.validation:
            return [[], []]
        splits = work.map("split", phases.split_shard, items, sizes)
        [ends] = work.map("ends", phases.find_ends, [{"splits": splits, "test": self.test, "validation": self.validation}])
        return list(ends)

    def _tell(self, work: Work, there: Mapping[int, int], given: Mapping[int, int]) -> None:
        drawn, whole = sum(given.values()), sum(given[number] == size for number, size in there.items())
        message = f"{plural(drawn, 'document')} drawn of {plural(len(there), 'cluster')}"
        message += f"; {count(self.documents)} were asked for" if drawn < self.documents else ""
        message += f"; {plural(whole, 'cluster')} gave all" if whole else ""
        splits = {"train": drawn - self.validation - self.test, "validation": self.validation, "test": self.test}
        clusters = [{"cluster": number, "documents": size, "drawn": given[number]} for number, size in there.items()]
        work.about = {"operator": "sample_clusters", "splits": splits, "clusters": clusters}
        largest = sorted(clusters, key=lambda entry: (-entry["documents"], entry["cluster"]))[:SHOWN]
        shown = {str(entry["cluster"]): {name: entry[name] for name in ("documents", "drawn")} for entry in largest}
        work.note("sample", Verdict(drawn == self.documents, message, shown))


def _totals(counted: Sequence[Sequence[list[int]]]) -> tuple[dict[int, int], dict[int, Fraction]]:
    """Return the documents of each cluster, and their sum of distances."""
    sizes: dict[int, int] = {}
    distances: dict[int, Fraction] = {}
    for number, documents, distance in sorted(row for shard in counted for row in shard):
        sizes[number] = sizes.get(number, 0) + documents
        distances[number] = distances.get(number, Fraction(0)) + Fraction(distance, int(UNIT))
    return sizes, distances


def _limits(work: Work, items: Sequence[Item], sizes: Sequence[int], told: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Return the last document that each cluster gives that does not give all."""
    sent = sum(quota for _, quota, whole in told if not whole) * len(items)
    partitions = shuffle.partitions_for(sent, ROW_BYTES)
    files = work.map("choose", phases.choose_shard, [item | {"partitions": partitions} for item in items], sizes)
    parts = shuffle.ranges(work.storage, [ShuffleFile(**file) for file in files])
    tasks = [{"parts": [asdict(part) for part in group], "quotas": told} for group in parts]
    return [row for found in work.map("limit", phases.find_limits, tasks) for row in found]
