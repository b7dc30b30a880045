"""Tells of which kinds of documents another set of documents has too few.

Emits attributes, one row per document, in its order:

| column | type   | is                                                                                                      |
|--------|--------|---------------------------------------------------------------------------------------------------------|
| id     | string | the document                                                                                            |
| ratio  | double | the share of documents in its cluster ÷ the share of the reference in it; null without a cluster        |

What each cluster has of both stands in the manifest's `about`.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc

from curate import beside
from curate.dataset import Dataset
from curate.document import ID, leaf, type_at
from curate.errors import OperatorError, PipelineError
from curate.manifest import Kind
from curate.protocols import DatasetOperator
from curate.report.units import plural, share
from curate.work import Curve, Place, Verdict, Work

Item = dict[str, Any]
SOURCES = "`from: [DOCUMENTS, CLUSTERS, REFERENCE, ITS_CLUSTERS]`"
TOLD = (2, 5, 10)
SHOWN = 20


@dataclass(frozen=True)
class Coverage(DatasetOperator):
    """Tells of which kinds of documents a reference has too few: instruction data beside a crawl, or one corpus beside another.

    ## What it does
    Compares how documents and reference spread over the same clusters. `ratio` is (documents in the cluster ÷ documents) ÷ (reference in
    it ÷ reference): 10 for a kind that is ten times as common among the documents, 1 for one that both know equally well, less than 1 for
    one that the reference has more of. To the reference's count of each cluster `smoothing` is added, so that a cluster it lacks has a
    ratio, too. Documents without a cluster have none (null), and count nowhere.

    The clusters of `documents` come from `cluster`, those of the reference from `nearest_centroid` with the same centroids.

    ## Why
    AITP's measure of what instruction data lacks: where pretraining text is dense and instructions are rare, a model has knowledge that
    nobody taught it to use. Questions are then made from such documents, with `instruct_query`.

    ## Example
        gap:
          from: [clean, clusters, asked, asked_clusters]
          use: coverage
          params: {cluster: clusters.cluster, reference: asked_clusters.kind.cluster}
        uncovered:
          from: [clean, gap]
          operators:
            - use: where
              params: {keep: "gap.ratio >= 5"}

    ## Parameters
    - `cluster`: the documents' column of clusters; `reference`: that of the reference's documents.
    - `smoothing`: above 0; how many documents each cluster of the reference has beside those that are there.

    ## Source
    Liang et al., *Aligning Instruction Tuning with Pre-training* (AITP, 2025), in the paper's sense; the published code keeps the opposite,
    what instructions are dense in. It estimates densities by kernels in two dimensions; counts in clusters keep all dimensions of a vector,
    and both sets are measured by one yardstick.
    """

    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "attributes"

    cluster: str
    reference: str
    smoothing: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.smoothing < float("inf"):
            raise PipelineError(f"coverage: `smoothing` is {self.smoothing}, not above 0", "0.5 is half a document")

    def reads(self) -> tuple[str, ...]:
        return (self.cluster, self.reference)

    def verify(self, schema: pa.Schema) -> None:
        for path in self.reads():
            kind = type_at(schema, path)
            if kind is not None and not pa.types.is_integer(kind):
                raise PipelineError(f"coverage: column `{path}` is {kind}, not the number of a cluster", "`clusters.cluster`, say")

    def verify_sources(self, sources: Mapping[str, Kind]) -> None:
        kinds = list(sources.values())
        if kinds.count("documents") != 2 or kinds[:1] != ["documents"] or "artifact" in kinds:
            raise PipelineError("coverage: it compares one set of documents with another, each with its clusters", f"write {SOURCES}")

    def adds(self) -> Mapping[str, pa.DataType]:
        return {"ratio": pa.float64()}

    def run(self, inputs: list[Dataset], work: Work) -> None:
        self.verify_sources({dataset.name: dataset.manifest.kind for dataset in inputs})
        items, others = (_items(inputs, at, column) for at, column in enumerate(self.reads()))
        sizes = [shard.data.bytes for shard in inputs[0].manifest.shards]
        counted = work.map("count", count_shard, [*items, *others])
        documents, reference = (_total(part) for part in (counted[: len(items)], counted[len(items) :]))
        if not reference:
            raise OperatorError(f"coverage: no document of `{inputs[1].name}` has a cluster in `{self.reference}`")
        ratios = self._ratios(documents, reference)
        work.write_shards(mark_shard, [item | {"ratios": list(ratios.items())} for item in items], sizes)
        table = _table(documents, reference, ratios)
        work.about = {"operator": "coverage", "clusters": table}
        work.note("coverage", _verdict(table, reference.total()))

    def _ratios(self, documents: Counter[int], reference: Counter[int]) -> dict[int, float]:
        """Return the ratio of each cluster that has documents, by its number."""
        clusters = len(documents.keys() | reference.keys())
        whole, other = documents.total(), reference.total() + self.smoothing * clusters
        return {own: (documents[own] / whole) / ((reference[own] + self.smoothing) / other) for own in sorted(documents)}


def _items(inputs: Sequence[Dataset], at: int, column: str) -> list[Item]:
    """Return a task for each shard of one of the two sets of documents, with the attributes that describe it."""
    documents = inputs[at]
    own = [dataset for dataset in inputs[2:] if dataset.manifest.aligned_to == documents.manifest.fingerprint]
    return [item | {"column": column} for item in beside.shard_items("coverage", [documents, *own])]


def count_shard(item: Item, place: Place) -> list[tuple[int, int]]:
    """Count the documents of a shard in each cluster."""
    found: Counter[int] = Counter()
    for docs in beside.read(item, place, [item["column"]]):
        counts = pc.value_counts(leaf(docs, item["column"]).drop_null())
        found.update(dict(zip(*(field.to_pylist() for field in counts.flatten()), strict=True)))
    return sorted(found.items())


def _total(counted: Sequence[Sequence[Sequence[int]]]) -> Counter[int]:
    total: Counter[int] = Counter()
    for cluster, documents in itertools.chain.from_iterable(counted):
        total[cluster] += documents
    return total


def mark_shard(item: Item, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield the ratio of each document's cluster."""
    clusters = pa.array([cluster for cluster, _ in item["ratios"]], pa.int64())
    ratios = pa.array([ratio for _, ratio in item["ratios"]], pa.float64())
    for docs in beside.read(item, place, [item["column"]]):
        own = pc.index_in(leaf(docs, item["column"]).cast(pa.int64()), clusters, skip_nulls=True)
        yield pa.RecordBatch.from_arrays([docs.column(ID), ratios.take(own)], [ID, "ratio"])


