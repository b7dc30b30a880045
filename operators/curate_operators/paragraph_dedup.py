"""Marks paragraphs most of whose n-grams stand in text that is kept before them.

Emits attributes, one row per document, in its order:

| column    | type         | is                                                                                    |
|-----------|--------------|---------------------------------------------------------------------------------------|
| id        | string       | the document                                                                          |
| keep      | bool         | false when too much of the document is seen before, or all of its paragraphs go       |
| reason    | string       | `repeated_text` or `only_repeated_paragraphs`, null if `keep`                         |
| value     | double       | the share of the document's n-grams that are seen before; null when it has none       |
| kept_id   | string       | the first of `first_ids`; null when it is the document itself                         |
| lines     | list<int32>  | the numbers of the lines that go, from 1                                              |
| seen      | list<double> | for each of them: the share of its paragraph's n-grams that are seen before           |
| first_ids | list<string> | for each of them: the first document that keeps one of these n-grams; null when only  |
|           |              | the document itself has it, or a Bloom filter erred                                   |

Phases: `hash`, rounds of `look_up` and `settle` (`paragraph_dedup_rounds.py`), `ask`, `find` and `name` (`paragraph_dedup_evidence.py`),
and the marks. Scratch is 16 bytes per word. A task holds one shard's paragraphs (37 bytes each), and either a table of 16 to 32 bytes
per n-gram of a partition of 64 MB, or a Bloom filter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import shuffle
from curate.dataset import Dataset, read_shard
from curate.document import ID, TEXT
from curate.errors import OperatorError, PipelineError
from curate.protocols import DatasetOperator
from curate.shuffle import ShuffleFile
from curate.work import Place, Work
from curate_operators import removal_guard
from curate_operators.line_counts import NAMED, Frequent, name_firsts
from curate_operators.paragraph_dedup_evidence import ask_shard, find_partition
from curate_operators.paragraph_dedup_rounds import hash_shard, look_up, settle
from curate_operators.site_lines import Ints, Unit

NUMBERS, SHARES, NAMES = pa.list_(pa.int32()), pa.list_(pa.float64()), pa.list_(pa.string())
ROUNDS = 32  # even: what is not settled then is kept; versions of manuals and thousands of licences took 8
WORD_BYTES = 4  # fewer than words have on average, so that a Bloom filter has room


@dataclass(frozen=True)
class ParagraphDedup(DatasetOperator):
    """Marks paragraphs most of whose n-grams stand in text that is kept before them.

    ## What it does
    Goes through paragraphs in the dataset's order. One goes when more than `max_seen_ratio` of its n-grams of words stand in
    paragraphs that are kept before it; a whole document goes when more than `max_document_seen_ratio` of all its n-grams do.
    Paragraphs with fewer than `ngram_words` words stay, and so do rulers and frames of tables, for signs are no words. Nothing is
    removed here: `apply` drops the documents, `remove_lines` takes the paragraphs out. Only repeats within a site, or frequent
    ones: `line_dedup` with `by` and `min_documents`.

    ## Why
    Texts that are copied are often edited: a line is added, a date or a name changes. Documents as wholes then differ, and so do
    lines; runs of thirteen words do not, and hardly ever are alike by chance.

    ## Example
        repeats: {from: text, use: paragraph_dedup}
        clean:
          from: [text, repeats]
          operators:
            - {use: apply, params: {by: repeats}}
            - {use: remove_lines, params: {by: repeats}}

    ## Parameters
    - `unit`: `line` (what DCLM calls a paragraph) or `paragraph`: what empty lines separate. Run `normalize` before it: a line
      of blanks or a carriage return is not empty.
    - `ngram_words`: words in an n-gram.
    - `max_seen_ratio`: the share of a paragraph's n-grams that may be seen before.
    - `max_document_seen_ratio`: the share of a document's; null = off.
    - `index`: `exact`, or `bloom`: a filter that takes a seventh of the memory or less, and takes some n-grams for seen that are not.
    - `false_positive_rate`: their share at most, for `bloom`; the run fails if the filters come out fuller than that.
    - `bloom_bytes`: memory of a task's filter; there are as many as the corpus needs.
    - `max_removed_ratio_per_source`: a warning when more than this share of a source's documents goes; `{ratio: 0.5, column: url,
      min_documents: 100, otherwise: fail}` judges another column (addresses by host), or ends the run; null = off.

    ## Source
    DCLM (Li et al., 2024) and its tool BFF, mode `old-both`. There a single process inserts into one filter, in whatever order its
    threads come; here the order is the dataset's, and the result is the same for any number of workers. Paragraphs of a document
    that goes count as not kept, so that no text goes with its last copy. Words of signs count there.
    """

    version: ClassVar[int] = 2
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "attributes"

    unit: Unit = "line"
    ngram_words: int = 13
    max_seen_ratio: float = 0.8
    max_document_seen_ratio: float | None = 0.8
    index: Literal["exact", "bloom"] = "exact"
    false_positive_rate: float = 0.01
    bloom_bytes: int = 64 << 20
    max_removed_ratio_per_source: float | dict[str, Any] | None = 0.5

    def __post_init__(self) -> None:
        removal_guard.parse(self.max_removed_ratio_per_source)
        if self.ngram_words < 1:
            raise PipelineError(f"paragraph_dedup: ngram_words is less than 1: {self.ngram_words}")
        for name in ("max_seen_ratio", "max_document_seen_ratio"):
            if (ratio := getattr(self, name)) is not None and not 0 <= ratio <= 1:
                raise PipelineError(f"paragraph_dedup: {name} is not between 0 and 1: {ratio}")
        if not 0 < self.false_positive_rate < 1 or self.bloom_bytes < 64:
            raise PipelineError(
                "paragraph_dedup: false_positive_rate is not between 0 and 1, or bloom_bytes less than 64",
                "a filter of 1 % takes about 10 bits for each n-gram",
            )

    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([TEXT, *removal_guard.columns(self.max_removed_ratio_per_source)]))

    def adds(self) -> Mapping[str, pa.DataType]:
        return {"keep": pa.bool_(), "reason": pa.string(), "value": pa.float64(), "kept_id": pa.string()} | {
            "lines": NUMBERS,
            "seen": SHARES,
            "first_ids": NAMES,
        }

    def run(self, inputs: list[Dataset], work: Work) -> None:
        documents = inputs[0]
        shards = documents.manifest.shards
        sizes = [shard.data.bytes for shard in shards]
        words = sum(shard.counts.text_bytes_out or 3 * shard.data.bytes for shard in shards) // WORD_BYTES
        bloom, partitions = self._filters(words)
        items = [asdict(self) | {"path": documents.shard_path(i), "partitions": partitions} for i in range(len(shards))]
        hashed = work.map("hash", hash_shard, items, sizes)
        rows = [shard.counts.rows_out for shard in shards]
        settled = _Rounds(self, work, [item["path"] for item in items], hashed, rows, bloom).run()
        marks = [item | found | end | {"shard": i} for i, (item, found, end) in enumerate(zip(items, hashed, settled, strict=True))]
        work.write_shards(mark_shard, marks, sizes)
        removal_guard.judge(self.max_removed_ratio_per_source, "paragraph_dedup", documents, work, "line")

    def _filters(self, words: int) -> tuple[dict[str, int] | None, int]:
        """Return what a Bloom filter is made of, if that is what is asked for, and the number of partitions."""
        if self.index == "exact":
            return None, shuffle.partitions_for(words, row_bytes=16)
        hashes = math.ceil(-math.log2(self.false_positive_rate))
        size = 1 << (self.bloom_bytes.bit_length() - 1)  # a power of two
        bits = words * -math.log(self.false_positive_rate) / math.log(2) ** 2
        return {"bytes": size, "hashes": hashes}, max(1, math.ceil(bits / 8 / size))


@dataclass(frozen=True)
class _Rounds:
    """The rounds of one dataset: what stays the same in them."""

    operator: ParagraphDedup
    work: Work
    paths: list[str]
    hashed: list[dict[str, Any]]
    rows: list[int]
    bloom: dict[str, int] | None

    def run(self) -> list[dict[str, Any]]:
        """Return for each shard the tables of what its paragraphs came to, and the parts of what was found out about their origins."""
        grams = [ShuffleFile(**found["grams"]) for found in self.hashed]
        number = {file.path: shard for shard, file in enumerate(grams)}
        parts = [
            [asdict(part) | {"shard": number[part.path], "rows": (part.stop - part.start) // 16} for part in partition]
            for partition in shuffle.ranges(self.work.storage, grams)
        ]
        settled: list[dict[str, Any]] = []
        for turn in range(ROUNDS):
            answers = self._look_up(turn, parts, settled)
            settled = self._settle(turn, answers, settled)
            if not any(result["changed"] for result in settled):
                break
        return self._evidence(parts, answers, settled)

    def _evidence(
        self, parts: list[list[dict[str, Any]]], answers: list[list[dict[str, Any]]], settled: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Ask who keeps what the paragraphs that go repeat."""
        common = [{"shard": i, "path": path, "shards": len(self.paths)} for i, path in enumerate(self.paths)]
        ends = [{"settled": result["table"], "grams": found["grams"]} for result, found in zip(settled, self.hashed, strict=True)]
        asking = [shard | end | {"answers": answer} for shard, end, answer in zip(common, ends, answers, strict=True)]
        asked = self.work.map("ask", ask_shard, asking)
        questions = zip(_ranges(self.work, [result["asked"] for result in asked]), self._flags(settled), parts, strict=True)
        finding = [{"asked": ask, "flags": flag, "parts": part, "shards": len(self.paths)} for ask, flag, part in questions]
        found = _ranges(self.work, self.work.map("find", find_partition, finding))
        naming = [shard | {"parts": part} for shard, part in zip(common, found, strict=True)]
        named = _ranges(self.work, self.work.map("name", name_firsts, naming))
        return [
            {"settled": result["table"], "keys": ask["keys"], "parts": part}
            for result, ask, part in zip(settled, asked, named, strict=True)
        ]

    def _flags(self, settled: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        return _ranges(self.work, [result["flags"] for result in settled])

    def _look_up(self, turn: int, parts: list[list[dict[str, Any]]], settled: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        flags = self._flags(settled) or [[] for _ in parts]
        common = {"shards": len(self.hashed), "bloom": self.bloom}
        items = [common | {"parts": part, "flags": flag} for part, flag in zip(parts, flags, strict=True)]
        found = self.work.map(f"look_up-{turn}", look_up, items)
        rate = max((result["false_positive_rate"] for result in found), default=0.0)
        if rate > self.operator.false_positive_rate:
            raise OperatorError(
                f"paragraph_dedup: a Bloom filter takes {rate:.2%} for seen, more than {self.operator.false_positive_rate:.2%}",
                "its texts have more words than most: a lower `false_positive_rate` makes more filters, `index: exact` needs none",
            )
        return _ranges(self.work, [result["answers"] for result in found])

    def _settle(self, turn: int, answers: list[list[dict[str, Any]]], before: list[dict[str, Any]]) -> list[dict[str, Any]]:
        limits = {name: getattr(self.operator, name) for name in ("max_seen_ratio", "max_document_seen_ratio")}
        items = [
            limits | {"units": found["units"], "grams": found["grams"], "documents": self.rows[i], "answers": answers[i]}
            | {"before": before[i]["table"] if before else None}
            for i, found in enumerate(self.hashed)
        ]  # fmt: skip
        return self.work.map(f"settle-{turn}", settle, items)


def _ranges(work: Work, files: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    found = shuffle.ranges(work.storage, [ShuffleFile(**file) for file in files])
    return [[asdict(part) for part in parts] for parts in found]


def mark_shard(item: dict[str, Any], place: Place) -> Iterator[pa.RecordBatch]:
    """Yield one row of attributes per document of a shard, in its order."""
    ids = pa.concat_arrays([batch.column(ID) for batch in read_shard(place.storage, item["path"], [ID])] or [pa.array([], pa.string())])
    row, number, last, grams = (column.to_numpy() for column in place.read_table(item["units"]).columns)
    seen, kept, document = (column.to_numpy() for column in place.read_table(item["settled"]).columns)
    with_text = place.read_table(item["rows"]).column("with_text").to_numpy()
    whole, pooled = np.bincount(row, grams, len(ids)), np.bincount(row, seen, len(ids))
    gone = np.flatnonzero(~kept)
    repeated = np.zeros(len(ids), np.bool_)
    repeated[row[~document]] = True
    emptied = (np.bincount(row[gone], minlength=len(ids)) == with_text) & (with_text > 0)
    height = last[gone] - number[gone] + 1
    of_line = np.repeat(gone, height)
    lines = number[of_line] + np.arange(len(of_line)) - np.repeat(np.cumsum(height) - height, height)
    offsets = pa.array(np.concatenate([[0], np.cumsum(np.bincount(row[of_line], minlength=len(ids)))]).astype(np.int32))
    first_ids = _first_ids(item, place, gone, row[gone])
    why = pc.if_else(pa.array(repeated), "repeated_text", pa.scalar("only_repeated_paragraphs"))
    keep = pa.array(~(repeated | emptied))
    yield pa.RecordBatch.from_pydict(
        {
            ID: ids,
            "keep": keep,
            "reason": pc.if_else(keep, pa.scalar(None, pa.string()), why),
            "value": pa.array(pooled / np.maximum(whole, 1), mask=whole == 0),
            "kept_id": _kept_ids(ids, row[gone], first_ids),
            "lines": pa.ListArray.from_arrays(offsets, pa.array(lines.astype(np.int32))),
            "seen": pa.ListArray.from_arrays(offsets, pa.array(seen[of_line] / grams[of_line])),
            "first_ids": pa.ListArray.from_arrays(offsets, first_ids.take(pa.array(np.repeat(np.arange(len(gone)), height)))),
        }
    )


def _first_ids(item: dict[str, Any], place: Place, gone: Ints, rows: Ints) -> pa.Array:
    """Return for each paragraph that goes the first kept document with one of its n-grams, null if it stands later."""
    keys = place.read_table(item["keys"]).column("key").to_numpy()[gone]
    firsts = Frequent(item, place, NAMED)
    return pc.if_else(pa.array(firsts.is_before(keys, rows)), firsts.first_ids(keys), pa.scalar(None, pa.string()))


def _kept_ids(ids: pa.Array, rows: Ints, first_ids: pa.Array) -> pa.Array:
    """Return for each document the first document that one of its paragraphs repeats, null for itself."""
    place = np.full(len(ids), -1, np.int64)
    place[rows[::-1]] = np.arange(len(rows))[::-1]  # backwards: the first is written last
    found = first_ids.take(pa.array(place, mask=place < 0))
    return pc.if_else(pc.equal(found, ids), pa.scalar(None, pa.string()), found)
