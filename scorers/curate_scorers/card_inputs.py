"""Documents with the attributes beside them, as `cluster_cards`, `drop_clusters` and `sample_clusters` read them.

Columns of documents go by their names, those of attributes behind the name of their stage: `clusters.cluster`. A document whose
cluster is null has none: it had no vector.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.document import leaf, type_at
from curate.errors import OperatorError, PipelineError
from curate_scorers.cluster_vectors import verify_type

Item = dict[str, Any]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint64]

NONE = -1  # the number of no cluster
MAX_CLUSTERS = 100_000


def clusters_of(docs: pa.RecordBatch, path: str) -> Integers:
    """Return the number of each document's cluster, `NONE` where it has none; raise `OperatorError` for what is no such number."""
    numbers = pc.fill_null(leaf(docs, path).cast(pa.int64()), NONE).to_numpy(zero_copy_only=False)
    if len(numbers) and not NONE <= numbers.min() <= numbers.max() < MAX_CLUSTERS:
        odd = numbers.max() if numbers.max() >= MAX_CLUSTERS else numbers.min()
        hint = f"clusters are numbered from 0, and there are at most {MAX_CLUSTERS:,}"
        raise OperatorError(f"column `{path}` has {odd}, which is no cluster's number", hint)
    return np.asarray(numbers, np.int64)


def check_columns(use: str, schema: pa.Schema, cluster: str, distance: str | None = None, vector: str | None = None) -> None:
    """Raise `PipelineError` when columns that are there have types that no clustering makes."""
    _check(use, schema, cluster, pa.types.is_integer, "a cluster's number", "name the column that `cluster` made: `clusters.cluster`")
    _check(use, schema, distance, pa.types.is_floating, "a distance", "name the column that `cluster` made: `clusters.distance`")
    if vector is not None:
        verify_type(use, schema, vector)


def check_labels(use: str, schema: pa.Schema, *paths: str | None) -> None:
    """Raise `PipelineError` when columns of sites or languages hold no texts or numbers."""
    for path in paths:
        kind = type_at(schema, path) if path is not None else None
        fields = [f"`{path}.{one.name}`" for one in kind] if kind is not None and pa.types.is_struct(kind) else []
        hint = f"name a field of it: {', '.join(fields)}" if fields else "name a column of texts, or null"
        _check(use, schema, path, is_label, "a label", hint)


def check_numbers(use: str, schema: pa.Schema, paths: Iterable[str]) -> None:
    """Raise `PipelineError` when columns of scores hold no numbers."""
    for path in paths:
        _check(use, schema, path, is_number, "a number", "name columns of numbers in `scores`")


def is_label(kind: pa.DataType) -> bool:
    """Tell whether a column's values can be counted as texts."""
    texts = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_dictionary(kind)
    return bool(texts or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind))


def is_number(kind: pa.DataType) -> bool:
    """Tell whether a column's values have a mean."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind))


def _check(use: str, schema: pa.Schema, path: str | None, test: Any, wanted: str, hint: str) -> None:
    kind = type_at(schema, path) if path is not None else None
    if kind is not None and not test(kind):
        raise PipelineError(f"{use}: column `{path}` is {kind}, not {wanted}", hint)


def ranks_within(groups: npt.NDArray[Any], *keys: npt.NDArray[Any]) -> Integers:
    """Return each row's place among those of its group, ordered by the keys, the first of which decides."""
    order = np.lexsort((*keys[::-1], groups))
    ordered = groups[order]
    begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(order) else np.zeros(0, np.int64)
    within = np.arange(len(order)) - np.repeat(begins, np.diff(np.r_[begins, len(order)]))
    ranks = np.empty(len(order), np.int64)
    ranks[order] = within
    return ranks
