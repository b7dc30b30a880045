"""Keeps a fixed share of the documents, chosen by a hash."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curate.document import ID
from curate.errors import OperatorError, PipelineError
from curate.protocols import Filter, decisions

HASHES = 1 << 64


@dataclass(frozen=True)
class Sample(Filter):
    """Keeps a fixed share of the documents.

    ## What it does
    Keeps a document when the 64-bit hash of its id (XXH3 with `seed`) lies below `fraction` of all hashes. Reason:
    `not_sampled`. A larger fraction with the same seed keeps all that a smaller one kept; another seed is independent.

    ## Why
    A choice by hash is the same for ever: for any order, any number of workers, and when the corpus grows. A choice by
    `url` or `source` keeps or drops all documents that share the value.

    ## Example
        - use: sample
          params: {fraction: 0.01, seed: 7}

    ## Parameters
    - `fraction`: share to keep, from 0 to 1.
    - `seed`: which sample, from 0.
    - `by`: the column that is hashed: strings or whole numbers; null counts as "".

    ## Source
    XXH3 (Yann Collet).
    """

    fraction: float
    seed: int = 0
    by: str = ID

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1:
            raise PipelineError(f"sample: fraction is not between 0 and 1: {self.fraction}")
        if not 0 <= self.seed < HASHES:
            raise PipelineError(f"sample: seed is not between 0 and 2^64 - 1: {self.seed}")

    def reads(self) -> tuple[str, ...]:
        return (self.by,)

    def verify(self, schema: pa.Schema) -> None:
        if self.by in schema.names and not _hashable(schema.field(self.by).type):
            raise PipelineError(
                f"sample: column `{self.by}` is {schema.field(self.by).type}", "only strings, binaries and whole numbers are hashed"
            )

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        from xxhash import xxh3_64_intdigest

        column = docs.column(self.by)
        if not _hashable(column.type):
            raise OperatorError(f"sample: column `{self.by}` is {column.type}", "only strings, binaries and whole numbers are hashed")
        limit = round(self.fraction * HASHES)
        as_text = pc.cast(column, pa.large_string()) if pa.types.is_integer(column.type) else column
        keys = pc.fill_null(pc.cast(as_text, pa.large_binary()), b"").to_pylist()
        kept = pa.array([xxh3_64_intdigest(key, self.seed) < limit for key in keys], pa.bool_())
        return decisions(pc.if_else(kept, pa.scalar(None, pa.string()), "not_sampled"))


def _hashable(dtype: pa.DataType) -> bool:
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_binary, pa.types.is_large_binary)
    return any(is_kind(dtype) for is_kind in kinds)
