"""Brings text into one form: Unicode NFC, line feeds, no control characters, no mojibake.

Adds no column; changes `text` (large_string, never null afterwards).
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curate.document import TEXT, TEXT_TYPE, set_column
from curate.errors import PipelineError
from curate.protocols import Mapper

NEWLINES = r"\r\n?|[\x0b\x0c\x{85}\x{2028}\x{2029}]"
CONTROLS = r"[\x00-\x08\x0e-\x1f\x7f-\x{9f}\x{feff}]"
TRAILING = r"(?m)[\t\p{Zs}]+$"
# Where characters with canonical decompositions or combining classes live; the rest of Unicode has none (tested).
CANONICAL_BLOCKS = (range(0xA0, 0xD7FC), range(0xF900, 0x1F000), range(0x2F800, 0x2FA20))
MAX_REPAIR_CHARS = 1_000_000


@dataclass(frozen=True)
class Normalize(Mapper):
    """Brings text into one form.

    ## What it does
    In this order: null text becomes "", mojibake is repaired (`schÃ¶n` → `schön`), every line break becomes `\\n`, control
    characters and byte order marks go (tab and line feed stay), characters are composed (Unicode NFC), spaces at line ends
    go, and runs of blank lines are shortened.

    ## Why
    The same text in two encodings of the same characters is two texts for a tokenizer, a hash and a rule. Most documents
    need nothing: one regular expression over Arrow's buffers finds those that do, and only they are touched.

    ## Example
        - use: normalize
          params: {max_blank_lines: 1}

    ## Parameters
    - `fix_mojibake`: repair text that was decoded with the wrong encoding.
    - `max_blank_lines`: how many blank lines may follow one another; null = any number.

    ## Source
    Unicode Standard Annex 15; ftfy (Robyn Speer), of which only the repair of encodings is used, line by line.
    """

    fix_mojibake: bool = True
    max_blank_lines: int | None = 2

    def __post_init__(self) -> None:
        if self.max_blank_lines is not None and self.max_blank_lines < 0:
            raise PipelineError(f"normalize: max_blank_lines is negative: {self.max_blank_lines}", "null = any number")

    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        texts = pc.fill_null(pc.cast(docs.column(TEXT), TEXT_TYPE), "")
        if self.fix_mojibake:
            texts = _on_matches(texts, mojibake_pattern(), _repair)
        return set_column(docs, TEXT, _on_matches(texts, self._untidy, self._tidy))

    @functools.cached_property
    def _untidy(self) -> str:
        """The pattern of any text that `_tidy` could change."""
        parts = [NEWLINES, CONTROLS, r"(?m:[\t\p{Zs}]$)", composable_pattern()]
        return "|".join(parts if self._blank_lines is None else [*parts, self._blank_lines])

    @functools.cached_property
    def _blank_lines(self) -> str | None:
        return None if self.max_blank_lines is None else rf"\n{{{self.max_blank_lines + 2},}}"

    def _tidy(self, texts: pa.Array) -> pa.Array:
        texts = _replace(texts, NEWLINES, "\n")
        # Before NFC: a control character between a letter and its accent keeps them apart.
        texts = _replace(texts, CONTROLS, "")
        texts = _on_matches(texts, composable_pattern(), functools.partial(pc.utf8_normalize, form="NFC"))
        texts = _replace(texts, TRAILING, "")
        if self._blank_lines is None or self.max_blank_lines is None:
            return texts
        return _replace(texts, self._blank_lines, "\n" * (self.max_blank_lines + 1))


def _on_matches(texts: pa.Array, pattern: str, change: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Apply a change to the texts in which a pattern occurs; the others are not even copied when none does."""
    mask = pc.match_substring_regex(texts, pattern)
    if not pc.any(mask).as_py():
        return texts
    return pc.replace_with_mask(texts, mask, change(texts.filter(mask)))


def _replace(texts: pa.Array, pattern: str, by: str) -> pa.Array:
    # Two passes over few texts: finding a pattern runs at 550 MB/s, replacing it at 100.
    return _on_matches(texts, pattern, lambda found: pc.replace_substring_regex(found, pattern, by))


@functools.cache
def composable_pattern() -> str:
    """Return a pattern that occurs in every text that is not in NFC.

    Such a text holds a character that NFC replaces, one that can join the character before it, or two marks in a row.
    """
    known = [chr(point) for block in CANONICAL_BLOCKS for point in block]
    replaced = {c for c in known if not unicodedata.is_normalized("NFC", c)}
    joining = {pair[-1] for c in known if len(pair := unicodedata.normalize("NFD", c)) > 1}
    marks = _character_class(c for c in known if unicodedata.combining(c))
    return f"{_character_class(replaced | joining)}|{marks}{marks}"


def _character_class(characters: Iterable[str]) -> str:
    """Write characters as an RE2 character class."""
    points = sorted(map(ord, characters))
    starts = [p for p, before in zip(points, [-1, *points], strict=False) if p != before + 1]
    ends = [p for p, after in zip(points, [*points[1:], -1], strict=True) if after != p + 1]
    return "[" + "".join(rf"\x{{{first:x}}}-\x{{{last:x}}}" for first, last in zip(starts, ends, strict=True)) + "]"


@functools.cache
def mojibake_pattern() -> str:
    """Return ftfy's own test for bad text, translated to RE2: 440 MB/s instead of 8 MB/s (38 MB in 20 languages).

    It matches wherever ftfy's test matches in any line of the text, and then some: `\\s` and `\\w` are at least as wide.
    """
    from ftfy.badness import BADNESS_RE

    return "(?m)" + "".join(_re2_tokens(BADNESS_RE.pattern))


_TOKEN = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|#[^\n]*|\s+|.", re.DOTALL)
_WIDER = {r"\w": r"[\p{L}\p{N}\p{M}_]", r"\s": r"[\s\p{Z}\x0b\x1c-\x1f\x{85}]"}


def _re2_tokens(verbose: str) -> Iterator[str]:
    """Yield the parts of a verbose Python pattern as RE2 writes them, without layout and comments."""
    for token in _TOKEN.findall(verbose):
        if not token[0].isspace() and token[0] != "#":
            yield _WIDER.get(token, token)


def _repair(texts: pa.Array) -> pa.Array:
    """Repair each line that ftfy would repair; lines are judged one by one, as they may come from many sources."""
    split = pc.split_pattern(texts, "\n")
    lines = _on_matches(split.flatten(), mojibake_pattern(), _repair_lines)
    return pc.binary_join(pa.ListArray.from_arrays(split.offsets, lines), pa.scalar("\n", TEXT_TYPE))


def _repair_lines(lines: pa.Array) -> pa.Array:
    return pa.array(map(_repair_line, lines.to_pylist()), TEXT_TYPE)


def _repair_line(line: str) -> str:
    from ftfy import fix_encoding

    pieces = (line[start : start + MAX_REPAIR_CHARS] for start in range(0, len(line), MAX_REPAIR_CHARS))
    fixed = "".join(map(fix_encoding, pieces))
    # Mojibake of half a surrogate pair is repaired to that half, which no UTF-8 can hold.
    return line if any("\ud800" <= c <= "\udfff" for c in fixed) else fixed
