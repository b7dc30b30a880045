"""Finds which paragraphs repeat what is kept before them, in rounds over n-grams that stay where the shuffle put them.

One after another, a paragraph is kept or not by what is kept before it; that order would leave one worker to do it all. Rounds give
the same answer: what is certainly kept follows from assuming that everything before is, what certainly goes from assuming that only
the former is, and so on; each round settles more, and when one changes nothing, all is settled.

`hash_shard` sends each n-gram's key with the numbers of its paragraph and document to the partition of the key, in order. In a round,
`look_up` reads a partition in order, with a table or a Bloom filter, and answers one bit per n-gram: seen before or not; `settle`
counts a shard's bits, decides, and sends back two bits per n-gram: whether its paragraph and its document are kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from curate import kernels, shuffle
from curate.dataset import read_shard
from curate.document import ID, TEXT
from curate.kernels import word_spans
from curate.shuffle import Range, ShuffleFile
from curate.work import Place
from curate_operators.site_lines import Ints, Keys, Mask, line_numbers

GRAMS = pa.schema({"key": pa.uint64(), "unit": pa.uint32(), "row": pa.uint32()})
UNITS = pa.schema({"row": pa.uint32(), "number": pa.int32(), "last": pa.int32(), "grams": pa.int32()})
ANSWERS = pa.schema({"seen": pa.binary()})
FLAGS = pa.schema({"unit": pa.binary(), "row": pa.binary()})
"""What passes through the shuffle: n-grams; a bit each, seen before; two bits each, kept. Units stay in their shard."""

EMPTY = 8  # the bit of a line without text


def hash_shard(item: dict[str, Any], place: Place) -> dict[str, Any]:
    """Send a shard's n-grams into the shuffle; keep what its paragraphs are."""
    units: list[pa.RecordBatch] = []
    with_text: list[Ints] = []
    file = place.write_shuffle(item["partitions"], GRAMS, _grams(item, place, units, with_text))
    rows = pa.table({"with_text": np.concatenate(with_text or [np.zeros(0, np.int64)])})
    kept = {"units": place.write_table("units", pa.Table.from_batches(units, UNITS)), "rows": place.write_table("rows", rows)}
    return kept | {"grams": asdict(file), "keys": sum(int(batch.column("grams").to_numpy().sum()) for batch in units)}


def _grams(item: dict[str, Any], place: Place, units: list[pa.RecordBatch], with_text: list[Ints]) -> Iterator[tuple[Ints, pa.RecordBatch]]:
    row, unit = 0, 0
    for batch in read_shard(place.storage, item["path"], [ID, TEXT]):
        texts = kernels.texts(batch.column(TEXT))
        spans = kernels.lines(texts, "blank" if item["unit"] == "paragraph" else "feed")
        counts, keys = kernels.gram_hashes(_wordlike(kernels.words(texts)), spans.start, spans.end, item["ngram_words"])
        of_span = np.repeat(np.arange(len(texts)), np.diff(spans.first))
        chosen = np.flatnonzero(counts)
        numbers, last = line_numbers(texts, spans, of_span, chosen)
        columns = {"row": of_span[chosen] + row, "number": numbers, "last": last, "grams": counts[chosen]}
        units.append(pa.RecordBatch.from_pydict({name: values.astype(np.int32) for name, values in columns.items()}).cast(UNITS))
        with_text.append(np.bincount(of_span[spans.kind & EMPTY == 0], minlength=len(texts)))
        of_key = np.repeat(np.arange(len(chosen)), counts[chosen])
        sent = {"key": keys, "unit": (of_key + unit).astype(np.uint32), "row": (of_span[chosen] + row)[of_key].astype(np.uint32)}
        yield partition_of(keys, item["partitions"]), pa.RecordBatch.from_pydict(sent, GRAMS)
        row, unit = row + len(texts), unit + len(chosen)


def _wordlike(words: kernels.Words) -> kernels.Words:
    """Return the words without those of signs only: rulers and frames of tables repeat everywhere, and say nothing."""
    kept = words.kind & word_spans.WORDLIKE != 0
    first = np.concatenate([[0], np.cumsum(kept)])[words.first]
    return kernels.Words(first, *(column[kept] for column in (words.start, words.end, words.chars, words.kind, words.hashes)))


def partition_of(keys: Keys, partitions: int) -> Ints:
    """Return the partition of each key, by bits that its place in a table does not depend on."""
    return ((keys >> np.uint64(33)) % np.uint64(partitions)).astype(np.int64)


def look_up(item: dict[str, Any], place: Place) -> dict[str, Any]:
    """Tell for a partition's n-grams, in order, which are seen before; and the rate of false positives that the filter's bits imply."""
    keys = sum(part["rows"] for part in item["parts"]) if item["bloom"] is None else 0
    size = item["bloom"]["bytes"] // 8 if item["bloom"] else 1 << max(4, int(2 * keys).bit_length())
    store = np.zeros(size, np.uint64)
    file = place.write_shuffle(item["shards"], ANSWERS, _answers(item, place, store))
    filled = float(np.bitwise_count(store).sum()) / (64 * size) if item["bloom"] else 0.0
    return {"answers": asdict(file), "false_positive_rate": filled ** item["bloom"]["hashes"] if item["bloom"] else 0.0}


