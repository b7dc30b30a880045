"""The rules of C4: lines that are no sentences go, then pages that are none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import kernels
from curate.document import TEXT, TEXT_TYPE, set_column
from curate.kernels import text_view
from curate.kernels.text_view import Int64s, Texts
from curate.protocols import Mapper
from curate_operators.rules import LanguageFilter, Verdict

CITATIONS = r"\[[0-9]*\]|\[edit\]|\[citation needed\]"
POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
TERMINAL, DOT = tuple(b".?!\"'"), ord(".")
PLACEHOLDER, BRACKET = "lorem ipsum", "{"


@dataclass(frozen=True)
class C4Lines(Mapper):
    """Removes the lines that C4 removes.

    ## What it does
    Every line is trimmed, then goes if it has a word of more than `max_word_chars`, does not end in `. ? ! " '` or ends in `...`,
    has fewer than `min_words` words (between white space), says *javascript*, or has a phrase of a cookie or privacy policy.
    Wikipedia's citation marks (`[1]`, `[edit]`, `[citation needed]`) are cut out. A line that would make `c4_page` drop its page
    (`lorem ipsum`, a curly bracket) stays for it to be seen. What is left is joined by line feeds; a page may end up empty.

    ## Why
    Menus, buttons and notices rarely end in punctuation. The rule is harsh on lists, verse, code and talk: FineWeb turns it off
    (`terminal_punctuation: false`).

    ## Example
        - use: c4_lines
          params: {terminal_punctuation: false}
        - use: c4_page

    ## Parameters
    The defaults are C4's; every one can be null or false = off.

    ## Source
    Raffel et al., *Exploring the Limits of Transfer Learning* (2020), §2.2, and its published code; decisions as datatrove's.
    """

    max_word_chars: int | None = 1000
    min_words: int | None = 3
    terminal_punctuation: bool = True
    remove_citations: bool = True
    remove_javascript: bool = True
    remove_policies: bool = True

    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        column = docs.column(TEXT)
        texts = kernels.texts(column)
        lines = kernels.lines(texts)
        start, end = kernels.trimmed(texts, lines.start, lines.end)
        kept = self._well_formed(texts, start, end)
        formed = np.flatnonzero(kept)
        kept[formed] = self._sound(texts, start[formed], end[formed])
        cited = self._cited(column)
        text = kernels.joined_spans(texts, lines.first, start, end, kept)
        if cited.any():
            text = pc.replace_with_mask(text, pa.array(cited), self._without_citations(column.filter(pa.array(cited))))
        text = text.cast(TEXT_TYPE)
        kept_by_text = np.concatenate([[0], np.cumsum(kept)])[lines.first]
        text_view.leave(text, text_view.Left(texts, kept_by_text, start[kept], end[kept], cited))
        return set_column(docs, TEXT, text)

    def _cited(self, column: pa.Array) -> NDArray[np.bool_]:
        """Return which texts have a citation mark."""
        if not self.remove_citations:
            return np.zeros(len(column), np.bool_)
        cited: NDArray[np.bool_] = pc.fill_null(pc.match_substring(column, "["), False).to_numpy(zero_copy_only=False).copy()
        some = pc.match_substring_regex(column.filter(pa.array(cited)), CITATIONS)
        cited[cited] = some.to_numpy(zero_copy_only=False)
        return cited

    def _without_citations(self, column: pa.Array) -> pa.Array:
        """Return texts with citation marks as C4 leaves them: a line's words are counted before, its end is looked at after."""
        texts = kernels.Texts.of(column)
        lines = kernels.lines(texts)
        start, end = kernels.trimmed(texts, lines.start, lines.end)
        text = kernels.joined_spans(texts, lines.first, start, end, self._well_formed(texts, start, end))
        texts = kernels.Texts.of(pc.replace_substring_regex(text, CITATIONS, ""))
        lines = kernels.lines(texts, "feed")
        return kernels.joined_spans(texts, lines.first, lines.start, lines.end, self._sound(texts, lines.start, lines.end))

    def _sound(self, texts: Texts, start: Int64s, end: Int64s) -> NDArray[np.bool_]:
        return (end > start) & self._ended(texts, start, end) & self._harmless(texts, start, end)

    def _well_formed(self, texts: Texts, start: Int64s, end: Int64s) -> NDArray[np.bool_]:
        kept = np.ones(len(start), np.bool_)
        if self.max_word_chars is not None:
            long = np.flatnonzero(end - start > self.max_word_chars)  # a shorter line has no such word
            kept[long] = kernels.plain_words(texts, start[long], end[long])[1] <= self.max_word_chars
        if self.min_words is not None:
            kept &= kernels.plain_words(texts, start, end, enough=self.min_words)[0] >= self.min_words
        return kept

    def _ended(self, texts: Texts, start: Int64s, end: Int64s) -> NDArray[np.bool_]:
        if not self.terminal_punctuation:
            return np.ones(len(start), np.bool_)
        last = _bytes(texts, end - 1, start)
        dots = (last == DOT) & (_bytes(texts, end - 2, start) == DOT) & (_bytes(texts, end - 3, start) == DOT)
        ended: NDArray[np.bool_] = np.isin(last, TERMINAL) & ~dots
        return ended

    def _harmless(self, texts: Texts, start: Int64s, end: Int64s) -> NDArray[np.bool_]:
        found = kernels.phrases(texts, start, end, (PLACEHOLDER, BRACKET, "javascript", *POLICIES))
        placeholder, bracket, script, policy = found & 1 > 0, found & 2 > 0, found & 4 > 0, found >= 8
        kept = np.ones(len(start), np.bool_)
        if self.remove_javascript:
            kept &= ~script | placeholder
        if self.remove_policies:
            kept &= ~policy | placeholder | bracket
        return kept


