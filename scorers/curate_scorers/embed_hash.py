"""Turns documents into vectors by hashing their words: a baseline for embedding models, which it needs none of.

Emits a fixed-size list of float32 of length 1; null for a document without words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels
from curate.document import TEXT
from curate.errors import PipelineError
from curate.protocols import Scorer

ROWS = 1024  # documents whose sums are held at a time
STEP = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ over the golden ratio, odd: products spread over the high bits
HALF = np.uint64(32)


@dataclass(frozen=True)
class EmbedHash(Scorer):
    """Turns each document into a vector by hashing its words and n-grams of words.

    ## What it does
    Each word of the lower-cased text, and each run of 2 to `grams` words, adds +1 or −1 to one of `dimensions` sums; hashes say which. A
    vector is the square roots of the sums, with their signs, divided by its length. Texts without words have none (null).

    ## Why
    A baseline: what a model's vectors are worth shows beside vectors that know nothing but which words two documents share. It costs
    about as much as counting words. For a corpus take `embed`.

    ## Example
        - use: embed_hash
          into: vector

    ## Parameters
    - `dimensions`: length of the vectors; words share sums, so that more dimensions tell more documents apart.
    - `grams`: the most words in a run; 1 = single words only. Runs are many, and crowd the words out of a small vector.

    ## Source
    Weinberger et al., *Feature Hashing for Large Scale Multitask Learning* (2009).
    """

    dimensions: int = 256
    grams: int = 1

    def __post_init__(self) -> None:
        for name, value, most in (("dimensions", self.dimensions, 1 << 16), ("grams", self.grams, 8)):
            if not 1 <= value <= most:
                raise PipelineError(f"embed_hash: {name} is not from 1 to {most}: {value}")

    def output(self) -> pa.DataType:
        return pa.list_(pa.float32(), self.dimensions)

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        texts = docs.column(TEXT)
        parts = [self._vectors(texts[start : start + ROWS]) for start in range(0, len(texts), ROWS)]
        vectors = np.concatenate([np.empty((0, self.dimensions), np.float32), *parts])
        none = ~vectors.any(axis=1)
        return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), type=self.output(), mask=pa.array(none))

    def _vectors(self, texts: pa.Array) -> Any:
        """Return the vectors of texts, zeros where there is none."""
        words = kernels.words(kernels.texts(pc.utf8_lower(texts)))
        document = np.repeat(np.arange(len(texts)), np.diff(words.first))
        sums = np.zeros(len(texts) * self.dimensions)
        hashes = words.hashes * STEP
        for size in range(1, self.grams + 1):
            if size > 1:  # the run that ended one word before, and this word
                hashes = (hashes[:-1] ^ (hashes[:-1] >> HALF)) * STEP + words.hashes[size - 1 :]
            inside = document[size - 1 :] == document[: max(0, len(document) - size + 1)]
            mixed = (hashes ^ (hashes >> HALF)) * STEP
            place = document[size - 1 :] * self.dimensions + ((mixed >> HALF) % np.uint64(self.dimensions)).astype(np.int64)
            sign = np.where(mixed & np.uint64(1 << 31), 1.0, -1.0)
            sums += np.bincount(place[inside], sign[inside], len(sums))
        found = np.sign(sums) * np.sqrt(np.abs(sums))
        found = found.reshape(len(texts), self.dimensions)
        length = np.sqrt(np.square(found).sum(1, keepdims=True))
        return (found / np.where(length == 0, 1, length)).astype(np.float32)
