"""Makes large corpora for deduplication out of real text by edits, with arrays instead of loops, so that making takes less than the job.

A document is a row of numbers of words. Three quarters of its words follow one another in the sample crawl's pages; every fourth
is one of a million made ones, so that only copies are alike.

- `copies`: every third document is an earlier one with up to a fifth of its words changed.
- `star`: a share of the documents is one text with a word changed in each: all are in one group, and many in one bucket.
- `chain`: a share of the documents are windows over one stream, each alike to the ones around it only: one group that is long.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.writers import ParquetShard
from tests.kernels.conftest import sample_texts

SCHEMA = pa.schema({"id": pa.string(), "text": pa.large_string()})
SHORTEST, LONGEST = 60, 100  # words
MADE = 1_000_000
CHUNK, FILE_DOCS = 50_000, 500_000
STEP = 4  # words from one window of a chain to the next
SHAPES = ("copies", "star", "chain")
Numbers = np.ndarray[Any, np.dtype[Any]]


class Corpus:
    """Documents of a shape; the same seed makes the same ones."""

    def __init__(self, shape: str, share: float, seed: int = 1) -> None:
        self.shape, self.share = shape, share
        self._draw = np.random.default_rng(seed)
        real = pa.array(" ".join(sample_texts(per_file=1000, max_chars=200_000)).split())
        encoded = real.dictionary_encode()
        self._pages = encoded.indices.to_numpy()
        self._first_made = len(encoded.dictionary)
        made = pa.array([f"x{number:05x}" for number in range(MADE)])
        self._words = pa.concat_arrays([encoded.dictionary, made])
        self._earlier: tuple[Numbers, Numbers] | None = None
        self._template = self._passages(1)[0]
        self._stream = self._made(LONGEST)

    def chunks(self, count: int) -> Iterator[pa.RecordBatch]:
        """Yield `count` documents."""
        for begun in range(0, count, CHUNK):
            rows = min(CHUNK, count - begun)
            lengths = self._draw.integers(SHORTEST, LONGEST, rows, endpoint=True)
            yield self._batch(begun, self._shaped(rows, lengths), lengths)

    def _made(self, *size: int) -> Numbers:
        return np.asarray(self._draw.integers(self._first_made, self._first_made + MADE, size))

    def _passages(self, rows: int) -> Numbers:
        start = self._draw.integers(0, len(self._pages) - LONGEST, rows)
        words = self._pages[start[:, None] + np.arange(LONGEST)].astype(np.int64)
        words[:, ::4] = self._made(rows, LONGEST // 4)
        return np.asarray(words)

    def _shaped(self, rows: int, lengths: Numbers) -> Numbers:
        words = self._passages(rows)
        if self.shape == "copies":
            return self._with_copies(words, lengths)
        chosen = np.flatnonzero(self._draw.random(rows) < self.share)
        lengths[chosen] = LONGEST
        if self.shape == "star":
            words[chosen] = self._template
            words[chosen, self._draw.integers(0, LONGEST, len(chosen))] = self._made(len(chosen))
            return words
        stream = np.concatenate([self._stream, self._made(len(chosen) * STEP)])
        words[chosen] = np.lib.stride_tricks.sliding_window_view(stream, LONGEST)[STEP::STEP][: len(chosen)]
        self._stream = stream[-LONGEST:]
        return words

    def _with_copies(self, words: Numbers, lengths: Numbers) -> Numbers:
        """Make every third document a copy of one of the chunk before."""
        copies = np.arange(2, len(words), 3)
        originals = np.delete(words, copies, 0), np.delete(lengths, copies)
        earlier, known = self._earlier or originals
        source = self._draw.integers(0, len(earlier), len(copies))
        words[copies], lengths[copies] = earlier[source], known[source]
        changed = self._draw.random((len(copies), LONGEST)) < self._draw.random(len(copies))[:, None] / 20
        words[copies] = np.where(changed, self._made(len(copies), LONGEST), words[copies])
        self._earlier = originals
        return words

    def _batch(self, begun: int, words: Numbers, lengths: Numbers) -> pa.RecordBatch:
        flat = words[np.arange(LONGEST) < lengths[:, None]]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        texts = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), self._words.take(pa.array(flat))), " ").cast(pa.large_string())
        ids = pc.binary_join_element_wise("d", pa.array(np.arange(begun, begun + len(words))).cast(pa.string()), "")
        return pa.RecordBatch.from_arrays([ids, texts], schema=SCHEMA)


def write(folder: Path, corpus: Corpus, count: int) -> int:
    """Write documents as Parquet files and return the bytes of text."""
    folder.mkdir(parents=True)
    total, chunks = 0, corpus.chunks(count)
    for number in range(-(-count // FILE_DOCS)):
        with open(folder / f"{number:05d}.parquet", "wb") as out:
            writer = ParquetShard(out, SCHEMA)
            for _ in range(-(-min(FILE_DOCS, count - number * FILE_DOCS) // CHUNK)):
                batch = next(chunks)
                total += pc.sum(pc.binary_length(batch.column("text"))).as_py()
                writer.write(batch)
            writer.close()
    return total
