from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate_operators.gopher import GopherQuality
from curate_operators.maths import MathsQuality
from curate_operators.maths_measures import balance, maths
from tests.operators.conftest import batch, read_texts

PROSE = "Suppose that the sequence converges to a limit and that the function is continuous there. " * 4
OFF = MathsQuality(None, None, None, None, None, None, None)


def verdicts(operator: MathsQuality, *texts: str | None) -> list[Any]:
    return [row and (row["reason"], row["value"]) for row in operator.drop(batch(list(texts))).to_pylist()]


@pytest.mark.parametrize(
    ("text", "words", "formulas", "commands", "formula_chars"),
    [
        ("let $x^2 + y^2$ be", 2, 1, 0, 11),
        ("$$\na = b\n$$ and \\[c\\] or \\(d\\).", 2, 3, 0, 21),
        ("\\begin{align*} a &= b \\\\ c &= d \\end{align*} holds", 1, 1, 0, 44),
        ("it costs $5 and then $10 more", 5, 0, 0, 0),
        ("it costs \\$5 and \\$6", 3, 0, 0, 0),
        ("see \\emph{this} in \\cite[p. 5]{knuth:1984} and \\ref{sec-two}", 4, 0, 3, 0),
        ("line one \\\\[2pt] line two", 5, 0, 0, 0),
        ("x = 5, 12 apples", 2, 0, 0, 0),
        ("the $n$-th root", 3, 1, 0, 3),
        ("no $pair\n\nof dollars$ here", 5, 0, 0, 0),
        ("\x01 \x02 word", 1, 0, 0, 0),
        ("", 0, 0, 0, 0),
        (None, 0, 0, 0, 0),
    ],
)
def test_counts(text: str | None, words: int, formulas: int, commands: int, formula_chars: int) -> None:
    found = maths(pa.array([text], pa.large_string()))
    assert (found.words[0], found.formulas[0], found.commands[0], found.formula_chars[0]) == (words, formulas, commands, formula_chars)
    assert found.chars[0] == len(text or "")


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("{a}", 1.0),
        ("{a", 0.0),
        ("{{a}", pytest.approx(2 / 3)),
        ("\\{a", None),
        ("\\left( x \\leftarrow y \\right)", 1.0),
        ("\\[ \\begin{x} \\end{x}", pytest.approx(6 / 7)),
        ("no delimiters", None),
    ],
)
def test_balance(text: str, share: float | None) -> None:
    found = balance(pa.array([text], pa.large_string()), 1)[0]
    assert found != found if share is None else found == share


def test_prose_with_formulas_stays() -> None:
    text = PROSE + " Then $$\\sum_{n=1}^\\infty \\frac{1}{n^2} = \\frac{\\pi^2}{6}.$$ " + PROSE
    assert verdicts(MathsQuality(), text, PROSE) == [None, None]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("$a$ is small", "too_few_words"),
        (None, "too_few_words"),
        ("a b c " * 30, "words_too_short"),
        ("antidisestablishmentarianism " * 60, "words_too_long"),
        ("so $a$ $b$ $c$ \\quad \\quad " * 60, "too_little_prose"),
        (PROSE + "$$" + "x + " * 2000 + "y$$", "too_much_maths"),
        (PROSE + "\\frac{a}{b" * 10, "unbalanced"),
    ],
)
def test_reasons(text: str | None, reason: str) -> None:
    assert [found and found[0] for found in verdicts(MathsQuality(), text)] == [reason]
    assert verdicts(OFF, text) == [None]


def test_limits_and_values() -> None:
    text = "one two three $x$"
    assert verdicts(MathsQuality(min_words=4), text) == [None]
    assert verdicts(MathsQuality(min_words=5), text) == [("too_few_words", 4)]
    assert verdicts(MathsQuality(min_words=None, min_prose_ratio=0.8), text) == [("too_little_prose", 0.75)]
    assert verdicts(MathsQuality(min_words=None, min_maths_ratio=0.5), text) == [("too_little_maths", pytest.approx(3 / 17))]
    assert verdicts(MathsQuality(min_words=None, min_delimiters=2), "{ word {}", "{ word") == [("unbalanced", pytest.approx(2 / 3)), None]


def test_real_mathematics_stays_where_gopher_drops_it(data: Path) -> None:
    """Pieces of the Stacks project: algebraic geometry in LaTeX."""
    pieces: list[str | None] = [
        text[at : at + 8000] for text in read_texts(data, "latex_stacks") for at in range(0, len(text) - 7999, 8000)
    ]
    docs = batch(pieces)
    ours, gopher = MathsQuality().drop(docs), GopherQuality().drop(docs)
    assert ours.is_valid().true_count < 0.02 * len(pieces)
    assert gopher.is_valid().true_count > 0.9 * len(pieces)


def test_real_abstracts_stay_unless_they_are_short(data: Path) -> None:
    abstracts: list[str | None] = list(read_texts(data, "mia_arxiv"))
    assert set(MathsQuality().drop(batch(abstracts)).field("reason").to_pylist()) == {None, "too_few_words"}