@dataclass(frozen=True)
class C4Page(LanguageFilter):
    """Drops the pages that C4 drops, after `c4_lines`.

    ## What it does
    The first of these is the reason: `lorem_ipsum` (the page says *lorem ipsum*), `curly_bracket` (it has a `{`: code),
    `too_few_sentences` (fewer than `min_sentences`; every line with words counts as one at least).

    ## Why
    Placeholder text and scripts that extraction left over; pages of a few sentences teach little.

    ## Example
        - use: c4_page
          params: {min_sentences: 3, drop_curly_bracket: false}

    ## Parameters
    The defaults are C4's; every one can be null or false = off. With `language_limits`, `min_sentences` left at its default is off
    in languages without marks that end sentences (Thai, Tibetan).

    ## Source
    Raffel et al. (2020), §2.2; sentences as spaCy's sentencizer, which datatrove uses.
    """

    version = 2

    drop_lorem_ipsum: bool = True
    drop_curly_bracket: bool = True
    min_sentences: int | None = 5
    language: str = "en"
    language_column: str | None = None
    language_limits: bool = True

    def judge(self, texts: kernels.Texts, language: str, verdict: Verdict) -> None:
        found = kernels.phrases(texts, texts.offsets[:-1], texts.offsets[1:], (PLACEHOLDER, BRACKET))
        if self.drop_lorem_ipsum:
            verdict.where("lorem_ipsum", found & 1 > 0, np.ones(len(texts)))
        if self.drop_curly_bracket:
            verdict.where("curly_bracket", found & 2 > 0, np.ones(len(texts)))
        if (least := self.limit("min_sentences", language)) is not None:
            words = kernels.words(texts, language)
            verdict.below("too_few_sentences", least, kernels.sentences(words, kernels.lines(texts, "feed")))


def _bytes(texts: Texts, place: Int64s, start: Int64s) -> NDArray[np.uint8]:
    """Return the bytes at some places, 0 where a place lies before its span."""
    inside = place >= start
    found = np.zeros(len(place), np.uint8)
    found[inside] = texts.data[place[inside]]
    return found
