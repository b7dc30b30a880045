"""Gives each document a number between 0 and 1 by a hash, so that other operators can choose at random."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from curate.document import ID
from curate.errors import PipelineError
from curate.hashing import chances
from curate.protocols import Scorer

HASHES = 1 << 64


@dataclass(frozen=True)
class Draw(Scorer):
    """Gives each document a random number that is the same for ever.

    ## What it does
    Emits the 64-bit hash of the id (XXH3 with `seed`) as a share of all hashes, a double from 0 up to 1. `sample` with the same seed
    keeps the documents with a number below its `fraction`.

    ## Why
    Where a plain share is not wanted: `select_top` by this number with `group_by: site` and `budget: 300` draws 300 documents of each
    site, which no order of the corpus and no number of workers changes.

    ## Example
        - use: draw
          into: draw
          params: {seed: 7}

    ## Parameters
    - `seed`: which numbers, from 0; other seeds are independent.

    ## Source
    XXH3 (Yann Collet).
    """

    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seed < HASHES:
            raise PipelineError(f"draw: seed is not between 0 and 2^64 - 1: {self.seed}")

    def reads(self) -> tuple[str, ...]:
        return (ID,)

    def output(self) -> pa.DataType:
        return pa.float64()

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        return pa.array(chances(docs.column(ID), self.seed))
