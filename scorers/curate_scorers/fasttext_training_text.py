"""Makes training text for fastText of labelled documents: who has which label, who is taken, and in which order they come.

Three hashes decide, all of the documents alone: the order and the choice under a cap hash the id, held out is a document by the hash of
the column `split_by`. So the training set is the same for any number of workers and any layout of shards, and grows with the corpus.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.dataset import read_shard
from curate.document import ID, TEXT, leaf
from curate.errors import OperatorError, PipelineError
from curate.hashing import hash64
from curate.work import Place

Item = dict[str, Any]
Hashes = np.ndarray[Any, np.dtype[np.uint64]]

PREFIX = "__label__"
MAX_LABELS = 1000  # more is a column of something else
ROWS = pa.schema({"order": pa.uint64(), "held": pa.bool_(), ID: pa.string(), "label": pa.string(), TEXT: pa.large_string()})
CHOICES = pa.schema({"label": pa.string(), "choice": pa.uint64()})
_SPACE, _NOT_SPACE = r"[\s\v\x00]+", r"[^\s\v\x00]"
_NOT_TEXT = f" (?:</s>|{PREFIX}[^ ]*) "  # ends a line, or would be a label


def count_shard(item: Item, place: Place) -> Item:
    """Count a shard's documents and bytes by label; when labels are capped, keep the hashes by which documents are chosen."""
    rows, found = {"unlabelled": 0, "empty": 0}, [CHOICES.empty_table()]
    counts: dict[str, dict[str, int]] = {}
    for batch in _batches(item, place):
        labels, has_words = _labels(item, batch), _has_words(batch.column(TEXT))
        rows["unlabelled"] += labels.null_count
        rows["empty"] += pc.sum(pc.and_(labels.is_valid(), pc.invert(has_words))).as_py() or 0
        used = pa.table([labels, pc.binary_length(batch.column(TEXT))], ["label", "bytes"]).filter(pc.and_(labels.is_valid(), has_words))
        for row in used.group_by("label", use_threads=False).aggregate([([], "count_all"), ("bytes", "sum")]).to_pylist():
            entry = counts.setdefault(row["label"], {"documents": 0, "bytes": 0})
            entry["documents"] += row["count_all"]
            entry["bytes"] += row["bytes_sum"]
        _check_labels(item, counts)
        if item["capped"]:
            chosen = pa.table([labels, pa.array(_mixed(batch.column(ID), 1))], CHOICES)
            found.append(chosen.filter(pc.and_(labels.is_valid(), has_words)))
    choices = place.write_table("choices", pa.concat_tables(found)) if item["capped"] else None
    return {"labels": counts, "choices": choices, **rows}


def find_limits(item: Item, place: Place) -> Item:
    """Return for each label the hash of the last document that is chosen."""
    held: dict[str, Hashes] = {label: np.zeros(0, np.uint64) for label in item["wanted"]}
    for path in item["choices"]:
        table = place.read_table(path)
        for label, wanted in item["wanted"].items():
            own = table.filter(pc.equal(table.column("label"), label)).column("choice").to_numpy()
            held[label] = np.sort(np.concatenate([held[label], own]))[:wanted]
    return {label: int(hashes[-1]) for label, hashes in held.items()}


def prepare_shard(item: Item, place: Place) -> Item:
    """Send the chosen documents of a shard into the shuffle: those to train on as fastText reads them, those held out as they are."""
    return asdict(place.write_shuffle(item["partitions"], ROWS, _prepared(item, place)))


def _prepared(item: Item, place: Place) -> Iterator[tuple[Any, pa.RecordBatch]]:
    limits, share = item["limits"], round(item["held_out"] * (1 << 64))
    for batch in _batches(item, place):
        labels = _labels(item, batch)
        chosen = pc.and_(labels.is_valid(), _has_words(batch.column(TEXT)))
        if limits:
            place_of = pc.index_in(labels, pa.array(list(limits), pa.string()))
            last = pa.array(list(limits.values()), pa.uint64()).take(place_of)  # null = a label without a limit
            chosen = pc.and_(chosen, pc.fill_null(pc.less_equal(pa.array(_mixed(batch.column(ID), 1)), last), True))
        docs, labels = batch.filter(chosen), labels.filter(chosen)
        by = leaf(docs, item["split_by"])
        held = pa.array(_mixed(clean(by) if item["split_by"] == TEXT else by.cast(pa.large_string()), 2) < np.uint64(share))
        text = docs.column(TEXT).cast(pa.large_string())
        order = _mixed(docs.column(ID), 3)
        text = pc.if_else(held, text, clean(text))
        rows = pa.RecordBatch.from_arrays([pa.array(order), held, docs.column(ID), labels, text], schema=ROWS)
        yield partition_of(order, item["partitions"]), rows


