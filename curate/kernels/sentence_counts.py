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
    return _sentences(words.first, words.start, words.kind, lines.first, lines.start, lines.end)


def sentence_spans(texts: Texts, words: Words, lines: Lines) -> Lines:
    """Return the sentences that `sentences` counts: spans from the first word to the last, with lengths and hashes as lines have."""
    first = np.concatenate([[0], np.cumsum(sentences(words, lines))]).astype(np.int64)
    start, end = _spans(words.first, words.start, words.end, words.kind, lines.first, lines.start, lines.end, int(first[-1]))
    return Lines(first, start, end, texts.data, texts.is_utf8)


@kernel
def _spans(first: Any, start: Any, end: Any, kind: Any, first_line: Any, line_start: Any, line_end: Any, count: int) -> tuple[Any, Any]:
    begins, ends = np.empty(count, np.int64), np.empty(count, np.int64)
    found = 0
    for text in range(len(first) - 1):
        word, last = first[text], first[text + 1]
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
    return begins, ends


@kernel
def _sentences(first: Any, start: Any, kind: Any, first_line: Any, line_start: Any, line_end: Any) -> Any:
    texts = len(first) - 1
    found = np.zeros(texts, np.int64)
    for text in range(texts):
        word, last = first[text], first[text + 1]
        for line in range(first_line[text], first_line[text + 1]):
            while word < last and start[word] < line_start[line]:
                word += 1
            begun, ended = word, False
            while word < last and start[word] < line_end[line]:
                what = kind[word]
                if what & ENDS_SENTENCE:
                    ended = True
                elif ended and not what & PUNCTUATION:
                    found[text] += 1
                    ended = False
                word += 1
            if word > begun:
                found[text] += 1
    return found
