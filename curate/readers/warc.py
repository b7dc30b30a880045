"""Reads web archives: pages of WARC and ARC files (`warc`), and the extracted text of WET files (`wet`).

| column | type | format |
|---|---|---|
| `id` | string: `<input>/<path>:<record offset>`, or the column that `id:` names | both |
| `html` | large_binary: the payload, transfer and content encodings undone | warc |
| `text` | large_string | wet |
| `record_id`, `url` | string | both |
| `date` | timestamp[us, UTC] | both |
| `content_type`, `charset` | string: what the HTTP header says | warc |
| `status` | int32: HTTP status, null for resource records | warc |
| `languages` | string: WARC-Identified-Content-Language | wet |
| `source` | string: the input's name | both |

The record offset counts bytes of the file: of the gzip member that holds the record (`+n` when the record starts within
it), else of the decompressed stream. Drops: `http_status` (value: the status), `not_html`, `not_text`, `too_large` (value:
bytes), `empty`. A `revisit` (a page that was the same as an earlier one) is dropped under that name.
Requests, metadata and archive headers are no documents and not counted.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import pyarrow as pa

from curate.document import ID, ID_TYPE, SOURCE, TEXT, TEXT_TYPE
from curate.errors import DatasetError
from curate.readers.archive import Archive, Broken, Record
from curate.readers.base import Drop, ReadBatch, ReadOptions, RowError, Slice
from curate.readers.batches import Pending, derived_id
from curate.readers.http import Response, TooLarge, Undecodable, charset, decode, is_html, parse_response
from curate.readers.streams import pieces, verify_unchanged
from curate.readers.tape import Tape
from curate.registry import suggest
from curate.storage import FileInfo, Storage

_HEAD = 64 << 10
_NOT_DOCUMENTS = frozenset({"warcinfo", "request", "metadata", "continuation"})
_GIVEN_IDS = ("record_id", "url")
_COMMON = [
    pa.field("record_id", pa.string()),
    pa.field("url", pa.string()),
    pa.field("date", pa.timestamp("us", tz="UTC")),
]


class _ArchiveReader(ABC):
    """What both formats share: framing, errors, ids. Archives are not cut: their records have no index."""

    columns: ClassVar[Sequence[pa.Field]]

    def schema(self, storage: Storage, files: Sequence[FileInfo], options: ReadOptions) -> pa.Schema:
        if options.id is not None and options.id not in _GIVEN_IDS:
            hint = suggest(options.id, list(_GIVEN_IDS)) or f"archives offer {' and '.join(_GIVEN_IDS)}"
            raise DatasetError(f"input `{options.input}`: `id: {options.id}` names a column that archives do not have", hint)
        return pa.schema([pa.field(ID, ID_TYPE), *self.columns, *_COMMON, pa.field(SOURCE, pa.string())])

    def split(self, storage: Storage, file: FileInfo, target_bytes: int) -> list[Slice]:
        return [Slice(file, 0, None, file.size)]

    def read(self, storage: Storage, part: Slice, schema: pa.Schema, options: ReadOptions) -> Iterator[ReadBatch]:
        verify_unchanged(storage, part.file)
        pending = Pending(schema, options)
        with contextlib.closing(pieces(storage, part.file.path, resume_at=b"WARC/")) as stream:
            archive = Archive(Tape(stream))
            for found in archive:
                self._take(found, archive, derived_id(options, part.file.path, found.location), pending)
                if pending.full:
                    yield pending.take()
        if not pending.is_empty:
            yield pending.take()
        verify_unchanged(storage, part.file)

    def _take(self, found: Record | Broken, archive: Archive, derived: str, pending: Pending) -> None:
        if isinstance(found, Broken):
            pending.errors.append(RowError(derived, found.reason))
            return
        if found.kind in _NOT_DOCUMENTS:
            return
        row = {ID: derived} | _common(found)
        if pending.options.id is not None:
            row[ID] = row[pending.options.id]
        try:
            content = self._content(found, archive, row, pending.options)
        except Dropped as drop:
            if archive.skip():
                pending.drops.append(Drop(row[ID] or derived, drop.reason, drop.value))
        except Undecodable as error:
            if archive.skip():
                pending.errors.append(RowError(row[ID] or derived, str(error)))
        else:
            if content is not None and row[ID] is None:
                pending.errors.append(RowError(derived, f"no id: the record has no {pending.options.id}"))
            elif content is not None:
                pending.add(row, content)

    @abstractmethod
    def _content(self, record: Record, archive: Archive, row: dict[str, Any], options: ReadOptions) -> int | None:
        """Put the record's content into the row and return its size; None when the record is broken."""


