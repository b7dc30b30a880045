"""A window on a decompressed archive: look ahead, take, skip, and know where in the file one is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from curate.readers.streams import Piece

_STEP = 64 << 10


class Tape:
    """Reads pieces on demand and keeps only what is asked for.

    Damage ends the tape (`damage` says why) until `resume` goes on behind it. In a gzip file, where each record begins a
    member of its own, a member that begins like a record is a border that no record may cross.
    """

    def __init__(self, pieces: Iterator[Piece], record_start: bytes = b"WARC/") -> None:
        self.damage: str | None = None
        self.position = 0
        self._pieces = pieces
        self._record_start = record_start
        self._buffer = bytearray()
        self._members: deque[tuple[int, int]] = deque()
        self._last_member: int | None = None
        self._borders: deque[int] = deque()
        self._ended = False

    def _pull(self) -> bool:
        """Read one more piece; return whether there was any."""
        if self._ended or self.damage is not None:
            return False
        piece = next(self._pieces, None)
        if piece is None:
            self._ended = True
            return False
        end = self.position + len(self._buffer)
        if piece.member is not None and piece.member != self._last_member:
            self._members.append((end, piece.member))
            self._last_member = piece.member
        if piece.damage is not None:
            self.damage = piece.damage
            return False
        if piece.member is not None and piece.data.startswith(self._record_start):
            self._borders.append(end)
        self._buffer += piece.data
        return True

    def want(self, count: int) -> int:
        """Make up to `count` bytes ready and return how many are."""
        while len(self._buffer) < count and self._pull():
            pass
        return min(count, len(self._buffer))

    def peek(self, count: int) -> bytes:
        """Return the next bytes and stay."""
        return bytes(self._buffer[: self.want(count)])

    def take(self, count: int) -> bytes:
        """Return the next bytes and go past them."""
        data = self.peek(count)
        self._go(len(data))
        return data

    def skip(self, count: int) -> int:
        """Go past bytes without keeping them; return how many there were."""
        left = count
        while left and (ready := self.want(min(left, _STEP))):
            self._go(ready)
            left -= ready
        return count - left

    def _go(self, count: int) -> None:
        del self._buffer[:count]
        self.position += count
        while len(self._members) > 1 and self._members[1][0] <= self.position:
            self._members.popleft()

    def give_back(self, data: bytes) -> None:
        """Put bytes that were just taken in front again."""
        self._buffer[:0] = data
        self.position -= len(data)

    def find(self, needle: bytes, limit: int) -> int:
        """Return how far ahead the needle is, or -1 when it is not within `limit` bytes."""
        seen = 0
        while True:
            found = self._buffer.find(needle, max(seen - len(needle), 0), limit)
            if found >= 0 or len(self._buffer) >= limit:
                return found
            seen = len(self._buffer)
            if not self._pull():
                return -1

    def border(self, after: int) -> int | None:
        """Return the position of the first border behind `after` among what has been read so far."""
        while self._borders and self._borders[0] <= after:
            self._borders.popleft()
        return self._borders[0] if self._borders else None

    def location(self) -> str:
        """Return where the next byte is: its gzip member's offset (`+n` within it), else its offset in the stream."""
        self.want(1)
        while len(self._members) > 1 and self._members[1][0] <= self.position:
            self._members.popleft()
        if not self._members or self._members[0][0] > self.position:
            return str(self.position)
        start, member = self._members[0]
        return str(member) if start == self.position else f"{member}+{self.position - start}"

    def resume(self) -> bool:
        """Drop what is left before the damage and go on behind it; return whether there is anything."""
        self.skip(len(self._buffer))
        self.damage = None
        return self.want(1) > 0
