"""Cuts a stream of bytes into lines, in memory bounded by the longest line that is allowed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from curate.readers.streams import Piece


class Line(NamedTuple):
    """One line without its end; `offset` is where it starts in the decompressed stream.

    `data` is None when the line is longer than allowed. `damage` says why the stream breaks off at this offset.
    """

    offset: int
    size: int
    data: bytes | None
    damage: str | None = None


def lines(pieces: Iterable[Piece], offset: int, max_bytes: int) -> Iterator[Line]:
    """Yield the lines of a stream whose first byte has this offset; a line cut by damage is lost to the damage."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        if piece.damage is not None:
            yield Line(offset, 0, None, piece.damage)
            return
        *whole, rest = piece.data.split(b"\n")
        for part in whole:
            size += len(part)
            yield Line(offset, size, b"".join((*held, part)) if size <= max_bytes else None)
            offset += size + 1
            size = 0
            if held:
                held = []
        size += len(rest)
        if size > max_bytes:
            held = []
        elif rest:
            held.append(rest)
    if size:
        yield Line(offset, size, b"".join(held) if size <= max_bytes else None)


def lines_of_slice(pieces: Iterable[Piece], start: int, stop: int | None, max_bytes: int) -> Iterator[Line]:
    """Yield the lines that start in [start, stop) of a stream that begins one byte before `start` (or at 0)."""
    found = lines(pieces, max(start - 1, 0), max_bytes)
    if start > 0:  # the rest of a line of the slice before, or just its end
        next(found, None)
    for line in found:
        if stop is not None and line.offset >= stop:
            return
        yield line
