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


def numbered(text: str, max_line_chars: int | None = None) -> list[str]:
    """Return the lines of a text behind their numbers, which have three digits and from 1,000 on four; long ones are cut."""
    return [f"[{number:03d}]{_cut(line, max_line_chars)}" for number, line in enumerate(text.split("\n"))]


def _cut(line: str, max_chars: int | None) -> str:
    return line if max_chars is None or len(line) <= max_chars else f"{line[:max_chars]}…"


def windows(text: str, count: Count, max_tokens: int, long_lines: bool = False, max_line_chars: int | None = None) -> list[Window]:
    """Pack lines into windows of at most `max_tokens`, as many into each as fit; of a line only its first `max_line_chars` count.

    A line that is longer than a window stands in none, or with `long_lines` in one of its own; what follows begins a new window.
    """
    found: list[Window] = []
    open_lines: list[str] = []
    start = tokens = 0
    lines = numbered(text, max_line_chars)
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
