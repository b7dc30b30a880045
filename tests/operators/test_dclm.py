"""DCLM's line rules, rule by rule and against plain Python on real pages; addresses; the page rules that read what was removed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import PipelineError
from curate.testing import check_operator
from curate_operators.dclm import REMOVED, DclmLines, DclmPage
from curate_operators.dclm_urls import StripUrls
from tests.operators.conftest import batch, read_texts

OFF: dict[str, Any] = {
    "max_upper_ratio": None,
    "max_digit_ratio": None,
    "counters": (),
    "min_words": None,
    "boiler_phrases": (),
    "boiler_beginnings": (),
    "boiler_endings": (),
}


def only(**rules: Any) -> DclmLines:
    return DclmLines(**(OFF | rules))


def edited(text: str | None, operator: DclmLines) -> tuple[str | None, float | None]:
    docs = operator.map(batch([text]))
    return docs.column("text")[0].as_py(), docs.column(REMOVED)[0].as_py()


@pytest.mark.parametrize(
    ("rules", "text", "expected"),
    [
        ({"max_upper_ratio": 0.5}, "ABc\nAbcd two", ("Abcd two", 1 / 3)),
        ({"max_upper_ratio": 0.5}, "ABcd", ("ABcd", 0)),
        ({"max_upper_ratio": 0.5}, "ÄÖü words\nÉTÉ\nfin", ("ÄÖü words\nfin", 1 / 4)),
        ({"max_digit_ratio": 0.999999}, "2024\n20 24\n12:30", ("20 24\n12:30", 1 / 4)),
        ({"max_digit_ratio": 0.5}, "a 1234\nab12", ("ab12", 2 / 3)),
        ({"min_words": 2}, "menu\ntwo words\n\n  \n-", ("two words", 1 / 3)),
        ({"min_words": 1}, "menu\n \n-", ("menu\n-", 0)),
        ({"counters": ("likes",)}, "3 likes\n* 1,2k Likes!\n3 likes of mine\nlikes\n3 views", ("3 likes of mine\nlikes\n3 views", 4 / 11)),
        ({"counters": ("likes",), "max_counter_words": 2}, "* 3 likes\n3 likes", ("* 3 likes", 2 / 4)),
        ({"boiler_phrases": ("items in cart",)}, "3 Items in Cart today\nx", ("3 today\nx", 3 / 6)),
        ({"boiler_phrases": ("items in cart",)}, "items in cart", ("", 1)),
        ({"boiler_phrases": ("a.b",)}, "a.b axb", (" axb", 1 / 2)),
        ({"boiler_endings": ("read more...",)}, "The news. Read more...  \nread more... here", ("The news.\nread more... here", 2 / 7)),
        ({"boiler_beginnings": ("sign-in",)}, "Sign-in here\nplease sign-in", ("here\nplease sign-in", 1 / 4)),
        ({"boiler_phrases": ("cart",), "max_boiler_words": 2}, "a cart\nthe full cart", ("a\nthe full cart", 1 / 5)),
    ],
)
def test_each_line_rule(rules: dict[str, Any], text: str, expected: tuple[str, float]) -> None:
    left, removed = edited(text, only(**rules))
    assert left == expected[0]
    assert removed == pytest.approx(expected[1])


def test_a_text_that_loses_nothing_stays_as_it_is() -> None:
    text = "\n\n  Two words\r\n\nand two more\n\n"
    assert edited(text, DclmLines()) == (text, 0)
    assert edited(f"{text}menu", DclmLines())[0] == "  Two words\r\n\nand two more", "line feeds at the ends of an edited text go"


def test_nothing_to_count_is_null() -> None:
    assert edited(None, DclmLines()) == (None, None)
    assert edited("", DclmLines()) == ("", None)
    assert edited("--- ***", DclmLines()) == ("--- ***", None)


def test_a_column_of_nothing() -> None:
    docs = pa.record_batch({"id": pa.array(["0", "1"]), "text": pa.nulls(2)})
    for operator in (DclmLines(), StripUrls()):
        assert operator.map(docs).column("text").equals(pa.nulls(2, pa.large_string()))
    assert DclmLines().map(docs).column(REMOVED).to_pylist() == [None, None]
    assert [row["reason"] for row in DclmPage().drop(DclmLines().map(docs)).to_pylist()] == ["too_few_words"] * 2


def test_types_of_text_and_slices() -> None:
    docs = batch(["menu", "menu\ntwo words", "two words"])
    docs = docs.set_column(1, "text", docs.column("text").cast(pa.string()))
    short = docs.slice(1)
    result = DclmLines().map(short)
    assert result.column("text").type == pa.string()
    assert result.column("text").to_pylist() == ["two words", "two words"]
    assert result.schema.field(REMOVED).type == pa.float64()
    assert only(boiler_phrases=("menu",)).map(short).column("text").to_pylist() == ["two words", "two words"]


def test_boiler_strings_that_cannot_be_looked_for() -> None:
    for wrong in ({"boiler_phrases": ("",)}, {"counters": ("likes", "")}, {"boiler_endings": tuple(map(str, range(65)))}):
        with pytest.raises(PipelineError, match="at most 64 boiler strings"):
            only(**wrong)


COUNTER = re.compile(
    r"^\W*\d[\d.,]*[kmb]?\s+(likes|shares|comments|retweets|reposts|quotes|bookmarks|upvotes|downvotes|downloads|views|followers)\W*$"
)


def _is_prose(line: str) -> bool:
    """The published rules in plain Python, character by character."""
    if not line:
        return True
    upper, digits = sum(map(str.isupper, line)) / len(line), sum(map(str.isdecimal, line)) / len(line)
    return upper <= 0.5 and digits < 1 and not COUNTER.match(line.lower()) and len(line.split()) >= 2


def _reference(text: str) -> tuple[list[str], float | None]:
    before = sum(word[0].isalnum() for word in text.split())
    kept = [line for line in text.split("\n") if _is_prose(line)]
    after = 0
    for place, line in enumerate(kept):
        if len(line.split()) <= 10:
            kept[place] = re.sub(r"(?i)\s?items in cart|\s?read more(\.\.\.|…)\s*$|^\s*sign-in\s?", "", line)
        after += sum(word[0].isalnum() for word in kept[place].split())
    kept = [now for now in kept if now.strip() or now == ""]
    return [line for line in kept if line], (before - after) / before if before else None


def test_equals_plain_python_on_real_documents(data: Path) -> None:
    texts = read_texts(data, "pile_slices", "web_c4_demo", "wiki_xquad_parallel", "spam_email_sa", "code_samples", limit=400)
    texts += ["Sign-in or not\nWell, read more...\nREAD MORE…", "5 items in cart\n17 views\nto the end"]
    docs = DclmLines().map(batch(list(texts)))
    for text, found, removed in zip(texts, docs.column("text").to_pylist(), docs.column(REMOVED).to_pylist(), strict=True):
        lines, share = _reference(text)
        assert [line for line in found.split("\n") if line] == lines
        assert removed == (None if share is None else pytest.approx(share))
    removed = docs.column(REMOVED).drop_null().to_numpy()
    assert len(np.unique(removed)) > 200, "the rules have something to do on these documents"


@given(st.lists(st.text(alphabet="aB1 é\n.-3likes", max_size=60), max_size=6))
@settings(max_examples=60)
def test_what_is_left_is_prose_and_a_second_pass_changes_nothing(texts: list[str]) -> None:
    once = DclmLines().map(batch(list(texts)))
    twice = DclmLines().map(once)
    assert twice.column("text") == once.column("text")
    for text in once.column("text").to_pylist():
        assert all(_is_prose(line) for line in text.split("\n"))


@pytest.mark.parametrize(
    ("text", "removed", "expected"),
    [
        ("a page", 0.05, None),
        ("a page", 0.051, ("too_many_words_removed", 0.051)),
        ("a page", None, None),
        ("---", 0.0, ("too_few_words", 0)),
        (None, None, ("too_few_words", 0)),
    ],
)
def test_page_rules(text: str | None, removed: float | None, expected: tuple[str, float] | None) -> None:
    row = DclmPage().drop(batch([text], removed_word_ratio=pa.array([removed], pa.float64())))[0].as_py()
    assert (row and (row["reason"], row["value"])) == expected


def test_page_rules_are_off_with_null() -> None:
    docs = batch([None, "x"], removed_word_ratio=pa.array([None, 1.0], pa.float64()))
    assert DclmPage(min_words=None, max_removed_word_ratio=None).drop(docs).null_count == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://a.b/c?d=e#f.", "see."),
        ("HTTP://A.B/C or www.x.org/y, yes", "or, yes"),
        ("(ftp://a.b/c) and", "() and"),
        ("at example.com/a-b?c or shop.example.co.uk", "at or"),
        ("write to me@example.com!", "write to!"),
        ("10.0.0.1:80/x and 255.1.2.3", "and"),
        ("one\nhttp://a.de\ntwo", "one\n\ntwo"),
        ("version 1.2.3, README.md, e.g. this.And in.it", "version 1.2.3, README.md, e.g. this.And in.it"),
        ("the end.Com", "the end.Com"),
    ],
)
def test_addresses_go(text: str, expected: str) -> None:
    assert StripUrls().map(batch([text])).column("text")[0].as_py().strip(" ") == expected


def test_what_counts_as_an_address_can_be_chosen() -> None:
    docs = batch(["a.com 1.2.3.4 http://x.y c.eu", None])
    assert StripUrls(bare=False, ip_addresses=False).map(docs).column("text").to_pylist() == ["a.com 1.2.3.4 c.eu", None]
    assert StripUrls(domains=("eu",)).map(docs).column("text").to_pylist() == ["a.com", None]
    with pytest.raises(PipelineError, match=r"\.com"):
        StripUrls(domains=(".com",))


def test_no_address_is_left_on_real_pages(data: Path) -> None:
    docs = batch(list(read_texts(data, "pile_slices", "spam_email_sa", "web_c4_demo", limit=300)))
    has = pc.sum(pc.match_substring_regex(docs.column("text"), "https?://[a-z0-9]")).as_py()
    left = pc.match_substring_regex(StripUrls().map(docs).column("text"), "https?://[a-z0-9]")
    assert has > 50
    assert not pc.any(left).as_py()


@pytest.mark.parametrize(
    "operator", [DclmLines(), only(), only(boiler_phrases=("word",)), StripUrls(), StripUrls(bare=False, ip_addresses=False)]
)
def test_the_battery(operator: DclmLines | StripUrls) -> None:
    check_operator(operator)
