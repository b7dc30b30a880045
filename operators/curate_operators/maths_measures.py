"""What the rules for mathematical text measure: LaTeX is read as formulas, commands and the prose between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import kernels
from curate_operators.rules import ratio

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]

FORMULA, COMMAND = "\x01", "\x02"
ENVIRONMENTS = "(?:align|alignat|array|cases|displaymath|eqnarray|equation|flalign|gather|math|matrix|multline)"
# `\\`, `\{`, `\$` and their like are no delimiters; `\(` and `\[` are.
ESCAPES = r"\\[^A-Za-z()\[\]]"
# Dollars enclose a formula as in pandoc, so that `$5 and $10` does not: none beside white space; and no blank line within.
FORMULAS = (
    r"(?s)\$\$.+?\$\$|\\\[.+?\\\]|\\\(.+?\\\)"
    rf"|\\begin\{{{ENVIRONMENTS}\*?\}}.+?\\end\{{{ENVIRONMENTS}\*?\}}"
    r"|\$[^\s$](?:(?:[^$\n]|\n[^$\n])*?[^\s$])?\$"
)
# These take their argument along: names of labels and files are no words of the text.
NAMING = "(?:begin|bibliography|cite|documentclass|end|eqref|include|input|label|pageref|ref|usepackage)"
COMMANDS = rf"\\{NAMING}[A-Za-z]*\*?(?:\[[^\]]*\])?\{{[^}}]*\}}|\\[A-Za-z]+\*?"
PAIRS = ((r"\{", r"\}"), (r"\\begin\b", r"\\end\b"), (r"\\left\b", r"\\right\b"), (r"\\\(", r"\\\)"), (r"\\\[", r"\\\]"))


@dataclass(frozen=True)
class Maths:
    """Counts of each text, of shape (texts,): characters, those of formulas, words of the prose, formulas, commands."""

    chars: Floats
    formula_chars: Floats
    words: Floats
    word_chars: Floats
    formulas: Floats
    commands: Floats


def maths(texts: pa.Array) -> Maths:
    """Count what texts consist of; a word has a letter, and null is empty text."""
    plain = without_escapes(texts)
    without_formulas = plain.str.replace_all(FORMULAS, f" {FORMULA} ")
    formulas = _count(without_formulas, FORMULA)
    prose = without_formulas.str.replace_all(COMMANDS, f" {COMMAND} ")
    words, word_chars = _words(prose)
    return Maths(
        chars=_floats(plain.str.len_chars()),
        formula_chars=_floats(plain.str.len_chars()) - _floats(without_formulas.str.len_chars()) + 3 * formulas,
        words=words,
        word_chars=word_chars,
        formulas=formulas,
        commands=_count(prose, COMMAND),
    )


def without_escapes(texts: pa.Array) -> pl.Series:
    """Return texts of the same length with spaces for escaped characters and for our own marks; null is empty."""
    import polars as pl

    return pl.Series(pc.fill_null(texts, "")).str.replace_all(ESCAPES, "  ").str.replace_all(f"[{FORMULA}{COMMAND}]", " ")


def balance(texts: pa.Array, min_delimiters: int) -> Floats:
    """Return the share of delimiters that have a partner, NaN for fewer than so many; counts are compared, not the order."""
    plain = without_escapes(texts)
    alone, all_of_them = np.zeros(len(plain)), np.zeros(len(plain))
    for opening, closing in PAIRS:
        opened, closed = _count(plain, opening), _count(plain, closing)
        alone += np.abs(opened - closed)
        all_of_them += opened + closed
    return np.where(all_of_them >= min_delimiters, ratio(all_of_them - alone, all_of_them), np.nan)


def _words(prose: pl.Series) -> tuple[Floats, Floats]:
    """Return the words of each text that have a letter, and their characters."""
    from curate.kernels.word_spans import ALPHABETIC

    words = kernels.words(kernels.Texts.of(prose.to_arrow()))
    real = (words.kind & ALPHABETIC) > 0
    return kernels.sums(real, words.first).astype(np.float64), kernels.sums(words.chars * real, words.first).astype(np.float64)


def _count(texts: pl.Series, pattern: str) -> Floats:
    return _floats(texts.str.count_matches(pattern))


def _floats(series: pl.Series) -> Floats:
    return np.asarray(series.to_numpy(), np.float64)
