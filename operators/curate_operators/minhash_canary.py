"""Near-duplicates that are planted to see whether `minhash_dedup` finds them: drawn from the run's documents, edited, never kept.

Every copy is a document of the run in which a passage has other letters, so long a one that its exact similarity lies just above
one of `LEVELS`. The passage is anywhere, or at an end of a short text, as a change there costs fewer shingles. Documents are drawn
by a hash of their place in the dataset, whatever its shards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels
from curate.document import TEXT
from curate.kernels import unicode
from curate.work import Place

LEVELS = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
TOLERANCE = 0.02  # how far above its level the similarity of a copy may lie
NEAR = TOLERANCE / 2  # one that lies nearer is not edited again
ANYWHERE = 2000  # letters of a text whose passage need not be at an end
MAX_BYTES = 20_000  # of a text that is drawn
SHORT_BYTES = 2_000  # texts up to this size are taken first: they do as well and cost less
SPARE = 8  # so many times more documents are drawn than copies are planted: many are too short, too long or duplicates
TRIES = 6  # of how much to edit; the similarity falls nearly as the number of letters grows
SAMPLE = pa.schema({"hash": pa.uint64(), "document": pa.uint64(), "text": pa.large_binary()})

Item = dict[str, Any]


def drawn(batches: Iterator[pa.RecordBatch], item: Item, found: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Pass the batches of a shard on, and add to `found` those documents that are drawn."""
    row, number = 0, np.uint64(item["shard"]) << np.uint64(32)
    for batch in batches:
        place = np.arange(row, row + batch.num_rows, dtype=np.uint64)
        hashes = mixed(place + np.uint64(item["begin"]))
        sizes = pc.fill_null(pc.binary_length(batch.column(TEXT)), 0).to_numpy(zero_copy_only=False)
        chosen = np.flatnonzero((hashes <= np.uint64(item["draw"])) & (sizes > 0) & (sizes <= MAX_BYTES)) if item["draw"] else place[:0]
        if len(chosen):
            texts = batch.column(TEXT).take(pa.array(chosen)).cast(pa.large_binary())
            found.append(pa.RecordBatch.from_arrays([pa.array(hashes[chosen]), pa.array(place[chosen] + number), texts], schema=SAMPLE))
        row += batch.num_rows
        yield batch


def limit(planted: int | None, documents: int) -> int:
    """Return below which hash a document is drawn, so that there are enough of them and not many more."""
    wanted = SPARE * len(LEVELS) * (planted or 0)
    return min((1 << 64) * wanted // max(documents, 1), (1 << 64) - 1)


def mixed(values: Any) -> Any:
    """Return well-mixed hashes (the finaliser of SplitMix64)."""
    values = values * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0xD1B54A32D192ED03)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def first_drawn(paths: list[str], most: int, place: Place) -> pa.Table:
    """Return the short documents with the lowest hashes of all that were drawn, then longer ones; `most` and one shard's in memory."""
    kept = SAMPLE.empty_table()
    for path in paths:
        found = pa.concat_tables([kept, place.read_table(path)])
        long = pc.greater(pc.binary_length(found["text"]), SHORT_BYTES)
        ranks = pc.sort_indices(pa.table([long, found["hash"]], ["long", "hash"]), [("long", "ascending"), ("hash", "ascending")])
        kept = found.take(ranks[:most]).combine_chunks()
    return kept


@dataclass
class Copies:
    """Edited copies: of which drawn document each is, its level, its text and its exact similarity to the document."""

    origin: Any
    level: Any
    texts: list[str]
    similarity: Any


def copies(sample: pa.Table, item: Item) -> Copies:
    """Return at most `planted` copies of each level, all of different documents as far as there are enough."""
    count, planted = sample.num_rows, item["planted"]
    tried = np.arange(min(2 * planted, count) * len(LEVELS)) if count else np.zeros(0, np.int64)
    origin = tried % max(count, 1)
    level = np.array(LEVELS)[(origin + tried // max(count, 1)) % len(LEVELS)]
    texts = [_Letters(text.as_py().decode("utf-8", "replace"), seed) for seed, text in enumerate(sample.column("text"))]
    found = _edited(texts, origin, level, item)
    chosen = np.flatnonzero((found.similarity >= level) & (found.similarity < level + TOLERANCE) & (found.similarity < 1))
    chosen = np.sort(np.concatenate([chosen[:0], *(chosen[level[chosen] == one][:planted] for one in LEVELS)]))
    return Copies(origin[chosen], level[chosen], [found.texts[k] for k in chosen.tolist()], found.similarity[chosen])


def _edited(texts: list[_Letters], origin: Any, level: Any, item: Item) -> Copies:
    """Edit so much that each copy's similarity is near above its level; what never comes near has similarity 0."""
    whole = _sets([text.text for text in texts], item)
    starts = np.random.RandomState(1).random_sample(len(origin)).tolist()
    letters = np.array([len(text.places) for text in texts], np.int64)[origin] if len(texts) else origin
    wanted = _distance(level + TOLERANCE / 4)
    number = np.maximum((letters * wanted).astype(np.int64), 1)
    best, kept = np.zeros(len(origin)), [""] * len(origin)
    far = np.arange(len(origin))  # the copies that are not near enough yet
    for _ in range(TRIES):
        number[far] = np.minimum(number[far], letters[far])
        now = [texts[origin[k]].edited(int(number[k]), starts[k]) for k in far.tolist()]
        similarity = kernels.jaccard(whole, _sets(now, item), origin[far], np.arange(len(far)))
        better = (similarity >= level[far]) & (similarity < 1) & ((best[far] == 0) | (similarity < best[far]))
        for place in np.flatnonzero(better).tolist():
            kept[far[place]] = now[place]
        best[far[better]] = similarity[better]
        reached = np.maximum(_distance(similarity), 1e-6)
        number[far] = np.maximum((number[far] * np.clip(wanted[far] / reached, 0.25, 4)).astype(np.int64), 1)
        far = far[(best[far] == 0) | (best[far] >= level[far] + NEAR)]
    return Copies(origin, level, kept, best)


def _distance(similarity: Any) -> Any:
    """Return the share of shingles that a copy of this similarity lacks."""
    return (1 - similarity) / (1 + similarity)


def _sets(texts: list[str], item: Item) -> kernels.Shingles:
    column = kernels.Texts.of(pa.array(texts, pa.large_string()))
    return kernels.shingle_sets(kernels.shingles(column, item["n"], item["unit"], item["fold"]))


class _Letters:
    """A text, where its letters and digits are, and the letters that take their places."""

    def __init__(self, text: str, seed: int) -> None:
        self.text = text
        self.codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        self.places = np.flatnonzero(unicode.classes()[self.codes] & (unicode.LETTER | unicode.NUMBER))
        drawn = mixed(np.arange(len(self.places), dtype=np.uint64) + (np.uint64(seed) << np.uint64(32)))
        self.new = (ord("a") + drawn % np.uint64(26)).astype(np.uint32)

    def edited(self, count: int, start: float) -> str:
        """Return the text with `count` letters and digits in a row replaced, from a place that `start` (0 to 1) says."""
        free = len(self.places) - count
        begin = int(start * free) if len(self.places) >= ANYWHERE else free * (start < 0.5)
        chosen = slice(begin, begin + count)
        codes = self.codes.copy()
        codes[self.places[chosen]] = self.new[chosen]
        return codes.tobytes().decode("utf-32-le")
