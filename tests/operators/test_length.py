from __future__ import annotations

import pytest

from curate.errors import PipelineError
from curate_operators.length import Length
from tests.operators.conftest import batch

TEXTS = ["", None, "one two", "é" * 10, "a b c d e f"]


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        (Length(), [None] * 5),
        (Length(min_chars=7), [("too_few_chars", 0), ("too_few_chars", 0), None, None, None]),
        (Length(max_chars=10), [None, None, None, None, ("too_many_chars", 11)]),
        (Length(min_words=2, max_words=5), [("too_few_words", 0), ("too_few_words", 0), None, ("too_few_words", 1), ("too_many_words", 6)]),
        (Length(max_bytes=11), [None, None, None, ("too_many_bytes", 20), None]),
        (Length(min_bytes=1), [("too_few_bytes", 0), ("too_few_bytes", 0), None, None, None]),
        (Length(min_chars=0), [None] * 5),
        (Length(max_chars=0), [None, None, ("too_many_chars", 7), ("too_many_chars", 10), ("too_many_chars", 11)]),
        (
            Length(min_chars=8, min_words=7),
            [("too_few_chars", 0), ("too_few_chars", 0), ("too_few_chars", 7), ("too_few_words", 1), ("too_few_words", 6)],
        ),
    ],
)
def test_reasons_and_values(operator: Length, expected: list[tuple[str, int] | None]) -> None:
    verdict = operator.drop(batch(TEXTS)).to_pylist()
    assert [row and (row["reason"], row["value"]) for row in verdict] == expected


def test_words_are_split_at_unicode_white_space() -> None:
    text = "a\u00a0b\u3000c\u2003d\te\nf"
    assert Length(min_words=7).drop(batch([text]))[0]["value"].as_py() == 6


def test_limits_that_no_document_meets_are_refused() -> None:
    with pytest.raises(PipelineError, match="min_words 5 is more than max_words 4"):
        Length(min_words=5, max_words=4)
