"""Folded texts are what a few lines of plain Python make of them, whatever bytes they hold."""

from __future__ import annotations

import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import kernels
from curate.kernels import unicode

PIECES = [
    "a",
    "Ä",
    "Ⱥ",
    "İ",
    "ß",
    "Σ",
    "\u00ad",
    "\u200d",
    "\u3000",
    "\x85",
    "\n",
    " ",
    "\x00",
    "\x1c",
    ".",
    "—",
    "。",
    "+",
    "中",
    "𝒜",
    "𐐀",
    "\ufffd",
]
TEXTS = st.lists(st.none() | st.lists(st.sampled_from(PIECES) | st.characters(codec="utf-8"), max_size=12).map("".join), max_size=6)


def lower(character: str) -> str:
    return chr(int(unicode.lower()[ord(character)]))


def plain(text: str, punctuation: bool) -> str:
    words = [""]
    for character in text:
        kind = unicodedata.category(character)[0]
        if character.isspace() or (not punctuation and kind == "P"):
            words.append("")
        elif punctuation or kind != "C":
            words[-1] += lower(character)
    return " ".join(filter(None, words))


@given(TEXTS, st.booleans())
def test_agrees_with_plain_python(texts: list[str | None], punctuation: bool) -> None:
    made = kernels.folded(kernels.texts(pa.array(texts, pa.string())), punctuation)
    made.validate(full=True)
    known = unicode.classes()
    for text, folded in zip(texts, made.to_pylist(), strict=True):
        if text is not None and all(
            known[ord(c)] or not c.isprintable() for c in text
        ):  # what this Python's Unicode knows, the tables know
            assert folded == plain(text, punctuation)
        assert (folded is None) == (text is None)


@pytest.mark.parametrize("bad", [b"\xff", b"a\xc3", b"\xe2\x82", b"\xf0\x9f\x98 b", b"\x80\x80"])
def test_broken_bytes_stay(bad: bytes) -> None:
    column = pa.array([b"A  " + bad + b"  B"], pa.binary()).view(pa.string())
    made = kernels.folded(kernels.texts(column))
    assert made.view(pa.large_binary()).to_pylist() == [b" ".join((b"A  " + bad + b"  B").lower().split())]


def test_slices_and_nulls() -> None:
    column = pa.array(["one", "Two  TWO ", None, " Three"]).slice(1)
    assert kernels.folded(kernels.texts(column)).to_pylist() == ["two two", None, "three"]
