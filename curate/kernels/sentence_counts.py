"""Sentences: how many a text has, and where they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.kernels.compiled import kernel
from curate.kernels.line_spans import Lines
from curate.kernels.text_view import Int64s, Texts
from curate.kernels.word_spans import ENDS_SENTENCE, PUNCTUATION, Words


def sentences(words: Words, lines: Lines) -> Int64s:
    """Return how many sentences each text has: a line with words has one, and one more wherever a word follows one that ends a sentence.

    Punctuation after the end (a quote, a bracket) belongs to it; an abbreviation's dot ends nothing (the rule of spaCy's sentencizer).
    """
    return _sentences(words.first, words.start, words.end, words.kind, lines.first, lines.start, lines.end)[0]


def sentence_spans(texts: Texts, words: Words, lines: Lines) -> Lines:
    """Return the sentences that `sentences` counts: spans from the first word to the last, with lengths and hashes as lines have."""
    counts, start, end = _sentences(words.first, words.start, words.end, words.kind, lines.first, lines.start, lines.end)
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Lines(first, start[: first[-1]].copy(), end[: first[-1]].copy(), texts.data, texts.is_utf8)


@kernel
def _sentences(first: Any, start: Any, end: Any, kind: Any, first_line: Any, line_start: Any, line_end: Any) -> tuple[Any, Any, Any]:
    counts = np.zeros(len(first) - 1, np.int64)
    begins, ends = np.empty(len(start), np.int64), np.empty(len(start), np.int64)  # a sentence has a word at least
    found = 0
    for text in range(len(first) - 1):
        word, last, before = first[text], first[text + 1], found
        for line in range(first_line[text], first_line[text + 1]):
            while word < last and start[word] < line_start[line]:
                word += 1
            begun, ended = word, False
            while word < last and start[word] < line_end[line]:
                what = kind[word]
                if what & ENDS_SENTENCE:
                    ended = True
                elif ended and not what & PUNCTUATION:
                    begins[found], ends[found] = start[begun], end[word - 1]
                    found += 1
                    begun, ended = word, False
                word += 1
            if word > begun:
                begins[found], ends[found] = start[begun], end[word - 1]
                found += 1
        counts[text] = found - before
    return counts, begins, ends
