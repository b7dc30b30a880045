"""Runs of letters that become others, beside plain Python."""

from __future__ import annotations

import string
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given

from curate import kernels
from tests.kernels import columns, plain


def letters(text: str) -> list[int]:
    """Return where the letters and numbers of a text are."""
    return [place for place, char in enumerate(text) if unicodedata.category(char)[0] in "LN"]


def test_a_run_of_letters_becomes_others(real_texts: pa.Array) -> None:
    column = pc.utf8_slice_codeunits(real_texts[::3], 0, 2000)
    texts, contents = kernels.Texts.of(column), column.to_pylist()
    counts, places = kernels.letter_counts(texts), [letters(content) for content in contents]
    assert counts.tolist() == [len(found) for found in places]
    rows = np.repeat(np.arange(len(texts)), 2)
    begin, count = counts[rows] // 3, counts[rows] // 4
    made = kernels.respelt(texts, rows, begin, count, np.arange(len(rows))).to_pylist()
    changed = total = 0
    for row, first, number, text in zip(rows.tolist(), begin.tolist(), count.tolist(), made, strict=True):
        run = {*places[row][first : first + number]}
        assert {text[place] for place in run} <= {*string.ascii_lowercase}
        assert "".join(contents[row][place] if place in run else char for place, char in enumerate(text)) == contents[row]
        changed, total = changed + sum(text[place] != contents[row][place] for place in run), total + len(run)
    assert changed > 0.9 * total
    assert sum(one != other for one, other in zip(made[::2], made[1::2], strict=True)) >= np.count_nonzero(count[::2] > 5)


@given(columns.columns())
def test_any_bytes(column: columns.Column) -> None:
    texts = kernels.Texts.of(column.array)
    counts, rows = kernels.letter_counts(texts), np.arange(len(texts))
    assert counts.tolist() == [len(letters(plain.decode(content))) for content in column.contents]
    same = kernels.respelt(texts, rows, counts // 2, rows * 0, rows)
    assert same.cast(pa.large_binary()).to_pylist() == column.contents
    other = kernels.respelt(texts, rows[::-1], rows * 0, counts[::-1], rows).cast(pa.large_binary()).to_pylist()
    for made, content in zip(reversed(other), column.contents, strict=True):
        text, before = plain.decode(made), plain.decode(content)
        assert len(text) == len(before) and letters(text) == letters(before)
        assert all(one in string.ascii_lowercase or one == old for one, old in zip(text, before, strict=True))