def _table(documents: Counter[int], reference: Counter[int], ratios: Mapping[int, float]) -> list[Item]:
    """Return what each cluster has, the most lacking first."""
    order = sorted(ratios, key=lambda own: (-ratios[own], own))
    return [{"cluster": own, "documents": documents[own], "reference": reference[own], "ratio": ratios[own]} for own in order]


def _verdict(table: Sequence[Item], reference: int) -> Verdict:
    """Return how much of the documents is of kinds that the reference has too few of; it does not pass without documents."""
    whole = sum(row["documents"] for row in table)
    above = {limit: sum(row["documents"] for row in table if row["ratio"] >= limit) for limit in TOLD}
    parts = [f"{plural(whole, 'document')} beside {plural(reference, 'document')} of the reference, in {plural(len(table), 'cluster')}"]
    parts += [f"{share(found, whole)} are of kinds at least {limit} times as common here" for limit, found in above.items()]
    rows = {str(row["cluster"]): {name: row[name] for name in ("documents", "reference", "ratio")} for row in table[:SHOWN]}
    reach = itertools.accumulate(row["documents"] for row in table)
    points = [(row["ratio"], found / whole) for row, found in zip(table, reach, strict=True)][::-1]
    return Verdict(whole > 0, "; ".join(parts), rows, Curve("ratio", "share of the documents with at least this", {"documents": points}))
