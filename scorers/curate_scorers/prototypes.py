"""Marks the documents that are closest to the centroid of their cluster (SSL prototypes), the last step of D4.

Emits attributes, one row per document, in its order:

| column     | type   | is                                                                                               |
|------------|--------|--------------------------------------------------------------------------------------------------|
| id         | string | the document                                                                                     |
| keep       | bool   | whether it stays                                                                                 |
| cluster    | string | the document that stays for it, or its own id if others go for it; else null                     |
| kept_id    | string | the most similar document of its cluster that stays; null if `keep`, and if none of them stays   |
| similarity | double | the cosine similarity to `kept_id`; null with it                                                 |
| reason     | string | `prototype`, null if `keep`                                                                      |
| value      | double | 1 − the distance to the centroid: the similarity that decides; null without a vector or cluster  |

Phases as in `semantic_dedup`, with `centroids` in place of `nearest`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import pyarrow as pa

from curate import beside
from curate.dataset import Dataset
from curate.manifest import Kind
from curate.protocols import DatasetOperator
from curate.work import Work
from curate_scorers import semantic_dedup_notes as notes
from curate_scorers import semantic_dedup_values as phases
from curate_scorers.semantic_dedup_blocks import gathered
from curate_scorers.semantic_dedup_marks import ADDED, distance_beside, finish, removable, verify_columns, verify_fraction


@dataclass(frozen=True)
class Prototypes(DatasetOperator):
    """Marks the documents that are closest to the centroid of their cluster, and keeps the others.

    ## What it does
    Orders all documents by their distance to the centroid of their cluster and keeps the farthest, `keep_fraction` of all documents;
    ties at the last one stay. Each that goes names the most similar document of its cluster that stays, if one does. Documents
    without a vector or a cluster always stay.

    ## Why
    What is closest to a centroid is most like everything else of its cluster, and teaches least. Where a crawl repeats a template,
    centroids are pulled to it; so D4 deduplicates first, then clusters what is left anew, and only then takes prototypes out. Short
    texts tend to lie far from centroids: see in the report what the choice does to lengths.

    ## Example
        again: {from: unique, use: cluster, params: {column: vectors.embedding, k: 1000}}
        prototypes:
          from: [unique, again]
          use: prototypes
          params: {column: vectors.embedding, cluster: again.cluster, keep_fraction: 0.667}
        corpus: {from: [unique, prototypes], apply: [prototypes]}

    ## Parameters
    - `keep_fraction`: the share of all documents that stays, above 0 and up to 1. After a `semantic_dedup` that kept 0.75, the
      paper's R of the whole is R / 0.75 here.
    - `column`: the vectors, lists of one length of floating-point numbers.
    - `cluster`: the number of the cluster.
    - `distance`: to its centroid; null is the field `distance` beside `cluster`.

    ## Source
    Sorscher et al., *Beyond neural scaling laws* (2022), for prototypes; Tirumala et al., *D4* (2023), for their place after
    deduplication. The kept neighbour is an addition. `pipelines/d4.yaml` is the whole of it.
    """

    version: ClassVar[int] = 1
    cost: ClassVar[Literal["cheap", "costly"]] = "costly"
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "attributes"

    keep_fraction: float
    column: str = "vectors.embedding"
    cluster: str = "clusters.cluster"
    distance: str | None = None

    def __post_init__(self) -> None:
        verify_fraction("prototypes", self.keep_fraction)

    def reads(self) -> tuple[str, ...]:
        return self.column, self.cluster, self.beside

    def verify(self, schema: pa.Schema) -> None:
        verify_columns("prototypes", schema, self.column, self.cluster, self.beside)

    def verify_sources(self, sources: Mapping[str, Kind]) -> None:
        beside.verify_sources("prototypes", sources, "VECTORS, CLUSTERS")

    def adds(self) -> Mapping[str, pa.DataType]:
        return ADDED

    @property
    def beside(self) -> str:
        """The column of distances."""
        return distance_beside(self.cluster, self.distance)

    def run(self, inputs: list[Dataset], work: Work) -> None:
        settings = {"column": self.column, "cluster": self.cluster, "distance": self.beside, "order": "hard", "seed": 0}
        items, blocks = gathered("prototypes", settings, inputs, work)
        paths = work.map("centroids", phases.centroid_block, phases.compared(blocks))
        threshold = phases.threshold_of(work, paths, removable(self.keep_fraction, inputs[0].rows))
        gone = finish(work, items, blocks, paths, threshold, "prototype")
        settled = notes.Settled(inputs[0].rows, blocks.without, gone, threshold, self.keep_fraction)
        work.about = {"operator": "prototypes", **notes.about(settled)}
        work.note("threshold", notes.prototypes(settled))
