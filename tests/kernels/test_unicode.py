"""The Unicode tables: their bits follow Python's own notions, and they are what `make_unicode` computes."""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from curate.kernels import make_unicode, unicode
from curate.kernels.compiled import decode
from tests.kernels import plain


def made_with() -> str:
    with np.load(Path(unicode.__file__).with_name("unicode.npz")) as file:
        return str(file["version"])


SAME_UNICODE = pytest.mark.skipif(unicodedata.unidata_version != made_with(), reason="this Python has another Unicode")
EVERY = [chr(code) for code in range(unicode.CODE_POINTS)]


def has(bit: int) -> list[bool]:
    found: list[bool] = ((unicode.classes() & bit) > 0).tolist()
    return found


@SAME_UNICODE
def test_bits_follow_python() -> None:
    assert has(unicode.SPACE) == [char.isspace() for char in EVERY]
    assert has(unicode.LETTER) == [char.isalpha() for char in EVERY]
    assert has(unicode.LINE) == [len(f"a{char}b".splitlines()) == 2 for char in EVERY]
    assert has(unicode.DIGIT) == [char.isdecimal() for char in EVERY]


@SAME_UNICODE
@pytest.mark.parametrize(
    ("bit", "categories"),
    [
        (unicode.NUMBER, "N"),
        (unicode.PUNCTUATION, "P"),
        (unicode.SYMBOL, "S"),
        (unicode.MARK, "M"),
        (unicode.CONTROL, "C"),
        (unicode.UPPER, "Lu Lt"),
        (unicode.LOWER, "Ll"),
        (unicode.CURRENCY, "Sc"),
        (unicode.ICON, "So"),
    ],
)
def test_bits_follow_the_categories(bit: int, categories: str) -> None:
    assert has(bit) == [unicodedata.category(char).startswith(tuple(categories.split())) for char in EVERY]


@SAME_UNICODE
def test_tables_are_what_make_unicode_computes() -> None:
    classes = unicode.classes()
    ends, alone = (set(np.flatnonzero(classes & bit).tolist()) for bit in (unicode.SENTENCE_END, unicode.ALONE))
    made = make_unicode.classes(ends, alone)
    assert np.array_equal(made, classes)
    blocks, index = make_unicode.in_blocks(made)
    assert np.array_equal(blocks[index].reshape(-1), classes)
    assert np.array_equal(make_unicode.lower(), unicode.lower())


def test_scripts_without_spaces() -> None:
    regex = pytest.importorskip("regex")
    assigned = [char for char in EVERY if not 0xD800 <= ord(char) < 0xE000 and unicodedata.category(char) != "Cn"]
    found = {char for char in assigned if unicode.classes()[ord(char)] & unicode.ALONE}
    assert found == {char for char in assigned if char.isalpha() and regex.match(make_unicode.ALONE, char)}
    assert set("的あไລខမ") <= found
    assert not found & set("カ한aא")


def test_sentence_ends() -> None:
    regex = pytest.importorskip("regex")
    assigned = [char for char in EVERY if not 0xD800 <= ord(char) < 0xE000 and unicodedata.category(char) != "Cn"]
    found = {char for char in assigned if unicode.classes()[ord(char)] & unicode.SENTENCE_END}
    assert found == {char for char in assigned if regex.match(r"\p{Sentence_Terminal}", char)}


def test_lower_case_of_a_single_code_point() -> None:
    lower = unicode.lower()
    assert [chr(lower[ord(char)]) for char in "AÉΣЖaß1İ"] == list("aéσжaß1İ")


def test_tables_reach_the_last_code_point() -> None:
    assert unicode.classes().shape == unicode.lower().shape == (sys.maxunicode + 1,)
    assert unicode.classes().dtype == np.uint32
    assert unicode.lower()[sys.maxunicode] == sys.maxunicode


def test_every_code_point_is_decoded() -> None:
    for code in [*range(0, 0x3000, 7), *range(0x3000, 0x110000, 1009), 0x7F, 0x80, 0x7FF, 0x800, 0xD800, 0xDFFF, 0xFFFF, 0x10000, 0x10FFFF]:
        content = chr(code).encode("utf-8", "surrogatepass")
        assert decode(np.frombuffer(content, np.uint8), 0, len(content)) == (code, len(content))


def test_every_pair_of_bytes_is_decoded_as_by_the_plain_rule() -> None:
    for first in range(256):
        for second in (0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF):
            for rest in (b"", b"\x80", b"\x80\x80", b"\xbf\x41"):
                content = bytes([first, second]) + rest
                code, width = decode(np.frombuffer(content, np.uint8), 0, len(content))
                assert (chr(code), width) == (plain.decode(content)[0], plain.widths(content)[0]), content


def test_nothing_is_read_behind_the_end() -> None:
    content = np.frombuffer("🙂".encode(), np.uint8)
    assert [decode(content, 0, end) for end in (1, 2, 3, 4)] == [(0xFFFD, 1)] * 3 + [(0x1F642, 4)]
