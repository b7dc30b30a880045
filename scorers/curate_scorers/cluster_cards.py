"""Says what each cluster of a corpus is: its size, its words, documents of its middle and its edge, and how alike they are.

Four phases. `measure` reads each shard once: sums and examples by cluster, and counts of words, lines and sites into a shuffle by their
hash; `sum` adds the sums of shards up, a few at a time; `count` finds per partition of hashes the best words and what entropies need;
`cards` puts it together. The artifact has `cards.json` (`curate.clusters_cards` says what is in it) and, as its rows, the numbers of
each card. A task holds one batch of documents, sums of clusters x (dimensions + 10) numbers of 8 bytes, and `MAX_ROWS` counts (some
50 MB) or one partition of the shuffle, so that memory does not grow with the corpus.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import beside, shuffle
from curate.clusters_cards import FILE, NUMBERS
from curate.dataset import Dataset
from curate.document import TEXT, leaf
from curate.errors import OperatorError, PipelineError
from curate.manifest import Kind
from curate.protocols import DatasetOperator
from curate.shuffle import ShuffleFile
from curate.work import Place, Work
from curate_scorers import card_counts as counts
from curate_scorers import card_inputs as inputs_of
from curate_scorers import card_made as made
from curate_scorers import card_sums as sums
from curate_scorers.card_inputs import NONE, Integers, Item

SHARDS_PER_SUM = 32
COMPRESSED = 4  # bytes of counts per byte of a compressed shard, about


@dataclass(frozen=True)
class ClusterCards(DatasetOperator):
    """Measures and describes the clusters of a corpus, for people, rules or models to say which to drop.

    ## What it does
    Makes a card of each cluster: size, the documents nearest to its centroid and farthest from it, characteristic words, the mean
    similarity of its pairs of documents, the share of repeated lines, entropies of sites and languages, means of scores, and a place on
    a map of all clusters. They are kept as `cards.json` and shown in the report. `curate clusters show` prints them, `curate clusters
    review` writes them as a file to decide in, `drop_clusters` applies what was decided.

    Words are ordered by class-based TF-IDF, where tf is a word's share of the cluster's words, f how often it stands in all
    clusters, and A the mean number of words of a cluster:

        weight = sqrt(tf) * log(1 + A / f)

    among those that stand in at least two and a twentieth of its documents, and are at least twice as common in the cluster as in the
    others, both by their share of all words and by the share of documents that have them. So a word that more than half of all other
    documents have is characteristic of none, however small the cluster: stop words, unless few documents are in their language; and
    neither is what one document repeats. The root, which BERTopic has as an option, lowers frequent words further. The mean cosine of
    all pairs needs no pairs: with unit vectors v of n documents it is exactly

        (|sum of v|^2 - n) / (n * (n - 1))

    Documents without a cluster are counted and left out.

    ## Why
    Clusters put near-copies, navigation bars, lists and spam together, where ten documents show what hundreds of thousands are.
    MiniPile's author read five nearest and five farthest documents of 220 clusters and dropped 38.

    ## Example
        cards:
          from: [text, vectors, clusters]
          use: cluster_cards
          params: {vector: vectors.embedding, scores: {quality: scores.quality}}

    ## Parameters
    - `cluster`, `distance`: the columns that `cluster` made.
    - `vector`: the column of vectors that were clustered.
    - `site`: the column that says where documents come from; of a web address the host counts. Null = not measured.
    - `language`: the column of languages, such as `lang.code`; null = not measured.
    - `scores`: columns of numbers to take means of, `{name: column}`; rules call them by these names.
    - `examples`: how many nearest and how many farthest documents a card has.
    - `opening_chars`: how many characters of each.
    - `words`: how many words a card has.

    ## Source
    Kaddour, *The MiniPile Challenge* (2023); c-TF-IDF: Grootendorst, *BERTopic* (2022); evenness: Pielou (1966).
    """

    version: ClassVar[int] = 2
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "artifact"

    cluster: str = "clusters.cluster"
    distance: str = "clusters.distance"
    vector: str = "vectors.embedding"
    site: str | None = "url"
    language: str | None = None
    scores: Mapping[str, str] = field(default_factory=dict, hash=False)
    examples: int = 5
    opening_chars: int = 600
    words: int = 20

    def __post_init__(self) -> None:
        for name in ("examples", "opening_chars", "words"):
            if getattr(self, name) < 1:
                raise PipelineError(f"cluster_cards: `{name}` is less than 1: {getattr(self, name)}")
        for name in self.scores:
            if not name.isidentifier() or name in NUMBERS or name in ("id", "cluster"):
                hint = "choose a name of letters, digits and `_` that no number of a card has"
                raise PipelineError(f"cluster_cards: `scores` cannot have the name `{name}`", hint)

    def reads(self) -> tuple[str, ...]:
        there = (TEXT, self.cluster, self.distance, self.vector, self.site, self.language, *self.scores.values())
        return tuple(dict.fromkeys(path for path in there if path is not None))

    def verify(self, schema: pa.Schema) -> None:
        inputs_of.check_columns("cluster_cards", schema, self.cluster, self.distance, self.vector)
        inputs_of.check_labels("cluster_cards", schema, self.site, self.language)
        inputs_of.check_numbers("cluster_cards", schema, self.scores.values())

    def verify_sources(self, sources: Mapping[str, Kind]) -> None:
        beside.verify_sources("cluster_cards", sources, "VECTORS, CLUSTERS")

    def adds(self) -> Mapping[str, pa.DataType]:
        return {"cluster": pa.int64(), **NUMBERS, **dict.fromkeys(self.scores, pa.float64())}

    def run(self, inputs: list[Dataset], work: Work) -> None:
        items = beside.shard_items("cluster_cards", inputs, "VECTORS, CLUSTERS")
        sizes = [shard.data.bytes for shard in inputs[0].manifest.shards]
        partitions = shuffle.partitions_for(sum(sizes), row_bytes=COMPRESSED)
        asked = {name: getattr(self, name) for name in ("cluster", "distance", "vector", "site", "language", "opening_chars")}
        asked |= {"scores": dict(self.scores), "count": self.examples, "url": self._url(inputs[0]), "partitions": partitions}
        measured = work.map("measure", measure_shard, [item | asked for item in items], sizes)
        summed = _summed(work, measured, self.examples)
        parts = shuffle.ranges(work.storage, [ShuffleFile(**one["counts"]) for one in measured])
        tasks = [{"parts": [asdict(part) for part in group], "totals": summed["sums"], "words": self.words} for group in parts]
        counted = work.map("count", counts.reduce_counts, tasks)
        without = sum(one["without_cluster"] for one in measured)
        task = summed | {"counted": counted, "without_cluster": without, "count": self.examples, "words": self.words}
        task |= {"scores": list(self.scores), "site": self.site, "language": self.language}
        [found] = work.map("cards", made.make_cards, [task])
        if not found["clusters"]:
            hint = "every document's cluster is null: were they embedded?"
            raise OperatorError(f"cluster_cards: no document has a cluster in `{self.cluster}`", hint)
        work.write_file(FILE, found["path"])
        work.write_shards(card_rows, [{"path": found["path"], "scores": list(self.scores)}])
        work.about = {"operator": "cluster_cards", "clustering": found["clustering"], "cards": found["cards"]}
        work.note("clusters", made.verdict(found))

    def _url(self, documents: Dataset) -> str | None:
        """Return the column that shows where an example lies."""
        return "url" if "url" in documents.schema.names else None


def measure_shard(item: Item, place: Place) -> Item:
    """Keep a shard's sums and examples by cluster, and send its counts into the shuffle."""
    shard = _Shard(item)
    sent = place.write_shuffle(item["partitions"], counts.ROWS, counts.spread(shard.counts(place), item["partitions"]))
    return {
        "counts": asdict(sent),
        "sums": place.write_table("sums", shard.sums.table()),
        "examples": place.write_table("examples", sums.best(shard.examples, item["count"])),
        "without_cluster": shard.without_cluster,
    }