def clean(texts: pa.Array) -> pa.Array:
    """Return texts of one line each, words between single spaces, without words that fastText takes for an end or for a label."""
    lines = pc.replace_substring_regex(pc.cast(texts, pa.large_string()), _SPACE, " ")
    marked = _has_marks(lines)
    if pc.any(marked).as_py():
        empty, space = pa.scalar("", pa.large_string()), pa.scalar(" ", pa.large_string())
        apart = pc.binary_join_element_wise(empty, pc.replace_substring(lines, " ", "  "), empty, space)  # two spaces for each word
        unmarked = pc.replace_substring_regex(pc.replace_substring_regex(apart, _NOT_TEXT, " "), _SPACE, " ")
        lines = pc.if_else(marked, unmarked, lines)
    return pc.ascii_trim(lines, " ")


def partition_of(order: Hashes, partitions: int) -> Any:
    """Return the partition of each place in the order: ranges of it, so that partitions one after another are in order."""
    return ((order >> np.uint64(32)) * np.uint64(partitions)) >> np.uint64(32)


def in_order(batches: Sequence[pa.RecordBatch]) -> pa.Table:
    """Return the rows of a partition in the order of training."""
    table = pa.Table.from_batches(batches, ROWS)
    return table.sort_by([("order", "ascending"), ("label", "ascending"), (ID, "ascending")])


def _batches(item: Item, place: Place) -> Iterator[pa.RecordBatch]:
    columns = [ID, TEXT, item["split_by"], *([item["column"]] if item["column"] else [])]
    heads = dict.fromkeys(column.partition(".")[0] for column in columns)
    return read_shard(place.storage, item["path"], list(heads))


def _labels(item: Item, batch: pa.RecordBatch) -> pa.Array:
    """Return each document's label, null for one that is not used."""
    if item["column"] is None:
        return pa.array([item["label"]] * batch.num_rows, pa.string())
    values = leaf(batch, item["column"])
    check_type(item["column"], values.type)
    named = values.cast(pa.string())
    if not item["labels"]:
        return named
    known = pa.array(list(item["labels"]), pa.string())
    return pa.array(list(item["labels"].values()), pa.string()).take(pc.index_in(named, known))


def check_type(column: str, kind: pa.DataType) -> None:
    """Raise `PipelineError` unless values of a type can be labels."""
    usable = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_boolean)
    if not any(is_kind(kind) for is_kind in usable):
        raise PipelineError(f"train_fasttext: label column `{column}` is {kind}", "labels are strings, whole numbers, or true and false")


def check_count(column: str | None, labels: int) -> None:
    """Raise `OperatorError` when there are more labels than a classifier has."""
    if labels > MAX_LABELS:
        raise OperatorError(f"train_fasttext: column `{column}` has more than {MAX_LABELS:,} labels", "name a column of few values")


def _check_labels(item: Item, counts: Mapping[str, Any]) -> None:
    check_count(item["column"], len(counts))
    for label in counts:
        if not label or any(character.isspace() or character == "\0" for character in label):
            hint = "a label is one word: rename it with `labels: {OLD: NEW}`"
            raise OperatorError(f"train_fasttext: not a label for fastText: `{label}`", hint)


def _has_marks(texts: pa.Array) -> pa.Array:
    return pc.or_(pc.match_substring(texts, "</s>"), pc.match_substring(texts, PREFIX))


def _has_words(texts: pa.Array) -> pa.Array:
    words = pc.match_substring_regex(texts, _NOT_SPACE)
    if pc.any(_has_marks(texts)).as_py():
        words = pc.and_(words, pc.match_substring_regex(clean(texts), _NOT_SPACE))
    return pc.fill_null(words, False)


def _mixed(values: pa.Array, which: int) -> Hashes:
    """Return a 64-bit hash of each value, independent for each `which` (the last steps of MurmurHash3)."""
    mixed = hash64(values) + np.uint64(which * 0x9E3779B97F4A7C15 % (1 << 64))
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(33))
