"""What thresholds on a score would keep: documents and bytes of text at each, in all and for each value of a column.

The corpus is read once. What matters of it (20 bytes for each document) lies in a temporary file, over which the rounds of
`curate.thresholds` pass, so that memory is bounded whatever the corpus.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa

from curate.dataset import Dataset, RowStream
from curate.diff_read import NONE, Groups, has_column, shard_rows, words
from curate.document import ID, TEXT, leaf
from curate.errors import DatasetError
from curate.thresholds import (
    ROUNDS,
    Mark,
    Numbers,
    Weighed,
    advanced,
    binned,
    inside,
    intervals_of,
    json_number,
    keys_of,
    merged,
    score_of,
    weights_of,
)

BINS_AT_ONCE = 64


@dataclass(frozen=True)
class Asked:
    """The score, in how many steps of equal numbers of documents it is cut, what is counted apart, and which end is the best."""

    column: str
    steps: int = 10
    by: str | None = None
    highest: bool = True


@dataclass(frozen=True)
class Corpus:
    """A dataset that has the score, and for attributes the documents that they describe, when they are there."""

    scores: Dataset
    documents: Dataset | None

    def holder(self, path: str) -> Dataset | None:
        """Return the dataset that has a column."""
        return next((side for side in (self.scores, self.documents) if side is not None and has_column(side, path)), None)


def kept(corpus: Corpus, asked: Asked) -> dict[str, Any]:
    """Return, as JSON data, thresholds from the strictest on, and what each keeps; `bytes` is null where no texts are at hand."""
    _check(corpus, asked)
    groups = Groups(asked.by or "")
    texts = corpus.holder(TEXT) is not None
    with tempfile.TemporaryFile() as file:
        spill = _Spill(file)
        for docs in _documents(corpus, asked, groups):
            spill.write(docs)
        names = groups.names or [NONE]
        marks = _settled(spill, asked)
        keys = np.array(sorted({mark.least for mark in marks}), np.uint64)
        counts = _counted(spill, keys, len(names))
    total = _told(counts.sum(axis=0), texts)
    found = {
        "column": asked.column,
        "highest": asked.highest,
        "thresholds": [json_number(score_of(int(key), asked.highest)) for key in keys],
        **total,
    }
    order = sorted(range(len(names)), key=lambda code: (-int(counts[code, 0].sum()), names[code]))
    return found | ({"by": asked.by, "groups": {names[code]: _told(counts[code], texts) for code in order}} if asked.by else {})


def _check(corpus: Corpus, asked: Asked) -> None:
    for path in (asked.column, asked.by):
        if path is not None and corpus.holder(path) is None:
            known = [name for side in (corpus.scores, corpus.documents) if side is not None for name in side.manifest.columns]
            raise DatasetError(f"{corpus.scores.name} has no column `{path}`", f"columns: {', '.join(dict.fromkeys(known))}")
    declared = corpus.scores.manifest.columns.get(asked.column, "")
    if declared.startswith("struct<"):
        raise DatasetError(f"column `{asked.column}` is {declared}", f"name a field of it, such as `{asked.column}.{_first(declared)}`")


def _first(declared: str) -> str:
    return declared.removeprefix("struct<").partition(":")[0]


def _documents(corpus: Corpus, asked: Asked, groups: Groups) -> Iterator[Weighed]:
    """Yield the corpus batch by batch: keys, bytes of text, and the numbers of groups."""
    for batch in _batches(corpus, asked):
        try:
            keys, scored = keys_of(leaf(batch, asked.column), asked.highest)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            kind = leaf(batch, asked.column).type
            raise DatasetError(f"column `{asked.column}` of {corpus.scores.name} is {kind}, not a number", "name a score") from error
        texts = batch.column(TEXT) if TEXT in batch.schema.names else None
        weights = weights_of(texts, "bytes", batch.num_rows)
        codes = groups.codes(words(batch, asked.by)).astype(np.int64) if asked.by else np.zeros(batch.num_rows, np.int64)
        yield Weighed(keys, weights, scored, codes, [None])


def _batches(corpus: Corpus, asked: Asked) -> Iterator[pa.RecordBatch]:
    """Yield the columns that matter; those of documents stand beside the attributes that describe them."""
    paths = [path for path in (asked.column, asked.by, TEXT) if path is not None]
    own = [path for path in paths if corpus.holder(path) is corpus.scores]
    beside = [path for path in paths if path not in own and corpus.holder(path) is not None]
    for shard in range(len(corpus.scores.manifest.shards)):
        rows = shard_rows(corpus.scores, shard, [ID, *own])
        if not beside or corpus.documents is None:
            yield from rows
            continue
        where = corpus.scores.shard_path(shard)
        stream = RowStream(rows, where)
        for docs in shard_rows(corpus.documents, shard, [ID, *beside]):
            attributes = stream.take(docs.num_rows)
            if not attributes.column(ID).equals(docs.column(ID)):
                raise DatasetError(f"{where} does not describe the rows of {corpus.documents.shard_path(shard)}: ids differ")
            for column in attributes.schema.names:
                docs = docs if column in docs.schema.names else docs.append_column(column, attributes.column(column))
            yield docs
        stream.finish()


class _Spill:
    """Documents in a temporary file, read batch by batch as often as is needed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._batches = 0
        self.scored = 0

    def write(self, docs: Weighed) -> None:
        for array in (docs.keys, docs.weights, docs.scored, docs.codes.astype(np.uint32)):
            np.save(self._file, array, allow_pickle=False)
        self._batches += 1
        self.scored += int(docs.scored.sum())

    def read(self) -> Iterator[tuple[Weighed, Numbers]]:
        """Yield documents as one group, and the numbers of their groups."""
        self._file.seek(0)
        for _ in range(self._batches):
            keys, weights, scored, codes = (np.load(self._file, allow_pickle=False) for _ in range(4))
            yield Weighed(keys, np.ones_like(weights), scored, np.zeros(len(keys), np.int64), [None]), np.stack([codes, weights])


