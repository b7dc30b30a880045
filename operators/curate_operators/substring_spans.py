"""Joins the windows that go to spans, and asks where the words of each stand first.

`join_spans` reads what was found about a shard's windows, joins those that overlap or touch, and sends one question for each span to
the shard of the first document with its first window; `name_firsts` names that document and the place in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from curate import shuffle
from curate.dataset import read_shard
from curate.document import ID
from curate.shuffle import Range
from curate.work import Place
from curate_operators.line_counts import starts
from curate_operators.site_lines import Ints, Mask
from curate_operators.substring_windows import FIRSTS, PLACES

SPANS = pa.schema({"row": pa.uint32(), "start": pa.uint32(), "end": pa.uint32()})
QUESTIONS = pa.schema({"holder": pa.uint32(), "span": pa.uint32(), "window": pa.uint32()})
NAMED = pa.schema({"span": pa.uint32(), ID: pa.string(), "start": pa.uint32()})
"""Spans stay in their shard; questions pass through the shuffle, and answers that name a document and a byte in it."""


def join_spans(item: dict[str, Any], place: Place) -> dict[str, Any]:
    """Write the spans of a shard that go, and ask for the first document with each."""
    elsewhere = np.zeros(item["windows"], np.bool_)
    for batch in _answers(item, place):
        elsewhere[batch.column("window").to_numpy()] = True
    spans, leaders = [pa.RecordBatch.from_pylist([], SPANS)], [np.zeros(0, np.int64)]
    for part in item["tables"]:
        table = place.read_table(part["path"])
        columns = {name: table.column(name).to_numpy() for name in PLACES.names}
        found, leader = _joined(columns, _going(columns, elsewhere, part["base"], item))
        spans.append(found)
        leaders.append(leader)
    asked = place.write_shuffle(item["shards"], QUESTIONS, iter([_questions(item, place, np.concatenate(leaders))]))
    return {"spans": place.write_table("spans", pa.Table.from_batches(spans, SPANS)), "asked": asdict(asked)}


def _answers(item: dict[str, Any], place: Place) -> Iterator[pa.RecordBatch]:
    return shuffle.read(place.storage, [Range(**part) for part in item["firsts"]], FIRSTS)


def _going(columns: dict[str, Any], elsewhere: Mask, base: int, item: dict[str, Any]) -> Mask:
    """Tell which windows of a table go: those that stand elsewhere, and those like another one in their batch."""
    leader = columns["leader"].astype(np.int64)
    own = leader - base  # windows like each other are in one batch, and a batch is in one table
    another = (columns["row"] != columns["row"][own]) if not item["within"] else own != np.arange(len(own))
    if item["first"] == "remove":
        repeated = np.zeros(len(own), np.bool_)
        repeated[own[another]] = True
        another = repeated[own]
    going: Mask = another | elsewhere[leader]
    return going


def _joined(columns: dict[str, Any], going: Mask) -> tuple[pa.RecordBatch, Ints]:
    """Return spans of windows that overlap or touch, and the leader of the first window of each."""
    row, word, until = (columns[name][going] for name in ("row", "word", "until"))
    begins = starts(row)
    begins[1:] |= word[1:] > until[:-1]
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(row))[: len(first)] - 1
    spans = {"row": row[first], "start": columns["start"][going][first], "end": columns["end"][going][last]}
    return pa.RecordBatch.from_pydict(spans, SPANS), columns["leader"][going][first].astype(np.int64)


def _questions(item: dict[str, Any], place: Place, leaders: Ints) -> tuple[Ints, pa.RecordBatch]:
    """Return for each span the window to be named, with its shard: the first of all like it, which may be the leader itself."""
    asked, of_span = np.unique(leaders, return_inverse=True)
    shard, window = np.full(len(asked), item["shard"], np.int64), asked.astype(np.uint32)
    for batch in _answers(item, place):
        told = batch.column("window").to_numpy()
        at = np.minimum(np.searchsorted(asked, told), max(len(asked) - 1, 0))
        hits = np.flatnonzero(asked[at] == told) if len(asked) else np.zeros(0, np.int64)
        shard[at[hits]] = batch.column("shard").to_numpy()[hits]
        window[at[hits]] = batch.column("first").to_numpy()[hits]
    holder, span = np.full(len(leaders), item["shard"], np.uint32), np.arange(len(leaders), dtype=np.uint32)
    columns = {"holder": holder, "span": span, "window": window[of_span]}
    return shard[of_span], pa.RecordBatch.from_pydict(columns, QUESTIONS)


def name_firsts(item: dict[str, Any], place: Place) -> dict[str, Any]:
    """Name the documents of the windows that shards ask for, and the bytes at which they start."""
    asked = pa.Table.from_batches(shuffle.read(place.storage, [Range(**part) for part in item["questions"]], QUESTIONS), QUESTIONS)
    holder, span, window = (column.to_numpy() for column in asked.columns)
    row, start = np.zeros(len(window), np.int64), np.zeros(len(window), np.uint32)
    for part in item["tables"]:
        here = np.flatnonzero((window >= part["base"]) & (window < part["base"] + part["windows"]))
        if len(here):
            table = place.read_table(part["path"])
            at = window[here] - part["base"]
            row[here], start[here] = table.column("row").to_numpy()[at], table.column("start").to_numpy()[at]
    columns = {"span": span, ID: _ids(item, place).take(pa.array(row)), "start": start}
    named = pa.RecordBatch.from_pydict(columns, NAMED)
    return asdict(place.write_shuffle(item["shards"], NAMED, iter([(holder.astype(np.int64), named)])))


def _ids(item: dict[str, Any], place: Place) -> pa.Array:
    batches = [batch.column(ID) for batch in read_shard(place.storage, item["path"], [ID])]
    return pa.chunked_array(batches, pa.string()).combine_chunks()