class _Shard:
    """Goes once through the documents of a shard."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.sums = sums.Sums(list(item["scores"]))
        self.examples = sums.EXAMPLES.empty_table()
        self.without_cluster = 0

    def counts(self, place: Place) -> Iterator[pa.Table]:
        """Yield bounded tables of counts, having summed what they are of."""
        item, found = self.item, counts.Counts()
        paths = [
            TEXT,
            item["url"],
            *(item[name] for name in ("cluster", "distance", "vector", "site", "language")),
            *item["scores"].values(),
        ]
        for docs in beside.read(item, place, paths):
            clusters = inputs_of.clusters_of(docs, item["cluster"])
            self.without_cluster += int((clusters == NONE).sum())
            docs, clusters = docs.filter(pa.array(clusters != NONE)), clusters[clusters != NONE]
            for table in self._counted(docs, clusters):
                yield from found.add(table)
        yield from found.rest()

    def _counted(self, docs: pa.RecordBatch, clusters: Integers) -> Iterator[pa.Table]:
        item = self.item
        distances = np.asarray(leaf(docs, item["distance"]).cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
        if not np.isfinite(distances).all():
            raise OperatorError(f"a document has a cluster, and no distance in `{item['distance']}`", "take both of one stage")
        table, words, line_chars = counts.of_texts(docs.column(TEXT), clusters)
        yield table
        for kind, path in ((counts.SITE, item["site"]), (counts.LANGUAGE, item["language"])):
            if path:
                labels = leaf(docs, path).cast(pa.string())
                yield counts.of_labels(kind, counts.sites_of(labels) if kind == counts.SITE else labels, clusters)
        scores = {name: _numbers(docs, path) for name, path in item["scores"].items()}
        chars = pc.fill_null(pc.utf8_length(docs.column(TEXT)), 0).to_numpy(zero_copy_only=False)
        whole = np.rint(distances * sums.UNIT)
        summed = {"characters": chars, "words": words, "line_characters": line_chars, "distance": whole}
        self.sums.add(clusters, summed, scores)
        for block, vectors in sums.blocks_of(docs, item["vector"]):
            self.sums.add_vectors(clusters[block], vectors)
        self.examples = sums.best(pa.concat_tables([self.examples, sums.examples_of(docs, clusters, distances, item)]), item["count"])


def _numbers(docs: pa.RecordBatch, path: str) -> Any:
    values = leaf(docs, path)
    if not inputs_of.is_number(values.type):
        raise OperatorError(f"cluster_cards: column `{path}` is {values.type}, which has no mean", "name columns of numbers in `scores`")
    return pc.fill_null(values.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)


def _summed(work: Work, measured: Sequence[Item], examples: int) -> Item:
    """Return where the sums and the examples of all shards are: added up by a tree of tasks."""
    level, found = 0, list(measured)
    while len(found) > 1 or not level:
        groups = [found[i : i + SHARDS_PER_SUM] for i in range(0, len(found), SHARDS_PER_SUM)]
        tasks = [{name: [one[name] for one in group] for name in ("sums", "examples")} | {"count": examples} for group in groups]
        found = work.map(f"sum{level}", sums.sum_tables, tasks)
        level += 1
    return {name: found[0][name] for name in ("sums", "examples")}


def card_rows(item: Item, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield the numbers of each card."""
    yield made.rows(place, item["path"], item["scores"])
