"""Documents with the attributes beside them, as `cluster_cards`, `drop_clusters` and `sample_clusters` read them.

Columns of documents go by their names, those of attributes behind the name of their stage: `clusters.cluster`. A document whose
cluster is null has none: it had no vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.dataset import Dataset, RowStream, read_shard
from curate.document import ID, leaf
from curate.errors import DatasetError, OperatorError, PipelineError
from curate.hashing import hash64
from curate.work import Place

Item = dict[str, Any]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint64]

NONE = -1  # the number of no cluster
MAX_CLUSTERS = 100_000


def shard_items(use: str, inputs: Sequence[Dataset]) -> list[Item]:
    """Return where each shard of the documents lies, and the shards of attributes beside it."""
    documents, *beside = inputs
    odd = [dataset.name for dataset in beside if dataset.manifest.kind != "attributes"]
    if documents.manifest.kind != "documents" or odd:
        found = f"`{odd[0]}` is no attributes" if odd else f"`{documents.name}` is no documents"
        raise PipelineError(f"{use} reads one set of documents, and attributes of these: {found}", "write `from: [DOCUMENTS, CLUSTERS]`")
    return [
        {"documents": documents.shard_path(shard), "attributes": {dataset.name: dataset.shard_path(shard) for dataset in beside}}
        for shard in range(len(documents.manifest.shards))
    ]


def read(item: Item, place: Place, paths: Sequence[str | None]) -> Iterator[pa.RecordBatch]:
    """Yield ids and the columns that hold these paths, attributes as structs named by their stage, in batches of bounded memory."""
    wanted = [path for path in paths if path is not None]
    own = [path.partition(".")[0] for path in wanted if path.partition(".")[0] not in item["attributes"]]
    beside = {}
    for name, shard in item["attributes"].items():
        fields = [path.split(".")[1] for path in wanted if path.startswith(f"{name}.")]
        if fields:
            beside[name] = RowStream(read_shard(place.storage, shard, list(dict.fromkeys([ID, *fields]))), shard)
    for docs in read_shard(place.storage, item["documents"], list(dict.fromkeys([ID, *own]))):
        yield _joined(docs, beside, item)
    for stream in beside.values():
        stream.finish()


def _joined(docs: pa.RecordBatch, beside: dict[str, RowStream], item: Item) -> pa.RecordBatch:
    for name, stream in beside.items():
        rows = stream.take(docs.num_rows)
        if not rows.column(ID).equals(docs.column(ID)):
            raise DatasetError(f"attributes `{name}` do not describe the rows of {item['documents']}", "remove their dataset and run again")
        docs = docs.append_column(name, rows.drop_columns([ID]).to_struct_array())
    return docs


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
    _check(use, schema, vector, is_vector, "a vector of numbers", "name the column that `embed` made, such as `vectors.embedding`")


def check_labels(use: str, schema: pa.Schema, *paths: str | None) -> None:
    """Raise `PipelineError` when columns of sites or languages hold no texts or numbers."""
    for path in paths:
        kind = _type_at(schema, path) if path is not None else None
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


def is_vector(kind: pa.DataType) -> bool:
    """Tell whether a column holds vectors."""
    lists = (
        pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)
    )  # Parquet files of others have lists
    return bool(lists and pa.types.is_floating(kind.value_type))


def _check(use: str, schema: pa.Schema, path: str | None, test: Any, wanted: str, hint: str) -> None:
    kind = _type_at(schema, path) if path is not None else None
    if kind is not None and not test(kind):
        raise PipelineError(f"{use}: column `{path}` is {kind}, not {wanted}", hint)


def _type_at(schema: pa.Schema, path: str) -> pa.DataType | None:
    head, *rest = path.split(".")
    kind = schema.field(head).type if head in schema.names else None
    for part in rest:
        kind = kind.field(part).type if kind is not None and pa.types.is_struct(kind) and kind.get_field_index(part) >= 0 else None
    return kind


def mixed(ids: pa.Array, seed: int) -> Hashes:
    """Return a 64-bit number for each id, by its hash; another seed is independent."""
    with np.errstate(over="ignore"):
        found = hash64(ids.cast(pa.string())) + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
        found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(found ^ (found >> np.uint64(31)), np.uint64)


def ranks_within(groups: npt.NDArray[Any], *keys: npt.NDArray[Any]) -> Integers:
    """Return each row's place among those of its group, ordered by the keys, the first of which decides."""
    order = np.lexsort((*keys[::-1], groups))
    ordered = groups[order]
    begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(order) else np.zeros(0, np.int64)
    within = np.arange(len(order)) - np.repeat(begins, np.diff(np.r_[begins, len(order)]))
    ranks = np.empty(len(order), np.int64)
    ranks[order] = within
    return ranks
