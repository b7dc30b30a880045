"""Texts made of parts of other texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.kernels.compiled import kernel
from curate.kernels.text_view import Int64s, Texts


def joined_spans(texts: Texts, first: Int64s, start: Int64s, end: Int64s, kept: NDArray[np.bool_]) -> pa.LargeStringArray:
    r"""Return every text made of those of its spans that are kept, joined by `\n`; null stays null."""
    kept_by_text = np.concatenate([[0], np.cumsum(kept)])[first]
    data, offsets = _joined(texts.data, start[kept], end[kept], kept_by_text)
    null = None if texts.valid.all() else pa.array(texts.valid).buffers()[1]
    return pa.LargeStringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(data), null)


@kernel
def _joined(data: Any, start: Any, end: Any, kept: Any) -> tuple[Any, Any]:
    texts = len(kept) - 1
    room = 0
    for line in range(len(start)):
        room += end[line] - start[line] + 1
    out, offsets = np.empty(room, np.uint8), np.zeros(texts + 1, np.int64)
    place = 0
    for text in range(texts):
        for line in range(kept[text], kept[text + 1]):
            if line > kept[text]:
                out[place] = 10
                place += 1
            size = end[line] - start[line]
            out[place : place + size] = data[start[line] : end[line]]
            place += size
        offsets[text + 1] = place
    return out[:place], offsets
