"""The documents of an index, as `minhash_dedup` and `minhash_index` see them: shards that come before those of the new dump.

A shard of an index has one row for every document that was the first of its kind:

| column     | type         | is                                                                           |
|------------|--------------|------------------------------------------------------------------------------|
| id         | string       | the document                                                                 |
| dump       | uint32       | the dump that brought it, counted from 0                                     |
| same, check | uint64      | what tells its kind: documents with the same shingles have both the same     |
| size       | uint32       | how many shingles it has                                                     |
| ranks      | list<uint64> | how late it comes by each rule of `keep`                                     |
| buckets    | list<uint64> | its bucket in each band                                                      |
| kept_id    | string       | the document that stays in its place, null if it stays itself                |
| similarity | double       | the exact Jaccard similarity to `kept_id`                                    |
| text       | large_string | its text, null if it went: nothing is compared with it any more              |

Removed documents are there because equal ones must follow them, and because they take a place among the heads of their buckets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from curate.dataset import Dataset, join_url, read_shard
from curate.errors import DatasetError, PipelineError
from curate.storage import Storage
from curate.work import Place
from curate_operators.minhash_sign import Item, UInt64s, buckets_schema, kinds_schema, numbers, storage_of

CHUNK_BYTES = 8 << 20
INDEX = pa.schema(
    {
        "id": pa.string(),
        "dump": pa.uint32(),
        "same": pa.uint64(),
        "check": pa.uint64(),
        "size": pa.uint32(),
        "ranks": pa.list_(pa.uint64()),
        "buckets": pa.list_(pa.uint64()),
        "kept_id": pa.string(),
        "similarity": pa.float64(),
        "text": pa.large_string(),
    }
)
MADE_BY = "minhash_index"


def settings_of(about: Mapping[str, Any], where: str, made_by: str) -> Mapping[str, Any]:
    """Return the settings that a dataset was made with; raise `PipelineError` when another operator made it."""
    if about.get("operator") != made_by:
        raise PipelineError(f"{where} was not made by `{made_by}`", f"name a stage that uses `{made_by}`")
    settings: Mapping[str, Any] = about["settings"]
    return settings


def check_settings(index: Dataset, mine: Mapping[str, Any]) -> None:
    """Raise `PipelineError` that names every setting in which an index differs."""
    theirs = settings_of(index.manifest.about, f"the index {index.url}", MADE_BY)
    mine = orjson.loads(orjson.dumps(mine))
    told = [
        f"{name} {_shown(theirs.get(name))}, not {_shown(mine.get(name))}"
        for name in {**mine, **theirs}
        if theirs.get(name) != mine.get(name)
    ]
    if told:
        hint = "give `minhash_dedup` the parameters of the index, or make a new index from all dumps"
        raise PipelineError(f"the index {index.url} was made with {'; '.join(told)}", hint)


def check_indexes(use: str, artifacts: Sequence[Dataset]) -> None:
    """Raise `PipelineError` for artifacts that are no index, and for more than one."""
    if len(artifacts) > 1:
        raise PipelineError(f"{use} reads one index, found {len(artifacts)}", "an index holds any number of dumps")
    for index in artifacts:
        settings_of(index.manifest.about, f"the artifact {index.url}", MADE_BY)


def check_new(index: Dataset | None, documents: Dataset) -> None:
    """Raise `PipelineError` for documents that the index holds: all of them would go, as copies of themselves."""
    if index is not None and documents.manifest.fingerprint in index.manifest.about["documents"]:
        hint = "name the index of the dump before; that of this dump is for the next one"
        raise PipelineError(f"the index {index.url} holds the documents of `{documents.name}` already", hint)


def _shown(value: Any) -> str:
    return orjson.dumps(value).decode()


def items_of(index: Dataset | None) -> list[Item]:
    """Return an item for each shard of an index, numbered from 0."""
    if index is None:
        return []
    return [
        {"path": index.shard_path(i), "shard": i, "storage": index.storage.url, "index": True, "sha256": shard.data.sha256}
        for i, shard in enumerate(index.manifest.shards)
    ]


def sizes_of(index: Dataset | None) -> list[int]:
    """Return the bytes of each shard of an index."""
    return [shard.data.bytes for shard in index.manifest.shards] if index else []


def remember_shard(item: Item, place: Place) -> Item:
    """Send the kinds of an index's documents into the shuffle, as `sign_shard` does for new ones."""
    verify(storage_of(item, place), item["path"], item["sha256"], "make the index anew, or copy it again")
    schema = kinds_schema(item["rules"])

    def kinds() -> Iterator[tuple[Any, pa.RecordBatch]]:
        for batch, document in _batches(item, place, ["same", "check", "dump", "ranks"]):
            same, check = (batch.column(name) for name in ("same", "check"))
            columns = [same, check, *map(pa.array, _ranks(batch, item)), pa.array(document)]
            yield same.to_numpy() % np.uint64(item["partitions"]), pa.RecordBatch.from_arrays(columns, schema=schema)

    return asdict(place.write_shuffle(item["partitions"], schema, kinds()))


