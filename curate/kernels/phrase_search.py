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
    needles = [phrase.encode().lower() for phrase in wanted]
    if len(needles) > 64 or not all(needles):
        raise ValueError("at most 64 phrases, none of them empty")
    data = np.frombuffer(b"".join(needles) or b"\0", np.uint8)
    offsets = np.concatenate([[0], np.cumsum([len(needle) for needle in needles])]).astype(np.int64)
    return _phrases(texts.data, start, end, data, offsets)


@kernel
def _phrases(data: Any, start: Any, end: Any, needles: Any, offsets: Any) -> Any:
    count = len(offsets) - 1
    wanted = np.zeros((3, 256), np.uint64)  # the phrases that have a byte as their first, second, third, or are shorter
    ended = np.zeros(3, np.uint64)  # those that are shorter
    for k in range(count):
        bit = np.uint64(1) << np.uint64(k)
        for j in range(3):
            if offsets[k] + j >= offsets[k + 1]:
                wanted[j, :] |= bit
                ended[j] |= bit
                continue
            byte = needles[offsets[k] + j]
            wanted[j, byte] |= bit
            if 97 <= byte <= 122:
                wanted[j, byte - 32] |= bit
    found = np.zeros(len(start), np.uint64)
    for span in range(len(start)):
        last = end[span]
        seen, one, two = np.uint64(0), np.uint64(0), np.uint64(0)  # the phrases of which a byte, two bytes have been met
        for place in range(start[span], last + 2):  # two behind the end: a phrase may be shorter than three bytes
            if place < last:
                byte = data[place]
                one, two, maybe = wanted[0, byte], one & wanted[1, byte], two & wanted[2, byte]
            else:
                one, two, maybe = np.uint64(0), one & ended[1], two & ended[2]
            maybe &= ~seen
            if maybe == 0:
                continue
            begun = place - 2
            for k in range(count):
                bit = np.uint64(1) << np.uint64(k)
                if not maybe & bit or begun + offsets[k + 1] - offsets[k] > last:
                    continue
                same = True
                for j in range(1, offsets[k + 1] - offsets[k]):
                    byte = data[begun + j]
                    if 65 <= byte <= 90:
                        byte += 32
                    if byte != needles[offsets[k] + j]:
                        same = False
                        break
                if same:
                    seen |= bit
        found[span] = seen
    return found
