"""C4's rules: what happens to each kind of line, which rule comes first, and which pages go."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import kernels
from curate.kernels import word_spans
from curate_operators.c4 import POLICIES, C4Lines, C4Page
from tests.kernels.conftest import sample_texts
from tests.operators.conftest import batch, read_texts

OFF = C4Lines(None, None, False, False, False, False)
GOOD = "Here is one line."


def left(operator: C4Lines, *texts: str | None) -> list[str | None]:
    docs = batch([*texts])
    found = operator.map(docs)
    assert found.schema == docs.schema
    return found.column("text").to_pylist()  # type: ignore[no-any-return]


def verdict(operator: C4Page, text: str | None) -> tuple[str, float] | None:
    row = operator.drop(batch([text]))[0].as_py()
    return row and (row["reason"], row["value"])


@pytest.mark.parametrize(
    "line",
    [
        GOOD,
        "Is this a line?",
        "What a line!",
        'She said "yes"',
        "These are the girls'",
        "One two three.",
        "Wait. . .",
        "Two dots ..",
        f"A word of {'x' * 1000} characters.",
        "The javascript stays: lorem ipsum.",
        "The privacy policy stays: lorem ipsum.",
        "The privacy policy { stays }.",
        "Lorem ipsum dolor.",
        "if (x) { return y; }.",
        "Of cookies, and of use.",
    ],
)
def test_lines_that_stay(line: str) -> None:
    assert left(C4Lines(), f"{GOOD}\n{line}\n{GOOD}") == [f"{GOOD}\n{line}\n{GOOD}"]


@pytest.mark.parametrize(
    "line",
    [
        "",
        " \t ",
        "No end at all",
        "A colon ends this:",
        "A curly quote ends this”",
        "Read more of this...",
        "Read more of this....",
        "Only two.",
        "One.",
        f"A word of {'x' * 1001} characters.",
        f"A word of {'é' * 1001} characters.",
        "Please enable JavaScript in it.",
        "Javascript { of some kind }.",
        *(f"Our {phrase.upper()} says so." for phrase in POLICIES),
        "It ends in a mark.[1] [2]",
    ],
)
def test_lines_that_go(line: str) -> None:
    assert left(C4Lines(), f"{GOOD}\n{line}\n{GOOD}") == [f"{GOOD}\n{GOOD}"]


@pytest.mark.parametrize(
    ("params", "line"),
    [
        ({"max_word_chars": None}, f"A word of {'x' * 1001} characters."),
        ({"max_word_chars": 4}, "Here is four line"),
        ({"min_words": None}, "One."),
        ({"min_words": 1}, "One."),
        ({"min_words": 5}, "Only five words are there."),
        ({"terminal_punctuation": False}, "No end at all"),
        ({"terminal_punctuation": False}, "Read more of this..."),
        ({"remove_javascript": False}, "Please enable JavaScript in it."),
        ({"remove_policies": False}, "Our privacy policy says so."),
        ({"remove_citations": False}, "It is so [1] there."),
    ],
)
def test_each_rule_has_its_switch(params: dict[str, Any], line: str) -> None:
    rest = {"terminal_punctuation": False} if not line.endswith(".") else {}
    assert left(C4Lines(**rest | params), line) == [line]


@pytest.mark.parametrize(
    ("params", "line"),
    [({"max_word_chars": 3}, "Here is four line."), ({"min_words": 6}, "Only five words are there.")],
)
def test_other_limits(params: dict[str, Any], line: str) -> None:
    assert left(C4Lines(**params), line) == [""]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("It is so[1] there[23].", "It is so there."),
        ("It is so[citation needed] there.", "It is so there."),
        ("History[edit] of the place.", "History of the place."),
        ("It is so[] there.", "It is so there."),
        ("See [a] and [1a] there.", "See [a] and [1a] there."),
        ("It is so.[4]", "It is so."),
        ("It is so...[4]", ""),
        ("It [1] two.", "It  two."),
        ("Java[1]script is there.", ""),
    ],
)
def test_citations_are_cut_out(line: str, expected: str) -> None:
    assert left(C4Lines(), line) == [expected]


def test_lines_are_trimmed_and_joined() -> None:
    text = f"  {GOOD} \r\n\n\n\t{GOOD}\u2028Menu\x0b\xa0{GOOD}\n"
    assert left(C4Lines(), text) == ["\n".join([GOOD] * 3)]


def test_pages_may_end_up_empty_and_null_stays_null() -> None:
    assert left(C4Lines(), "Menu\nHome", None, "", GOOD, None) == ["", None, "", GOOD, None]
    assert left(C4Lines(), None) == [None]
    assert left(C4Lines()) == []
    assert left(C4Lines(), "It is[1] so.", None) == ["It is so.", None]


def test_all_rules_off_only_trims() -> None:
    assert left(OFF, " Menu \n\nJavaScript [1]\n{") == ["Menu\nJavaScript [1]\n{"]


lines = st.lists(
    st.sampled_from([GOOD, "Menu", "a", "javascript", "lorem ipsum", "{", "privacy policy", ".", "...", '"', " ", "\n", "\r", "é" * 1001]),
    max_size=20,
)


@given(lines.map(" ".join))
def test_a_second_time_changes_nothing(text: str) -> None:
    once = left(C4Lines(), text)
    assert left(C4Lines(), *once) == once


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two. Three. Four. Five.", None),
        ("One. Two. Three. Four.", ("too_few_sentences", 4)),
        ("One\nTwo\nThree\nFour\nFive", None),
        ("One\nTwo\n\n\nThree\nFour", ("too_few_sentences", 4)),
        ("One. Two. Mr. Smith. So, e.g. four.", ("too_few_sentences", 4)),
        ("", ("too_few_sentences", 0)),
        (None, ("too_few_sentences", 0)),
        ("Lorem Ipsum { dolor }", ("lorem_ipsum", 1)),
        ("{", ("curly_bracket", 1)),
        ("}", ("too_few_sentences", 1)),
        ("lorem  ipsum", ("too_few_sentences", 1)),
        ("lorem\nipsum", ("too_few_sentences", 2)),
    ],
)
def test_pages(text: str | None, expected: tuple[str, float] | None) -> None:
    assert verdict(C4Page(), text) == expected


def test_each_rule_of_pages_has_its_switch() -> None:
    text = "Lorem ipsum {"
    assert verdict(C4Page(drop_lorem_ipsum=False), text) == ("curly_bracket", 1)
    assert verdict(C4Page(drop_lorem_ipsum=False, drop_curly_bracket=False), text) == ("too_few_sentences", 1)
    assert verdict(C4Page(False, False, 1), text) is None
    assert verdict(C4Page(False, False, None), "") is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("The javascript of lorem ipsum.", "lorem_ipsum"),
        ("The javascript of a { bracket.", None),
        ("The privacy policy of a { bracket.", "curly_bracket"),
        ("The privacy policy of lorem ipsum.", "lorem_ipsum"),
        ("A lorem ipsum and a { bracket.", "lorem_ipsum"),
        ("A bracket {", None),
        ("{ Two", None),
    ],
)
def test_a_page_falls_by_the_lines_that_reach_it(line: str, reason: str | None) -> None:
    docs = C4Lines().map(batch([f"{GOOD}\n{line}"]))
    row = C4Page(min_sentences=None).drop(docs)[0].as_py()
    assert (row and row["reason"]) == reason


def _line(line: str) -> str | None:
    """Return what C4 makes of a line, in plain Python and in its order of rules; None where it goes."""
    line = line.strip()
    words = line.split()
    if any(len(word) > 1000 for word in words):
        return None
    line = re.sub(r"\[\d*\]|\[edit\]|\[citation needed\]", "", line, flags=re.ASCII)
    if not line.endswith((".", "?", "!", '"', "'")) or line.endswith("...") or len(words) < 3:
        return None
    small = line.lower()
    if "lorem ipsum" in small:
        return line
    if "javascript" in small:
        return None
    return line if "{" in line or not any(policy in small for policy in POLICIES) else None


def _lines(text: str) -> str:
    return "\n".join(line for line in map(_line, text.splitlines()) if line is not None)


@pytest.mark.parametrize("where", ["sample", "shared"])
def test_lines_of_real_documents(where: str, request: pytest.FixtureRequest) -> None:
    if where == "sample":
        texts = sample_texts()
    else:
        folder: Path = request.getfixturevalue("data")
        texts = read_texts(folder, "pile_slices", "manpages_multiling", "wiki_xquad_parallel", "web_c4_demo", "code_samples", limit=100)
    found = left(C4Lines(), *texts)
    assert found == [_lines(text) for text in texts]
    assert any(found)


def test_words_of_what_is_left_are_those_of_the_new_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The chain does not tokenise again: words follow their lines, and only a page whose citation marks were cut is read anew."""
    texts = [text for text in sample_texts() if text] + [f"{GOOD} One[1] two [edit] three.\nNo end\n{GOOD}"]
    docs = batch([*texts, None, ""])
    known = kernels.words(kernels.texts(docs.column("text")))
    column = C4Lines().map(docs).column("text")
    read: list[int] = []
    found = word_spans._found
    monkeypatch.setattr(word_spans, "_found", lambda texts, *rules: read.append(len(texts)) or found(texts, *rules))
    carried = kernels.words(kernels.texts(column))
    assert len(carried.start) < len(known.start) and len(read) == 1 and 0 < read[0] < len(texts) / 2
    anew = kernels.words(kernels.Texts.of(column))
    for name in ("first", "start", "end", "chars", "kind", "hashes"):
        assert getattr(carried, name).tolist() == getattr(anew, name).tolist(), name


@pytest.mark.parametrize("text", [f"{GOOD}\n", "[1] a b", "x" * 1001, "a b c...", 'a b "', "a\rb c d.\x1ce f g!", "É terms of USE b."])
def test_single_lines_beside_plain_python(text: str) -> None:
    assert left(C4Lines(), text) == [_lines(text)]
