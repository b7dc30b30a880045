"""How many sentences a text has."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.kernels.compiled import kernel
from curate.kernels.line_spans import Lines
from curate.kernels.text_view import Int64s
from curate.kernels.word_spans import ENDS_SENTENCE, PUNCTUATION, Words


def sentences(words: Words, lines: Lines) -> Int64s:
    """Return how many sentences each text has: a line with words has one, and one more wherever a word follows one that ends a sentence.

    Punctuation after the end (a quote, a bracket) belongs to it; an abbreviation's dot ends nothing (the rule of spaCy's sentencizer).
    """
    return _sentences(words.first, words.start, words.kind, lines.first, lines.start, lines.end)


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
