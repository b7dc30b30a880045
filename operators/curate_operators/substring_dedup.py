"""Marks spans of words that stand in the corpus more than once.

Emits attributes, one row per document, in its order:

| column       | type         | is                                                                                       |
|--------------|--------------|------------------------------------------------------------------------------------------|
| id           | string       | the document                                                                             |
| keep         | bool         | false when all of its words go, or too little would be left                              |
| reason       | string       | `only_repeated_spans`, `repeated_text` or `rest_too_short`, null if `keep`               |
| value        | double       | the share of the text's characters that goes                                             |
| kept_id      | string       | the first of `first_ids`; null when that is the document itself, or no copy is kept      |
| starts, ends | list<int64>  | the spans that go: the byte of the text at which each starts, and that after its end     |
| first_ids    | list<string> | for each of them: the first document with the words with which it begins                 |
| first_starts | list<int64>  | for each of them: the byte of that document's text at which these words start            |

Phases: `anchor` and `repeat` (`substring_anchors.py`), `window` and `find` (`substring_windows.py`), `join` and `name`
(`substring_spans.py`), and the marks. Anchors find the places where a repeat may be, for 8 bytes per 13 words; only these are compared,
by 122 bits of hash of all their words (of 10^13 windows, the chance that any two are wrongly taken for one is about 10^-11). Scratch is
52 bytes at most per word of text that repeats. A task holds a batch of documents, a partition, or a byte for each window of its shard
and 20 bytes and an id for each span. A suffix array would find the same spans, but of the text that one machine holds in memory:
repeats across shards need the shuffle anyhow.
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
from curate.document import ID, TEXT
from curate.errors import PipelineError
from curate.protocols import DatasetOperator
from curate.shuffle import Range, ShuffleFile
from curate.work import Place, Work
from curate_operators import removal_guard
from curate_operators.remove_spans import ENDS, STARTS, without_spans
from curate_operators.site_lines import Ints
from curate_operators.substring_anchors import ANCHOR_BYTES, find_repeated, send_anchors
from curate_operators.substring_spans import NAMED, join_spans, name_firsts
from curate_operators.substring_windows import KEY_BYTES, find_firsts, send_windows

NUMBERS, NAMES = pa.list_(pa.int64()), pa.list_(pa.string())
BYTES_PER_ANCHOR = 60  # about, of text, with 50 words; shorter spans have more anchors


@dataclass(frozen=True)
class SubstringDedup(DatasetOperator):
    """Marks spans of words that stand in the corpus more than once.

    ## What it does
    Finds every run of at least `min_length` words that an earlier place of the dataset has too, in another document or the same one.
    Words are what stands between white space (each letter of scripts without spaces is one); how much white space, and of which kind,
    does not matter. Runs that overlap or touch become one span. Nothing is removed here: `remove_spans` takes the spans out, and
    `apply` before it drops the documents of which nothing, or too little, would be left.

    ## Why
    Licences, notices, quoted articles and generated passages stand in documents that are otherwise different, and across lines. A
    model learns by heart what it reads often (Lee et al.: a tenth as much when such spans are removed).

    ## Example
        repeats: {from: text, use: substring_dedup}
        clean:
          from: [text, repeats]
          operators:
            - {use: apply, params: {by: repeats}}
            - {use: remove_spans, params: {by: repeats}}

    ## Parameters
    - `unit`: what `min_length` counts: `words`, or the `bytes` of words (white space not counted).
    - `min_length`: the shortest run that goes.
    - `first`: `keep` the first place that has it, or `remove` it from all, as the published tool does.
    - `within`: also take out what only the document itself repeats. Text of one word over and over then shrinks to that word.
    - `max_removed_ratio`: the share of a document's characters that may go; if more would, the document goes. null = off.
    - `min_rest_chars`: what must be left of a document that loses spans, or it goes. null = off.
    - `max_removed_ratio_per_source`: a warning when more than this share of a source's documents goes; `{ratio: 0.5, column: url,
      min_documents: 100, otherwise: fail}` judges another column (addresses by host), or ends the run; null = off.

    ## Source
    Lee et al., 2022 (ExactSubstr): 50 tokens; its tool compares bytes, joins what overlaps, and removes every copy. 50 words are
    about 65 of their tokens. Sampling by winnowing: Schleimer et al., 2003. Documents that go by `max_removed_ratio` or
    `min_rest_chars` still count as kept: what repeats only their text goes as well.
    """

    version: ClassVar[int] = 1
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "attributes"

    unit: Literal["words", "bytes"] = "words"
    min_length: int = 50
    first: Literal["keep", "remove"] = "keep"
    within: bool = True
    max_removed_ratio: float | None = None
    min_rest_chars: int | None = None
    max_removed_ratio_per_source: float | dict[str, Any] | None = 0.5

    def __post_init__(self) -> None:
        removal_guard.parse(self.max_removed_ratio_per_source)
        if self.min_length < 1:
            raise PipelineError(f"substring_dedup: min_length is less than 1: {self.min_length}")
        if self.min_rest_chars is not None and self.min_rest_chars < 0:
            raise PipelineError(f"substring_dedup: min_rest_chars is negative: {self.min_rest_chars}")
        if self.max_removed_ratio is not None and not 0 <= self.max_removed_ratio <= 1:
            raise PipelineError(f"substring_dedup: max_removed_ratio is not between 0 and 1: {self.max_removed_ratio}")

    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([TEXT, *removal_guard.columns(self.max_removed_ratio_per_source)]))

    def adds(self) -> Mapping[str, pa.DataType]:
        flags = {"keep": pa.bool_(), "reason": pa.string(), "value": pa.float64(), "kept_id": pa.string()}
        return flags | {STARTS: NUMBERS, ENDS: NUMBERS, "first_ids": NAMES, "first_starts": NUMBERS}

    def run(self, inputs: list[Dataset], work: Work) -> None:
        documents = inputs[0]
        shards = documents.manifest.shards
        sizes = [shard.data.bytes for shard in shards]
        text_bytes = sum(shard.counts.text_bytes_out or 3 * shard.data.bytes for shard in shards)
        common = asdict(self) | {"partitions": shuffle.partitions_for(text_bytes // BYTES_PER_ANCHOR, ANCHOR_BYTES), "shards": len(shards)}
        items = [common | {"path": documents.shard_path(i), "shard": i} for i in range(len(shards))]
        items = self._windows(work, items, sizes)
        parts = _by_shard(work, [item["keys"] for item in items])
        items = _given(work, items, "firsts", work.map("find", find_firsts, [common | {"parts": part} for part in parts]))
        items = _merged(items, work.map("join", join_spans, items))
        items = _given(work, items, "questions", [item["asked"] for item in items])
        named = work.map("name", name_firsts, items)
        work.write_shards(mark_shard, _given(work, items, "named", named), sizes)
        removal_guard.judge(self.max_removed_ratio_per_source, "substring_dedup", documents, work, "span")

    def _windows(self, work: Work, items: list[dict[str, Any]], sizes: list[int]) -> list[dict[str, Any]]:
        """Return the items with the windows that may repeat."""
        counted = work.map("anchor", send_anchors, items, sizes)
        parts = _by_shard(work, [found["anchors_file"] for found in counted])
        repeated = work.map("repeat", find_repeated, [{"parts": part, "shards": len(items)} for part in parts])
        windows, anchors, twice = (sum(found[name] for found in counted) for name in ("windows", "anchors", "repeated"))
        likely = (twice + sum(found["repeated"] for found in repeated)) * windows // max(anchors, 1)
        more = {"window_partitions": shuffle.partitions_for(likely, KEY_BYTES)}
        items = _given(work, [item | more for item in items], "answers", [found["answers"] for found in repeated])
        return _merged(items, work.map("window", send_windows, items, sizes))


def _merged(items: list[dict[str, Any]], found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item | more for item, more in zip(items, found, strict=True)]


def _given(work: Work, items: list[dict[str, Any]], name: str, files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the items, each with the ranges that shuffle files hold for it."""
    found = shuffle.ranges(work.storage, [ShuffleFile(**file) for file in files])
    return [item | {name: [asdict(part) for part in parts]} for item, parts in zip(items, found or [[] for _ in items], strict=True)]


def _by_shard(work: Work, files: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the ranges of each partition with the shards that wrote them."""
    shard = {file["path"]: number for number, file in enumerate(files)}
    found = shuffle.ranges(work.storage, [ShuffleFile(**file) for file in files])
    return [[asdict(part) | {"shard": shard[part.path]} for part in parts] for parts in found]


@dataclass(frozen=True)
class _Spans:
    """The spans of some documents: which row each is in, its bytes, and where its words stand first."""

    rows: Ints
    starts: pa.Array
    ends: pa.Array
    first_ids: pa.Array
    first_starts: pa.Array

    @classmethod
    def read(cls, item: dict[str, Any], place: Place) -> _Spans:
        """Return the spans of a shard."""
        table = place.read_table(item["spans"]).combine_chunks()
        named = shuffle.read(place.storage, [Range(**part) for part in item["named"]], NAMED)
        firsts = pa.Table.from_batches(named, NAMED).sort_by("span").combine_chunks()
        starts, ends, first_starts = (
            pc.cast(values.combine_chunks(), pa.int64()) for values in (table["start"], table["end"], firsts["start"])
        )
        return cls(table["row"].to_numpy().astype(np.int64), starts, ends, firsts[ID].combine_chunks(), first_starts)

    def of_rows(self, row: int, count: int) -> _Spans:
        """Return those of so many rows from one on, which becomes row 0."""
        begin, end = np.searchsorted(self.rows, [row, row + count])
        columns = (values.slice(begin, end - begin) for values in (self.starts, self.ends, self.first_ids, self.first_starts))
        return _Spans(self.rows[begin:end] - row, *columns)


def mark_shard(item: dict[str, Any], place: Place) -> Iterator[pa.RecordBatch]:
    """Yield one row of attributes per document of a shard, in its order."""
    spans, row = _Spans.read(item, place), 0
    for batch in read_shard(place.storage, item["path"], [ID, TEXT]):
        yield _attributes(batch, spans.of_rows(row, batch.num_rows), item)
        row += batch.num_rows


def _attributes(docs: pa.RecordBatch, spans: _Spans, item: dict[str, Any]) -> pa.RecordBatch:
    offsets = pa.array(np.searchsorted(spans.rows, np.arange(docs.num_rows + 1)).astype(np.int32))
    lists = {STARTS: spans.starts, ENDS: spans.ends, "first_ids": spans.first_ids, "first_starts": spans.first_starts}
    columns = {name: pa.ListArray.from_arrays(offsets, values) for name, values in lists.items()}
    reason, value = _decisions(docs.column(TEXT), columns[STARTS], columns[ENDS], item)
    first = np.searchsorted(spans.rows, np.arange(docs.num_rows))
    none = np.diff(offsets.to_numpy()) == 0
    kept = spans.first_ids.take(pa.array(first, mask=none | (item["first"] == "remove")))
    kept = pc.if_else(pc.equal(kept, docs.column(ID)), pa.scalar(None, pa.string()), kept)
    flags = {ID: docs.column(ID), "keep": reason.is_null(), "reason": reason, "value": value, "kept_id": kept}
    return pa.RecordBatch.from_pydict(flags | columns)


def _decisions(texts: pa.Array, starts: pa.Array, ends: pa.Array, item: dict[str, Any]) -> tuple[pa.Array, pa.Array]:
    """Return why each document goes, null if it does not, and the share of its characters that its spans are."""
    touched = pc.greater(pc.list_value_length(starts), 0)
    cut = texts.filter(touched)
    rest = without_spans(cut, starts.filter(touched), ends.filter(touched))
    left, chars = pc.utf8_length(rest), pc.utf8_length(cut)
    share = pc.subtract(1.0, pc.divide(pc.cast(left, pa.float64()), pc.cast(chars, pa.float64())))
    reason = pc.if_else(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(rest)), 0), "only_repeated_spans", pa.scalar(None, pa.string()))
    if item["max_removed_ratio"] is not None:
        reason = pc.coalesce(
            reason, pc.if_else(pc.greater(share, item["max_removed_ratio"]), "repeated_text", pa.scalar(None, pa.string()))
        )
    if item["min_rest_chars"] is not None:
        reason = pc.coalesce(reason, pc.if_else(pc.less(left, item["min_rest_chars"]), "rest_too_short", pa.scalar(None, pa.string())))
    reasons = pc.replace_with_mask(pa.nulls(len(texts), pa.string()), touched, reason.cast(pa.string()))
    return reasons, pc.replace_with_mask(pa.array(np.zeros(len(texts))), touched, share)
