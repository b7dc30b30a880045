"""Finds the lines that many documents of one site have in common: menus, footers, notices.

Emits attributes, one row per document, in its order:

| column         | type        | is                                                                             |
|----------------|-------------|--------------------------------------------------------------------------------|
| id             | string      | the document                                                                   |
| keep           | bool        | false when every line with text is boilerplate                                 |
| reason         | string      | `only_boilerplate`, null if `keep`                                             |
| value          | double      | the share of the text's characters in boilerplate lines                        |
| site           | string      | what its lines were counted with; null = not counted                           |
| site_documents | int64       | documents of the site; null when they are too few to have boilerplate          |
| lines          | list<int32> | the numbers of its boilerplate lines, from 1                                   |
| documents      | list<int64> | for each of them: how many documents of the site have it                       |

Three phases. `count` reads each shard once and sends 24 bytes for each different line of a site into the shuffle, counted over
about a million lines at a time; a site is counted like a line that all its documents have. `decide` adds up and answers with what
stands in enough documents. `mark` reads the shards again. A task holds a million lines, a partition of `PARTITION_BYTES`, or the
frequent lines of one shard. Lines are known by 64-bit hashes of site and line: in a corpus of a billion different lines the chance
that any two are taken for one is 3 %.
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
from curate_operators.line_counts import Counting, Frequent, read_lines
from curate_operators.site_lines import Cut, Ignored, Ints, Mask, SiteLines

NUMBERS, SIZES = pa.list_(pa.int32()), pa.list_(pa.int64())


@dataclass(frozen=True)
class BoilerplateLines(DatasetOperator):
    """Marks lines that stand in many documents of one site.

    ## What it does
    Counts for each line in how many documents of the site it stands. Lines are compared without case, white space at their
    ends, and repeated white space. A line in at least `min_documents` documents, and in at least `min_share` of the site's,
    is boilerplate. Nothing is removed here: `remove_lines` takes the lines out, and `apply` before it drops the documents
    of which nothing would be left, with the reason `only_boilerplate`.

    ## Why
    Menus, cookie notices and footers survive extraction on many sites. They teach a model nothing, and make different
    pages look alike to deduplication. A line that a site repeats on page after page is not what the page is about.

    ## Example
        boilerplate: {from: text, use: boilerplate_lines}
        clean:
          from: [text, boilerplate]
          operators:
            - {use: apply, params: {by: boilerplate}}
            - {use: remove_lines, params: {by: boilerplate}}

    ## Parameters
    - `by`: the column that says what belongs together. Of addresses (with `://`) the host counts, without `www.`; other
      values count as they are. Documents without one have no boilerplate.
    - `min_documents`: in how many documents of the site a line must stand.
    - `min_share`: in what share of the site's documents it must stand; null = any.
    - `min_line_chars`: shorter lines stay: brackets of code, page numbers.
    - `first`: whether the first document with the line must `remove` it too, or may `keep` it.
    - `ignore_digits`: lines that differ in numbers only are the same (`3 comments`); also makes headings the same.

    ## Source
    Counting per site as in CCNet (Wenzek et al., 2020), which removes repeated paragraphs per shard of a crawl, and in the
    site-wise rules of RefinedWeb (Penedo et al., 2023); the thresholds are ours.
    """

    version: ClassVar[int] = 2
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "attributes"

    by: str = "url"
    min_documents: int = 5
    min_share: float | None = 0.1
    min_line_chars: int = 3
    first: Literal["remove", "keep"] = "remove"
    ignore_digits: bool = False

    def __post_init__(self) -> None:
        if self.min_documents < 2:
            raise PipelineError(f"boilerplate_lines: min_documents is less than 2: {self.min_documents}", "one document repeats nothing")
        if self.min_share is not None and not 0 <= self.min_share <= 1:
            raise PipelineError(f"boilerplate_lines: min_share is not between 0 and 1: {self.min_share}", "null = any share")

    def reads(self) -> tuple[str, ...]:
        return (TEXT, self.by)

    def adds(self) -> Mapping[str, pa.DataType]:
        flags = {"keep": pa.bool_(), "reason": pa.string(), "value": pa.float64()}
        return flags | {"site": pa.string(), "site_documents": pa.int64(), "lines": NUMBERS, "documents": SIZES}

    def run(self, inputs: list[Dataset], work: Work) -> None:
        ignored: tuple[Ignored, ...] = ("case", "spaces", "digits") if self.ignore_digits else ("case", "spaces")
        counting = Counting(inputs[0], Cut(self.by, "line", ignored, self.min_line_chars), self.min_documents)
        rules = {"min_documents": self.min_documents, "min_share": self.min_share, "first": self.first}
        work.write_shards(mark_shard, [item | rules for item in counting.run(work)], counting.sizes)


def mark_shard(item: dict[str, Any], place: Place) -> Iterator[pa.RecordBatch]:
    """Yield one row of attributes per document of a shard, in its order."""
    frequent = Frequent(item, place)
    for row, found in read_lines(item, place):
        site_documents = frequent.documents(found.site_keys)
        of_row = np.zeros(found.documents, dtype=np.int64)
        of_row[found.site_rows] = site_documents
        documents = frequent.documents(found.keys)
        marked = documents >= max(item["min_documents"], 1)
        if item["min_share"] is not None:
            marked &= documents >= item["min_share"] * of_row[found.rows]
        if item["first"] == "keep":
            marked &= ~frequent.is_first(found.keys, found.rows + row)
        yield _attributes(found, of_row, documents, marked)


def _attributes(found: SiteLines, of_row: Ints, documents: Ints, marked: Mask) -> pa.RecordBatch:
    rows = found.rows[marked]
    count = np.bincount(rows, minlength=found.documents)
    chars = np.bincount(rows, weights=found.chars[marked], minlength=found.documents)
    keep = pa.array((count == 0) | (count < found.with_text))
    offsets = pa.array(np.concatenate([[0], np.cumsum(count)]).astype(np.int32))
    return pa.RecordBatch.from_pydict(
        {
            ID: found.ids,
            "keep": keep,
            "reason": pc.if_else(keep, pa.scalar(None, pa.string()), "only_boilerplate"),
            "value": pa.array(chars / np.maximum(found.text_chars, 1)),
            "site": found.sites,
            "site_documents": pa.array(of_row, mask=of_row == 0),
            "lines": pa.ListArray.from_arrays(offsets, pa.array(found.numbers[marked].astype(np.int32))),
            "documents": pa.ListArray.from_arrays(offsets, pa.array(documents[marked])),
        }
    )
