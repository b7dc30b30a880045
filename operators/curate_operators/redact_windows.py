"""Finds where in a batch's text personal data can stand: windows around `@`, colons, dots and runs of digits.

One pass of numpy over Arrow's own buffer finds the marks; only the windows around them, a small part of web text, are
read by the exact rules. A window never leaves its document, so that a result does not depend on the document's company.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Places = NDArray[np.int64]


class Window(NamedTuple):
    """A stretch of one document: its row, where it starts in the row's bytes, its bytes, the marks within them.

    `first` and `last` are the places of the first and last mark in `text`; `is_cut` says that the document goes on.
    """

    row: int
    start: int
    text: bytes
    first: int
    last: int
    marks: int
    is_cut: bool

    def matches(self, pattern: re.Pattern[bytes], head: int = 0, tail: int = 8) -> Iterator[re.Match[bytes]]:
        """Yield matches that begin at most `head` bytes before the marks, and not behind them: another window has those whole.

        `tail` is how far behind the last mark a pattern has to look.
        """
        for match in pattern.finditer(self.text, max(0, self.first - head), self.last + 1 + tail):
            if match.start() > self.last:
                return
            yield match


# Digits of one number stand at most this far apart: `(0) 12`.
MAX_DIGIT_GAP = 4
SEPARATORS = b" .-/()"


@dataclass(frozen=True)
class Rows:
    """The UTF-8 bytes of a batch of texts without nulls, and where each row begins; `starts` has one entry more."""

    data: NDArray[np.uint8]
    starts: Places

    @staticmethod
    def of(texts: pa.Array) -> Rows:
        """View the buffers of a `large_string` array, slices included."""
        import numpy as np

        _, offsets, data = texts.buffers()
        if len(texts) == 0 or data is None or offsets is None:
            return Rows(np.zeros(0, np.uint8), np.zeros(len(texts) + 1, np.int64))
        starts = np.frombuffer(offsets, np.int64, len(texts) + 1, texts.offset * 8)
        return Rows(np.frombuffer(data, np.uint8)[starts[0] : starts[-1]], starts - starts[0])

    def bytes_of(self, row: int) -> bytes:
        """Return one row's text."""
        return self.data[self.starts[row] : self.starts[row + 1]].tobytes()

    def windows(self, groups: Groups, margins: tuple[int, int]) -> Iterator[Window]:
        """Yield a window around each group of marks, with so many bytes before and behind as its document has."""
        import numpy as np

        rows = np.searchsorted(self.starts, groups.firsts, side="right") - 1
        begins = np.maximum(groups.firsts - margins[0], self.starts[rows])
        limits = self.starts[rows + 1]
        ends = np.minimum(groups.lasts + 1 + margins[1], limits)
        places = (groups.firsts - begins, groups.lasts - begins, groups.sizes, ends < limits)
        columns: list[Any] = [rows, begins, ends, begins - self.starts[rows], *places]
        for row, begin, end, start, *rest in zip(*(column.tolist() for column in columns), strict=True):
            yield Window(row, start, self.data[begin:end].tobytes(), *rest)

    def groups(self, marks: Places, max_gap: int, min_marks: int, is_end: NDArray[np.bool_] | None = None) -> Groups:
        """Group marks of one row that follow one another within `max_gap` bytes; `is_end` says after which a group ends anyway."""
        import numpy as np

        if len(marks) < min_marks:
            return Groups(marks[:0], marks[:0], marks[:0])
        is_first = np.ones(len(marks), bool)
        np.greater(np.diff(marks), max_gap, out=is_first[1:])
        if is_end is not None:
            is_first[1:] |= is_end
        edges = np.searchsorted(marks, self.starts[1:-1])
        is_first[edges[edges < len(marks)]] = True
        firsts = np.flatnonzero(is_first)
        sizes = np.diff(firsts, append=len(marks))
        firsts, sizes = firsts[sizes >= min_marks], sizes[sizes >= min_marks]
        return Groups(marks[firsts], marks[firsts + sizes - 1], sizes)


class Groups(NamedTuple):
    """Groups of marks: where the first and the last of each is in the batch's bytes, and how many they are."""

    firsts: Places
    lasts: Places
    sizes: Places


def at_signs(rows: Rows, margins: tuple[int, int]) -> Iterator[Window]:
    """Yield windows round `@`; those that would overlap are one."""
    return rows.windows(rows.groups(_places(rows.data == ord("@")), sum(margins), 1), margins)


def dotted(rows: Rows, margins: tuple[int, int]) -> Iterator[Window]:
    """Yield windows round three or more dots between digits, with at most three characters between: no IPv4 address has fewer."""
    import numpy as np

    dots = _places(rows.data == ord("."))
    dots = dots[(dots > 0) & (dots < len(rows.data) - 1)]
    dots = dots[np.logical_and(rows.data[dots - 1] - 48 < 10, rows.data[dots + 1] - 48 < 10)]
    return rows.windows(rows.groups(dots, 4, 3), margins)


def colons(rows: Rows) -> Iterator[Window]:
    """Yield windows round three or more colons with at most four characters between: no IPv6 address has fewer."""
    return rows.windows(rows.groups(_places(rows.data == ord(":")), 5, 3), (8, 8))


def numbers(rows: Rows, min_digits: int, margins: tuple[int, int]) -> Iterator[Window]:
    """Yield windows round digits that at most three separators keep apart: spaces, dots, dashes, slashes, brackets, not ASCII."""
    marks = _places(rows.data - 48 < 10)
    return rows.windows(rows.groups(marks, MAX_DIGIT_GAP, min_digits, _is_number_over(rows.data, marks)), margins)


def _is_number_over(data: NDArray[np.uint8], marks: Places) -> NDArray[np.bool_]:
    """Tell for each digit but the last whether what follows it, up to the next, is no separator."""
    import numpy as np

    separates = np.zeros(256, bool)
    separates[[*SEPARATORS, *range(128, 256)]] = True
    gaps = np.diff(marks)
    over = np.zeros(len(gaps), bool)
    for distance in range(1, MAX_DIGIT_GAP):
        apart = np.flatnonzero((gaps > distance) & (gaps <= MAX_DIGIT_GAP))
        over[apart] |= ~separates[data[marks[apart] + distance]]
    return over


def _places(mask: NDArray[np.bool_]) -> Places:
    import numpy as np

    return np.flatnonzero(mask)
