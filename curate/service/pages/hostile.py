"""Shows texts of documents, which may be hostile: escaped, with invisible characters named, and cut where they are too long."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from curate.report.markup import Markup, element, join
from curate.report.units import count

LINE_CHARS = 4000
# Controls apart from tab and line feed, what turns the direction of writing, invisible marks and tags, and broken surrogates.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str, line_chars: int = LINE_CHARS) -> Markup:
    """Return a text as HTML: what cannot be seen is named (`U+202E`), and lines beyond `line_chars` are cut with a note."""
    return join([piece for number, line in enumerate(text.split("\n")) for piece in _line(line, line_chars, number > 0)])


def _line(line: str, line_chars: int, following: bool) -> Iterator[Markup]:
    if following:
        yield Markup("\n")
    rest = len(line) - line_chars
    yield from _named(line[:line_chars] if rest > 0 else line)
    if rest > 0:
        yield element("i", f" … {count(rest)} characters more in this line", {"class": "cut"})


def _named(text: str) -> Iterator[Markup]:
    start = 0
    for found in _INVISIBLE.finditer(text):
        if found.start() > start:
            yield join(text[start : found.start()])
        yield _name(found[0])
        start = found.end()
    if start < len(text):
        yield join(text[start:])


def _name(character: str) -> Markup:
    """Return a mark in place of a character; its full name is for those who ask."""
    code = f"U+{ord(character):04X}"
    return element("b", code, {"class": "control", "title": unicodedata.name(character, "a control character").lower()})


def found(text: str, query: str, around: int = 240, most: int = 3) -> Markup:
    """Return the places of a text in which a query stands, with what is around them; nothing when it stands nowhere."""
    places = [] if not query else [match.span() for match in re.finditer(re.escape(query), text, re.IGNORECASE)][:most]
    return join([element("p", _snippet(text, start, end, around), {"class": "snippet", "dir": "auto"}) for start, end in places])


def _snippet(text: str, start: int, end: int, around: int) -> list[Markup]:
    left, right = max(start - around, 0), min(end + around, len(text))
    before, after = "…" if left else "", "…" if right < len(text) else ""
    marked = element("mark", visible(text[start:end]))
    return [join(before), visible(text[left:start]), marked, visible(text[end:right]), join(after)]
