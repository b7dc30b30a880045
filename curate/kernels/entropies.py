"""How much information the characters of a text carry."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.kernels import unicode
from curate.kernels.compiled import decode, kernel
from curate.kernels.text_view import Texts

PLACES = 6  # the last bits of a logarithm differ between machines


def entropy(texts: Texts) -> NDArray[np.float64]:
    """Return the Shannon entropy of every text's code points in bits per character, to six places; NaN for an empty text."""
    return np.round(_entropy(texts.data, texts.offsets, unicode.CODE_POINTS), PLACES)


@kernel
def _entropy(data: Any, offsets: Any, code_points: int) -> Any:
    found = np.full(len(offsets) - 1, np.nan)
    low, counts = np.zeros(256, np.int32), np.zeros(code_points, np.int32)
    met = np.empty(code_points, np.int32)  # the code points beyond ASCII that a text has, in order of appearance
    for text in range(len(offsets) - 1):
        place, stop = offsets[text], offsets[text + 1]
        chars, different = 0, 0
        while place < stop:
            byte = data[place]
            if byte < 0x80:
                low[byte + 128 * (chars & 1)] += 1  # two tables: a count need not wait for that of the character before
                place += 1
            else:
                code, width = decode(data, place, stop)
                if not counts[code]:
                    met[different] = code
                    different += 1
                counts[code] += 1
                place += width
            chars += 1
        if not chars:
            continue
        total = 0.0
        for byte in range(128):
            count = low[byte] + low[byte + 128]
            low[byte] = low[byte + 128] = 0
            if count:
                total += count * np.log2(count)
        for k in range(different):
            count = counts[met[k]]
            counts[met[k]] = 0
            total += count * np.log2(count)
        found[text] = max(0.0, np.log2(chars) - total / chars)
    return found
