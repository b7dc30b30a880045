"""The quality rules that FineWeb added."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate import kernels
from curate_operators.rules import LanguageFilter, Verdict, ratio


@dataclass(frozen=True)
class FinewebQuality(LanguageFilter):
    """Drops lists, menus and other pages whose lines are no sentences.

    ## What it does
    Lines are those that are not blank. The first broken rule, in this order, is the reason; its value is what was measured:

    | reason | broken when |
    |---|---|
    | `no_lines` | there is no line |
    | `too_few_lines_end_in_punctuation` | lines that end a sentence ÷ lines < `min_punctuated_line_ratio` |
    | `too_many_short_lines` | lines of at most `short_line_chars` ÷ lines > `max_short_line_ratio` |
    | `too_many_repeated_line_chars` | characters of repeated lines ÷ characters but line feeds > `max_repeated_line_char_ratio` |
    | `too_many_line_feeds` | line feeds ÷ words > `max_line_feed_ratio` |

    What ends a sentence is Unicode's Sentence_Terminal: `. ! ?` and their like in every script, not quotes.

    ## Why
    Of fifty candidates these gave the largest gains in FineWeb's ablations.

    ## Example
        - use: fineweb_quality
          params: {max_short_line_ratio: 0.8}

    ## Parameters
    FineWeb's limits are the defaults; every one can be null = off; a text without lines always goes. `language` (or that of
    `language_column`) says how words are cut. With `language_limits`, what you leave at its default gives way to the language's own
    limit where it has one, measured on parallel texts: a short line has 9 characters in Chinese, and no line need end in
    punctuation in Thai.

    ## Source
    Penedo et al., *The FineWeb Datasets* (2024), §3.6; decisions as datatrove's.
    """

    version = 2

    min_punctuated_line_ratio: float | None = 0.12
    short_line_chars: int = 30
    max_short_line_ratio: float | None = 0.67
    max_repeated_line_char_ratio: float | None = 0.01
    max_line_feed_ratio: float | None = 0.3
    language: str = "en"
    language_column: str | None = None
    language_limits: bool = True

    def judge(self, texts: kernels.Texts, language: str, verdict: Verdict) -> None:
        from curate.kernels import line_spans

        lines = kernels.lines(texts, "feed")
        real = (lines.kind & line_spans.EMPTY) == 0
        count = kernels.sums(real, lines.first)
        verdict.below("no_lines", 1, count)
        ended = kernels.sums(real & ((lines.kind & line_spans.SENTENCE_END) > 0), lines.first)
        verdict.below("too_few_lines_end_in_punctuation", self.limit("min_punctuated_line_ratio", language), ratio(ended, count))
        short = kernels.sums(real & (lines.chars <= self.limit("short_line_chars", language)), lines.first)
        verdict.above("too_many_short_lines", self.max_short_line_ratio, ratio(short, count))
        _, _, repeated_chars = kernels.repeated_lines(lines, skip_empty=True)
        chars = kernels.sums(lines.chars, lines.first)
        verdict.above("too_many_repeated_line_chars", self.max_repeated_line_char_ratio, ratio(repeated_chars, chars))
        feeds = np.diff(lines.first) - 1
        words = np.diff(kernels.words(texts, language).first)
        verdict.above("too_many_line_feeds", self.limit("max_line_feed_ratio", language), ratio(feeds, words))
