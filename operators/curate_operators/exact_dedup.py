"""Marks documents whose text (or any other column) is the same as that of an earlier one.

Emits attributes, one row per document, in its order:

| column     | type   | is                                                    |
|------------|--------|-------------------------------------------------------|
| id         | string | the document                                          |
| keep       | bool   | whether it is the one that stays                      |
| kept_id    | string | the document that stays in its place, null if `keep`  |
| similarity | double | 1.0 for a duplicate, null if `keep`                   |
| reason     | string | `duplicate`, null if `keep`                           |

Three phases. `hash` reads each shard once and keeps 16 bytes per document: its 128-bit key. The first document of each key
in the shard goes through the shuffle, so a key that half of the corpus shares costs one row per shard. `decide` finds each
key's first shard. `mark` writes the attributes. A document whose column is null repeats nothing and always stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import shuffle
from curate.dataset import Dataset, read_shard
from curate.document import leaf
from curate.errors import DatasetError
from curate.hashing import hash128
from curate.protocols import DatasetOperator
from curate.shuffle import Range, ShuffleFile
from curate.work import Place, Work

FIRST = pa.schema({"high": pa.uint64(), "low": pa.uint64(), "shard": pa.uint32(), "id": pa.string()})
"""What passes through the shuffle: the first document of each key in each shard; the answer has the same columns."""


WHITE_SPACE = r"[\s\p{Z}\x{0b}\x{1c}-\x{1f}\x{85}]+"
r"""What Unicode calls white space, as Python's `str.split` does; RE2's `\s` is ASCII only and lacks the vertical tab."""


@dataclass(frozen=True)
class ExactDedup(DatasetOperator):
    """Marks exact duplicates; the first document in the dataset's order stays.

    ## What it does
    Documents whose column `by` is equal are duplicates. With `normalize`, case and white space are ignored: texts are
    lower-cased and runs of white space count as one blank, which catches copies that differ in layout only. Nothing is
    removed here: `apply` on a later stage does that, with the kept document and the similarity as evidence.

    ## Why
    Exact copies are the cheapest duplicates to find and the most common in crawls (mirrors, reprints, error pages).

    ## Example
        dedup: {from: clean, use: exact_dedup}
        corpus: {from: [clean, dedup], apply: [dedup]}

    ## Parameters
    - `by`: the column to compare, such as `text`, `url` or `meta.host`; where it is null the document always stays.
    - `normalize`: ignore case and white space.

    ## Source
    Equality of 128-bit xxh3 hashes; two different texts collide with probability 2⁻¹²⁸ per pair.
    """

    version: ClassVar[int] = 1
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "attributes"

    by: str = "text"
    normalize: bool = True

    def reads(self) -> tuple[str, ...]:
        return (self.by,)

    def adds(self) -> Mapping[str, pa.DataType]:
        return {"keep": pa.bool_(), "kept_id": pa.string(), "similarity": pa.float64(), "reason": pa.string()}

    def run(self, inputs: list[Dataset], work: Work) -> None:
        documents = inputs[0]
        shards = documents.manifest.shards
        sizes = [shard.data.bytes for shard in shards]
        partitions = shuffle.partitions_for(documents.rows, row_bytes=64)
        items = [
            {"path": documents.shard_path(i), "shard": i, "by": self.by, "normalize": self.normalize, "partitions": partitions}
            for i in range(len(shards))
        ]
        hashed = work.map("hash", hash_shard, items, sizes)
        parts = shuffle.ranges(work.storage, [ShuffleFile(**result["shuffle"]) for result in hashed])
        groups = [{"parts": [asdict(part) for part in group], "shards": len(shards)} for group in parts]
        decided = work.map("decide", decide_partition, groups)
        answers = shuffle.ranges(work.storage, [ShuffleFile(**result) for result in decided])
        marks = [
            {"path": documents.shard_path(i), "local": hashed[i]["local"], "parts": [asdict(part) for part in answers[i]], "shard": i}
            for i in range(len(shards))
        ]
        work.write_shards(mark_shard, marks, sizes)


def hash_shard(item: dict[str, Any], place: Place) -> dict[str, Any]:
    """Hash one shard's documents; keep all keys locally, send the first of each key into the shuffle."""
    keys: list[bytes] = []
    ids: list[pa.Array] = []
    for batch in read_shard(place.storage, item["path"], ["id", item["by"]]):
        keys.append(hash_values(leaf(batch, item["by"]), batch.column("id"), item["normalize"]))
        ids.append(batch.column("id"))
    high, low = _halves(b"".join(keys))
    firsts, _ = _first_rows(high, low)
    names = pa.chunked_array(ids, pa.string()).take(pa.array(firsts)).combine_chunks() if ids else pa.array([], pa.string())
    table = pa.table({"high": high, "low": low})
    shards = np.full(len(firsts), item["shard"], dtype=np.uint32)
    sent = pa.RecordBatch.from_pydict({"high": high[firsts], "low": low[firsts], "shard": shards, "id": names}, FIRST)
    partition = high[firsts] % np.uint64(item["partitions"])
    file = place.write_shuffle(item["partitions"], FIRST, iter([(partition, sent)]))
    return {"local": place.write_table("keys", table), "shuffle": asdict(file)}