class Dropped(Exception):
    """A record that is no document by a rule."""

    def __init__(self, reason: str, value: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.value = reason, value


class WarcReader(_ArchiveReader):
    """HTML pages of responses and resources."""

    columns: ClassVar = [
        pa.field("html", pa.large_binary()),
        pa.field("content_type", pa.string()),
        pa.field("charset", pa.string()),
        pa.field("status", pa.int32()),
    ]

    def _content(self, record: Record, archive: Archive, row: dict[str, Any], options: ReadOptions) -> int | None:
        head = archive.head(_HEAD)
        response = parse_response(head) if record.kind == "response" else None
        kind = response.fields.get("content-type", "") if response else record.fields.get("content-type", "")
        start = response.size if response else 0
        _check_page(record, response, kind, head[start:])
        if record.length - start > options.max_record_bytes:
            raise Dropped("too_large", float(record.length - start))
        block = archive.block()
        if block is None:
            return None
        row |= {"content_type": kind or None, "charset": charset(kind), "status": response.status if response else None}
        row["html"] = _payload(block[start:], response, record, options.max_record_bytes)
        return len(row["html"])


class WetReader(_ArchiveReader):
    """Text that an archive's conversion records hold."""

    columns: ClassVar = [pa.field(TEXT, TEXT_TYPE), pa.field("languages", pa.string())]

    def _content(self, record: Record, archive: Archive, row: dict[str, Any], options: ReadOptions) -> int | None:
        if record.kind != "conversion":
            raise Dropped("not_text")
        if record.length > options.max_record_bytes:
            raise Dropped("too_large", float(record.length))
        block = archive.block()
        if block is None:
            return None
        if not block:
            raise Dropped("empty")
        try:
            row[TEXT] = block.decode()
        except UnicodeDecodeError as error:
            raise Undecodable(f"invalid UTF-8 at byte {error.start} of the text") from None
        row["languages"] = record.fields.get("warc-identified-content-language")
        return len(block)


def _check_page(record: Record, response: Response | None, kind: str, start: bytes) -> None:
    """Raise `Dropped` unless the record is an HTML page that was served as such."""
    if record.kind == "revisit":
        raise Dropped("revisit")
    if response is not None and response.status != 200:
        raise Dropped("http_status", float(response.status))
    if record.kind not in ("response", "resource") or "warc-segment-number" in record.fields:
        raise Dropped("not_html")
    if response is None and kind.startswith("application/http"):
        raise Undecodable("the response has no HTTP header")
    if not is_html(kind, record.fields.get("warc-identified-payload-type", ""), start):
        raise Dropped("not_html")


def _payload(body: bytes, response: Response | None, record: Record, max_bytes: int) -> bytes:
    try:
        data = decode(body, response.fields, max_bytes) if response else body
    except TooLarge as error:
        raise Dropped("too_large", float(error.args[0])) from None
    if not data:
        raise Dropped("empty")
    return data


def _common(record: Record) -> dict[str, Any]:
    fields = record.fields
    return {
        "record_id": fields.get("warc-record-id", "").strip("<>") or None,
        "url": fields.get("warc-target-uri", "").strip("<>") or None,
        "date": _date(fields.get("warc-date", "")),
    }


def _date(text: str) -> datetime | None:
    """Parse the date of a WARC (ISO 8601) or an ARC (14 digits); an impossible one is null."""
    with contextlib.suppress(ValueError):
        if text.isdigit():
            return datetime.strptime(text[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        date = datetime.fromisoformat(text)
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    return None
