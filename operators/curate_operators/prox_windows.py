"""Shows a document to a model in windows of whole lines, each with its number in the document: `[000]`, `[001]`, …"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Count = Callable[[Sequence[str]], Sequence[int]]  # tokens of each text


@dataclass(frozen=True)
class Window:
    """Numbered lines, from line `start` on."""

    start: int
    lines: tuple[str, ...]

    @property
    def end(self) -> int:
        """The last line's number."""
        return self.start + len(self.lines) - 1

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def numbered(text: str) -> list[str]:
    """Return the lines of a text behind their numbers, which have three digits and from 1,000 on four."""
    return [f"[{number:03d}]{line}" for number, line in enumerate(text.split("\n"))]


def windows(text: str, count: Count, max_tokens: int, long_lines: bool = False) -> list[Window]:
    """Pack lines into windows of at most `max_tokens`, as many into each as fit.

    A line that is longer than a window stands in none, or with `long_lines` in one of its own; what follows begins a new window.
    """
    found: list[Window] = []
    open_lines: list[str] = []
    start = tokens = 0
    lines = numbered(text)
    for number, (line, size) in enumerate(zip(lines, count(lines), strict=True)):
        if open_lines and tokens + size > max_tokens:
            found.append(Window(start, tuple(open_lines)))
            open_lines, tokens = [], 0
        if size > max_tokens:
            found += [Window(number, (line,))] if long_lines else []
            continue
        if not open_lines:
            start = number
        open_lines.append(line)
        tokens += size
    if open_lines:
        found.append(Window(start, tuple(open_lines)))
    return found
