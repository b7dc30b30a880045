"""Writes `unicode.npz`, the tables of `curate.kernels.unicode`: `python -m curate.kernels.make_unicode` (needs `regex`).

The tables are a file, not computed at start, so that a newer Python with a newer Unicode does not change anybody's corpus.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np

from curate.kernels import unicode as u

BLOCK = 256
LINES = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"  # where `str.splitlines` splits
NO_EDGE = "/@\\%†‡•§" + "՚՛՜՝՞՟"  # Armenian tone marks stand inside words; punctuation that stays with its word
EDGE = "<>`´="  # symbols that do not
ALONE = r"[\p{Han}\p{Hiragana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"


def classes(sentence_end: set[int], alone: set[int]) -> np.ndarray:
    """Return the bits of every code point, shape (0x110000,)."""
    table = np.zeros(u.CODE_POINTS, np.uint32)
    for code in range(u.CODE_POINTS):
        char = chr(code)
        table[code] = _bits(char, unicodedata.category(char))
        if code in sentence_end and table[code] & u.PUNCTUATION:
            table[code] |= u.SENTENCE_END
        if code in alone and table[code] & u.LETTER:
            table[code] |= u.ALONE
    return table


def _bits(char: str, category: str) -> int:
    bits = 0
    bits |= u.SPACE if char.isspace() else 0
    bits |= u.LINE if char in LINES else 0
    bits |= {"L": u.LETTER, "N": u.NUMBER, "P": u.PUNCTUATION, "S": u.SYMBOL, "M": u.MARK, "C": u.CONTROL}.get(category[0], 0)
    bits |= u.DIGIT if category == "Nd" else 0
    bits |= u.UPPER if category in ("Lu", "Lt") else 0
    bits |= u.LOWER if category == "Ll" else 0
    bits |= u.CURRENCY if category == "Sc" else 0
    bits |= u.ICON if category == "So" else 0
    bits |= u.DASH if category == "Pd" or char == "~" else 0
    edge = (category[0] == "P" and category != "Pd" and char not in NO_EDGE and char != ".") or char in EDGE or char in "—–"
    return bits | (u.EDGE if edge else 0)


def lower() -> np.ndarray:
    """Return the lower case of every code point that has one of a single code point, else the code point itself."""
    table = np.arange(u.CODE_POINTS, dtype=np.int32)
    for code in range(u.CODE_POINTS):
        small = chr(code).lower()
        if len(small) == 1:
            table[code] = ord(small)
    return table


def in_blocks(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct blocks of a table and which of them each block of code points is."""
    blocks, index = np.unique(table.reshape(-1, BLOCK), axis=0, return_inverse=True)
    return blocks, index.reshape(-1).astype(np.uint16)


def main() -> None:
    import regex

    every = "".join(chr(code) for code in range(u.CODE_POINTS) if not 0xD800 <= code < 0xE000)
    ends = {ord(char) for char in regex.findall(r"\p{Sentence_Terminal}", every)}
    alone = {ord(char) for char in regex.findall(ALONE, every)}
    class_blocks, class_index = in_blocks(classes(ends, alone))
    lower_blocks, lower_index = in_blocks(lower() - np.arange(u.CODE_POINTS, dtype=np.int32))  # differences repeat, code points do not
    np.savez_compressed(
        Path(__file__).with_name("unicode.npz"),
        class_blocks=class_blocks,
        class_index=class_index,
        lower_blocks=lower_blocks,
        lower_index=lower_index,
        version=np.array(unicodedata.unidata_version),
    )


if __name__ == "__main__":
    main()
