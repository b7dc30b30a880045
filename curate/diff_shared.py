"""Finds the shards that two corpora have in common, and counts their documents without a comparison.

Where a dump was added to a corpus, most shards of the new one are files of the old one, by the hash of their bytes. Their documents
are the same; of these shards only the columns that are counted by are read, and none where nothing is counted by.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from curate.dataset import Dataset
from curate.diff_read import shard_rows, words
from curate.document import TEXT


class Amount(NamedTuple):
    """Some documents of a shard: how many, the bytes that are compared, and one array of labels per column that is counted by."""

    documents: int
    bytes: int
    labels: list[pa.Array]


def shared_shards(old: Dataset, new: Dataset) -> tuple[list[int], list[int]]:
    """Return the numbers of equal shards in both corpora, in the order of the new one; a shard has one partner at most."""
    waiting: dict[tuple[str, int], list[int]] = defaultdict(list)
    for number, shard in reversed(list(enumerate(old.manifest.shards))):
        if shard.data.sha256:
            waiting[shard.data.sha256, shard.data.rows].append(number)
    pairs = []
    for number, shard in enumerate(new.manifest.shards):
        if partners := waiting.get((shard.data.sha256, shard.data.rows)):
            pairs.append((partners.pop(), number))
    return [one for one, _ in pairs], [other for _, other in pairs]


def amounts(dataset: Dataset, shards: Sequence[int], column: str, by: Sequence[str]) -> Iterator[Amount]:
    """Yield what is in some shards; how long the texts are stands in the receipts of what a stage made."""
    for number in shards:
        shard = dataset.manifest.shards[number]
        size = shard.counts.text_bytes_out if column == TEXT else 0
        known = size > 0
        paths = list(by) if known else [*by, column]
        if not paths:
            yield Amount(shard.data.rows, size, [])
            continue
        for docs in shard_rows(dataset, number, paths):
            read = 0 if known else pc.sum(pc.binary_length(words(docs, column))).as_py() or 0
            yield Amount(docs.num_rows, size + read, [words(docs, path) for path in by])
            size = 0  # told with the shard's first rows
