"""The rules that DCLM took from RefinedWeb: lines that are no prose go, then pages that lost too much.

`dclm_lines` changes `text` and adds `removed_word_ratio` (double, null where there was no word); `dclm_page` reads it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import kernels
from curate.document import TEXT, TEXT_TYPE, set_column
from curate.errors import PipelineError
from curate.kernels.text_view import Int64s, Texts
from curate.protocols import Filter, Mapper
from curate_operators.rules import Verdict, ratio

REMOVED = "removed_word_ratio"
NO_WORD = r"[^\p{L}\p{N}_]"
MAX_BOILERS = 64  # as many phrases as are looked for at a time
COUNTERS = ("likes", "shares", "comments", "retweets", "reposts", "quotes", "bookmarks", "upvotes", "downvotes", "downloads", "views")


@dataclass(frozen=True)
class DclmLines(Mapper):
    """Removes lines that are no prose, and counts the words that went.

    ## What it does
    Takes out a line (as line feeds cut the text) when

    - more than `max_upper_ratio` of its characters are capitals, or more than `max_digit_ratio` digits;
    - it is a counter: at most `max_counter_words` words, nothing but a number and one of `counters` (*3 likes*, *1.2k views*),
      signs aside;
    - it has fewer than `min_words` words (between white space).

    From a line of at most `max_boiler_words` words it cuts `boiler_phrases` anywhere, `boiler_beginnings` and `boiler_endings`,
    in any case; when nothing is left the line goes too. Blank lines stay, but not at either end of a text that lost a line.

    `removed_word_ratio` is the share of words that went, for `dclm_page` or `where` to judge; a word is what begins with a letter
    or digit after white space.

    ## Why
    Counters, buttons and headings in capitals stand inside pages that are good; taking out lines spares them. A page that is mostly
    such lines has nothing to spare.

    ## Example
        - use: dclm_lines
        - use: dclm_page

    ## Parameters
    The defaults are DCLM's; ratios and `min_words` can be null = off, lists can be empty. `max_counter_words` is ours: a count, its
    noun, and signs that stand by themselves.

    ## Source
    Penedo et al., *The RefinedWeb Dataset* (2023), G.2; Li et al., *DataComp-LM* (2024), and its published configuration. There the
    dots of *Read more...* are a pattern of any three characters; here they are dots.
    """

    max_upper_ratio: float | None = 0.5
    max_digit_ratio: float | None = 0.999999
    counters: tuple[str, ...] = (*COUNTERS, "followers")
    max_counter_words: int = 10
    min_words: int | None = 2
    boiler_phrases: tuple[str, ...] = ("items in cart",)
    boiler_beginnings: tuple[str, ...] = ("sign-in",)
    boiler_endings: tuple[str, ...] = ("read more...", "read more…")
    max_boiler_words: int = 10

    def __post_init__(self) -> None:
        if len(self._boiler_strings) > MAX_BOILERS or not all((*self._boiler_strings, *self.counters)):
            raise PipelineError(f"dclm_lines: at most {MAX_BOILERS} boiler strings, and none of them or of `counters` empty")

    def adds(self) -> Mapping[str, pa.DataType]:
        return {REMOVED: pa.float64()}

    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        column = docs.column(TEXT)
        column = column.cast(TEXT_TYPE) if pa.types.is_null(column.type) else column
        texts = kernels.texts(column)
        lines = kernels.lines(texts, "feed")
        counts = kernels.span_counts(texts, lines.start, lines.end)
        kept = self._prose(counts)
        kept &= ~self._counters(texts, lines, counts, kept)
        removed = np.where(kept, 0, counts.alnum_words)
        hits = self._boilers(texts, lines, counts, kept)
        cut = self._cut(_strings(texts, lines.start[hits], lines.end[hits]))
        left = kernels.Texts.of(cut)
        removed[hits] = counts.alnum_words[hits] - kernels.span_counts(left, left.offsets[:-1], left.offsets[1:]).alnum_words
        kept[hits] = pc.not_equal(pc.utf8_trim_whitespace(cut), "").to_numpy(zero_copy_only=False)
        text = self._joined(texts, lines, kept, hits, left)
        edited = (kernels.sums(~kept, lines.first) > 0) | (kernels.sums(_mask(hits, len(kept)), lines.first) > 0)
        text = pc.if_else(pa.array(edited), pc.utf8_trim(text.cast(column.type), "\n"), column)
        share = ratio(kernels.sums(removed, lines.first), kernels.sums(counts.alnum_words, lines.first))
        return set_column(set_column(docs, TEXT, text), REMOVED, pa.array(share, mask=np.isnan(share)))

    def _prose(self, counts: kernels.SpanCounts) -> NDArray[np.bool_]:
        kept = np.ones(len(counts.chars), np.bool_)
        if self.max_upper_ratio is not None:
            kept &= counts.upper <= self.max_upper_ratio * counts.chars
        if self.max_digit_ratio is not None:
            kept &= counts.digits <= self.max_digit_ratio * counts.chars
        if self.min_words is not None:
            kept &= counts.words >= self.min_words
        kept |= counts.chars == 0
        return kept

    def _counters(self, texts: Texts, lines: kernels.Lines, counts: kernels.SpanCounts, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
        likely = np.flatnonzero(kept & (counts.digits > 0) & (counts.words > 1) & (counts.words <= self.max_counter_words))
        found = np.zeros(len(kept), np.bool_)
        if self.counters and len(likely):
            matched = pc.match_substring_regex(_strings(texts, lines.start[likely], lines.end[likely]), self._counter)
            found[likely] = matched.to_numpy(zero_copy_only=False)
        return found

    @functools.cached_property
    def _counter(self) -> str:
        return rf"(?is)^{NO_WORD}*[0-9][0-9.,]*[kmb]?\s+(?:{_any_of(self.counters)}){NO_WORD}*$"

    def _boilers(self, texts: Texts, lines: kernels.Lines, counts: kernels.SpanCounts, kept: NDArray[np.bool_]) -> Int64s:
        """Return the lines that have a boiler string, wherever in them."""
        short = np.flatnonzero(kept & (counts.words > 0) & (counts.words <= self.max_boiler_words))
        return short[kernels.phrases(texts, lines.start[short], lines.end[short], self._boiler_strings) > 0]

    @property
    def _boiler_strings(self) -> tuple[str, ...]:
        return (*self.boiler_phrases, *self.boiler_beginnings, *self.boiler_endings)

    def _cut(self, lines: pa.Array) -> pa.Array:
        """Return lines without their boiler strings."""
        patterns = (r"\s?(?:{})", self.boiler_phrases), (r"\s?(?:{})\s*$", self.boiler_endings), (r"^\s*(?:{})\s?", self.boiler_beginnings)
        for pattern, wanted in patterns:
            if wanted:
                lines = pc.replace_substring_regex(lines, f"(?is){pattern.format(_any_of(wanted))}", "")
        return lines

    def _joined(self, texts: Texts, lines: kernels.Lines, kept: NDArray[np.bool_], hits: Int64s, left: Texts) -> pa.Array:
        """Return the texts of the lines that are kept, with what is `left` in place of those that were hit."""
        if not len(hits):
            return kernels.joined_spans(texts, lines.first, lines.start, lines.end, kept)
        low, high = texts.offsets[0], texts.offsets[-1]
        start, end = lines.start - low, lines.end - low
        start[hits], end[hits] = left.offsets[:-1] + high - low, left.offsets[1:] + high - low
        both = kernels.Texts(np.concatenate([texts.data[low:high], left.data]), texts.offsets - low, texts.valid)
        return kernels.joined_spans(both, lines.first, start, end, kept)


@dataclass(frozen=True)
class DclmPage(Filter):
    """Drops pages of which line edits left too little, after `dclm_lines`.

    ## What it does
    The first of these is the reason: `too_few_words` (fewer than `min_words` are left), `too_many_words_removed`
    (`removed_word_ratio` > `max_removed_word_ratio`). The rest of DCLM's page rules are those of `gopher_quality` with
    `stop_word_counting: occurrences` and of `gopher_repetition` with `counting: all`.

    ## Why
    A page that lost one word in twenty to such rules is a listing, a feed or a shop.

    ## Example
        - use: dclm_page
          params: {max_removed_word_ratio: 0.1}

    ## Parameters
    The defaults are DCLM's; every one can be null = off.

    ## Source
    Penedo et al. (2023), G.2; Li et al., *DataComp-LM* (2024).
    """

    min_words: int | None = 1
    max_removed_word_ratio: float | None = 0.05

    def reads(self) -> tuple[str, ...]:
        return (TEXT, REMOVED)

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        texts = kernels.texts(docs.column(TEXT))
        verdict = Verdict(len(texts))
        if self.min_words is not None:
            verdict.below("too_few_words", self.min_words, kernels.span_counts(texts, texts.offsets[:-1], texts.offsets[1:]).alnum_words)
        removed = pc.fill_null(docs.column(REMOVED), 0.0).to_numpy(zero_copy_only=False)
        verdict.above("too_many_words_removed", self.max_removed_word_ratio, removed)
        return verdict.decisions()


def _strings(texts: Texts, start: Int64s, end: Int64s) -> pa.Array:
    """Return spans as an array of strings."""
    rows = len(start)
    spans = kernels.Texts(texts.data, np.zeros(rows + 1, np.int64), np.ones(rows, np.bool_))
    return kernels.joined_spans(spans, np.arange(rows + 1), start, end, np.ones(rows, np.bool_))


def _mask(places: Int64s, size: int) -> NDArray[np.bool_]:
    mask = np.zeros(size, np.bool_)
    mask[places] = True
    return mask


def _any_of(wanted: tuple[str, ...]) -> str:
    return "|".join(re.escape(text) for text in wanted)
