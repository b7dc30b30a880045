"""Reads what `semantic_dedup` compares: the vector, the cluster and the order of each document of a shard.

A document without a vector (null, or nothing but zeros) or without a cluster is compared with nothing. What an item has:
`use`, where the shard lies (`curate.beside`), the columns `column`, `cluster` and `distance`, and `order` with its `seed`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from curate import beside
from curate.document import ID, leaf
from curate.errors import OperatorError
from curate.hashing import hash64
from curate.thresholds import Keys, keys_of
from curate.work import Place
from curate_scorers.semantic_dedup_vectors import Flags, Floats, matrix

Item = dict[str, Any]


def batches(item: Item, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield a shard's ids and the columns that are compared, with attributes as structs named by their stage."""
    return beside.read(item, place, [item["column"], item["cluster"], item["distance"]])


def vectors_of(item: Item, docs: pa.RecordBatch) -> tuple[Floats, Flags]:
    """Return the vectors (documents × dimensions) that are compared, and which documents of the batch they belong to."""
    vectors, given = matrix(item["use"], leaf(docs, item["column"]), docs.column(ID))
    known = given & leaf(docs, item["cluster"]).is_valid().to_numpy(zero_copy_only=False)
    known[given] &= vectors.any(axis=1)
    return vectors[known[given]], known


def keys_within(item: Item, docs: pa.RecordBatch) -> Keys:
    """Return the keys that order documents within their cluster: `hard` farthest first, `easy` nearest first, or by a seeded hash."""
    if item["order"] == "random":
        return hash64(docs.column(ID), item["seed"])
    found, scored = keys_of(leaf(docs, item["distance"]), highest=item["order"] == "hard")
    if not scored.all():
        name = docs.column(ID)[int(np.flatnonzero(~scored)[0])]
        raise OperatorError(
            f"{item['use']}: document `{name}` has a cluster, and in `{item['distance']}` no distance to its centroid",
            "`cluster` gives both; `keep: random` needs no distance" if item["use"] == "semantic_dedup" else "`cluster` gives both",
        )
    return found
