"""Finds who keeps what a removed paragraph repeats: the first kept document with one of its n-grams that are seen before.

`ask_shard` takes the n-gram with the smallest hash of each paragraph that goes and sends it to its partition; `find_partition` goes
through the partition's n-grams in order once more and answers to the shard of the first kept document, which `line_counts.name_firsts`
names.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from curate import shuffle
from curate.shuffle import Range
from curate.work import Place
from curate_operators.line_counts import ASKED
from curate_operators.paragraph_dedup_rounds import ANSWERS, GRAMS, flags_of, messages, partition_of, unpacked
from curate_operators.site_lines import Keys

QUESTIONS = pa.schema({"key": pa.uint64(), "holder": pa.uint32()})
NONE = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


def ask_shard(item: dict[str, Any], place: Place) -> dict[str, Any]:
    """Send one n-gram of each paragraph that goes to its partition, and keep it for `mark_shard`."""
    kept = place.read_table(item["settled"]).column("kept").to_numpy()
    chosen = np.full(len(kept), NONE)
    answers = shuffle.read(place.storage, [Range(**part) for part in item["answers"]], ANSWERS)
    bits = itertools.chain.from_iterable(batch.column("seen") for batch in answers)
    for (_, batch), packed in zip(messages(item, place), bits, strict=True):
        key, unit = batch.column("key").to_numpy(), batch.column("unit").to_numpy()
        seen = unpacked(packed, len(unit)) & ~kept[unit]
        np.minimum.at(chosen, unit[seen], key[seen])
    asked = np.unique(chosen[chosen != NONE])
    partitions = item["grams"]["partitions"]
    sent = pa.RecordBatch.from_pydict({"key": asked, "holder": np.full(len(asked), item["shard"], np.uint32)}, QUESTIONS)
    file = place.write_shuffle(partitions, QUESTIONS, iter([(partition_of(asked, partitions), sent)]))
    return {"keys": place.write_table("keys", pa.table({"key": chosen})), "asked": asdict(file)}


def find_partition(item: dict[str, Any], place: Place) -> dict[str, Any]:
    """Find the first kept document with each n-gram that is asked for."""
    questions = pa.Table.from_batches(shuffle.read(place.storage, [Range(**part) for part in item["asked"]], QUESTIONS), QUESTIONS)
    key, holder = (column.to_numpy() for column in questions.columns)
    wanted, of_question = np.unique(key, return_inverse=True)
    shard, row = _firsts(item, place, wanted)
    found = shard[of_question] >= 0
    first, number = shard[of_question][found], row[of_question][found]
    columns = {"key": key[found], "documents": np.zeros(len(first), np.uint64), "shard": first.astype(np.uint32)}
    sent = pa.RecordBatch.from_pydict(columns | {"row": number.astype(np.uint32), "holder": holder[found]}, ASKED)
    return asdict(place.write_shuffle(item["shards"], ASKED, iter([(first, sent)])))


def _firsts(item: dict[str, Any], place: Place, wanted: Keys) -> tuple[Any, Any]:
    """Return the shard and row of the first kept document with each key, -1 for none."""
    shard, row = np.full(len(wanted), -1, np.int64), np.full(len(wanted), -1, np.int64)
    for number, batch, kept in _kept_messages(item, place):
        key = batch.column("key").to_numpy()
        at = np.minimum(np.searchsorted(wanted, key), max(len(wanted) - 1, 0))
        hits = np.flatnonzero(kept & (wanted[at] == key)) if len(wanted) else np.zeros(0, np.int64)
        hits = hits[shard[at[hits]] < 0][::-1]  # backwards: of several, the first is written last
        shard[at[hits]], row[at[hits]] = number, batch.column("row").to_numpy()[hits]
    return shard, row


def _kept_messages(item: dict[str, Any], place: Place) -> Iterator[tuple[int, pa.RecordBatch, Any]]:
    flags = flags_of(item, place)
    for number, parts in itertools.groupby(item["parts"], key=lambda part: part["shard"]):
        for batch in shuffle.read(place.storage, [Range(part["path"], part["start"], part["stop"]) for part in parts], GRAMS):
            unit, document = next(flags)
            yield number, batch, unpacked(unit, len(batch)) & unpacked(document, len(batch))
