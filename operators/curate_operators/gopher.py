"""The quality and repetition rules of the Gopher paper (MassiveText)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from curate import kernels
from curate.errors import PipelineError
from curate_operators.languages import has_stop_words, stop_words
from curate_operators.rules import LanguageFilter, Verdict, ratio

TOP, REPEATED = (2, 3, 4), (5, 6, 7, 8, 9, 10)


@dataclass(frozen=True)
class GopherQuality(LanguageFilter):
    """Drops documents that break a quality rule of the Gopher paper.

    ## What it does
    Words are those of `curate.kernels`: punctuation is split off and counts as a word of its own, a *plain* word has at least
    one letter, mark or digit. The first broken rule, in this order, is the reason; its value is what was measured:

    | reason | broken when |
    |---|---|
    | `too_few_words`, `too_many_words` | plain words < `min_words`, > `max_words` |
    | `words_too_short`, `words_too_long` | characters of plain words ÷ plain words < `min_mean_word_chars`, > `max_mean_word_chars` |
    | `too_many_hashes` | `#` ÷ words > `max_hash_ratio` |
    | `too_many_ellipses` | (`...` + `…`) ÷ words > `max_ellipsis_ratio` |
    | `too_many_bullet_lines` | lines that start with • or - ÷ lines > `max_bullet_line_ratio` |
    | `too_many_ellipsis_lines` | lines that end with `...` or `…` ÷ lines > `max_ellipsis_line_ratio` |
    | `too_few_words_with_letter` | words with a letter ÷ words < `min_words_with_letter_ratio` |
    | `too_few_stop_words` | different stop words (DCLM: `stop_word_counting: occurrences`) < `min_stop_words` |

    A ratio of nothing (no words, no lines) breaks no rule. Null text counts as "". With `punctuation_counts: false` the words of the
    ratios are the plain ones: on technical prose, full of brackets and dots, datatrove's way drops pages that readers would keep.

    ## Why
    Menus, tables, logs and machine lists look unlike prose. The stop words are those of `language`, English by default
    (the, be, to, of, and, that, have, with); `stop_words` gives your own, in the case in which they must stand. With
    `language_column` every document is judged by its own language, without stop words where its language has no list.

    The limits were set on English. With `language_limits` those of words (how many, how long, how many with letters) that you leave
    at their defaults give way to the language's own, measured on parallel texts: 50 words of English are 35 of Finnish, whose mean
    length may be 4.5 to 15.5. Languages without limits of their own have the paper's. A default written out is still the default:
    `language_limits: false` holds every language to the paper's limits.

    ## Example
        - use: gopher_quality
          params: {min_words: 20, language_column: lang.code}

    ## Parameters
    The paper's limits are the defaults; every one can be null = off.

    ## Source
    Rae et al., *Scaling Language Models: Methods, Analysis & Insights from Training Gopher* (2021), A.1.1; decisions as datatrove's.
    """

    version = 3

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
    stop_word_counting: Literal["different", "occurrences"] = "different"
    stop_words: tuple[str, ...] | None = None
    punctuation_counts: bool = True
    language: str = "en"
    language_column: str | None = None
    language_limits: bool = True

    def verify(self, schema: pa.Schema) -> None:
        super().verify(schema)
        if self.min_stop_words is not None and self.stop_words is None and self.language_column is None:
            stop_words(self.language)
        if self.min_stop_words and self.stop_words == ():
            raise PipelineError("`stop_words` is empty: every document would be dropped", "set `min_stop_words: null` to turn the rule off")

    def judge(self, texts: kernels.Texts, language: str, verdict: Verdict) -> None:
        from curate.kernels import line_spans

        words, lines = kernels.words(texts, language), kernels.lines(texts)
        every, plain_words, plain_chars, with_letter = kernels.word_counts(words)
        every = every if self.punctuation_counts else plain_words
        count, mean_chars = np.diff(lines.first), ratio(plain_chars, plain_words)
        verdict.below("too_few_words", self.limit("min_words", language), plain_words)
        verdict.above("too_many_words", self.limit("max_words", language), plain_words)
        verdict.below("words_too_short", self.limit("min_mean_word_chars", language), mean_chars)
        verdict.above("words_too_long", self.limit("max_mean_word_chars", language), mean_chars)
        verdict.above("too_many_hashes", self.max_hash_ratio, ratio(kernels.occurrences(texts, "#"), every))
        dots = kernels.occurrences(texts, "...") + kernels.occurrences(texts, "…")
        verdict.above("too_many_ellipses", self.max_ellipsis_ratio, ratio(dots, every))
        bullets = kernels.sums((lines.kind & line_spans.BULLET) > 0, lines.first)
        verdict.above("too_many_bullet_lines", self.max_bullet_line_ratio, ratio(bullets, count))
        trailing = kernels.sums((lines.kind & line_spans.ELLIPSIS) > 0, lines.first)
        verdict.above("too_many_ellipsis_lines", self.max_ellipsis_line_ratio, ratio(trailing, count))
        verdict.below("too_few_words_with_letter", self.limit("min_words_with_letter_ratio", language), ratio(with_letter, every))
        self._judge_stop_words(words, language, verdict)

    def _judge_stop_words(self, words: kernels.Words, language: str, verdict: Verdict) -> None:
        if self.min_stop_words is None or (self.language_column is not None and self.stop_words is None and not has_stop_words(language)):
            return
        different, occurrences = kernels.matches(words, stop_words(language) if self.stop_words is None else self.stop_words)
        found = different if self.stop_word_counting == "different" else occurrences
        verdict.below("too_few_stop_words", self.min_stop_words, found)


@dataclass(frozen=True)
class GopherRepetition(LanguageFilter):
    """Drops documents that repeat themselves: lines, paragraphs, or n-grams of words.

    ## What it does
    The first broken rule, in this order, is the reason; its value is the share:

    | reason | broken when |
    |---|---|
    | `repeated_paragraphs`, `repeated_paragraph_chars` | repeated paragraphs ÷ paragraphs, their characters ÷ all > the limit |
    | `repeated_lines`, `repeated_line_chars` | the same of lines; runs of line feeds cut once, so blank lines inside do not count |
    | `top_2_gram` … `top_4_gram` | characters of the most frequent n-gram × its count ÷ all characters > the limit |
    | `repeated_5_grams` … `repeated_10_grams` | characters of words in repeated n-grams ÷ all characters > the limit |

    `counting: later` counts a repeat from its second copy on (datatrove, FineWeb); `all` counts the first copy too, as DCLM
    does: the same limits are stricter. With `language_column` every document is cut into words by its own language; where each
    letter is a word (Chinese, Japanese, Thai, …) n-grams are not judged at their default limits, unless `language_limits` is false.

    ## Why
    Text that repeats itself is nearly always generated: menus, spam, listings. Models learn to loop from it.

    ## Example
        - use: gopher_repetition
          params: {max_repeated_line_ratio: 0.5, max_top_2_gram_ratio: null}

    ## Parameters
    The paper's limits are the defaults; every one can be null = off.

    ## Source
    Rae et al. (2021), table A1; decisions as datatrove's with `later`; Li et al., *DataComp-LM* (2024), with `all`.
    """

    version = 2

    max_repeated_line_ratio: float | None = 0.3
    max_repeated_line_char_ratio: float | None = 0.2
    max_repeated_paragraph_ratio: float | None = 0.3
    max_repeated_paragraph_char_ratio: float | None = 0.2
    max_top_2_gram_ratio: float | None = 0.20
    max_top_3_gram_ratio: float | None = 0.18
    max_top_4_gram_ratio: float | None = 0.16
    max_repeated_5_gram_ratio: float | None = 0.15
    max_repeated_6_gram_ratio: float | None = 0.14
    max_repeated_7_gram_ratio: float | None = 0.13
    max_repeated_8_gram_ratio: float | None = 0.12
    max_repeated_9_gram_ratio: float | None = 0.11
    max_repeated_10_gram_ratio: float | None = 0.10
    counting: Literal["later", "all"] = "later"
    language: str = "en"
    language_column: str | None = None
    language_limits: bool = True

    def judge(self, texts: kernels.Texts, language: str, verdict: Verdict) -> None:
        chars = kernels.lengths(texts)
        total, repeats, repeated_chars = kernels.repeated_lines(kernels.lines(texts, "blank"), self.counting)
        verdict.above("repeated_paragraphs", self.max_repeated_paragraph_ratio, ratio(repeats, total))
        verdict.above("repeated_paragraph_chars", self.max_repeated_paragraph_char_ratio, ratio(repeated_chars, chars))
        total, repeats, repeated_chars = kernels.repeated_lines(kernels.lines(texts, "runs"), self.counting)
        verdict.above("repeated_lines", self.max_repeated_line_ratio, ratio(repeats, total))
        verdict.above("repeated_line_chars", self.max_repeated_line_char_ratio, ratio(repeated_chars, chars))
        top = {n: most for n in TOP if (most := self.limit(f"max_top_{n}_gram_ratio", language)) is not None}
        repeated = {n: most for n in REPEATED if (most := self.limit(f"max_repeated_{n}_gram_ratio", language)) is not None}
        if not top and not repeated:
            return
        top_chars, gram_chars = kernels.repeated_grams(kernels.words(texts, language), tuple(top), tuple(repeated), self.counting)
        for place, (n, most) in enumerate(top.items()):
            verdict.above(f"top_{n}_gram", most, ratio(top_chars[:, place], chars))
        for place, (n, most) in enumerate(repeated.items()):
            verdict.above(f"repeated_{n}_grams", most, ratio(gram_chars[:, place], chars))