def decide_partition(item: dict[str, Any], place: Place) -> dict[str, Any]:
    """Find the first document of each key and tell every shard that has a later one."""
    rows = list(shuffle.read(place.storage, [Range(**part) for part in item["parts"]], FIRST))
    table = pa.Table.from_batches(rows, FIRST).combine_chunks()
    high, low, shard = (table.column(name).to_numpy() for name in ("high", "low", "shard"))
    order = np.lexsort((shard, low, high))
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = (high[order][1:] != high[order][:-1]) | (low[order][1:] != low[order][:-1])
    winner = order[np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))]
    losers = order[~begins]
    answer = pa.table(
        {"high": high[losers], "low": low[losers], "shard": shard[losers], "id": table.column("id").take(pa.array(winner[~begins]))}, FIRST
    )
    batches = answer.combine_chunks().to_batches()
    pairs = ((batch.column("shard").to_numpy().astype(np.int64), batch) for batch in batches)
    return asdict(place.write_shuffle(item["shards"], FIRST, pairs))


def mark_shard(item: dict[str, Any], place: Place) -> Iterator[pa.RecordBatch]:
    """Yield one row of attributes per document of a shard, in its order."""
    local = place.read_table(item["local"])
    high, low = local.column("high").to_numpy(), local.column("low").to_numpy()
    firsts, group = _first_rows(high, low)
    elsewhere = pa.Table.from_batches(shuffle.read(place.storage, [Range(**part) for part in item["parts"]], FIRST), FIRST).combine_chunks()
    foreign = _lookup(high[firsts], low[firsts], elsewhere)
    ids = pa.concat_arrays([b.column("id") for b in read_shard(place.storage, item["path"], ["id"])] or [pa.array([], pa.string())])
    if len(ids) != len(high):
        raise DatasetError(f"{item['path']} changed: {len(ids)} rows, {len(high)} were hashed", "run again")
    foreign_of = foreign[group]
    kept_here = ids.take(pa.array(firsts[group]))
    kept_there = elsewhere.column("id").take(pa.array(foreign_of, mask=foreign_of < 0)).combine_chunks()
    keep = (foreign_of < 0) & (firsts[group] == np.arange(len(high)))
    kept_id = pc.if_else(pa.array(keep), pa.scalar(None, pa.string()), pc.coalesce(kept_there, kept_here))
    yield pa.RecordBatch.from_pydict(
        {
            "id": ids,
            "keep": pa.array(keep),
            "kept_id": kept_id,
            "similarity": pa.array(np.ones(len(keep)), mask=keep),
            "reason": pc.if_else(pa.array(keep), pa.scalar(None, pa.string()), "duplicate"),
        }
    )


def hash_values(values: pa.Array, ids: pa.Array, normalize: bool) -> bytes:
    """Return 16 bytes per value; each null has a key of its own, made from the document's id."""
    text = values if pa.types.is_string(values.type) or pa.types.is_large_string(values.type) else values.cast(pa.string())
    if normalize:
        text = pc.utf8_trim_whitespace(pc.replace_substring_regex(pc.utf8_lower(text), pattern=WHITE_SPACE, replacement=" "))
    keys = hash128(text)
    if not text.null_count:
        return keys
    rows = np.frombuffer(keys, dtype=np.uint8).reshape(-1, 16).copy()
    nulls = text.is_null()
    own = np.frombuffer(hash128(ids.filter(nulls)), dtype=np.uint8).reshape(-1, 16)
    rows[nulls.to_numpy(zero_copy_only=False)] = ~own  # inverted: no text that happens to equal the id has this key
    return rows.tobytes()


def _halves(keys: bytes) -> tuple[Any, Any]:
    pairs = np.frombuffer(keys, dtype=">u8").astype(np.uint64).reshape(-1, 2)
    return np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])


def _first_rows(high: Any, low: Any) -> tuple[Any, Any]:
    """Return the first row of each distinct key, and for each row the index of its key in that list."""
    order = np.lexsort((low, high))
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = (high[order][1:] != high[order][:-1]) | (low[order][1:] != low[order][:-1])
    group = np.empty(len(order), dtype=np.int64)
    group[order] = np.cumsum(begins) - 1
    return order[begins], group  # lexsort is stable, so the first of a key in sorted order is its first row


def _lookup(high: Any, low: Any, table: pa.Table) -> Any:
    """Return for each key its row in the table, or -1; keys come sorted, and every row of the table is one of them."""
    place = np.full(len(high), -1, dtype=np.int64)
    wanted_high, wanted_low = table.column("high").to_numpy(), table.column("low").to_numpy()
    index = np.searchsorted(high, wanted_high)
    while len(index) and np.any(wrong := low[index] != wanted_low):
        index[wrong] += 1  # another key with the same upper half stands before it
    place[index] = np.arange(table.num_rows)
    return place
