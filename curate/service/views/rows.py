"""Pages through the rows of a dataset or of its ledger: a bounded number of rows and of bytes looked at for each page.

A place in a dataset is `<shard>.<row>`; a page says where the next one begins. A search looks at `SCAN_BYTES` at most, and goes on
from where it stopped when it is asked again, so that a rare word costs many short requests and never a long one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.dataset import Dataset, open_parquet, resolve
from curate.document import ID, TEXT
from curate.errors import PipelineError
from curate.manifest import FileRecord

PAGE_ROWS = 20
SCAN_BYTES = 64 << 20
BATCH_BYTES = 4 << 20
EXCERPT_BYTES, AROUND_BYTES = 6000, 2000

Keep = Callable[[pa.RecordBatch], pa.Array]


@dataclass(frozen=True, order=True)
class Place:
    """Where a row stands."""

    shard: int = 0
    row: int = 0

    def __str__(self) -> str:
        return f"{self.shard}.{self.row}"


@dataclass(frozen=True)
class Page:
    """Rows as plain data; `next` is None at the end. `stopped` says that a search looked at all it may before the page was full."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    next: Place | None = None
    stopped: bool = False


def place(text: str) -> Place:
    """Read a place as `Place` writes it; nothing is the beginning."""
    shard, _, row = text.partition(".")
    if not text:
        return Place()
    if not (shard.isdecimal() and row.isdecimal()) or len(text) > 40:
        raise PipelineError(f"not a place in a dataset: {text[:40]!r}", "follow the link to the next page")
    return Place(int(shard), int(row))


def documents(dataset: Dataset, query: str, start: Place) -> Page:
    """Return a page of rows; `query` is looked for in ids and texts, in any case."""
    records: list[FileRecord | None] = [shard.data for shard in dataset.manifest.shards]
    return _page(dataset, records, start, _containing(query) if query else None, query)


def drops(dataset: Dataset, step: str, reason: str, start: Place) -> Page:
    """Return a page of dropped documents, of one step and reason where these are given."""
    wanted = {"step": step, "reason": reason}
    return _page(dataset, [shard.drops for shard in dataset.manifest.shards], start, _equal({k: v for k, v in wanted.items() if v}))


def errors(dataset: Dataset, start: Place) -> Page:
    """Return a page of quarantined rows."""
    return _page(dataset, [shard.errors for shard in dataset.manifest.shards], start, None)


def _containing(query: str) -> Keep:
    def keep(rows: pa.RecordBatch) -> pa.Array:
        found = pc.match_substring(rows.column(ID), query, ignore_case=True)
        if TEXT in rows.schema.names:
            found = pc.or_kleene(found, pc.match_substring(rows.column(TEXT), query, ignore_case=True))
        return pc.fill_null(found, False)

    return keep


def _equal(wanted: dict[str, str]) -> Keep | None:
    def keep(rows: pa.RecordBatch) -> pa.Array:
        mask = pa.repeat(True, rows.num_rows)
        for name, value in wanted.items():
            mask = pc.and_(mask, pc.fill_null(pc.equal(rows.column(name), value), False))
        return mask

    return keep if wanted else None


def _page(dataset: Dataset, records: Sequence[FileRecord | None], start: Place, keep: Keep | None, query: str = "") -> Page:
    """Fill a page with the rows from `start` on that `keep` wants; one row more tells whether there is a next page."""
    found: list[dict[str, Any]] = []
    looked = 0
    for at, batch in _batches(dataset, records, start):
        if looked > SCAN_BYTES:
            return Page(found, at, stopped=True)
        looked += batch.nbytes
        hits = range(batch.num_rows) if keep is None else pc.indices_nonzero(keep(batch)).to_pylist()
        for hit in hits:
            if len(found) == PAGE_ROWS:
                return Page(found, Place(at.shard, at.row + hit))
            found.append(_plain(batch.slice(hit, 1), query))
    return Page(found)


def _batches(dataset: Dataset, records: Sequence[FileRecord | None], start: Place) -> Iterator[tuple[Place, pa.RecordBatch]]:
    """Yield batches with the place of their first row; row groups ahead of `start` are not read."""
    for number in range(start.shard, len(records)):
        record = records[number]
        if record is None or not record.rows:
            continue
        first = start.row if number == start.shard else 0
        for row, batch in _from(dataset, resolve(dataset.path, record), first):
            yield Place(number, row), batch


def _from(dataset: Dataset, path: str, first: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    row = 0
    with open_parquet(dataset.storage, path) as file:
        for group in range(file.num_row_groups):
            meta = file.metadata.row_group(group)
            if row + meta.num_rows <= first:
                row += meta.num_rows
                continue
            rows = max(1, min(4096, BATCH_BYTES // max(1, meta.total_byte_size // max(1, meta.num_rows))))
            for batch in file.iter_batches(batch_size=rows, row_groups=[group], use_threads=False):
                if row + batch.num_rows > first:
                    skipped = max(first - row, 0)
                    yield row + skipped, batch.slice(skipped)
                row += batch.num_rows


def _plain(row: pa.RecordBatch, query: str) -> dict[str, Any]:
    """Return a row as plain data: texts cut while they are in Arrow, bytes told by their number."""
    plain: dict[str, Any] = {}
    for name, column in zip(row.schema.names, row.columns, strict=True):
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            length = pc.binary_length(column)[0].as_py()
            if name == TEXT:
                plain["text_bytes"] = length
            plain[name] = None if length is None else _excerpt(column, length, query if name == TEXT else "")
        elif pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            length = pc.binary_length(column)[0].as_py()
            plain[name] = None if length is None else f"{length:,} bytes"
        else:
            plain[name] = column[0].as_py()
    return plain


def _excerpt(column: pa.Array, length: int, query: str) -> str:
    """Return the beginning of a text, or what is around the first place of a query; only that much is decoded."""
    at = pc.find_substring(column, query, ignore_case=True)[0].as_py() if query else 0
    start = max(at - AROUND_BYTES, 0)
    piece = pc.binary_slice(column.cast(pa.large_binary()), start, min(start + EXCERPT_BYTES, length))[0].as_py()
    text = str(piece.decode(errors="ignore"))  # a character that the cut divides is left out
    return f"{'…' if start else ''}{text}{'…' if start + EXCERPT_BYTES < length else ''}"
