"""Counts what the text of blocks is made of: characters by class, sentences, phrases of menus and teasers."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

OPENING_CHARS = 50  # phrases are looked for in the beginning of a block
SHORT_CHARS = 250  # and only in short ones: a paragraph may well begin with "About"
SENTENCE_END, COMMA, DIGIT, SPACE, SIGN, UPPER, DENSE = (1 << bit for bit in range(7))
_PLANE = 0x10000


@dataclass(frozen=True, slots=True)
class Counts:
    """What each block of a page is made of, one number per block."""

    chars: Floats
    size: Floats
    """Characters, those of scripts without spaces thrice."""
    words: Floats
    sentences: Floats
    commas: Floats
    digits: Floats
    signs: Floats
    upper: Floats
    ends_sentence: Floats
    phrases: NDArray[np.int64]
    """One column per kind of phrase."""


@cache
def words() -> dict[str, dict[str, list[str]]]:
    """Return the tags, the words of class names and the phrases, by kind."""
    loaded: dict[str, dict[str, list[str]]] = json.loads((files("curate_operators") / "data" / "extract_words.json").read_bytes())
    return loaded


def phrase_kinds() -> tuple[str, ...]:
    """Name the columns of `Counts.phrases`."""
    return tuple(words()["phrases"])


def count(texts: list[str]) -> Counts:
    """Count a page's blocks, of which there is at least one and none is empty."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    ends = np.cumsum(lengths)
    starts = ends - lengths
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    classes = _classes()[np.minimum(codes, _PLANE)]

    def per_block(found: NDArray[Any]) -> Floats:
        return np.add.reduceat(found != 0, starts, dtype=np.int64).astype(np.float64)

    stops = classes & SENTENCE_END
    followed = np.append(classes[1:] & SPACE, SPACE)  # a stop ends a sentence before a space, at the end, or when it is wide
    followed[ends - 1] = SPACE
    chars, dense = lengths.astype(np.float64), per_block(classes & DENSE)
    size = chars + 2 * dense
    return Counts(
        chars=chars,
        size=size,
        words=per_block(classes & SPACE) + 1 + dense / 2,
        sentences=per_block(stops * ((followed != 0) | (codes > 0x3000))),
        commas=per_block(classes & COMMA),
        digits=per_block(classes & DIGIT),
        signs=per_block(classes & SIGN),
        upper=per_block(classes & UPPER),
        ends_sentence=(stops[ends - 1] != 0).astype(np.float64),
        phrases=_phrases(texts, size < SHORT_CHARS),
    )


def _phrases(texts: list[str], short: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Mark the kinds of phrases that short blocks hold in their first characters."""
    found = np.zeros((len(texts), len(phrase_kinds())), np.int64)
    openings = [text[:OPENING_CHARS].lower() if is_short else "" for text, is_short in zip(texts, short.tolist(), strict=True)]
    starts = np.cumsum([0] + [len(opening) + 1 for opening in openings[:-1]])
    pattern, kinds = _phrase_pattern()
    hits = [(match.start(), kind) for match in pattern.finditer("\n".join(openings)) for kind in kinds[match[0]]]
    if hits:
        positions, columns = np.array(hits, np.int64).T
        found[np.searchsorted(starts, positions, "right") - 1, columns] = 1
    return found


@cache
def _phrase_pattern() -> tuple[re.Pattern[str], dict[str, list[int]]]:
    """Return a pattern of all phrases and the columns of each; grouped by first letter, as `re` tries one alternative after another."""
    kinds: dict[str, list[int]] = {}
    for column, phrases in enumerate(words()["phrases"].values()):
        for phrase in phrases:
            kinds.setdefault(phrase, []).append(column)
    by_letter: dict[str, list[str]] = {}
    for phrase in sorted(kinds, key=lambda phrase: (-len(phrase), phrase)):
        by_letter.setdefault(phrase[0], []).append(re.escape(phrase[1:]))
    rests = "|".join(f"{re.escape(letter)}(?:{'|'.join(rest)})" for letter, rest in by_letter.items())
    return re.compile(rf"(?<!\w)(?:{rests})"), kinds


@cache
def _classes() -> NDArray[np.uint8]:
    """Tabulate the classes of the first 65,536 code points; the last entry stands for all others."""
    table = np.zeros(_PLANE + 1, np.uint8)
    for chars, kind in ((".!?…。！？؟।:;", SENTENCE_END), (",、，،", COMMA), ("0123456789", DIGIT), (" \n\t", SPACE), ("|»›•·→«©>/", SIGN)):
        table[[ord(char) for char in chars]] |= kind
    table[[code for code in range(_PLANE) if chr(code).isupper()]] |= UPPER
    for first, last in ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3)):
        table[first : last + 1] |= DENSE
    return table
