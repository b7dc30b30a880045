"""Arrow string columns of any bytes: broken UTF-8, slices, nulls that have bytes, both widths of offsets."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

SIGNS = [*"\n\r\v\x1c\x85\u2028 \xa0\u3000\u200d\0.…-•!?,'’#{[(«%+$€/:@=。", "\r\n", "..."]
LETTERS = [*"aBéİß1²٣的ไाカ한🙂\ud800\U0010ffff", "n't", "e.g.", "Mr.", "l'", "1m ", "30mph ", "5kg", "javascript", "lorem ipsum"]
BROKEN = [
    b"\x80",
    b"\xbf\xbf",
    b"\xc0\x80",
    b"\xc2",
    b"\xe2\x80",
    b"\xed\xa0",
    b"\xf0\x9f\x99",
    b"\xf4\x90\x80\x80",
    b"\xff",
    b"\xe0\x80\x80",
]
AWKWARD = [*(piece.encode("utf-8", "surrogatepass") for piece in [*SIGNS, *LETTERS]), *BROKEN]


@dataclass(frozen=True)
class Column:
    """An Arrow column and what its rows are: bytes, null for a null."""

    array: pa.Array
    rows: tuple[bytes | None, ...]

    @property
    def contents(self) -> list[bytes]:
        """Return the bytes of every row; a null is an empty text."""
        return [row or b"" for row in self.rows]


def column(cells: Sequence[tuple[bytes, bool]], large: bool = True, begin: int = 0, end: int | None = None) -> Column:
    """Make a column of (bytes, is it valid?), a slice of one in which every null keeps its bytes and the buffer ends with the last byte."""
    offsets = np.concatenate([[0], np.cumsum([len(content) for content, _ in cells])]).astype(np.int64 if large else np.int32)
    bitmap = np.packbits(np.array([valid for _, valid in cells], np.bool_), bitorder="little")
    validity = None if all(valid for _, valid in cells) else pa.py_buffer(bitmap.tobytes())
    kind = pa.LargeStringArray if large else pa.StringArray
    content = pa.py_buffer(b"".join(content for content, _ in cells))
    whole = kind.from_buffers(len(cells), pa.py_buffer(offsets.tobytes()), content, validity)
    end = len(cells) if end is None else end
    rows = tuple(content if valid else None for content, valid in cells[begin:end])
    return Column(whole.slice(begin, max(end - begin, 0)), rows)


def of(*contents: bytes) -> pa.Array:
    """Return a column of these bytes."""
    return column([(content, True) for content in contents]).array


contents = st.one_of(st.lists(st.sampled_from(AWKWARD), max_size=12).map(b"".join), st.binary(max_size=12))


@st.composite
def columns(draw: st.DrawFn) -> Column:
    """Draw a column."""
    cells = draw(st.lists(st.tuples(contents, st.booleans() if draw(st.booleans()) else st.just(True)), max_size=8))
    begin = draw(st.integers(0, len(cells)))
    return column(cells, draw(st.booleans()), begin, draw(st.integers(begin, len(cells))))


def fuzz_columns(seed: int, count: int) -> Iterator[Column]:
    """Yield columns from a seed: what a subprocess that checks bounds reads."""
    chance = random.Random(seed)
    for _ in range(count):
        cells = [(_content(chance), chance.random() < 0.8) for _ in range(chance.randrange(12))]
        begin = chance.randrange(len(cells) + 1)
        yield column(cells, chance.random() < 0.5, begin, chance.randrange(begin, len(cells) + 1))


def _content(chance: random.Random) -> bytes:
    if chance.random() < 0.3:
        return chance.randbytes(chance.randrange(40))
    size = chance.choice([0, 1, 2, 5, 20, 200])
    return b"".join(chance.choices(AWKWARD, k=chance.randrange(size + 1)))