def _answers(item: dict[str, Any], place: Place, store: Any) -> Iterator[tuple[Ints, pa.RecordBatch]]:
    flags = flags_of(item, place)
    for shard, parts in itertools.groupby(item["parts"], key=lambda part: part["shard"]):
        for batch in shuffle.read(place.storage, [Range(part["path"], part["start"], part["stop"]) for part in parts], GRAMS):
            key, unit, row = (column.to_numpy() for column in batch.columns)
            kept = _both(next(flags), len(key)) if item["flags"] else (np.ones(len(key), np.bool_), np.ones(len(key), np.bool_))
            if item["bloom"]:
                seen = kernels.seen_in_bloom(key, unit, row, kept, store, item["bloom"]["hashes"])
            else:
                seen = kernels.seen_in_table(key, unit, row, kept, store)
            yield np.array([shard]), pa.RecordBatch.from_pydict({"seen": [np.packbits(seen).tobytes()]}, ANSWERS)


def settle(item: dict[str, Any], place: Place) -> dict[str, Any]:
    """Decide by what is seen which paragraphs and documents of a shard are kept, and tell the partitions."""
    units = place.read_table(item["units"])
    row, grams = units.column("row").to_numpy(), units.column("grams").to_numpy()
    seen = _seen(item, place, len(row))
    pooled, whole = np.bincount(row, seen, item["documents"]), np.bincount(row, grams, item["documents"])
    kept_unit = ~(seen / grams > item["max_seen_ratio"])
    limit = item["max_document_seen_ratio"]
    kept_row = np.ones(item["documents"], np.bool_) if limit is None else ~(pooled / np.maximum(whole, 1) > limit)
    table = place.write_table("units", pa.table({"seen": seen, "kept": kept_unit, "document": kept_row[row]}))
    flags = place.write_shuffle(item["grams"]["partitions"], FLAGS, _kept(item, place, kept_unit, kept_row))
    return {"table": table, "flags": asdict(flags), "changed": _changed(item, place, kept_unit, kept_row[row])}


def _changed(item: dict[str, Any], place: Place, kept_unit: Mask, kept_row: Mask) -> int:
    """Return for how many paragraphs this round decided otherwise than the one before."""
    if item["before"] is None:
        return int(np.sum(~(kept_unit & kept_row)))
    before = place.read_table(item["before"])
    unit, row = (before.column(name).to_numpy() for name in ("kept", "document"))
    return int(np.sum((unit != kept_unit) | (row != kept_row)))


def messages(item: dict[str, Any], place: Place) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the messages that the shard sent, each with its partition."""
    for partition, parts in enumerate(shuffle.ranges(place.storage, [ShuffleFile(**item["grams"])])):
        for batch in shuffle.read(place.storage, parts, GRAMS):
            yield partition, batch


def _seen(item: dict[str, Any], place: Place, units: int) -> Ints:
    """Return how many n-grams of each paragraph are seen before."""
    seen = np.zeros(units, np.int64)
    answers = shuffle.read(place.storage, [Range(**part) for part in item["answers"]], ANSWERS)
    bits = itertools.chain.from_iterable(batch.column("seen") for batch in answers)
    for (_, batch), packed in zip(messages(item, place), bits, strict=True):
        unit = batch.column("unit").to_numpy()
        np.add.at(seen, unit[unpacked(packed, len(unit))], 1)
    return seen


def _kept(item: dict[str, Any], place: Place, kept_unit: Mask, kept_row: Mask) -> Iterator[tuple[Ints, pa.RecordBatch]]:
    for partition, batch in messages(item, place):
        unit, row = batch.column("unit").to_numpy(), batch.column("row").to_numpy()
        bits = {"unit": [np.packbits(kept_unit[unit]).tobytes()], "row": [np.packbits(kept_row[row]).tobytes()]}
        yield np.array([partition]), pa.RecordBatch.from_pydict(bits, FLAGS)


def flags_of(item: dict[str, Any], place: Place) -> Iterator[tuple[Any, Any]]:
    """Yield for each message of a partition the packed flags of its n-grams' paragraphs and documents."""
    for batch in shuffle.read(place.storage, [Range(**part) for part in item["flags"]], FLAGS):
        yield from zip(batch.column("unit"), batch.column("row"), strict=True)


def _both(packed: tuple[Any, Any], count: int) -> tuple[Mask, Mask]:
    return unpacked(packed[0], count), unpacked(packed[1], count)


def unpacked(packed: pa.Scalar, count: int) -> Mask:
    return np.unpackbits(np.frombuffer(packed.as_buffer(), np.uint8), count=count).astype(np.bool_)
