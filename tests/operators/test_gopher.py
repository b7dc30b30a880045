from __future__ import annotations

import functools
import re
import unicodedata
from pathlib import Path

import pytest

from curate_operators.gopher import GopherQuality
from tests.operators.conftest import batch, read_texts

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
OFF = dict.fromkeys(
    (
        "min_words",
        "max_words",
        "min_mean_word_chars",
        "max_mean_word_chars",
        "max_hash_ratio",
        "max_ellipsis_ratio",
        "max_bullet_line_ratio",
        "max_ellipsis_line_ratio",
        "min_words_with_letter_ratio",
        "min_stop_words",
    )
)


def only(**limits: float) -> GopherQuality:
    return GopherQuality(**(OFF | limits))  # type: ignore[arg-type]


def verdict(text: str | None, operator: GopherQuality) -> tuple[str, float] | None:
    row = operator.drop(batch([text]))[0].as_py()
    return row and (row["reason"], row["value"])


@pytest.mark.parametrize(
    ("limits", "text", "expected"),
    [
        ({"min_words": 3}, "one two --- ...", ("too_few_words", 2)),
        ({"min_words": 3}, "one two three", None),
        ({"min_words": 1}, None, ("too_few_words", 0)),
        ({"max_words": 2}, "one two three ---", ("too_many_words", 3)),
        ({"min_mean_word_chars": 3}, "ab cd ----------", ("words_too_short", 2)),
        ({"max_mean_word_chars": 4}, "abcdef ab", None),
        ({"max_mean_word_chars": 3}, "abcdef ab - -", ("words_too_long", 4)),
        ({"max_mean_word_chars": 3}, "\u00e9t\u00e9! \u00e9t\u00e9", ("words_too_long", 3.5)),
        ({"max_hash_ratio": 0.1}, "#a b c ##", ("too_many_hashes", 0.75)),
        ({"max_hash_ratio": 0.25}, "#a b c d", None),
        ({"max_ellipsis_ratio": 0.1}, "a... b\u2026 c d", ("too_many_ellipses", 0.5)),
        ({"max_bullet_line_ratio": 0.5}, "- a\n\n  * b\n\u2022 c\nd", ("too_many_bullet_lines", 0.75)),
        ({"max_ellipsis_line_ratio": 0.3}, "a...\nb\u2026 \n\nc\nd", ("too_many_ellipsis_lines", 0.5)),
        ({"min_words_with_letter_ratio": 0.8}, "a 1 2 b", ("too_few_words_with_letter", 0.5)),
        ({"min_stop_words": 2}, "The cat, the dog: the end.", ("too_few_stop_words", 1)),
        ({"min_stop_words": 2}, "The cat WITH hat", None),
        ({"min_stop_words": 1}, "bathe ofof hand", ("too_few_stop_words", 0)),
    ],
)
def test_each_rule(limits: dict[str, float], text: str | None, expected: tuple[str, float] | None) -> None:
    assert verdict(text, only(**limits)) == expected


def test_nothing_to_measure_breaks_no_ratio() -> None:
    ratios = {name: 0.5 for name in OFF if "ratio" in name} | {"min_mean_word_chars": 3, "max_mean_word_chars": 10}
    assert verdict("", only(**ratios)) is None
    assert verdict(" \n ", only(**ratios)) is None


def test_all_rules_off_keeps_everything() -> None:
    assert GopherQuality(**OFF).drop(batch(["", None, "x"])).null_count == 3  # type: ignore[arg-type]


@functools.cache
def _measures(text: str) -> dict[str, float | None]:
    """The same measures in plain Python, word by word and character by character."""
    words = re.findall(r"[^\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+", text)
    categories = [[unicodedata.category(c)[0] for c in word] for word in words]
    plain = [word for word, kinds in zip(words, categories, strict=True) if {"L", "M", "N"} & set(kinds)]
    blank = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
    lines = [line.strip(blank) for line in text.split("\n") if line.strip(blank)]
    per = lambda count, of: count / of if of else None  # noqa: E731
    return {
        "plain_words": len(plain),
        "mean_word_chars": per(sum(map(len, plain)), len(plain)),
        "hash_ratio": per(text.count("#"), len(words)),
        "ellipsis_ratio": per(text.count("...") + text.count("\u2026"), len(words)),
        "bullet_line_ratio": per(sum(line[0] in "\u2022\u25cf*-" for line in lines), len(lines)),
        "ellipsis_line_ratio": per(sum(line.endswith(("...", "\u2026")) for line in lines), len(lines)),
        "words_with_letter_ratio": per(sum("L" in kinds for kinds in categories), len(words)),
        "stop_words": sum(bool(re.search(rf"\b{word}\b", text, re.IGNORECASE | re.ASCII)) for word in STOP_WORDS),
    }


def _reference(text: str) -> tuple[str, float] | None:
    measured = _measures(text)
    rules = [
        ("too_few_words", "plain_words", 50, -1),
        ("too_many_words", "plain_words", 100_000, 1),
        ("words_too_short", "mean_word_chars", 3, -1),
        ("words_too_long", "mean_word_chars", 10, 1),
        ("too_many_hashes", "hash_ratio", 0.1, 1),
        ("too_many_ellipses", "ellipsis_ratio", 0.1, 1),
        ("too_many_bullet_lines", "bullet_line_ratio", 0.9, 1),
        ("too_many_ellipsis_lines", "ellipsis_line_ratio", 0.3, 1),
        ("too_few_words_with_letter", "words_with_letter_ratio", 0.8, -1),
        ("too_few_stop_words", "stop_words", 2, -1),
    ]
    for reason, name, limit, direction in rules:
        value = measured[name]
        if value is not None and (value - limit) * direction > 0:
            return reason, value
    return None


def test_equals_plain_python_on_real_documents(data: Path) -> None:
    texts = read_texts(data, "pile_slices", "manpages_multiling", "wiki_xquad_parallel", "spam_email_sa", "code_samples", limit=500)
    found = GopherQuality().drop(batch(list(texts))).to_pylist()
    expected = [_reference(text) for text in texts]
    assert [row and (row["reason"], row["value"]) for row in found] == expected
    assert len({reason for reason, _ in filter(None, expected)}) >= 5


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("max_words", "plain_words"),
        ("max_mean_word_chars", "mean_word_chars"),
        ("max_hash_ratio", "hash_ratio"),
        ("max_ellipsis_ratio", "ellipsis_ratio"),
        ("max_bullet_line_ratio", "bullet_line_ratio"),
        ("max_ellipsis_line_ratio", "ellipsis_line_ratio"),
        ("min_words_with_letter_ratio", "words_with_letter_ratio"),
        ("min_stop_words", "stop_words"),
    ],
)
def test_each_measure_equals_plain_python(data: Path, name: str, measure: str) -> None:
    texts = read_texts(data, "pile_slices", "social_th_wisesight", "books_eltec", "code_samples", limit=150)
    limit = -1 if name.startswith("max") else 1e9
    found = only(**{name: limit}).drop(batch(list(texts))).to_pylist()
    assert [row and row["value"] for row in found] == [_measures(text)[measure] for text in texts]
