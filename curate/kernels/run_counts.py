"""Words in the plainest sense: what stands between white space, within spans."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.kernels import unicode
from curate.kernels.compiled import decode, kernel
from curate.kernels.text_view import Int64s, Texts


def plain_words(texts: Texts, start: Int64s, end: Int64s, enough: int | None = None) -> tuple[Int64s, Int64s]:
    """Return for every span how many runs without white space it has, and the characters of the longest.

    With `enough`, reading a span stops at the start of its run of that number.
    """
    return _plain_words(texts.data, start, end, unicode.classes(), -1 if enough is None else enough)


@kernel
def _plain_words(data: Any, start: Any, end: Any, classes: Any, enough: int) -> tuple[Any, Any]:
    count, longest = np.zeros(len(start), np.int64), np.zeros(len(start), np.int64)
    for span in range(len(start)):
        place, stop = start[span], end[span]
        size, words, most = 0, 0, 0
        while place < stop:
            code, width = np.int64(data[place]), 1
            if code >= 0x80:
                code, width = decode(data, place, stop)
            if classes[code] & unicode.SPACE:
                size = 0
            else:
                if not size:
                    words += 1
                    if words == enough:
                        break
                size += 1
                most = max(most, size)
            place += width
        count[span], longest[span] = words, most
    return count, longest
