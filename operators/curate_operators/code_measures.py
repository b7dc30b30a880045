"""What the rules for source files measure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import kernels
from curate.kernels import Texts
from curate_operators.rules import ratio

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

XML_HEAD_CHARS = 100
XML = "<?xml version="
HEAD_CHARS = 2000
# A comment may hold tags and a script may hold `<`, so both go before tags do.
INVISIBLE = r"(?is)<!--.*?-->|<script\b.*?</script\s*>|<style\b.*?</style\s*>|<[^>]*>"


@dataclass(frozen=True)
class Code:
    """The texts of a batch, as a column and as kernels see them, and the pattern of generated heads."""

    column: pa.Array
    texts: Texts
    generated: str
    known: dict[bytes, Floats] = field(default_factory=dict)

    def some(self, rows: Rows) -> pa.Array:
        """Return the texts of some rows, null as empty."""
        return pc.fill_null(self.column if len(rows) == len(self.column) else self.column.take(pa.array(rows)), "")


@dataclass(frozen=True)
class Measure:
    """A rule: its reason, the parameter with its limit, and what is measured of the rows that have a limit."""

    reason: str
    limit: str
    of: Callable[[Code, Rows], Floats]

    def breaks(self, values: Floats, limits: Floats) -> NDArray[np.bool_]:
        """Tell which values break their limits."""
        return values < limits if self.limit.startswith("min_") else values > limits


def mean_line_chars(code: Code, rows: Rows) -> Floats:
    """Return the mean length of lines, NaN without lines."""
    lines = kernels.lines(code.texts, "any")
    return ratio(kernels.sums(lines.chars, lines.first), np.diff(lines.first))[rows]


def longest_line_chars(code: Code, rows: Rows) -> Floats:
    """Return the length of the longest line, 0 without lines."""
    lines = kernels.lines(code.texts, "any")
    longest = np.zeros(len(code.texts))
    some = np.diff(lines.first) > 0
    if some.any():
        longest[some] = np.maximum.reduceat(lines.chars, lines.first[:-1][some])
    return longest[rows]


def letter_ratio(code: Code, rows: Rows) -> Floats:
    """Return letters ÷ characters, NaN without characters."""
    chars = kernels.characters(code.texts)
    return ratio(chars.letters, chars.all)[rows]


def alphanumeric_ratio(code: Code, rows: Rows) -> Floats:
    """Return letters and digits ÷ characters, NaN without characters."""
    chars = kernels.characters(code.texts)
    return ratio(chars.letters + chars.digits, chars.all)[rows]


def char_count(code: Code, rows: Rows) -> Floats:
    """Return how many characters there are."""
    return kernels.characters(code.texts).all[rows].astype(np.float64)


def xml_declared(code: Code, rows: Rows) -> Floats:
    """Return 1 where the head declares XML."""
    return _floats(pc.match_substring(pc.utf8_slice_codeunits(code.some(rows), 0, XML_HEAD_CHARS), XML))


def says_generated(code: Code, rows: Rows) -> Floats:
    """Return 1 where the first lines say that the file is generated."""
    import polars as pl

    heads = pl.Series(pc.ascii_lower(pc.utf8_slice_codeunits(code.some(rows), 0, HEAD_CHARS)))
    return heads.str.contains(code.generated).cast(pl.Float64).to_numpy()


def visible_ratio(code: Code, rows: Rows) -> Floats:
    """Return visible characters ÷ characters, NaN without characters."""
    return ratio(visible_chars(code, rows), char_count(code, rows))


def visible_chars(code: Code, rows: Rows) -> Floats:
    """Return how many characters of HTML are seen by a reader, white space counted once."""
    key = rows.tobytes()
    if key not in code.known:
        code.known[key] = _visible_chars(code.some(rows))
    return code.known[key]


def _visible_chars(pages: pa.Array) -> Floats:
    import polars as pl

    seen = pl.Series(pages).str.replace_all(INVISIBLE, " ").str.replace_all(r"\s+", " ").str.strip_chars()
    return seen.str.len_chars().cast(pl.Float64).to_numpy()


def _floats(mask: pa.Array) -> Floats:
    return np.asarray(mask.to_numpy(zero_copy_only=False), np.float64)


MEASURES = (
    Measure("lines_too_long", "max_mean_line_chars", mean_line_chars),
    Measure("line_too_long", "max_line_chars", longest_line_chars),
    Measure("too_few_letters", "min_letter_ratio", letter_ratio),
    Measure("too_few_alphanumerics", "min_alphanumeric_ratio", alphanumeric_ratio),
    Measure("xml", "drop_xml", xml_declared),
    Measure("generated", "drop_generated", says_generated),
    Measure("too_little_visible_text", "min_visible_ratio", visible_ratio),
    Measure("too_few_visible_chars", "min_visible_chars", visible_chars),
    Measure("too_few_chars", "min_chars", char_count),
    Measure("too_many_chars", "max_chars", char_count),
)
