"""Opens input files: checks that they are still the listed ones, and decompresses them piece by piece in bounded memory.

A damaged stream is no exception here but a last `Piece` that says so, because everything before it counts. Measured on
truncated files: FastWARC's gzip reader ends as if the file were whole, so gzip members are inflated with `zlib`, which
also tells where each begins; its zstd reader reports truncation and knows the dictionaries of the Internet Archive.
"""

from __future__ import annotations

import bz2
import io
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

import pyarrow as pa

from curate.errors import DatasetError
from curate.readers.formats import compression_of
from curate.storage import FileInfo, Storage

_MAGIC = {b"\x1f\x8b\x08": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\x5d\x2a\x4d\x18": "zstd", b"\x04\x22\x4d\x18": "lz4", b"BZh": "bz2"}
_READ = 64 << 10
_PIECE = 256 << 10


@dataclass(frozen=True, slots=True)
class Piece:
    """Some decompressed bytes; `member` is the file offset of the gzip member that begins with them.

    `damage` says why no bytes follow, or why some are missing before the next piece; `member` is then the damaged one.
    """

    data: bytes
    member: int | None = None
    damage: str | None = None


def verify_unchanged(storage: Storage, file: FileInfo) -> None:
    """Raise `DatasetError` unless the file is still the one that was listed."""
    where = f"{storage.url}/{file.path}"
    hint = "run again: the plan lists the files anew"
    now = storage.info(file.path)
    if now is None:
        raise DatasetError(f"input file vanished during the run: {where}", hint)
    if (now.size, now.etag) != (file.size, file.etag):
        raise DatasetError(f"input file changed during the run: {where} ({file.size} bytes listed, {now.size} found)", hint)


def compression(storage: Storage, path: str) -> str | None:
    """Return a file's compression: what its name says, else what its first bytes say."""
    named = compression_of(path)
    if named:
        return named
    with storage.open_input(path) as raw:
        head = raw.read(4)
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


def pieces(storage: Storage, path: str, start: int = 0, resume_at: bytes | None = None) -> Generator[Piece, None, None]:
    """Yield a file's decompressed bytes from `start` (an offset in a plain file).

    After damage in a gzip file the stream goes on at the next member whose content begins with `resume_at`.
    """
    kind = compression(storage, path)
    with storage.open_input(path) as raw:
        source = _Source(raw)
        if kind == "gzip":
            yield from _gzip_pieces(source, resume_at)
        elif kind == "bz2":
            yield from _bz2_pieces(source)
        elif kind in ("zstd", "lz4"):
            yield from _decoded_pieces(source, kind)
        else:
            source.seek(start)
            yield from _plain_pieces(source)


class _Source(io.RawIOBase):
    """The file beneath a decoder; it remembers its own failures, so that they are not taken for damage."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self.failure: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            return self._raw.read(size)
        except Exception as error:
            self.failure = error
            raise

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()


def _plain_pieces(source: _Source) -> Iterator[Piece]:
    while data := source.read(_PIECE):
        yield Piece(data)


def _decoded_pieces(source: _Source, kind: str) -> Iterator[Piece]:
    if not source.read(1):
        return
    source.seek(0)
    read = _decoder(source, kind)
    while True:
        try:
            data = read(_READ)
        except OSError as error:
            if source.failure is not None:
                raise source.failure from error
            yield Piece(b"", damage=f"{kind}: {error}")
            return
        if not data:
            return
        yield Piece(data)


def _decoder(source: _Source, kind: str) -> Callable[[int], bytes]:
    if kind == "lz4":
        return cast(Callable[[int], bytes], pa.CompressedInputStream(pa.PythonFile(source, "r"), "lz4").read)
    from fastwarc.stream_io import ZstdReader

    return ZstdReader(source).read


def _bz2_pieces(source: _Source) -> Iterator[Piece]:
    data = source.read(_READ)
    while data:
        engine = bz2.BZ2Decompressor()
        while not engine.eof:
            try:
                out = engine.decompress(data, _PIECE)
            except OSError as error:
                yield Piece(b"", damage=f"bz2: {error}")
                return
            if out:
                yield Piece(out)
            data = source.read(_READ) if engine.needs_input and not engine.eof else b""
            if engine.needs_input and not engine.eof and not data:
                yield Piece(b"", damage="bz2: the file ends in the middle of a stream")
                return
        data = engine.unused_data or source.read(_READ)


def _gzip_pieces(source: _Source, resume_at: bytes | None) -> Iterator[Piece]:
    member: int | None = 0
    while member is not None:
        damage, failed = yield from _members(source, member)
        if damage is None:
            return
        yield Piece(b"", failed, damage)
        member = _next_member(source, failed + 1, resume_at) if resume_at else None


def _members(source: _Source, start: int) -> Generator[Piece, None, tuple[str | None, int]]:
    """Inflate members from an offset on; return why it stopped (None at the end) and at which member."""
    source.seek(start)
    data, position = source.read(_READ), start
    while True:
        while not data.strip(b"\0"):  # nothing, or the zeros that tapes and disks pad files with
            position += len(data)
            data = source.read(_READ)
            if not data:
                return None, position
        unpadded = data.lstrip(b"\0")
        position, data = position + len(data) - len(unpadded), unpadded
        damage, data, read = yield from _member(source, data, position)
        if damage:
            return damage, position
        position += read


def _member(source: _Source, data: bytes, start: int) -> Generator[Piece, None, tuple[str | None, bytes, int]]:
    """Inflate one member; return damage, the bytes after it, and its compressed size."""
    engine = zlib.decompressobj(wbits=31)
    mark: int | None = start
    read = len(data)
    while True:
        try:
            out = engine.decompress(data, _PIECE)
        except zlib.error as error:
            return f"gzip: {error}", b"", 0
        if out:
            yield Piece(out, mark)
            mark = None
        if engine.eof:
            return None, engine.unused_data, read - len(engine.unused_data)
        data = engine.unconsumed_tail
        if not data and len(out) < _PIECE:
            data = source.read(_READ)
            read += len(data)
            if not data:
                return "gzip: the file ends in the middle of a member", b"", 0


def _next_member(source: _Source, start: int, content: bytes) -> int | None:
    """Return the offset of the next gzip member, at `start` or later, that begins with `content`."""
    source.seek(start)
    position, data = start, b""
    while more := source.read(_READ):
        data += more
        found = data.find(b"\x1f\x8b\x08")
        while found >= 0:
            if _begins_with(source, position + found, content):
                return position + found
            found = data.find(b"\x1f\x8b\x08", found + 1)
        position += max(len(data) - 2, 0)
        data = data[-2:]
        source.seek(position + len(data))
    return None


def _begins_with(source: _Source, offset: int, content: bytes) -> bool:
    source.seek(offset)
    try:
        return zlib.decompressobj(wbits=31).decompress(source.read(_READ), len(content)) == content
    except zlib.error:
        return False
