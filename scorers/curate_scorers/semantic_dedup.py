"""Marks documents whose embedding is nearly the same as that of another one of their cluster (SemDeDup).

Emits attributes, one row per document, in its order:

| column     | type   | is                                                                                              |
|------------|--------|-------------------------------------------------------------------------------------------------|
| id         | string | the document                                                                                    |
| keep       | bool   | whether it stays                                                                                |
| cluster    | string | the document that stays for it, or its own id if others go for it; else null                    |
| kept_id    | string | the document that stays in its place: the most similar one before it that stays; null if `keep` |
| similarity | double | the cosine similarity to `kept_id`; null if `keep`                                              |
| reason     | string | `semantic_duplicate`, null if `keep`                                                            |
| value      | double | the highest similarity to any document before it, removed ones too (with `greedy`: to any that  |
|            |        | stays); it goes when this is above 1 − ε; null for the first of a cluster and without a vector  |

Phases: `key`, `order`, `deal` and `pack` bring clusters together (`semantic_dedup_blocks.py`); `nearest` or `greedy-…`, `bins…` and
`witness` compare (`semantic_dedup_phases.py`). Through the shuffles go 4 bytes for each dimension of a vector and some 100 for the
rest of a document; products are computed tile by tile, and are exact (`semantic_dedup_vectors.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import pyarrow as pa

from curate import beside
from curate.dataset import Dataset
from curate.errors import PipelineError
from curate.manifest import Kind
from curate.protocols import DatasetOperator
from curate.work import Work
from curate_scorers import semantic_dedup_notes as notes
from curate_scorers import semantic_dedup_values as phases
from curate_scorers.semantic_dedup_blocks import Blocks, gathered
from curate_scorers.semantic_dedup_marks import ADDED, distance_beside, finish, removable, verify_columns, verify_fraction

STEPS = 16  # of the bisection: ε to 2⁻¹⁵
CLOSE = 0.001  # of all documents: near enough to the target


@dataclass(frozen=True)
class SemanticDedup(DatasetOperator):
    """Marks documents that say what another one of their cluster says, by the cosine of their embeddings.

    ## What it does
    Orders the documents of each cluster by their distance to the centroid. A document goes when its similarity to one before it is above
    1 − `eps`, whether or not that one stays: removed documents still knock out later ones, as in the paper, so that of a chain
    of resemblances only the first stays. With `greedy` only documents that stay count, and more of them do. `kept_id` is the most
    similar document before it that stays, and `similarity` what they have in common: after a chain that may be below 1 − `eps`, and
    then `value` tells the similarity that decided. Documents without a vector or a cluster always stay.

    ## Why
    Translated, rewritten and templated pages share no n-grams, and their embeddings are close. Comparing within clusters takes
    the sum of the squares of their sizes instead of the square of the corpus: k of about the square root of the documents.

    ## Example
        vectors: {from: text, operators: [{use: embed, into: embedding, params: {model: minilm}}], emits: attributes}
        clusters: {from: [text, vectors], use: cluster, params: {column: vectors.embedding, k: 1000}}
        dedup: {from: [text, vectors, clusters], use: semantic_dedup, params: {eps: 0.05}}
        corpus: {from: [text, dedup], apply: [dedup]}

    ## Parameters
    - `column`: the vectors, lists of one length of floating-point numbers; they need not be of unit length.
    - `cluster`: whole numbers; only documents with the same one are compared.
    - `distance`: to the centroid, for the order; null is the field `distance` beside `cluster`.
    - `eps`: a document goes when its similarity is above 1 − `eps`; above 0 and up to 1.
    - `keep_fraction`: or the share of all documents that is to stay. The highest `value` that may stay is found exactly, with one pass
      over the products; ties at it stay. With `greedy`, `eps` is found by bisection: up to 16 passes, until the share is at most 0.1%
      of the documents above the target.
    - `keep`: `hard` puts the farthest from the centroid first, `easy` the nearest, `random` goes by a hash of the id; ties by id.
    - `greedy`: whether only documents that stay knock out later ones.
    - `seed`: of `keep: random`.

    ## Source
    Abbas et al., *SemDeDup: Data-efficient learning at web-scale through semantic deduplication* (2023); D4 (Tirumala et al.,
    2023) keeps 0.75 of the documents. The greedy variant, and the kept neighbour of each removed document, are additions.
    """

    version: ClassVar[int] = 1
    cost: ClassVar[Literal["cheap", "costly"]] = "costly"
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "attributes"

    column: str = "vectors.embedding"
    cluster: str = "clusters.cluster"
    distance: str | None = None
    eps: float | None = None
    keep_fraction: float | None = None
    keep: Literal["hard", "easy", "random"] = "hard"
    greedy: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.eps is None) == (self.keep_fraction is None):
            raise PipelineError("semantic_dedup: give either `eps` or `keep_fraction`", "`eps: 0.05` removes what is 0.95 alike")
        if self.eps is not None and not 0 < self.eps <= 1:
            raise PipelineError(f"semantic_dedup: `eps` is {self.eps}, not above 0 and up to 1", "`eps: 0.05` removes what is 0.95 alike")
        verify_fraction("semantic_dedup", self.keep_fraction)

    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([self.column, self.cluster, *([self.beside] if self.beside else [])]))

    def verify(self, schema: pa.Schema) -> None:
        verify_columns("semantic_dedup", schema, self.column, self.cluster, self.beside)

    def verify_sources(self, sources: Mapping[str, Kind]) -> None:
        beside.verify_sources("semantic_dedup", sources, "VECTORS, CLUSTERS")

    def adds(self) -> Mapping[str, pa.DataType]:
        return ADDED

    @property
    def beside(self) -> str | None:
        """The column of distances; `keep: random` reads none."""
        return None if self.keep == "random" else distance_beside(self.cluster, self.distance)

    def run(self, inputs: list[Dataset], work: Work) -> None:
        settings = {"column": self.column, "cluster": self.cluster, "distance": self.beside, "order": self.keep, "seed": self.seed}
        items, blocks = gathered("semantic_dedup", settings, inputs, work)
        removed = removable(self.keep_fraction, inputs[0].rows)
        above: list[int] = []
        threshold: float | None
        if self.greedy:
            threshold, paths = self._bisected(work, blocks, removed, inputs[0].rows)
        else:
            found = work.map("nearest", phases.nearest_block, phases.compared(blocks), blocks.sizes)
            paths, above = [one["values"] for one in found], [sum(counts) for counts in zip(*(one["above"] for one in found), strict=True)]
            threshold = 1 - self.eps if self.eps is not None else phases.threshold_of(work, paths, removed)
        gone = finish(work, items, blocks, paths, threshold, "semantic_duplicate")
        settled = notes.Settled(inputs[0].rows, blocks.without, gone, threshold, self.keep_fraction, CLOSE if self.greedy else 0.0)
        work.about = {"operator": "semantic_dedup", "keep": self.keep, "greedy": self.greedy, **notes.about(settled)}
        work.note("threshold", notes.duplicates(settled, above))

    def _bisected(self, work: Work, blocks: Blocks, removed: int, documents: int) -> tuple[float, list[str]]:
        """Return the threshold, and the values under it."""
        if self.eps is not None:
            return 1 - self.eps, phases.greedy(work, blocks, 1 - self.eps, "greedy")[0]
        low, high, gone = -1.0, 1.0, 0
        best: tuple[float, list[str]] | None = None
        for step in range(STEPS):
            if removed - gone <= CLOSE * documents:
                break
            middle = (low + high) / 2
            paths, its = phases.greedy(work, blocks, middle, f"greedy-{step}")
            low, high = (low, middle) if its <= removed else (middle, high)
            if gone <= its <= removed:
                best, gone = (middle, paths), its
        return best or (1.0, phases.greedy(work, blocks, 1.0, "greedy-none")[0])
