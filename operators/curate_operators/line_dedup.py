"""Marks lines or paragraphs that an earlier document has, across the corpus.

Emits attributes, one row per document, in its order:

| column    | type         | is                                                                                    |
|-----------|--------------|---------------------------------------------------------------------------------------|
| id        | string       | the document                                                                          |
| keep      | bool         | false when everything with text in it goes                                            |
| reason    | string       | `only_repeated_lines` or `only_repeated_paragraphs`, null if `keep`                   |
| value     | double       | the share of the text's characters that goes                                          |
| kept_id   | string       | the document that keeps the first line that goes; null when none does                 |
| lines     | list<int32>  | the numbers of the lines that go, from 1                                              |
| documents | list<int64>  | for each of them: how many documents (of the site) have it, or its paragraph          |
| first_ids | list<string> | for each of them: the first document that has it                                      |

Four phases: `count` and `decide` (`line_counts.py`), `name` (the first documents are asked their names, only for lines that others
repeat), and `mark`, which reads the shards again. A task holds a million lines, a partition, or the repeated lines of one shard.
Lines are known by 64-bit hashes: of a billion different ones, the chance that any two are taken for one is 3 %.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.dataset import Dataset
from curate.document import ID, TEXT
from curate.errors import PipelineError
from curate.protocols import DatasetOperator
from curate.work import Place, Work
from curate_operators import removal_guard
from curate_operators.line_counts import NAMED, Counting, Frequent, read_lines, starts
from curate_operators.site_lines import Cut, Ignored, Ints, Keys, Mask, SiteLines, Unit

NUMBERS, SIZES, NAMES = pa.list_(pa.int32()), pa.list_(pa.int64()), pa.list_(pa.string())


@dataclass(frozen=True)
class LineDedup(DatasetOperator):
    """Marks lines or paragraphs that an earlier document has.

    ## What it does
    Compares the lines of all documents, or those of one site (`by`). Of a line that at least `min_documents` documents have, the
    first in the dataset's order stays and all others go; with `within`, so do later copies in one document. Nothing is removed
    here: `remove_lines` takes the lines out, and `apply` before it drops the documents of which nothing would be left.

    ## Why
    Pages that differ share notices, lists, quotations and whole articles. Deduplication of documents does not see them, and a
    model that reads them a thousand times learns them by heart. Of prose, lines or paragraphs of ten and more words are seldom
    alike by chance; short ones often are (`min_words`). Of text that was broken at a fixed width, lines are pieces of sentences: compare
    paragraphs there.

    ## Example
        repeats: {from: text, use: line_dedup, params: {unit: paragraph, min_words: 10}}
        site_repeats: {from: text, use: line_dedup, params: {by: url, min_documents: 5}}    # per site: a line of five pages of one host
        clean:
          from: [text, repeats]
          operators:
            - {use: apply, params: {by: repeats}}
            - {use: remove_lines, params: {by: repeats}}

    ## Parameters
    - `unit`: `line`, or `paragraph`: what empty lines separate; run `normalize` before it, as a line of blanks is not empty.
    - `by`: per site: a line is a repeat only among documents with the same value of this column, such as `url` (of addresses, the
      host counts, without `www.`); documents without one keep all lines. null = all documents. `boilerplate_lines` also asks for a
      share of the site's documents, and removes a menu from the first page too.
    - `min_documents`: how many documents, of the site or of all, must have the line.
    - `first`: `keep` it in the first document that has it, or `remove` it from all.
    - `within`: also take out the later copies of a line within a document, however few documents have it.
    - `ignore`: differences that do not count: `case`; `spaces` (white space at the ends, and how much of it); `digits` (numbers are
      the same); `punctuation`. CCNet ignores all four.
    - `min_chars`, `min_words`: shorter units stay, counted in the form that is compared.
    - `max_removed_ratio_per_source`: a warning when more than this share of a source's documents goes; `{ratio: 0.5, column: url,
      min_documents: 100, otherwise: fail}` judges another column (addresses by host), or ends the run; null = off.

    ## Source
    CCNet (Wenzek et al., 2020): paragraphs (lines there) by hash, first occurrence kept; there by shards of 5 GB, here exactly,
    across the corpus. Frequencies per site as in `boilerplate_lines`. `paragraph_dedup` compares n-grams instead of whole lines.
    """

    version: ClassVar[int] = 1
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "attributes"

    unit: Unit = "line"
    by: str | None = None
    min_documents: int = 2
    first: Literal["keep", "remove"] = "keep"
    within: bool = True
    ignore: tuple[Ignored, ...] = ("case", "spaces")
    min_chars: int | None = None
    min_words: int | None = None
    max_removed_ratio_per_source: float | dict[str, Any] | None = 0.5

    def __post_init__(self) -> None:
        if self.min_documents < 2:
            raise PipelineError(f"line_dedup: min_documents is less than 2: {self.min_documents}", "one document repeats no other")
        for name in ("min_chars", "min_words"):
            if (least := getattr(self, name)) is not None and least < 0:
                raise PipelineError(f"line_dedup: {name} is negative: {least}", "null = lines of any size may go")
        removal_guard.parse(self.max_removed_ratio_per_source)

    def reads(self) -> tuple[str, ...]:
        by = () if self.by is None else (self.by,)
        return tuple(dict.fromkeys([TEXT, *by, *removal_guard.columns(self.max_removed_ratio_per_source)]))

    def adds(self) -> Mapping[str, pa.DataType]:
        flags = {"keep": pa.bool_(), "reason": pa.string(), "value": pa.float64(), "kept_id": pa.string()}
        return flags | {"lines": NUMBERS, "documents": SIZES, "first_ids": NAMES}

    def run(self, inputs: list[Dataset], work: Work) -> None:
        cut = Cut(self.by, self.unit, tuple(sorted(set(self.ignore))), self.min_chars or 1, self.min_words or 0)
        counting = Counting(inputs[0], cut, self.min_documents, name_first=True)
        rules = {"first": self.first, "within": self.within}
        work.write_shards(mark_shard, [item | rules for item in counting.run(work)], counting.sizes)
        removal_guard.judge(self.max_removed_ratio_per_source, "line_dedup", inputs[0], work, "line")


@dataclass(frozen=True)
class _Marks:
    """The units of a batch that go, in the order of their rows and lines."""

    units: Ints
    documents: Ints
    first_ids: pa.Array


def mark_shard(item: dict[str, Any], place: Place) -> Iterator[pa.RecordBatch]:
    """Yield one row of attributes per document of a shard, in its order."""
    frequent = Frequent(item, place, NAMED)
    for row, found in read_lines(item, place):
        yield _attributes(found, _marks(found, frequent, row, item), item)


def _marks(found: SiteLines, frequent: Frequent, row: int, item: dict[str, Any]) -> _Marks:
    documents = frequent.documents(found.keys)
    marked = documents > 0
    if item["first"] == "keep":
        marked &= ~frequent.is_first(found.keys, found.rows + row)
    if item["within"]:
        marked |= _later(found.keys, found.rows)
    units = np.flatnonzero(marked)
    own = found.ids.take(pa.array(found.rows[units]))
    return _Marks(units, np.maximum(documents[units], 1), pc.coalesce(frequent.first_ids(found.keys[units]), own))


def _later(keys: Keys, rows: Ints) -> Mask:
    """Tell which units stand earlier in their document."""
    order = np.lexsort((keys, rows))  # stable: of equal units the first stays first
    later = np.empty(len(keys), dtype=np.bool_)
    later[order] = ~(starts(keys[order]) | starts(rows[order]))
    return later


def _attributes(found: SiteLines, marks: _Marks, item: dict[str, Any]) -> pa.RecordBatch:
    units = marks.units
    rows = found.rows[units]
    count = np.bincount(rows, minlength=found.documents)
    chars = np.bincount(rows, weights=found.chars[units], minlength=found.documents)
    keep = pa.array((count == 0) | (count < found.with_text))
    height = found.last[units] - found.numbers[units] + 1
    of_line = np.repeat(np.arange(len(units)), height)
    lines = found.numbers[units][of_line] + np.arange(len(of_line)) - (np.cumsum(height) - height)[of_line]
    offsets = pa.array(np.concatenate([[0], np.cumsum(np.bincount(rows[of_line], minlength=found.documents))]).astype(np.int32))
    lists = {"lines": pa.array(lines.astype(np.int32)), "documents": pa.array(marks.documents[of_line])}
    lists["first_ids"] = marks.first_ids.take(pa.array(of_line))
    reason = f"only_repeated_{item['cut']['unit']}s"
    return pa.RecordBatch.from_pydict(
        {
            ID: found.ids,
            "keep": keep,
            "reason": pc.if_else(keep, pa.scalar(None, pa.string()), reason),
            "value": pa.array(chars / np.maximum(found.text_chars, 1)),
            "kept_id": _kept_ids(found, marks) if item["first"] == "keep" else pa.nulls(found.documents, pa.string()),
        }
        | {name: pa.ListArray.from_arrays(offsets, values) for name, values in lists.items()}
    )


def _kept_ids(found: SiteLines, marks: _Marks) -> pa.Array:
    """Return for each document who keeps the first of its lines that go, null where none go or it does itself."""
    place = np.full(found.documents, -1, dtype=np.int64)
    rows = found.rows[marks.units]
    begins = np.flatnonzero(starts(rows))
    place[rows[begins]] = begins
    kept = marks.first_ids.take(pa.array(place, mask=place < 0))
    return pc.if_else(pc.equal(kept, found.ids), pa.scalar(None, pa.string()), kept)
