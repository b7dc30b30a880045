"""The quality rules of the Gopher paper (MassiveText)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from curate.document import TEXT
from curate.protocols import Filter, decisions

if TYPE_CHECKING:
    import polars as pl

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
BULLETS = "•●*-"
INDENT = r"[^\S\n]*"


@dataclass(frozen=True)
class GopherQuality(Filter):
    """Drops documents that break a quality rule of the Gopher paper.

    ## What it does
    Words are what stands between white space; a *plain* word has at least one letter, mark or digit. Lines are those that are
    not blank. The first broken rule, in this order, is the reason; its value is what was measured:

    | reason | broken when |
    |---|---|
    | `too_few_words`, `too_many_words` | plain words < `min_words`, > `max_words` |
    | `words_too_short`, `words_too_long` | characters of plain words ÷ plain words < `min_mean_word_chars`, > `max_mean_word_chars` |
    | `too_many_hashes` | `#` ÷ words > `max_hash_ratio` |
    | `too_many_ellipses` | (`...` + `…`) ÷ words > `max_ellipsis_ratio` |
    | `too_many_bullet_lines` | lines that start with • ● * or - ÷ lines > `max_bullet_line_ratio` |
    | `too_many_ellipsis_lines` | lines that end with `...` or `…` ÷ lines > `max_ellipsis_line_ratio` |
    | `too_few_words_with_letter` | words with a letter ÷ words < `min_words_with_letter_ratio` |
    | `too_few_stop_words` | different words of the, be, to, of, and, that, have, with < `min_stop_words` |

    A ratio of nothing (no words, no lines) breaks no rule. Null text counts as "".

    ## Why
    Menus, tables, logs and machine lists look unlike prose. The stop words are English: set `min_stop_words: null` elsewhere, and
    mind that scripts without spaces (Chinese, Japanese, Thai) have very long "words".

    ## Example
        - use: gopher_quality
          params: {min_words: 20, min_stop_words: null}

    ## Parameters
    The paper's limits are the defaults; every one can be null = off.

    ## Source
    Rae et al., *Scaling Language Models: Methods, Analysis & Insights from Training Gopher* (2021), A.1.1; bullets as DCLM.
    """

    min_words: int | None = 50
    max_words: int | None = 100_000
    min_mean_word_chars: float | None = 3
    max_mean_word_chars: float | None = 10
    max_hash_ratio: float | None = 0.1
    max_ellipsis_ratio: float | None = 0.1
    max_bullet_line_ratio: float | None = 0.9
    max_ellipsis_line_ratio: float | None = 0.3
    min_words_with_letter_ratio: float | None = 0.8
    min_stop_words: int | None = 2

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        import polars as pl

        texts = docs.column(TEXT)
        rules = self._rules
        if not rules:
            return decisions(pa.nulls(len(texts), pa.string()), pa.nulls(len(texts), pa.float64()))
        needed = {name for rule in rules for name in NEEDS[rule.measure]}
        counted = pl.DataFrame({TEXT: pl.Series(pc.fill_null(texts, ""))}).select(
            expression().alias(name) for name, expression in COUNTS.items() if name in needed
        )
        measured = counted.select(_measure(name).alias(name) for name in dict.fromkeys(rule.measure for rule in rules))
        verdict = measured.select(
            reason=pl.coalesce([pl.when(rule.broken()).then(pl.lit(rule.reason)) for rule in rules]),
            value=pl.coalesce([pl.when(rule.broken()).then(pl.col(rule.measure)) for rule in rules]),
        )
        return decisions(verdict["reason"].to_arrow(), verdict["value"].to_arrow())

    @functools.cached_property
    def _rules(self) -> list[_Rule]:
        rules = [
            _Rule("too_few_words", "plain_words", self.min_words, True),
            _Rule("too_many_words", "plain_words", self.max_words, False),
            _Rule("words_too_short", "mean_word_chars", self.min_mean_word_chars, True),
            _Rule("words_too_long", "mean_word_chars", self.max_mean_word_chars, False),
            _Rule("too_many_hashes", "hash_ratio", self.max_hash_ratio, False),
            _Rule("too_many_ellipses", "ellipsis_ratio", self.max_ellipsis_ratio, False),
            _Rule("too_many_bullet_lines", "bullet_line_ratio", self.max_bullet_line_ratio, False),
            _Rule("too_many_ellipsis_lines", "ellipsis_line_ratio", self.max_ellipsis_line_ratio, False),
            _Rule("too_few_words_with_letter", "words_with_letter_ratio", self.min_words_with_letter_ratio, True),
            _Rule("too_few_stop_words", "stop_words", self.min_stop_words, True),
        ]
        return [rule for rule in rules if rule.limit is not None]


@dataclass(frozen=True)
class _Rule:
    """One limit on one measure."""

    reason: str
    measure: str
    limit: float | None
    is_minimum: bool

    def broken(self) -> pl.Expr:
        import polars as pl

        measure = pl.col(self.measure)
        return measure < self.limit if self.is_minimum else measure > self.limit


def _matches(pattern: str) -> Callable[[], pl.Expr]:
    def expression() -> pl.Expr:
        import polars as pl

        return pl.col(TEXT).str.count_matches(pattern)

    return expression


def _plain_chars() -> pl.Expr:
    """Characters of plain words: all but white space and the characters of words without letter, mark or digit."""
    import polars as pl

    without_plain_words = pl.col(TEXT).str.replace_all(r"\S*[\p{L}\p{M}\p{N}]\S*", "")
    return pl.col(TEXT).str.count_matches(r"\S") - without_plain_words.str.count_matches(r"\S")


def _stop_words() -> pl.Expr:
    """How many different stop words occur; the word boundary is ASCII's, as Unicode's makes the search ten times slower."""
    import polars as pl

    return pl.sum_horizontal(pl.col(TEXT).str.contains(rf"(?i)(?-u:\b){word}(?-u:\b)") for word in STOP_WORDS)


COUNTS: dict[str, Callable[[], pl.Expr]] = {
    "words": _matches(r"\S+"),
    "plain_words": _matches(r"[\p{L}\p{M}\p{N}]\S*"),
    "words_with_letter": _matches(r"\p{L}\S*"),
    "plain_chars": _plain_chars,
    "hashes": _matches("#"),
    "ellipses": _matches(r"\.\.\.|…"),
    "lines": _matches(r"\S[^\n]*"),
    "bullet_lines": _matches(rf"(?m)^{INDENT}[{BULLETS}]"),
    "ellipsis_lines": _matches(rf"(?m)(?:\.\.\.|…){INDENT}$"),
    "stop_words": _stop_words,
}
NEEDS: dict[str, tuple[str, ...]] = {
    "plain_words": ("plain_words",),
    "stop_words": ("stop_words",),
    "mean_word_chars": ("plain_chars", "plain_words"),
    "hash_ratio": ("hashes", "words"),
    "ellipsis_ratio": ("ellipses", "words"),
    "bullet_line_ratio": ("bullet_lines", "lines"),
    "ellipsis_line_ratio": ("ellipsis_lines", "lines"),
    "words_with_letter_ratio": ("words_with_letter", "words"),
}


def _measure(name: str) -> pl.Expr:
    """Return a count, or the ratio of two; a ratio of nothing is null."""
    import polars as pl

    counts = [pl.col(count).cast(pl.Float64) for count in NEEDS[name]]
    return counts[0] if len(counts) == 1 else pl.when(counts[1] > 0).then(counts[0] / counts[1])
