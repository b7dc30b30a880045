"""Reads documents together with the attributes that describe them: for dataset operators with several sources.

    def run(self, inputs, work):
        items = beside.shard_items("my_operator", inputs)          # from: [DOCUMENTS, VECTORS, …]
        work.write_shards(mark_shard, items)

    def mark_shard(item, place):
        for docs in beside.read(item, place, ["vectors.embedding", "url"]):
            ...

A chain has the same from the engine (`curate.sources`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from curate.dataset import Dataset, RowStream, read_shard
from curate.document import ID
from curate.errors import DatasetError, PipelineError
from curate.manifest import Kind
from curate.work import Place

Item = dict[str, Any]


def verify_sources(use: str, kinds: Mapping[str, Kind], example: str = "ATTRIBUTES") -> None:
    """Raise `PipelineError` unless the first source is documents, and all others are attributes."""
    for number, (name, kind) in enumerate(kinds.items()):
        if kind != ("attributes" if number else "documents"):
            what = f"{use}: it reads one set of documents, and attributes of these; `{name}` is {_SAID[kind]}"
            raise PipelineError(what, f"write `from: [DOCUMENTS, {example}]`")


_SAID = {"documents": "a set of documents", "attributes": "attributes", "artifact": "an artifact"}


def shard_items(use: str, inputs: Sequence[Dataset], example: str = "ATTRIBUTES") -> list[Item]:
    """Return where each shard of the documents lies (`documents`), and the shards of attributes beside it (`attributes`, by name)."""
    verify_sources(use, {dataset.name: dataset.manifest.kind for dataset in inputs}, example)
    documents, *others = inputs
    return [
        {"documents": documents.shard_path(shard), "attributes": {dataset.name: dataset.shard_path(shard) for dataset in others}}
        for shard in range(len(documents.manifest.shards))
    ]


def read(item: Item, place: Place, paths: Sequence[str | None]) -> Iterator[pa.RecordBatch]:
    """Yield a shard's ids and the columns that hold dotted paths, attributes as structs named by their stage, in batches of bounded memory.

    Paths that are None are left out. Raises `DatasetError` for attributes that do not describe these documents, row by row.
    """
    wanted = [path for path in paths if path is not None]
    heads = dict.fromkeys([ID, *(path.partition(".")[0] for path in wanted)])
    streams = {}
    for name, shard in item["attributes"].items():
        if fields := [path.split(".")[1] for path in wanted if path.startswith(f"{name}.")]:
            streams[name] = RowStream(read_shard(place.storage, shard, list(dict.fromkeys([ID, *fields]))), shard)
    for docs in read_shard(place.storage, item["documents"], [head for head in heads if head not in item["attributes"]]):
        for name, stream in streams.items():
            rows = stream.take(docs.num_rows)
            if not rows.column(ID).equals(docs.column(ID)):
                message = f"attributes `{name}` do not describe the rows of {item['documents']}: ids differ"
                raise DatasetError(message, "remove their dataset and run again")
            docs = docs.append_column(name, rows.drop_columns([ID]).to_struct_array())
        yield docs
    for stream in streams.values():
        stream.finish()
