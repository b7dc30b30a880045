"""Counts of characters, strings and phrases beside plain Python."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given

from curate import kernels
from tests.kernels import columns, plain

WANTED = ["lorem ipsum", "javascript", "{", "é", "n't", "mr.", ".."]


def count(text: str) -> dict[str, int]:
    categories = [unicodedata.category(char) for char in text]
    return {
        "all": len(text),
        "letters": sum(char.isalpha() for char in text),
        "digits": categories.count("Nd"),
        "upper": categories.count("Lu") + categories.count("Lt"),
        "spaces": sum(char.isspace() for char in text),
        "punctuation": sum(category[0] == "P" for category in categories),
        "symbols": sum(category[0] == "S" for category in categories),
    }


def check(array: pa.Array, contents: list[str]) -> None:
    found = {name: counts.tolist() for name, counts in asdict(kernels.characters(kernels.Texts.of(array))).items()}
    wanted = [count(content) for content in contents]
    assert found == {name: [one[name] for one in wanted] for name in found}


def test_characters_of_real_texts(real_texts: pa.Array) -> None:
    check(real_texts, real_texts.to_pylist())


@given(columns.columns())
def test_characters_of_any_bytes(column: columns.Column) -> None:
    check(column.array, [plain.decode(content) for content in column.contents])


def span_count(text: str) -> dict[str, int]:
    runs, categories = text.split(), [unicodedata.category(char) for char in text]
    return {
        "chars": len(text),
        "words": len(runs),
        "alnum_words": sum(unicodedata.category(run[0])[0] in "LN" for run in runs),
        "upper": categories.count("Lu") + categories.count("Lt"),
        "digits": categories.count("Nd"),
    }


def check_spans(array: pa.Array, contents: list[str]) -> None:
    texts = kernels.Texts.of(array)
    found = {name: counts.tolist() for name, counts in asdict(kernels.span_counts(texts, texts.offsets[:-1], texts.offsets[1:])).items()}
    wanted = [span_count(content) for content in contents]
    assert found == {name: [one[name] for one in wanted] for name in found}


def test_span_counts_of_real_texts(real_texts: pa.Array) -> None:
    check_spans(real_texts, real_texts.to_pylist())


@given(columns.columns())
def test_span_counts_of_any_bytes(column: columns.Column) -> None:
    check_spans(column.array, [plain.decode(content) for content in column.contents])


def entropy(text: str) -> float:
    shares = [count / len(text) for count in Counter(text).values()]
    return -sum(share * math.log2(share) for share in shares) if shares else math.nan


@given(columns.columns())
def test_entropy_of_any_bytes(column: columns.Column) -> None:
    wanted = [entropy(plain.decode(content)) for content in column.contents]
    assert kernels.entropy(kernels.Texts.of(column.array)).tolist() == pytest.approx(wanted, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("needle", ["#", "...", "…", "aa", "的"])
def test_occurrences_in_real_texts(real_texts: pa.Array, needle: str) -> None:
    found = kernels.occurrences(kernels.Texts.of(real_texts), needle)
    assert found.tolist() == [text.count(needle) for text in real_texts.to_pylist()]


@given(columns.columns())
def test_occurrences_in_any_bytes(column: columns.Column) -> None:
    for needle in ("..", "aa", "\ufffd", "a"):
        found = kernels.occurrences(kernels.Texts.of(column.array), needle)
        assert found.tolist() == [content.count(needle.encode()) for content in column.contents]


def test_occurrences_do_not_overlap() -> None:
    assert kernels.occurrences(kernels.Texts.of(pa.array(["....", "....." * 2, "aXa"])), "..").tolist() == [2, 5, 0]


@given(columns.columns())
def test_phrases_in_any_bytes(column: columns.Column) -> None:
    texts = kernels.Texts.of(column.array)
    found = kernels.phrases(texts, texts.offsets[:-1], texts.offsets[1:], WANTED)
    patterns = [re.compile(re.escape(phrase.encode()), re.IGNORECASE) for phrase in WANTED]  # bytes: ASCII letters in any case
    wanted = [sum(1 << bit for bit, pattern in enumerate(patterns) if pattern.search(content)) for content in column.contents]
    assert found.tolist() == wanted


def test_phrases_end_with_their_span() -> None:
    texts = kernels.Texts.of(pa.array(["Java", "SCRIPT", "JavaScript"]))
    assert kernels.phrases(texts, texts.offsets[:-1], texts.offsets[1:], ["javascript", "a"]).tolist() == [2, 0, 3]
    whole = kernels.phrases(texts, texts.offsets[:1], texts.offsets[-1:], ["javascript"])
    assert whole.tolist() == [1]
    short = np.arange(len("JavaSCRIPT") + 1)
    assert kernels.phrases(texts, 0 * short, short, ["javascript"]).tolist() == [0] * 10 + [1]


@pytest.mark.parametrize("wanted", [[""], ["a", ""], ["a"] * 65])
def test_phrases_that_cannot_be_looked_for(wanted: list[str]) -> None:
    texts = kernels.Texts.of(pa.array(["a"]))
    with pytest.raises(ValueError, match="at most 64 phrases, none of them empty"):
        kernels.phrases(texts, texts.offsets[:-1], texts.offsets[1:], wanted)


def test_capitals_beyond_ascii_match_themselves() -> None:
    texts = kernels.Texts.of(pa.array(["É", "é"]))
    assert kernels.phrases(texts, texts.offsets[:-1], texts.offsets[1:], ["É"]).tolist() == [1, 0]


def test_sixty_four_phrases() -> None:
    texts = kernels.Texts.of(pa.array(["a63", "a7 a63"]))
    wanted = [f"a{k}" for k in range(64)]
    expected = [sum(1 << k for k in range(64) if f"a{k}" in text) for text in ("a63", "a7 a63")]
    assert kernels.phrases(texts, texts.offsets[:-1], texts.offsets[1:], wanted).tolist() == expected
