"""Counts through the shuffle in how many documents each line stands, and which document has it first.

`count_shard` sends each different line of a shard once per about `CHUNK_LINES` lines: its key, the documents that have it, and the
first of them. `decide_partition` adds up and answers with the lines that stand in enough documents, either to every shard that has
them or (`name_first`) to the shard of the first document, which names it and passes it on (`name_firsts`). `Frequent` looks up
answers. Shuffles keep the order of shards and rows, so nothing depends on workers, and only the first document's place on shards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate import shuffle
from curate.dataset import Dataset, read_shard
from curate.document import ID, TEXT
from curate.shuffle import Range, ShuffleFile
from curate.work import Place, Work
from curate_operators.site_lines import Cut, Ints, Keys, Mask, SiteLines, site_lines

COUNTED = pa.schema({"key": pa.uint64(), "documents": pa.uint64(), "shard": pa.uint32(), "row": pa.uint32()})
"""What passes through the shuffle: a line, how many documents have it, and the first of them; answers have the same columns."""
ASKED = COUNTED.append(pa.field("holder", pa.uint32()))
NAMED = COUNTED.append(pa.field(ID, pa.string()))
"""Answers whose first document is asked for, for the shard `holder`, and answers that name it."""

CHUNK_LINES = 1 << 20
LINE_BYTES = 40  # about: how long a line is, to guess how many there are


@dataclass(frozen=True)
class Counting:
    """One dataset's lines, to be counted: what all phases need to know."""

    documents: Dataset
    cut: Cut
    min_documents: int
    name_first: bool = False

    @property
    def sizes(self) -> list[int]:
        """Return the bytes of each shard."""
        return [shard.data.bytes for shard in self.documents.manifest.shards]

    def items(self) -> list[dict[str, Any]]:
        """Return what each shard's tasks are given."""
        shards = self.documents.manifest.shards
        text_bytes = sum(shard.counts.text_bytes_out or 3 * shard.data.bytes for shard in shards)
        common = {"cut": asdict(self.cut), "partitions": shuffle.partitions_for(text_bytes // LINE_BYTES, row_bytes=24)}
        return [common | {"path": self.documents.shard_path(i), "shard": i} for i in range(len(shards))]

    def run(self, work: Work) -> list[dict[str, Any]]:
        """Count, decide, and return each shard's item with the parts of its answer."""
        items = self.items()
        parts = _ranges(work, work.map("count", count_shard, items, self.sizes))
        common = {"shards": len(items), "min_documents": self.min_documents, "name_first": self.name_first}
        answers = _ranges(work, work.map("decide", decide_partition, [common | {"parts": part} for part in parts]))
        if self.name_first:
            asked = [item | {"parts": part, "shards": len(items)} for item, part in zip(items, answers, strict=True)]
            answers = _ranges(work, work.map("name", name_firsts, asked))
        return [item | {"parts": part} for item, part in zip(items, answers, strict=True)]


def _ranges(work: Work, files: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    found = shuffle.ranges(work.storage, [ShuffleFile(**file) for file in files])
    return [[asdict(part) for part in parts] for parts in found]


def read_parts(item: dict[str, Any], place: Place, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the rows that the shuffle brought for an item."""
    return shuffle.read(place.storage, [Range(**part) for part in item["parts"]], schema)


def read_lines(item: dict[str, Any], place: Place) -> Iterator[tuple[int, SiteLines]]:
    """Yield for each batch of a shard the number of its first row, and its lines."""
    cut = Cut(**item["cut"])
    columns = [ID, TEXT] + ([cut.by] if cut.by is not None and cut.by not in (ID, TEXT) else [])
    row = 0
    for batch in read_shard(place.storage, item["path"], columns):
        yield row, site_lines(batch, cut)
        row += batch.num_rows


def count_shard(item: dict[str, Any], place: Place) -> dict[str, Any]:
    """Count the lines of each site in one shard."""
    chunks = ((keys % np.uint64(item["partitions"]), batch) for keys, batch in _chunks(item, place))
    return asdict(place.write_shuffle(item["partitions"], COUNTED, chunks))


def _chunks(item: dict[str, Any], place: Place) -> Iterator[tuple[Keys, pa.RecordBatch]]:
    """Yield the lines of a shard, each once in a chunk of about `CHUNK_LINES`; all lines of a document are in one chunk."""
    keys: list[Keys] = []
    rows: list[Ints] = []
    for row, found in read_lines(item, place):
        keys += [found.keys, found.site_keys]
        rows += [found.rows + row, found.site_rows + row]
        if sum(map(len, keys)) >= CHUNK_LINES:
            yield _counted(np.concatenate(keys), np.concatenate(rows), item["shard"])
            keys, rows = [], []
    if keys:
        yield _counted(np.concatenate(keys), np.concatenate(rows), item["shard"])


def _counted(keys: Keys, rows: Ints, shard: int) -> tuple[Keys, pa.RecordBatch]:
    """Count in how many rows each key stands; of equal keys, rows never fall."""
    order = np.argsort(keys, kind="stable")
    keys, rows = keys[order], rows[order]
    begins = starts(keys)
    once = begins | starts(rows)  # a line that a document repeats counts once
    group = np.cumsum(begins) - 1
    documents = np.bincount(group[once]).astype(np.uint64)
    shards = np.full(len(documents), shard, dtype=np.uint32)
    columns = {"key": keys[begins], "documents": documents, "shard": shards, "row": rows[begins].astype(np.uint32)}
    return keys[begins], pa.RecordBatch.from_pydict(columns, COUNTED)


def decide_partition(item: dict[str, Any], place: Place) -> dict[str, Any]:
    """Add up the counts and answer with the lines that stand in enough documents."""
    key, documents, shard, row = (column.to_numpy() for column in pa.Table.from_batches(read_parts(item, place, COUNTED), COUNTED).columns)
    order = np.lexsort((row, shard, key))
    key, documents, shard, row = key[order], documents[order], shard[order], row[order]
    new = starts(key)
    begins = np.flatnonzero(new)
    total = np.add.reduceat(documents, begins) if len(begins) else documents
    group = np.cumsum(new) - 1
    told = (new | starts(shard)) & (total[group] >= item["min_documents"])
    first = begins[group[told]]
    answer = {"key": key[told], "documents": total[group[told]], "shard": shard[first], "row": row[first]}
    if not item["name_first"]:
        return _written(place, item["shards"], COUNTED, shard[told], answer)
    return _written(place, item["shards"], ASKED, shard[first], answer | {"holder": shard[told]})


def name_firsts(item: dict[str, Any], place: Place) -> dict[str, Any]:
    """Name the first documents that stand in this shard, and tell the shards that asked."""
    batches = [batch.column(ID) for batch in read_shard(place.storage, item["path"], [ID])]
    ids = pa.chunked_array(batches, pa.string()).combine_chunks()
    asked = read_parts(item, place, ASKED)
    named = ((batch.column("holder").to_numpy(), _named(batch, ids)) for batch in asked)
    return asdict(place.write_shuffle(item["shards"], NAMED, named))


def _named(batch: pa.RecordBatch, ids: pa.Array) -> pa.RecordBatch:
    return batch.drop_columns(["holder"]).append_column(ID, ids.take(batch.column("row"))).cast(NAMED)


def _written(place: Place, partitions: int, schema: pa.Schema, to: Any, columns: dict[str, Any]) -> dict[str, Any]:
    return asdict(place.write_shuffle(partitions, schema, iter([(to.astype(np.int64), pa.RecordBatch.from_pydict(columns, schema))])))


class Frequent:
    """The lines of one shard that stand in many documents, for looking up."""

    def __init__(self, item: dict[str, Any], place: Place, schema: pa.Schema = COUNTED) -> None:
        table = pa.Table.from_batches(read_parts(item, place, schema), schema).sort_by("key").combine_chunks()
        self._keys, self._documents, self._shards, self._rows = (column.to_numpy() for column in table.columns[:4])
        self._ids = table.column(ID) if ID in schema.names else None
        self._shard = item["shard"]

    def documents(self, keys: Keys) -> Ints:
        """Return how many documents have each line, 0 if they are few."""
        place, known = self._find(keys)
        return np.where(known, self._documents[place], 0).astype(np.int64) if len(self._keys) else np.zeros(len(keys), dtype=np.int64)

    def is_first(self, keys: Keys, rows: Ints) -> Mask:
        """Tell which of these rows are the first documents with their line."""
        place, known = self._find(keys)
        here: Mask = known & (self._shards[place] == self._shard) & (self._rows[place] == rows) if len(self._keys) else known
        return here

    def is_before(self, keys: Keys, rows: Ints) -> Mask:
        """Tell for which keys the first document is that of the row, or stands before it."""
        place, known = self._find(keys)
        if not len(self._keys):
            return known
        shard = self._shards[place]
        before: Mask = known & ((shard < self._shard) | ((shard == self._shard) & (self._rows[place] <= rows)))
        return before

    def first_ids(self, keys: Keys) -> pa.Array:
        """Return the first document with each line, null if few have it."""
        if self._ids is None or not len(self._keys):
            return pa.nulls(len(keys), pa.string())
        place, known = self._find(keys)
        return self._ids.take(pa.array(place, mask=~known)).combine_chunks()

    def _find(self, keys: Keys) -> tuple[Any, Mask]:
        place = np.minimum(np.searchsorted(self._keys, keys), max(len(self._keys) - 1, 0))
        return place, (self._keys[place] == keys) if len(self._keys) else np.zeros(len(keys), dtype=np.bool_)


def starts(values: Any) -> Mask:
    """Tell where another value begins."""
    begins = np.ones(len(values), dtype=np.bool_)
    begins[1:] = values[1:] != values[:-1]
    return begins
