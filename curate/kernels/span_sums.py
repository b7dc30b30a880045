"""Sums over the words or lines of each text."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.kernels.compiled import kernel
from curate.kernels.text_view import Int64s
from curate.kernels.word_spans import ALPHABETIC, WORDLIKE, Words


def sums(values: NDArray[Any], first: Int64s) -> Int64s:
    """Return for every text the sum of the values of its spans `first[i]:first[i + 1]`; booleans count."""
    return _sums(values, first)


def word_counts(words: Words) -> tuple[Int64s, Int64s, Int64s, Int64s]:
    """Return per text its words, those that are no mere punctuation, the characters of these, and the words with a letter."""
    return _word_counts(words.first, words.chars, words.kind)


@kernel
def _sums(values: Any, first: Any) -> Any:
    found = np.zeros(len(first) - 1, np.int64)
    for text in range(len(first) - 1):
        total = 0
        for span in range(first[text], first[text + 1]):
            total += values[span]
        found[text] = total
    return found


@kernel
def _word_counts(first: Any, chars: Any, kind: Any) -> tuple[Any, Any, Any, Any]:
    texts = len(first) - 1
    plain, plain_chars, with_letter = np.zeros(texts, np.int64), np.zeros(texts, np.int64), np.zeros(texts, np.int64)
    for text in range(texts):
        words, letters, length = 0, 0, 0
        for word in range(first[text], first[text + 1]):
            is_plain = kind[word] & WORDLIKE != 0
            words += is_plain
            length += chars[word] if is_plain else 0
            letters += kind[word] & ALPHABETIC != 0
        plain[text], plain_chars[text], with_letter[text] = words, length, letters
    return first[1:] - first[:-1], plain, plain_chars, with_letter
