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
from curate_operators.site_lines import Ints, Keys, SiteLines, site_lines

COUNTED = pa.schema({"key": pa.uint64(), "documents": pa.uint64(), "shard": pa.uint32(), "row": pa.uint32()})
"""What passes through the shuffle: a line of a site, how many documents have it, and the first of them; the answer has the same columns."""

CHUNK_LINES = 1 << 20
LINE_BYTES = 40  # about: how long a line is, to guess how many there are
NUMBERS, SIZES = pa.list_(pa.int32()), pa.list_(pa.int64())
Mask = np.ndarray[Any, np.dtype[np.bool_]]


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

    version: ClassVar[int] = 1
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
        documents = inputs[0]
        shards = documents.manifest.shards
        sizes = [shard.data.bytes for shard in shards]
        text_bytes = sum(shard.counts.text_bytes_out or 3 * shard.data.bytes for shard in shards)
        partitions = shuffle.partitions_for(text_bytes // LINE_BYTES, row_bytes=24)
        items = [asdict(self) | {"path": documents.shard_path(i), "shard": i, "partitions": partitions} for i in range(len(shards))]
        counted = work.map("count", count_shard, items, sizes)
        parts = shuffle.ranges(work.storage, [ShuffleFile(**result) for result in counted])
        groups = [{"parts": [asdict(p) for p in part], "shards": len(shards), "min_documents": self.min_documents} for part in parts]
        decided = work.map("decide", decide_partition, groups)
        answers = shuffle.ranges(work.storage, [ShuffleFile(**result) for result in decided])
        marks = [item | {"parts": [asdict(p) for p in answers[i]]} for i, item in enumerate(items)]
        work.write_shards(mark_shard, marks, sizes)


def count_shard(item: dict[str, Any], place: Place) -> dict[str, Any]:
    """Count the lines of each site in one shard."""
    chunks = ((keys % np.uint64(item["partitions"]), batch) for keys, batch in _chunks(item, place))
    return asdict(place.write_shuffle(item["partitions"], COUNTED, chunks))


def _chunks(item: dict[str, Any], place: Place) -> Iterator[tuple[Keys, pa.RecordBatch]]:
    """Yield the lines of a shard, each once in a chunk of about `CHUNK_LINES`; all lines of a document are in one chunk."""
    keys: list[Keys] = []
    rows: list[Ints] = []
    for row, found in _read(item, place):
        keys += [found.keys, found.site_keys]
        rows += [found.rows + row, found.site_rows + row]
        if sum(map(len, keys)) >= CHUNK_LINES:
            yield _counted(np.concatenate(keys), np.concatenate(rows), item["shard"])
            keys, rows = [], []
    if keys:
        yield _counted(np.concatenate(keys), np.concatenate(rows), item["shard"])


def _read(item: dict[str, Any], place: Place) -> Iterator[tuple[int, SiteLines]]:
    """Yield for each batch of a shard the number of its first row, and its lines."""
    row = 0
    for batch in read_shard(place.storage, item["path"], list(dict.fromkeys([ID, TEXT, item["by"]]))):
        yield row, site_lines(batch, item["by"], item["min_line_chars"], item["ignore_digits"])
        row += batch.num_rows


def _counted(keys: Keys, rows: Ints, shard: int) -> tuple[Keys, pa.RecordBatch]:
    """Count in how many rows each key stands; rows never fall."""
    order = np.argsort(keys, kind="stable")
    keys, rows = keys[order], rows[order]
    starts = _starts(keys)
    once = starts | _starts(rows)  # a line that a document repeats counts once
    group = np.cumsum(starts) - 1
    documents = np.bincount(group[once]).astype(np.uint64)
    shards = np.full(len(documents), shard, dtype=np.uint32)
    columns = {"key": keys[starts], "documents": documents, "shard": shards, "row": rows[starts].astype(np.uint32)}
    return keys[starts], pa.RecordBatch.from_pydict(columns, COUNTED)


def decide_partition(item: dict[str, Any], place: Place) -> dict[str, Any]:
    """Add up the counts and tell every shard that has a line how often it stands everywhere, if that is often enough."""
    batches = list(shuffle.read(place.storage, [Range(**part) for part in item["parts"]], COUNTED))
    table = pa.Table.from_batches(batches, COUNTED)
    key, documents, shard, row = (column.to_numpy() for column in table.columns)
    order = np.lexsort((row, shard, key))
    key, documents, shard, row = key[order], documents[order], shard[order], row[order]
    starts = _starts(key)
    begins = np.flatnonzero(starts)
    total = np.add.reduceat(documents, begins) if len(begins) else documents
    group = np.cumsum(starts) - 1
    told = (starts | _starts(shard)) & (total[group] >= item["min_documents"])
    first = begins[group[told]]
    columns = {"key": key[told], "documents": total[group[told]], "shard": shard[first], "row": row[first]}
    answer = pa.RecordBatch.from_pydict(columns, COUNTED)
    return asdict(place.write_shuffle(item["shards"], COUNTED, iter([(shard[told].astype(np.int64), answer)])))


def mark_shard(item: dict[str, Any], place: Place) -> Iterator[pa.RecordBatch]:
    """Yield one row of attributes per document of a shard, in its order."""
    frequent = _Frequent(item, place)
    for row, found in _read(item, place):
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


class _Frequent:
    """The lines of one shard that stand in many documents, for looking up."""

    def __init__(self, item: dict[str, Any], place: Place) -> None:
        batches = list(shuffle.read(place.storage, [Range(**part) for part in item["parts"]], COUNTED))
        table = pa.Table.from_batches(batches, COUNTED).sort_by("key")
        self._keys, self._documents, self._shards, self._rows = (column.to_numpy() for column in table.columns)
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

    def _find(self, keys: Keys) -> tuple[Any, Mask]:
        place = np.minimum(np.searchsorted(self._keys, keys), max(len(self._keys) - 1, 0))
        return place, (self._keys[place] == keys) if len(self._keys) else np.zeros(len(keys), dtype=np.bool_)


def _starts(values: Any) -> Mask:
    """Tell where another value begins."""
    starts = np.ones(len(values), dtype=np.bool_)
    starts[1:] = values[1:] != values[:-1]
    return starts
