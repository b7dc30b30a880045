"""An operator of a test: gives documents the vectors that they have as a measure, as a model would."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from curate import Scorer

OUTPUT = pa.struct({"vector": pa.list_(pa.float32(), 12)})


@dataclass(frozen=True)
class Vector(Scorer):
    """Gives each document its vector."""

    def reads(self) -> tuple[str, ...]:
        return ("vector",)

    def output(self) -> pa.DataType:
        return OUTPUT

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        vectors = pa.array(docs.column("vector").to_pylist(), OUTPUT[0].type)  # Parquet forgets that a list is of fixed size
        return pa.StructArray.from_arrays([vectors], fields=list(OUTPUT))