def _settled(spill: _Spill, asked: Asked) -> list[Mark]:
    """Return the marks of the steps, each with the key of its threshold."""
    ranks = {-(-step * spill.scored // asked.steps) for step in range(1, asked.steps + 1)}
    marks = [Mark(None, rank) for rank in sorted(ranks) if spill.scored]
    for rounds in range(1, ROUNDS + 1):
        bins = intervals_of(marks) if rounds > 1 else {}
        if rounds > 1 and not bins:
            break
        tables: list[pa.Table] = []
        for docs, _ in spill.read():
            tables.append(binned(inside(docs, bins) if rounds > 1 else docs, rounds))
            tables = [merged(tables)] if len(tables) == BINS_AT_ONCE else tables
        marks = advanced(marks, merged(tables))
    return marks


def _counted(spill: _Spill, keys: Any, groups: int) -> Numbers:
    """Return documents and bytes by group, and by the strictest threshold that keeps them; the last place has those without a score."""
    counts = np.zeros((groups, 2, len(keys) + 1), np.int64)
    for docs, (codes, weights) in spill.read():
        place = np.where(docs.scored, np.searchsorted(keys, docs.keys), len(keys))
        slots = 2 * codes * counts.shape[2] + place
        np.add.at(counts.reshape(-1), slots, 1)
        np.add.at(counts.reshape(-1), slots + counts.shape[2], weights)
    return counts


def _told(counts: Numbers, texts: bool) -> dict[str, Any]:
    """Return one group's documents and bytes, and those that each threshold keeps."""
    documents, size = counts.sum(axis=1).tolist()
    docs, sizes = np.cumsum(counts[:, :-1], axis=1).tolist()
    return {
        "documents": documents,
        "without_score": int(counts[0, -1]),
        "bytes": size if texts else None,
        "kept_documents": docs,
        "kept_bytes": sizes if texts else None,
    }
