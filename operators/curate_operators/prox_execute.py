"""Carries out what a program asks for on a document's text, and keeps account of every edit.

Strings are replaced first, in the program's order and all over the document, then lines go, by the numbers that the model was shown: a
string with a line feed is refused, so that replacing never moves a line. So is one that would change words by halves: `e` wherever an *e*
stands, or `Share` where there is *Shared*; one that would part a letter from its marks; and one that brings in control characters. Nothing
that a program asks for can make a text grow past twice its length.
"""

from __future__ import annotations

import bisect
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from curate_operators.prox_program import Call, Program, RemoveLines, Replace

MAX_GROWTH = 2.0  # of a text by replacements: a hundred calls of `normalize("a", "aa")` would fill any memory
MAX_REPLACEMENTS = 500  # of a document: each is a pass over its text
Range = tuple[int, int]  # lines, both ends included
MAX_PLACES = 1_000_000  # of a document where strings are replaced: each is looked at
_MODIFIERS = (0x1F3FB, 0x1F3FF)  # of emojis: the tones of skin
_APOSTROPHES = frozenset("'’ʼ")
_JOINERS = frozenset("\u200c\u200d")
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_MARKS = ("Mn", "Mc", "Me")


def _letters(*ranges: tuple[int, int]) -> frozenset[str]:
    """Return the letters, digits and marks of some ranges of Unicode, the ends left out."""
    every = (chr(number) for start, end in ranges for number in range(start, end))
    return frozenset(letter for letter in every if letter.isalnum() or unicodedata.category(letter) in _MARKS)


# of scripts with spaces between words, but for Latin letters with accents, which broken encodings leave inside words, and ligatures
_PLAIN = _letters((0, 0x80), (0x370, 0xE00), (0x10A0, 0x1780), (0x1800, 0x2000), (0xAC00, 0xD7B0))
_WORD = _PLAIN | _letters((0xC0, 0x370))


@dataclass(frozen=True)
class Replaced:
    """A string that was replaced, and how often."""

    source: str
    target: str
    count: int


@dataclass(frozen=True)
class Edited:
    """A text after a program: the ranges of lines that went, the strings that were replaced, and what was wrong."""

    text: str
    removed: tuple[Range, ...] = ()
    replaced: tuple[Replaced, ...] = ()
    errors: tuple[str, ...] = ()


def execute(text: str, program: Program) -> Edited:
    """Return the text after all that a program asks for and that there is."""
    errors = list(program.errors)
    new, replaced = _replace_all(text, program.calls, errors)
    lines = new.split("\n")
    removed = merged([r for call in program.calls if isinstance(call, RemoveLines) for r in _clamped(call, 0, len(lines) - 1, errors)])
    kept = without(lines, removed) if removed else lines
    return Edited("\n".join(kept), tuple(removed), tuple(replaced), tuple(errors))


def within(program: Program, first: int, last: int) -> Program:
    """Return a program for some lines only: numbers of others are errors, as a model cannot judge what it was not shown."""
    calls: list[Call] = []
    errors = list(program.errors)
    for call in program.calls:
        if isinstance(call, Replace):
            calls.append(call)
        else:
            calls += [RemoveLines(start, end) for start, end in _clamped(call, first, last, errors)]
    return Program(tuple(calls), tuple(errors))


def _replace_all(text: str, calls: Sequence[Call], errors: list[str]) -> tuple[str, list[Replaced]]:
    replaced = []
    most, places = int(len(text) * MAX_GROWTH), 0
    asked = [call for call in calls if isinstance(call, Replace)]
    if len(asked) > MAX_REPLACEMENTS:
        errors.append(f"more than {MAX_REPLACEMENTS} replacements")
    for call in asked[:MAX_REPLACEMENTS]:
        if (wrong := _refused(call)) is not None:
            errors.append(wrong)
            continue
        count = text.count(call.source)
        places += count
        if places > MAX_PLACES:
            errors.append(f"more than {MAX_PLACES:,} places to replace strings at")
            break
        if _changes_parts_of_words(text, call):
            errors.append("a string is part of a word")
        elif len(text) + count * (len(call.target) - len(call.source)) > most:
            errors.append("a string would make the text grow too much")
        elif count:
            text = text.replace(call.source, call.target)
            replaced.append(Replaced(call.source, call.target, count))
    return text, replaced


