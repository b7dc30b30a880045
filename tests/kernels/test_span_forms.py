"""Normal forms beside plain Python: two spans have one hash exactly when Python makes one string of them."""

from __future__ import annotations

import itertools
from collections.abc import Collection

import pyarrow as pa
import pytest
from hypothesis import given

from curate import kernels
from curate.kernels import unicode
from tests.kernels import columns, plain

CHOICES = [set(some) for size in range(5) for some in itertools.combinations(("case", "spaces", "digits", "punctuation"), size)]


def having(bits: int, letter: str) -> bool:
    return bool(unicode.classes()[ord(letter)] & bits)


def is_space(letter: str) -> bool:
    return having(unicode.SPACE, letter)


def pieces(text: str) -> list[str]:
    """Return the runs of what is no white space."""
    return [piece for piece in "".join(" " if is_space(c) else c for c in text).split(" ") if piece]


def normal(text: str, ignored: Collection[str]) -> str:
    if "punctuation" in ignored:
        text = "".join(c for c in text if is_space(c) or not having(unicode.PUNCTUATION | unicode.CONTROL, c))
    if "spaces" in ignored:
        text = " ".join(pieces(text))
    if "digits" in ignored:
        runs = itertools.groupby(text, key=lambda c: having(unicode.DIGIT, c))
        text = "".join("0" if are_digits else "".join(run) for are_digits, run in runs)
    if "case" in ignored:
        text = "".join(chr(unicode.lower()[ord(c)]) for c in text)
    return text


def words(text: str, ignored: Collection[str]) -> int:
    return len(pieces(normal(text, set(ignored) & {"punctuation"})))


def check(array: pa.Array, contents: list[str], ignored: set[str]) -> None:
    texts = kernels.Texts.of(array)
    lines = kernels.lines(texts, "feed")
    forms = kernels.normal_forms(texts, lines.start, lines.end, ignored)  # type: ignore[arg-type]
    flat = [line for content in contents for line in content.split("\n")]
    wanted = [normal(line, ignored) for line in flat]
    assert forms.chars.tolist() == list(map(len, wanted))
    assert forms.before.tolist() == list(map(len, flat))
    assert forms.words.tolist() == [words(line, ignored) for line in flat]
    pairs = set(zip(forms.hashes.tolist(), wanted, strict=True))
    assert len(pairs) == len(set(wanted)) == len(set(forms.hashes.tolist()))


@pytest.mark.parametrize("ignored", CHOICES, ids=lambda chosen: "-".join(sorted(chosen)) or "nothing")
def test_forms_of_real_lines(real_texts: pa.Array, ignored: set[str]) -> None:
    some = real_texts.slice(0, 60)
    check(some, some.to_pylist(), ignored)


@given(columns.columns())
def test_forms_of_any_bytes(column: columns.Column) -> None:
    for ignored in CHOICES:
        check(column.array, [plain.decode(content) for content in column.contents], ignored)


def test_what_counts_as_one() -> None:
    texts = kernels.texts(pa.array(["Page  12 of\t30!\npage 7 of 8\nPAGE 007 OF 1\u00a0\npage of\n12\n1 2"]))
    lines = kernels.lines(texts, "feed")
    forms = kernels.normal_forms(texts, lines.start, lines.end, ("case", "spaces", "digits", "punctuation"))
    assert len(set(forms.hashes[:3].tolist())) == 1
    assert len(set(forms.hashes.tolist())) == 4
    assert forms.words.tolist() == [4, 4, 4, 2, 1, 2]
