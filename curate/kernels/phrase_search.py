"""Which spans of texts contain which phrases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.kernels.compiled import kernel
from curate.kernels.text_view import Int64s, Texts


def phrases(texts: Texts, start: Int64s, end: Int64s, wanted: Sequence[str]) -> NDArray[np.uint64]:
    """Return for every span the phrases that it contains, bit `i` for `wanted[i]` (64 at most); ASCII letters match in any case."""
    needles = [phrase.lower().encode() for phrase in wanted]
    if len(needles) > 64 or not all(needles):
        raise ValueError("at most 64 phrases, none of them empty")
    data = np.frombuffer(b"".join(needles) or b"\0", np.uint8)
    offsets = np.concatenate([[0], np.cumsum([len(needle) for needle in needles])]).astype(np.int64)
    return _phrases(texts.data, start, end, data, offsets)


@kernel
def _phrases(data: Any, start: Any, end: Any, needles: Any, offsets: Any) -> Any:
    count = len(offsets) - 1
    begins = np.zeros(256, np.uint64)  # the phrases that begin with a byte
    for k in range(count):
        first = needles[offsets[k]]
        begins[first] |= np.uint64(1) << np.uint64(k)
        if 97 <= first <= 122:
            begins[first - 32] |= np.uint64(1) << np.uint64(k)
    found = np.zeros(len(start), np.uint64)
    for span in range(len(start)):
        last = end[span]
        seen = np.uint64(0)
        for place in range(start[span], last):
            maybe = begins[data[place]] & ~seen
            if maybe == 0:
                continue
            for k in range(count):
                bit = np.uint64(1) << np.uint64(k)
                if not maybe & bit or place + offsets[k + 1] - offsets[k] > last:
                    continue
                same = True
                for j in range(1, offsets[k + 1] - offsets[k]):
                    byte = data[place + j]
                    if 65 <= byte <= 90:
                        byte += 32
                    if byte != needles[offsets[k] + j]:
                        same = False
                        break
                if same:
                    seen |= bit
        found[span] = seen
    return found
