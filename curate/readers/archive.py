"""Frames the records of WARC and ARC archives, and goes on behind a broken one.

Written here because every record must be accounted for: on the same files FastWARC's iterator stops at the first bad
header, ends silently where a gzip file is cut, and gives the records of a single-member gzip file one position.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from curate.readers.tape import Tape

_MAX_HEADER = 64 << 10
_STEP = 64 << 10
_ARC_LINE = re.compile(
    rb"(?P<url>(?:https?|ftp|dns|whois|filedesc):.*) (?P<ip>\S+) (?P<date>\d{8,20}) (?P<type>.*?)"
    rb"(?: \S+ \S+ \S+ \S+ \S+)? (?P<length>-?\d+)\r?\n"  # version 2 has five more fields
)
_NEXT_WARC = re.compile(rb"\n(?=WARC/[01])")


@dataclass(frozen=True)
class Record:
    """A record's head; `location` is where it starts in the file. The block follows on the tape, `length` bytes."""

    location: str
    kind: str
    fields: dict[str, str]
    length: int


@dataclass(frozen=True)
class Broken:
    """A part of the archive that is no record, with the reason."""

    location: str
    reason: str


class Archive:
    """Iterates over the records of one archive. Before the next step, `block` or `skip` may finish the current record;

    when they say that it is broken, the iterator tells why.
    """

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._is_arc = tape.peek(11) == b"filedesc://"
        self._record: Record | None = None
        self._begin = 0
        self._problem: Broken | None = None

    def __iter__(self) -> Iterator[Record | Broken]:
        while True:
            self._skip_blank()
            location = self._tape.location()
            if not self._tape.want(1):
                if self._tape.damage is None:
                    return
                yield Broken(location, self._tape.damage)
                self._tape.resume()
                continue
            found = self._arc_record(location) if self._is_arc else self._warc_record(location)
            if isinstance(found, Record):
                self._record, self._begin = found, self._tape.position
            yield found
            if isinstance(found, Broken):
                self._seek_next()
                continue
            self.skip()
            if self._problem is not None:
                yield self._problem
                self._problem = None

    def head(self, count: int) -> bytes:
        """Return the first bytes of the current block and stay."""
        return self._tape.peek(min(count, self._room(count)))

    def block(self) -> bytes | None:
        """Return the whole block of the current record, which is then held in memory; None when it is broken."""
        record = self._current()
        data = self._tape.take(self._room(record.length))
        if len(data) < record.length:
            self._cut_short(record, len(data))
        elif not self._ends_here():
            self._misframed(record, data)
        return data if self._problem is None else None

    def skip(self) -> bool:
        """Go past the current record without holding it; return whether it was whole."""
        if self._record is not None:
            record, gone = self._current(), 0
            while gone < record.length and (step := self._room(min(record.length - gone, _STEP))):
                gone += self._tape.skip(step)
            if gone < record.length:
                self._cut_short(record, gone)
            elif not self._ends_here():
                self._misframed(record, b"")
        return self._problem is None

    def _current(self) -> Record:
        record, self._record = self._record, None
        assert record is not None, "a record is read once"
        return record

    def _room(self, count: int) -> int:
        """Return how many of the next bytes are there and before the next border."""
        ready = self._tape.want(count)
        border = self._tape.border(self._begin)
        return ready if border is None else min(ready, border - self._tape.position)

    def _cut_short(self, record: Record, got: int) -> None:
        if self._tape.want(1):
            reason = "the next record begins inside it"
        else:
            reason = self._tape.damage or "the file ends"
            self._tape.resume()
        self._problem = Broken(record.location, f"the record is cut short after {got} of {record.length} bytes: {reason}")

    def _misframed(self, record: Record, data: bytes) -> None:
        """The length is wrong: go on at the next record, which may lie within what was taken for the block."""
        inside = _NEXT_WARC.search(data)
        if inside and not self._is_arc:
            self._tape.give_back(data[inside.end() :])
        else:
            self._seek_next()
        self._problem = Broken(record.location, f"the record does not end where its length says ({record.length} bytes)")

    def _ends_here(self) -> bool:
        """Tell whether the block ends here: by the blank lines of the standard, another record, or the end of the file."""
        if not self._is_arc and self._tape.peek(4).startswith((b"\r\n\r\n", b"\n\n")):
            return True
        self._skip_blank()
        return not self._tape.want(1) or self._at_record()

    def _skip_blank(self) -> None:
        while self._tape.peek(1) in (b"\r", b"\n"):
            self._tape.skip(1)

    def _warc_record(self, location: str) -> Record | Broken:
        if self._tape.peek(5) != b"WARC/":
            self._begin = self._tape.position
            if self._tape.want(5) < 5 and self._tape.damage is not None:
                return Broken(location, self._no_header_end())
            return Broken(location, "no WARC record begins here")
        end, size = self._header_end()
        if end < 0:
            return Broken(location, self._no_header_end())
        fields = parse_fields(self._tape.take(end + size)[:end].split(b"\n")[1:])
        length = fields.get("content-length", "")
        if not length.isdecimal():
            return Broken(location, f"Content-Length is {length[:20]!r}" if length else "the record has no Content-Length")
        return Record(location, fields.get("warc-type", "unknown").lower(), fields, int(length))

    def _header_end(self) -> tuple[int, int]:
        """Return the length of the header and of the blank line after it."""
        self._begin = self._tape.position
        room = self._room(_MAX_HEADER)
        strict = self._tape.find(b"\r\n\r\n", room)
        lenient = self._tape.find(b"\n\n", room if strict < 0 else strict)
        return (lenient, 2) if lenient >= 0 else (strict, 4)

    def _no_header_end(self) -> str:
        short = self._tape.want(_MAX_HEADER) < _MAX_HEADER
        if short and self._tape.damage is not None and self._tape.border(self._begin) is None:
            reason = self._tape.damage
            self._tape.resume()
            return f"the record's header is cut short: {reason}"
        self._tape.skip(5)
        return "the record's header has no end"

    def _arc_record(self, location: str) -> Record | Broken:
        end = self._tape.find(b"\n", _MAX_HEADER)
        line = self._tape.take(end + 1) if end >= 0 else b""
        found = _ARC_LINE.fullmatch(line)
        if not found:
            self._tape.skip(0 if line else 1)
            return Broken(location, "no ARC record begins here")
        url, date, kind, length = (found[name].decode("utf-8", "replace") for name in ("url", "date", "type", "length"))
        if not length.isdecimal():
            return Broken(location, f"the record's length is {length[:20]!r}")
        fields = {"warc-target-uri": url, "warc-date": date, "content-type": kind}
        return Record(location, "warcinfo" if url.startswith("filedesc:") else "response", fields, int(length))

    def _seek_next(self) -> None:
        """Go to what looks like the next record."""
        while self._tape.want(1) and not self._at_record():
            found = self._tape.find(b"\n", _STEP)
            self._tape.skip(found + 1 if found >= 0 else _STEP)

    def _at_record(self) -> bool:
        if not self._is_arc:
            return self._tape.peek(6) in (b"WARC/1", b"WARC/0")
        end = self._tape.find(b"\n", _MAX_HEADER)
        return end >= 0 and _ARC_LINE.fullmatch(self._tape.peek(end + 1)) is not None


def parse_fields(lines: list[bytes]) -> dict[str, str]:
    """Parse header lines to lower-case names; of repeated ones the first counts, folded lines are joined."""
    fields: dict[str, str] = {}
    name = ""
    for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r")
        if line[:1] in (" ", "\t") and name:
            fields[name] += " " + line.strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            if name in fields:
                name = ""
            else:
                fields[name] = value.strip()
    return fields
