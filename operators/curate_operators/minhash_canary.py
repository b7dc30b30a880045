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
from curate.work import Place

LEVELS = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
TOLERANCE = 0.02  # how far above its level the similarity of a copy may lie
ANYWHERE = 2000  # letters of a text whose passage need not be at an end
MAX_BYTES = 20_000  # of a text that is drawn
FIT_BYTES = (500, 2_000)  # texts of these sizes are taken first: long enough for every level, and cheap
SPARE = 8  # so many times more of those up to there are drawn than copies are planted: many are too short or duplicates
TRIES = 5  # of how much to edit
SAMPLE = pa.schema({"hash": pa.uint64(), "document": pa.uint64(), "text": pa.large_binary()})

Item = dict[str, Any]


def drawn(batches: Iterator[pa.RecordBatch], item: Item, found: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Pass the batches of a shard on, and add to `found` those documents that are drawn."""
    row, number = 0, np.uint64(item["shard"]) << np.uint64(32)
    for batch in batches:
        place = np.arange(row, row + batch.num_rows, dtype=np.uint64)
        hashes = mixed(place + np.uint64(item["begin"]))
        chosen = np.flatnonzero(_are_drawn(hashes, batch.column(TEXT), item["draw"])) if item["draw"] else place[:0]
        if len(chosen):
            texts = batch.column(TEXT).take(pa.array(chosen)).cast(pa.large_binary())
            found.append(pa.RecordBatch.from_arrays([pa.array(hashes[chosen]), pa.array(place[chosen] + number), texts], schema=SAMPLE))
        row += batch.num_rows
        yield batch


def _are_drawn(hashes: Any, texts: pa.Array, limits: list[int]) -> Any:
    sizes = pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False)
    short, long = map(np.uint64, limits)
    return (sizes > 0) & (sizes <= MAX_BYTES) & (hashes <= np.where(sizes <= FIT_BYTES[1], short, long))


def limits(planted: int | None, documents: int) -> list[int] | None:
    """Return below which hash a short document is drawn, and a long one, so that there are enough of them and not many more."""
    wanted = [spare * len(LEVELS) * (planted or 0) for spare in (SPARE, 1)]
    return [min((1 << 64) * one // max(documents, 1), (1 << 64) - 1) for one in wanted] if planted else None


def mixed(values: Any) -> Any:
    """Return well-mixed hashes (the finaliser of SplitMix64)."""
    values = values * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0xD1B54A32D192ED03)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def first_drawn(paths: list[str], most: int, place: Place) -> pa.Table:
    """Return the documents with the lowest hashes of all that were drawn, of fit sizes first; `most` and one shard's in memory."""
    kept = SAMPLE.empty_table()
    for path in paths:
        found = pa.concat_tables([kept, place.read_table(path)])
        sizes = pc.binary_length(found["text"]).to_numpy()
        unfit = (sizes < FIT_BYTES[0]) | (sizes > FIT_BYTES[1])
        ranks = np.lexsort((found["hash"].to_numpy(), unfit))
        kept = found.take(pa.array(ranks[:most])).combine_chunks()
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
    texts, planted = _readable(sample.column("text").combine_chunks()), item["planted"]
    count, turns = len(texts), len(LEVELS)
    tried = np.arange(min(2 * planted, count) * turns)
    origin = tried % max(count, 1)
    which = (origin + tried // max(count, 1)) % turns
    waiting = [tried[which == k] for k in range(turns)]
    made: list[list[tuple[int, str, float]]] = [[] for _ in LEVELS]
    while True:
        wanted = [planted - len(found) for found in made]
        taken = [one[: more + more // 8 + 4] if more > 0 else one[:0] for one, more in zip(waiting, wanted, strict=True)]
        waiting = [one[len(part) :] for one, part in zip(waiting, taken, strict=True)]
        now = np.concatenate(taken)
        if not len(now):
            break
        for k, text, similarity in _edited(texts, now, origin[now], np.array(LEVELS)[which[now]], item):
            made[which[k]].append((k, text, similarity))
    rows = [row for found in made for row in sorted(found)[:planted]]
    numbers = np.array([k for k, _, _ in rows], np.int64)
    return Copies(origin[numbers], np.array(LEVELS)[which[numbers]], [text for _, text, _ in rows], np.array([one for _, _, one in rows]))


def _readable(texts: pa.Array) -> pa.Array:
    try:
        return texts.cast(pa.large_string())
    except pa.ArrowInvalid:
        return pa.array([text.as_py().decode("utf-8", "replace") for text in texts], pa.large_string())


def _edited(texts: pa.Array, tried: Any, origin: Any, level: Any, item: Item) -> Iterator[tuple[int, str, float]]:
    """Yield those tries that come near above their levels, with their texts and exact similarities."""
    rows, origin = np.unique(origin, return_inverse=True)
    before = kernels.Texts.of(texts.take(pa.array(rows)))
    whole, letters = _sets(before, item), kernels.letter_counts(before)[origin]
    size = np.maximum(whole.counts[origin], 1)
    anywhere = letters >= ANYWHERE
    start = np.where(anywhere, mixed(tried.astype(np.uint64)) * 2.0**-64, mixed(tried.astype(np.uint64)) >> np.uint64(63))
    wanted = _distance(level + TOLERANCE / 2) * size
    number = (wanted - 0.5 - anywhere * (item["n"] - 1)) * letters / size  # a passage within a text has shingles on both sides
    far = np.flatnonzero(letters > 0)
    for _ in range(TRIES):
        count = np.clip(number[far].astype(np.int64), 1, letters[far])
        begin = (start[far] * (letters[far] - count)).astype(np.int64)
        now = kernels.respelt(before, origin[far], begin, count, tried[far])
        similarity = kernels.jaccard(whole, _sets(kernels.Texts.of(now), item), origin[far], np.arange(len(far)))
        near = (similarity >= level[far]) & (similarity < level[far] + TOLERANCE) & (similarity < 1)
        for k in np.flatnonzero(near).tolist():
            yield int(tried[far[k]]), now[k].as_py(), float(similarity[k])
        number[far] = count + (wanted[far] - _distance(similarity) * size[far]) * letters[far] / size[far]
        changed = np.clip(number[far].astype(np.int64), 1, letters[far]) != count
        far = far[~near & changed]


def _distance(similarity: Any) -> Any:
    """Return how many shingles a copy of this similarity lacks, of each that the document has."""
    return (1 - similarity) / (1 + similarity)


def _sets(texts: kernels.Texts, item: Item) -> kernels.Shingles:
    return kernels.shingle_sets(kernels.shingles(texts, item["n"], item["unit"], item["fold"]))