def _refused(call: Replace) -> str | None:
    """Say what is wrong with a replacement whatever the text; None = nothing."""
    if not call.source.strip():
        return "a blank string cannot be replaced"
    if "\n" in call.source or "\n" in call.target:
        return "a string with a line feed would move lines"
    if not _is_text(call.target) or not _is_text(call.source):
        return "a string is no Unicode text"
    if any(_is_control(letter) for letter in {*call.target} - {*call.source}):
        return "a string brings in control characters"
    return None


def _changes_parts_of_words(text: str, call: Replace) -> bool:
    """Tell whether a string is parted from its marks or joiners, or, made of plain words, begins or ends inside a word of the text.

    Where only its spaces change, it may. A string with any other letter or sign may stand inside words: debris of encodings, ligatures
    and tags does.
    """
    source, letters = call.source, "".join(call.source.split())
    if letters == "".join(call.target.split()):
        return False
    plain = _PLAIN.issuperset(letters)
    begin = text.find(source)
    while begin >= 0:
        end = begin + len(source)
        if (
            text[begin - 1 : begin] in _JOINERS
            or _is_attached(text[end : end + 1])
            or (plain and (_goes_on(text, begin) or _goes_on(text, end)))
        ):
            return True
        begin = text.find(source, end)
    return False


def _goes_on(text: str, place: int) -> bool:
    """Tell whether a word goes on at a place, over an apostrophe too; a capital behind a small letter begins another.

    Two lines that were glued look like that.
    """
    before, after = text[place - 1 : place], text[place : place + 1]
    if before in _APOSTROPHES:
        before = text[place - 2 : place - 1]
    elif after in _APOSTROPHES:
        after = text[place + 1 : place + 2]
    return before in _WORD and after in _WORD and not (before.islower() and after.isupper())


def _is_attached(letter: str) -> bool:
    """Tell whether a letter belongs to the one before: a mark, a joiner, an emoji's tone."""
    if not letter or letter.isascii():
        return False
    return letter in _JOINERS or unicodedata.category(letter) in _MARKS or _MODIFIERS[0] <= ord(letter) <= _MODIFIERS[1]


def _is_control(letter: str) -> bool:
    """Tell whether a letter is no text: a control character but the tab, a separator of lines, a change of direction."""
    return letter in _DIRECTIONS or (letter != "\t" and unicodedata.category(letter) in ("Cc", "Zl", "Zp"))


def _is_text(value: str) -> bool:
    """Tell whether UTF-8 can carry a string: a program may escape half of a pair."""
    return not any("\ud800" <= letter <= "\udfff" for letter in value)


def _clamped(call: RemoveLines, first: int, last: int, errors: list[str]) -> list[Range]:
    """Return a range cut to the lines that there are; one that is cut, turned round or elsewhere is an error."""
    if call.end < call.start or not first <= call.start <= last:
        errors.append(f"there are no lines {_number(call.start)} to {_number(call.end)}")
        return []
    if call.end > last:
        errors.append(f"there is no line {_number(call.end)}")
    return [(call.start, min(call.end, last))]


def _number(value: int) -> str:
    return str(value) if -(10**9) < value < 10**9 else "…"


def merged(ranges: Sequence[Range]) -> list[Range]:
    """Return ranges in order, those that touch made one."""
    found: list[Range] = []
    for start, end in sorted(ranges, key=lambda r: r[0]):
        if found and start <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def without(lines: Sequence[str], removed: Sequence[Range]) -> list[str]:
    """Return the lines that lie in no range; ranges are in order and do not overlap."""
    starts = [start for start, _ in removed]
    kept = []
    for number, line in enumerate(lines):
        place = bisect.bisect_right(starts, number) - 1
        if place < 0 or number > removed[place][1]:
            kept.append(line)
    return kept
