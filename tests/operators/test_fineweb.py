"""FineWeb's rules on lines: every reason on either side of its limit, and real text beside plain Python."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.kernels import unicode
from curate_operators.fineweb import FinewebQuality
from tests.kernels import plain, word_rules
from tests.kernels.conftest import sample_texts
from tests.operators.conftest import batch, read_texts

OFF = FinewebQuality(None, 30, None, None, None)
LONG = "This line is longer than thirty characters"


def verdict(operator: FinewebQuality, text: str | None) -> tuple[str, Any] | None:
    row = operator.drop(batch([text]))[0].as_py()
    return row and (row["reason"], pytest.approx(row["value"]))


@pytest.mark.parametrize(
    ("params", "text", "expected"),
    [
        ({}, None, ("no_lines", 0)),
        ({}, "", ("no_lines", 0)),
        ({}, " \n\t\n\xa0", ("no_lines", 0)),
        ({}, "x", None),
        ({"min_punctuated_line_ratio": 0.5}, "a.\nb", None),
        ({"min_punctuated_line_ratio": 0.5}, "a.\n \nb", None),
        ({"min_punctuated_line_ratio": 0.5}, "a.\nb\nc", ("too_few_lines_end_in_punctuation", 1 / 3)),
        ({"min_punctuated_line_ratio": 0.1}, 'a."\nb:\nc. \nd…', ("too_few_lines_end_in_punctuation", 0)),
        ({"min_punctuated_line_ratio": 1}, "a.\nb!\nc?\nd。\ne؟\nf।", None),
        ({"min_punctuated_line_ratio": 1, "max_short_line_ratio": None}, "a.\r\nb.", ("too_few_lines_end_in_punctuation", 0.5)),
        ({"max_short_line_ratio": 0.5}, f"{'é' * 30}\n{'x' * 31}", None),
        ({"max_short_line_ratio": 0.5}, f"{'é' * 30}\n\n{'x' * 31}\n ", None),
        ({"max_short_line_ratio": 0.6}, f"{'é' * 30}\n{'x' * 31}\n{'x' * 30}", ("too_many_short_lines", 2 / 3)),
        ({"max_short_line_ratio": 0.5, "short_line_chars": 1}, "ab\nc\nd", ("too_many_short_lines", 2 / 3)),
        ({"max_repeated_line_char_ratio": 0.2}, "aa\nbbbbbb\naa", None),
        ({"max_repeated_line_char_ratio": 0.19}, "aa\nbbbbbb\naa", ("too_many_repeated_line_chars", 0.2)),
        ({"max_repeated_line_char_ratio": 0.0}, "aa\n\n\n\nbb", None),
        ({"max_repeated_line_char_ratio": 0.01}, "aa\n  \nbb\n  \naa", ("too_many_repeated_line_chars", 2 / 10)),
        ({"max_line_feed_ratio": 0.5}, "a b\nc d\n", None),
        ({"max_line_feed_ratio": 0.5}, "a b\nc d\n\n", ("too_many_line_feeds", 3 / 4)),
        ({"max_line_feed_ratio": 0.5}, "an.\nan.\nan.\n", None),
    ],
)
def test_every_reason(params: dict[str, Any], text: str | None, expected: tuple[str, float] | None) -> None:
    assert verdict(replace(OFF, **params), text) == expected


def test_the_first_broken_rule_is_the_reason() -> None:
    text = "Home\nHome\n\nAbout"
    operator = FinewebQuality()
    assert verdict(operator, text) == ("too_few_lines_end_in_punctuation", 0)
    operator = replace(operator, min_punctuated_line_ratio=None)
    assert verdict(operator, text) == ("too_many_short_lines", 1)
    operator = replace(operator, max_short_line_ratio=None)
    assert verdict(operator, text) == ("too_many_repeated_line_chars", 4 / 13)
    operator = replace(operator, max_repeated_line_char_ratio=None)
    assert verdict(operator, text) == ("too_many_line_feeds", 1)
    assert verdict(replace(operator, max_line_feed_ratio=None), text) is None


def test_prose_stays() -> None:
    assert verdict(FinewebQuality(), f"{LONG}, and it ends here.\n{LONG} and is another.\n") is None


def _expected(text: str) -> tuple[str, float] | None:
    every = text.split("\n")
    lines = [line for line in every if line.strip()]
    ends = {chr(code) for code in np.flatnonzero(unicode.classes() & unicode.SENTENCE_END)}
    if not lines:
        return "no_lines", 0
    measures = [
        ("too_few_lines_end_in_punctuation", -sum(line[-1] in ends for line in lines) / len(lines), -0.12),
        ("too_many_short_lines", sum(len(line) <= 30 for line in lines) / len(lines), 0.67),
        ("too_many_repeated_line_chars", plain.repeated_lines(lines, "later", False)[2] / sum(map(len, every)), 0.01),
        ("too_many_line_feeds", text.count("\n") / len(word_rules.words(text, "numbers", "contractions")), 0.3),
    ]
    for reason, value, limit in measures:
        if value > limit:
            return reason, abs(value)
    return None


@pytest.mark.parametrize("where", ["sample", "shared"])
def test_real_documents(where: str, request: pytest.FixtureRequest) -> None:
    if where == "sample":
        texts = sample_texts()
    else:
        folder: Path = request.getfixturevalue("data")
        texts = [text[:8000] for text in read_texts(folder, "pile_slices", "manpages_multiling", "wiki_xquad_parallel", limit=100)]
    expected = [_expected(text) for text in texts]
    found = FinewebQuality().drop(batch([*texts])).to_pylist()
    assert [row and (row["reason"], row["value"]) for row in found] == expected
    assert len({one[0] for one in expected if one}) >= 2
