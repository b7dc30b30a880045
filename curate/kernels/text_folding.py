"""Texts in a form in which copies that differ only in case, layout or punctuation are equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from curate.kernels import unicode
from curate.kernels.compiled import REPLACEMENT, decode, kernel
from curate.kernels.text_view import Texts
from curate.kernels.unicode import CONTROL, PUNCTUATION, SPACE


def folded(texts: Texts, punctuation: bool = True) -> pa.LargeStringArray:
    """Return every text in lower case with single blanks between its words; null stays null.

    Without `punctuation`, its characters count as white space, and control and format characters (soft hyphens, joiners)
    as nothing. Bytes that are no UTF-8 stay as they are.
    """
    blank, nothing = (SPACE, 0) if punctuation else (SPACE | PUNCTUATION, CONTROL)
    data, offsets = _folded(texts.data, texts.offsets, unicode.classes(), unicode.lower(), np.uint32(blank), np.uint32(nothing))
    null = None if texts.valid.all() else pa.array(texts.valid).buffers()[1]
    return pa.LargeStringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(data), null)


@kernel
def _folded(data: Any, ends: Any, classes: Any, lower: Any, blank: Any, nothing: Any) -> tuple[Any, Any]:
    room = (ends[-1] - ends[0]) * 3 // 2 + 4  # two bytes may become three: Ⱥ, ⱥ
    out, offsets = np.empty(room, np.uint8), np.zeros(len(ends), np.int64)
    plain = np.empty(128, np.uint8)  # what an ASCII character becomes; 128 = a blank, 255 = nothing
    for code in range(128):
        plain[code] = 128 if classes[code] & blank else 255 if classes[code] & nothing else lower[code]
    place = 0
    for text in range(len(ends) - 1):
        begin, read, end, pending = place, ends[text], ends[text + 1], False
        while read < end:
            byte = data[read]
            if byte < 0x80:
                char = plain[byte]
                read += 1
                if char == 128:
                    pending = place > begin
                elif char < 0x80:
                    if pending:
                        out[place] = 32
                        place += 1
                        pending = False
                    out[place] = char
                    place += 1
                continue
            code, size = decode(data, read, end)
            kind = classes[code]
            if kind & blank:
                pending = place > begin
                read += size
                continue
            if kind & nothing and not (code == REPLACEMENT and size == 1):
                read += size
                continue
            if pending:
                out[place] = 32
                place += 1
                pending = False
            small = code if code == REPLACEMENT else np.int64(lower[code])
            if small < 0x80:
                out[place] = small
                place += 1
            elif small == code:
                for i in range(size):
                    out[place + i] = data[read + i]
                place += size
            elif small < 0x800:
                out[place] = 0xC0 | small >> 6
                out[place + 1] = 0x80 | small & 0x3F
                place += 2
            elif small < 0x10000:
                out[place] = 0xE0 | small >> 12
                out[place + 1] = 0x80 | small >> 6 & 0x3F
                out[place + 2] = 0x80 | small & 0x3F
                place += 3
            else:
                out[place] = 0xF0 | small >> 18
                out[place + 1] = 0x80 | small >> 12 & 0x3F
                out[place + 2] = 0x80 | small >> 6 & 0x3F
                out[place + 3] = 0x80 | small & 0x3F
                place += 4
            read += size
        offsets[text + 1] = place
    return out[:place], offsets
