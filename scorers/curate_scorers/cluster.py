"""Clusters documents by their vectors: spherical k-means, trained on a sample, for a corpus of any size.

Emits attributes, one row per document, in its order:

| column   | type   | is                                                                     |
|----------|--------|------------------------------------------------------------------------|
| id       | string | the document                                                           |
| cluster  | int32  | the number of the nearest centroid, from 0; null without a vector      |
| distance | float  | 1 - the cosine to it, from 0 to 2; null without a vector               |
| group    | int32  | with `merge`: the group of the cluster, from 0; null without a vector  |

Beside the shards it keeps `centroids.npy` (NumPy's format, float32, k × dimension, rows of length 1; the number of a row is that of the
cluster) and `clusters.json`:

| field                                 | is                                                                                     |
|---------------------------------------|----------------------------------------------------------------------------------------|
| `format`                              | 1                                                                                      |
| `column`, `k`, `dimension`, `seed`    | what was clustered, and how                                                            |
| `iterations`, `converged`, `splits`   | how many were done, whether the last changed nothing, how often an empty cluster halved another |
| `objective`                           | the mean cosine of the sample to its centroids in each iteration, before the update    |
| `sample`, `documents`                 | vectors trained on, and vectors in all                                                 |
| `without_vector`, `without_direction` | documents with null, and with zeros only                                               |
| `mean_distance`                       | over all documents with a vector                                                       |
| `merge`, `groups`                     | how clusters were merged, and how many groups that made                                |
| `clusters`                            | a list each, by the number of the cluster: `documents`, `mean_distance`, `group`       |
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import pyarrow as pa

from curate import beside
from curate.dataset import Dataset, resolve
from curate.errors import OperatorError, PipelineError
from curate.manifest import Kind
from curate.protocols import DatasetOperator
from curate.report.units import count, plural
from curate.work import Curve, Verdict, Work
from curate_scorers import cluster_phases as phases
from curate_scorers import cluster_vectors as vectors
from curate_scorers.cluster_vectors import Item

Device = Literal["auto", "cpu", "gpu"]
PER_CLUSTER, MOST, LEAST_PER_CLUSTER = 256, 1_000_000, 40
SHOWN, POINTS = 20, 200


@dataclass(frozen=True)
class Cluster(DatasetOperator):
    """Clusters documents by their vectors: spherical k-means trained on a sample, and each document's nearest centroid.

    ## What it does
    Brings vectors to the length 1, trains `k` centroids of length 1 on a sample, and gives each document the number of the nearest one
    and its distance, 1 - cosine. Documents without a vector (null, or zeros only) have neither. The sample is of the lowest hashes of
    ids; training begins at `k` of its vectors and ends when nothing changes, or after `iterations`. A cluster that has lost all its
    documents takes half of a large one. With `merge`, Ward's method merges clusters into groups. Centroids stay as `centroids.npy`, for
    `nearest_centroid` on other data, and what the clusters are as `clusters.json`. The same bytes come out for any number of workers
    and threads.

    ## Why
    Clusters show what a corpus is made of, and let kinds of documents be dropped, weighed or sampled evenly (MiniPile, CLIMB);
    near-duplicates in meaning are looked for within clusters only (SemDeDup, D4). A rule of thumb is the square root of the documents
    for `k`; MiniPile has 220 for 134 million, CLIMB 1,000 merged to about 20.

    ## Example
        vectors: {from: clean, operators: [{use: embed, into: embedding, params: {model: models/minilm}}], emits: attributes}
        clusters:
          from: [clean, vectors]
          use: cluster
          params: {column: vectors.embedding, k: 220, merge: {count: 20}}

    ## Parameters
    - `column`: the vectors: lists of float16, float32 or float64, all of one length.
    - `k`: the number of clusters.
    - `iterations`: at most so many.
    - `train_sample`: documents to train on; null = 256 for each cluster, at most a million, and at least 40 for each cluster. One task
      holds them: 4 bytes per document and dimension.
    - `merge`: `{count: 20}` = merge until so many groups are left, `{distance: 1.5}` = while Ward's distance is not greater; empty = off.
    - `seed`: of the sample and of the first centroids.
    - `device`: on a CPU an exact search in blocks, which takes a third to a half of the time of FAISS's k-means; on a GPU FAISS's own
      exact search, of the extra `gpu`. `auto` is a GPU where FAISS finds one; give its stage `resources: {gpus: 1}`. Either only
      proposes, and doubles decide, so that the bytes are the same by construction; it was not tried on a GPU yet.

    ## Source
    Dhillon and Modha (2001), spherical k-means; Kaddour (2023), *The MiniPile Challenge*; Diao et al. (2025), *CLIMB*, for the merging;
    Johnson, Douze, Jégou (2017), FAISS.
    """

    version: ClassVar[int] = 1
    cost: ClassVar[Literal["cheap", "costly"]] = "costly"
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "attributes"

    column: str
    k: int
    iterations: int = 20
    train_sample: int | None = None
    merge: Mapping[str, float] = field(default_factory=dict, hash=False)
    seed: int = 0
    device: Device = "auto"

    def __post_init__(self) -> None:
        for name in ("k", "iterations"):
            if getattr(self, name) < 1:
                raise PipelineError(f"cluster: `{name}` is {getattr(self, name)}, not 1 or more")
        if self.train_sample is not None and self.train_sample < self.k:
            hint = "each cluster begins with one document; 40 and more for each are better"
            raise PipelineError(f"cluster: `train_sample` is {self.train_sample:,}, less than the {self.k:,} clusters", hint)
        self._check_merge()

    def _check_merge(self) -> None:
        hint = "`merge: {count: 20}` or `merge: {distance: 1.5}`"
        if set(self.merge) - {"count", "distance"} or len(self.merge) > 1:
            raise PipelineError(f"cluster: `merge` has {', '.join(f'`{name}`' for name in self.merge)}, not `count` or `distance`", hint)
        groups = self.merge.get("count")
        if groups is not None and not (groups == int(groups) and 1 <= groups <= self.k):
            raise PipelineError(
                f"cluster: `merge` makes {groups:g} groups of {self.k:,} clusters", "`count` is a whole number from 1 to `k`"
            )
        if not self.merge.get("distance", 0) >= 0:
            raise PipelineError(f"cluster: `merge` has the distance {self.merge['distance']:g}, not 0 or more", hint)

    @property
    def wanted(self) -> int:
        """How many documents are trained on, where there are so many."""
        return self.train_sample or max(LEAST_PER_CLUSTER * self.k, min(PER_CLUSTER * self.k, MOST))

    def reads(self) -> tuple[str, ...]:
        return (self.column,)

    def verify(self, schema: pa.Schema) -> None:
        vectors.verify_type("cluster", schema, self.column)

    def verify_sources(self, sources: Mapping[str, Kind]) -> None:
        beside.verify_sources("cluster", sources, "VECTORS")

    def adds(self) -> Mapping[str, pa.DataType]:
        group = {"group": pa.int32()} if self.merge else {}
        return {"cluster": pa.int32(), "distance": pa.float32(), **group}

    def run(self, inputs: list[Dataset], work: Work) -> None:
        sizes = [shard.data.bytes for shard in inputs[0].manifest.shards]
        items = [item | {"column": self.column, "device": self.device} for item in beside.shard_items("cluster", inputs, "VECTORS")]
        counted = work.map("count", phases.count_shard, items, sizes)
        found, dimension = self._found(counted)
        shared = {"seed": self.seed, "dimension": dimension}
        drawn = [item | shared | {"bound": self._bound(found)} for item in items]
        samples = work.map("sample", phases.sample_shard, drawn, sizes)
        task = shared | {
            "k": self.k,
            "iterations": self.iterations,
            "device": self.device,
            "merge": dict(self.merge),
            "wanted": self.wanted,
        }
        [trained] = work.map("train", phases.train_sample, [task | {"samples": samples}])
        work.write_shards(phases.assign_shard, [item | {"centroids": trained["table"]} for item in items], sizes)
        shards = [{"shard": resolve(work.folder, receipt.data)} for receipt in work.receipts]
        summed = work.map("sizes", phases.size_shard, shards)
        told = self._told(counted, trained, dimension)
        [described] = work.map("describe", phases.describe, [{"sizes": summed, "told": told, "groups": trained["groups"]}])
        work.write_file(phases.CENTROIDS, trained["file"])
        work.write_file(phases.DESCRIPTION, described["path"])
        work.about = {"operator": "cluster", **{name: value for name, value in described["told"].items() if name != "objective"}}
        work.note("clusters", _verdict(described))

    def _found(self, counted: Sequence[Item]) -> tuple[int, int]:
        """Return how many vectors there are and their length; raise `OperatorError` unless there are enough, all of one length."""
        sized = [one for one in counted if one["dimension"] is not None]
        if odd := [one for one in sized if one["dimension"] != sized[0]["dimension"]]:
            first, other = (f"`{one['example']}` has {one['dimension']} numbers" for one in (sized[0], odd[0]))
            raise OperatorError(f"cluster: vectors are of different lengths: {first}, {other}", "embed all documents with one model")
        found = sum(one["vectors"] for one in counted)
        if found < self.k:
            empty, zero = (sum(one[name] for one in counted) for name in ("empty", "zero"))
            others = [f"{count(empty)} more have none in `{self.column}`"] if empty else []
            others += [f"{count(zero)} nothing but zeros"] if zero else []
            hint = "lower `k`, or give more documents" + (f"; {', '.join(others)}" if others else "")
            raise OperatorError(f"cluster: {plural(self.k, 'cluster')} of {plural(found, 'document')} with a vector", hint)
        return found, sized[0]["dimension"]

    def _bound(self, found: int) -> int:
        """Return the highest hash of what goes on to training: of so many more than wanted that fewer come once in 10⁸ times or less."""
        share = (self.wanted + 6 * self.wanted**0.5 + 36) / found
        return min((1 << 64) - 1, int(share * (1 << 64)))

    def _told(self, counted: Sequence[Item], trained: Item, dimension: int) -> dict[str, Any]:
        """Return what is known before documents are counted."""
        documents, without, zero = (sum(one[name] for one in counted) for name in ("vectors", "empty", "zero"))
        told = {"column": self.column, "k": self.k, "dimension": dimension, "seed": self.seed}
        told |= {
            "iterations": len(trained["objective"]),
            **{name: trained[name] for name in ("converged", "splits", "objective", "sample")},
        }
        told |= {"documents": documents, "without_vector": without, "without_direction": zero}
        return told | ({"merge": dict(self.merge), "groups": max(trained["groups"]) + 1} if self.merge else {})


def _verdict(described: Item) -> Verdict:
    """Return what was found in a sentence; it does not pass when clusters are empty."""
    told, clusters = described["told"], described["clusters"]
    sizes = clusters["documents"]
    empty = sizes.count(0)
    parts = [f"{plural(told['documents'], 'document')} in {plural(told['k'], 'cluster')}, of {count(min(sizes))} to {count(max(sizes))}"]
    parts += [f"merged into {plural(told['groups'], 'group')}"] if "groups" in told else []
    parts += [f"trained on {count(told['sample'])} in {plural(told['iterations'], 'iteration')}"]
    parts += [f"{count(without)} without a vector"] if (without := told["without_vector"] + told["without_direction"]) else []
    parts += [f"{plural(empty, 'cluster')} without a document: `k` is too large for these documents"] if empty else []
    largest = sorted(range(told["k"]), key=lambda cluster: -sizes[cluster])[:SHOWN]
    rows = {str(cluster): {name: values[cluster] for name, values in clusters.items()} for cluster in largest}
    return Verdict(empty == 0, "; ".join(parts), rows, _curve(sizes))


def _curve(sizes: Sequence[int]) -> Curve:
    """Return what share of the documents the largest clusters hold."""
    reach = list(itertools.accumulate(sorted(sizes, reverse=True)))
    chosen = sorted({round(step * len(sizes) / POINTS) for step in range(1, POINTS + 1)} - {0})
    points = [(0.0, 0.0), *((float(number), reach[number - 1] / reach[-1]) for number in chosen)]
    return Curve("clusters, the largest first", "share of the documents", {"documents": points})
