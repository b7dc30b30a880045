"""What the lines of a text are made of: words, capitals, digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from curate.kernels import unicode
from curate.kernels.compiled import decode, kernel
from curate.kernels.text_view import Int64s, Texts


@dataclass(frozen=True)
class SpanCounts:
    """Counts per span, each of shape (spans,).

    `words` are what stands between white space, `alnum_words` are those of them that begin with a letter or a number.
    """

    chars: Int64s
    words: Int64s
    alnum_words: Int64s
    upper: Int64s
    digits: Int64s


def span_counts(texts: Texts, start: Int64s, end: Int64s) -> SpanCounts:
    """Return the counts of every span."""
    return SpanCounts(*_span_counts(texts.data, start, end, unicode.classes()))


@kernel
def _span_counts(data: Any, start: Any, end: Any, classes: Any) -> tuple[Any, Any, Any, Any, Any]:
    spans = len(start)
    chars, words, alnum_words = np.zeros(spans, np.int64), np.zeros(spans, np.int64), np.zeros(spans, np.int64)
    upper, digits = np.zeros(spans, np.int64), np.zeros(spans, np.int64)
    for span in range(spans):
        place, stop = start[span], end[span]
        size, runs, begun, capitals, figures = 0, 0, 0, 0, 0
        before = np.uint32(unicode.SPACE)
        while place < stop:
            code, width = np.int64(data[place]), 1
            if code >= 0x80:
                code, width = decode(data, place, stop)
            what = classes[code]
            if before & ~what & unicode.SPACE:
                runs += 1
                begun += 1 if what & (unicode.LETTER | unicode.NUMBER) else 0
            capitals += 1 if what & unicode.UPPER else 0
            figures += 1 if what & unicode.DIGIT else 0
            before = what
            size += 1
            place += width
        chars[span], words[span], alnum_words[span], upper[span], digits[span] = size, runs, begun, capitals, figures
    return chars, words, alnum_words, upper, digits