def verify(storage: Storage, path: str, sha256: str, hint: str) -> None:
    """Raise `DatasetError` for a shard whose bytes are not those that were written: Parquet would not notice a changed number."""
    found = hashlib.sha256()
    try:
        with storage.open_input(path) as file:
            while data := file.read(CHUNK_BYTES):
                found.update(data)
    except DatasetError as error:
        error.hint = error.hint or hint
        raise
    if found.hexdigest() != sha256:
        raise DatasetError(f"{join_url(storage.url, path)}: damaged: its bytes are not those that were written", hint)


def refill_shard(item: Item, place: Place) -> Item:
    """Send an index's documents into their buckets; the size of one that went is 0."""
    schema = buckets_schema(item["rules"])

    def bands() -> Iterator[tuple[Any, pa.RecordBatch]]:
        for batch, document in _batches(item, place, ["dump", "size", "ranks", "buckets", "similarity"]):
            size = np.where(batch.column("similarity").is_valid().to_numpy(zero_copy_only=False), 0, batch.column("size").to_numpy())
            rest = [*_ranks(batch, item), document, size.astype(np.uint32)]
            for bucket in _lists(batch.column("buckets"), item["bands"], item):
                arrays = [pa.array(column) for column in (bucket, *rest)]
                yield bucket % np.uint64(item["spread"]), pa.RecordBatch.from_arrays(arrays, schema=schema)

    return asdict(place.write_shuffle(item["spread"], schema, bands()))


def removed_of(item: Item, place: Place, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield what became of the documents of an index that went: verdicts with the name of the document that stays."""
    for batch, document in _batches(item, place, ["kept_id", "similarity"]):
        rows = pa.RecordBatch.from_arrays([pa.array(document), *batch.columns], schema=schema)
        yield rows.filter(batch.column("similarity").is_valid())


def _batches(item: Item, place: Place, columns: list[str]) -> Iterator[tuple[pa.RecordBatch, UInt64s]]:
    begun = 0
    for batch in read_shard(storage_of(item, place), item["path"], columns):
        yield batch.select(columns), numbers(item["shard"], begun + batch.num_rows)[begun:]
        begun += batch.num_rows


def _ranks(batch: pa.RecordBatch, item: Item) -> list[UInt64s]:
    """Return the ranks of documents: their dump, then those by the rules of `keep`."""
    if not item["rules"]:
        return []
    return [batch.column("dump").to_numpy().astype(np.uint64), *_lists(batch.column("ranks"), item["rules"] - 1, item)]


def _lists(column: pa.ListArray, length: int, item: Item) -> list[UInt64s]:
    """Return the values of lists of one length, place by place."""
    values = column.flatten().to_numpy()
    if len(values) != len(column) * length:
        raise DatasetError(f"{item['path']}: lists of another length than {length}", "the index is damaged: make it anew")
    return [np.ascontiguousarray(place) for place in values.reshape(-1, length).T] if length else []
