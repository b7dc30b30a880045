"""Reads folders of plain text and HTML files, one document per file, possibly compressed.

Columns: `id` (`<input>/<path>`), `text` (large_string) or `html` (large_binary), `path`, `source`. An empty file is no
document. Text must be UTF-8; a NUL byte is valid UTF-8 and stays, `normalize` removes it.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import pyarrow as pa

from curate.document import ID, ID_TYPE, SOURCE, TEXT, TEXT_TYPE
from curate.errors import DatasetError
from curate.readers.base import Drop, ReadBatch, ReadOptions, RowError, Slice
from curate.readers.batches import Pending
from curate.readers.streams import pieces, verify_unchanged
from curate.storage import FileInfo, Storage

_BOM = b"\xef\xbb\xbf"


class _BadFile(Exception):
    """A file that is no document, and why."""


class _FileReader(ABC):
    """One document per file."""

    column: ClassVar[pa.Field]

    def schema(self, storage: Storage, files: Sequence[FileInfo], options: ReadOptions) -> pa.Schema:
        if options.id not in (None, "path"):
            raise DatasetError(f"input `{options.input}`: `id: {options.id}` names a column that files do not have", "files offer `path`")
        return pa.schema([pa.field(ID, ID_TYPE), self.column, pa.field("path", pa.string()), pa.field(SOURCE, pa.string())])

    def split(self, storage: Storage, file: FileInfo, target_bytes: int) -> list[Slice]:
        return [Slice(file, 0, None, file.size)]

    def read(self, storage: Storage, part: Slice, schema: pa.Schema, options: ReadOptions) -> Iterator[ReadBatch]:
        path = part.file.path
        verify_unchanged(storage, part.file)
        pending = Pending(schema, options)
        given = path if options.id else f"{options.input}/{path}"
        try:
            data, size = _content(storage, path, options.max_record_bytes)
            if size > options.max_record_bytes:
                pending.drops.append(Drop(given, "too_large", float(size)))
            elif data:
                pending.add({ID: given, self.column.name: self._decode(data), "path": path}, len(data))
        except _BadFile as error:
            pending.errors.append(RowError(given, str(error)))
        if not pending.is_empty:
            yield pending.take()
        verify_unchanged(storage, part.file)

    @abstractmethod
    def _decode(self, data: bytes) -> str | bytes:
        """Return the column's value, or raise `_BadFile`."""


class TextReader(_FileReader):
    """Plain text and Markdown."""

    column = pa.field(TEXT, TEXT_TYPE)

    def _decode(self, data: bytes) -> str:
        try:
            return data.removeprefix(_BOM).decode()
        except UnicodeDecodeError as error:
            raise _BadFile(f"invalid UTF-8 at byte {error.start}") from None


class HtmlReader(_FileReader):
    """HTML pages, left as bytes: their encoding is the extractor's to tell."""

    column = pa.field("html", pa.large_binary())

    def _decode(self, data: bytes) -> bytes:
        return data


def _content(storage: Storage, path: str, max_bytes: int) -> tuple[bytes, int]:
    """Return a file's decompressed bytes and their number; beyond `max_bytes` they are counted but not kept."""
    held: list[bytes] = []
    size = 0
    with contextlib.closing(pieces(storage, path)) as stream:
        for piece in stream:
            if piece.damage is not None:
                raise _BadFile(f"unreadable: {piece.damage}")
            size += len(piece.data)
            if size <= max_bytes:
                held.append(piece.data)
            else:
                held.clear()
    return b"".join(held), size
