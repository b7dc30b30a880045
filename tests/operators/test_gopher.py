"""The Gopher paper's rules: every reason on either side of its limit, both ways to count, and real text beside plain Python."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.errors import PipelineError
from curate.protocols import Filter
from curate_operators.gopher import GopherQuality, GopherRepetition
from tests.kernels import plain, word_rules
from tests.kernels.conftest import sample_texts
from tests.operators.conftest import batch, read_texts

LIMITS: dict[str, Any] = {f.name: None for f in fields(GopherQuality) if f.name.startswith(("min_", "max_"))}
QUALITY_OFF = replace(GopherQuality(), **LIMITS)
SHARES: dict[str, Any] = {f.name: None for f in fields(GopherRepetition) if f.name.startswith("max_")}
REPETITION_OFF = replace(GopherRepetition(), **SHARES)
TEN = "a b c d e f g h i "  # nine words and a space for a tenth


def verdicts(operator: Filter, docs: pa.RecordBatch) -> list[tuple[str, float] | None]:
    return [row and (row["reason"], row["value"]) for row in operator.drop(docs).to_pylist()]


def verdict(operator: Filter, text: str | None) -> tuple[str, Any] | None:
    [found] = verdicts(operator, batch([text]))
    return found and (found[0], pytest.approx(found[1]))


@pytest.mark.parametrize(
    ("params", "text", "expected"),
    [
        ({"min_words": 3}, "one two , ... --", ("too_few_words", 2)),
        ({"min_words": 3}, "one two, three", None),
        ({"min_words": 1}, None, ("too_few_words", 0)),
        ({"min_words": 1}, "", ("too_few_words", 0)),
        ({"min_words": 0}, "", None),
        ({"max_words": 2}, "one two three.", ("too_many_words", 3)),
        ({"max_words": 2}, "one two ...", None),
        ({"max_words": 0}, "one", ("too_many_words", 1)),
        ({"min_mean_word_chars": 3}, "ab cd (!)", ("words_too_short", 2)),
        ({"min_mean_word_chars": 3}, "abcd ef", None),
        ({"max_mean_word_chars": 3}, "été! étés.", ("words_too_long", 3.5)),
        ({"max_mean_word_chars": 3}, "abcd ef", None),
        ({"max_hash_ratio": 0.1}, "#a b c ##", ("too_many_hashes", 0.5)),
        ({"max_hash_ratio": 0.1}, TEN + "#", None),
        ({"max_hash_ratio": 0.1}, TEN + "##", ("too_many_hashes", 2 / 11)),
        ({"max_ellipsis_ratio": 0.1}, "a... b… c d", ("too_many_ellipses", 2 / 6)),
        ({"max_ellipsis_ratio": 0.1}, TEN + "...", None),
        ({"max_ellipsis_ratio": 0.1}, TEN + "… j…", ("too_many_ellipses", 2 / 12)),
        ({"max_bullet_line_ratio": 0.7}, "- a\n  - b\n• c\nd", ("too_many_bullet_lines", 0.75)),
        ({"max_bullet_line_ratio": 0.75}, "- a\n  - b\n• c\nd", None),
        ({"max_bullet_line_ratio": 0.7}, "- a\n* b\n• c\nd-", None),
        ({"max_ellipsis_line_ratio": 0.3}, "a...\n\nb… \nc", ("too_many_ellipsis_lines", 0.5)),
        ({"max_ellipsis_line_ratio": 0.5}, "a...\n\nb… \nc", None),
        ({"min_words_with_letter_ratio": 0.8}, "a 1 2 b .", ("too_few_words_with_letter", 0.4)),
        ({"min_words_with_letter_ratio": 0.8}, "a b c d .", None),
        ({"min_stop_words": 2}, "the cat, the dog. The end", ("too_few_stop_words", 1)),
        ({"min_stop_words": 2}, "the cat with it", None),
        ({"min_stop_words": 1}, "bathe offof hand WITH", ("too_few_stop_words", 0)),
        ({"min_stop_words": 2, "stop_word_counting": "occurrences"}, "the cat, the dog", None),
        ({"min_stop_words": 3, "stop_word_counting": "occurrences"}, "the cat of a dog", ("too_few_stop_words", 2)),
        ({"min_stop_words": 2, "stop_words": ("cat", "dog")}, "cat and the dog", None),
        ({"min_stop_words": 2, "stop_words": ("cat", "dog")}, "the cat of and that", ("too_few_stop_words", 1)),
        ({"min_stop_words": 2, "language": "de"}, "die Katze und der Hund", None),
        ({"min_stop_words": 2, "language": "de"}, "the cat and of", ("too_few_stop_words", 0)),
    ],
)
def test_quality(params: dict[str, Any], text: str | None, expected: tuple[str, float] | None) -> None:
    assert verdict(replace(QUALITY_OFF, **params), text) == expected


def test_the_first_broken_rule_is_the_reason() -> None:
    text = "# #\n- 1...\n- 2...\n- 3..."
    found, operator = [], replace(GopherQuality(), min_mean_word_chars=3.5, max_mean_word_chars=0.5, max_bullet_line_ratio=0.5)
    for name in [name for name in LIMITS if name != "max_words"]:
        reason = verdict(operator, text)
        found.append(reason and reason[0])
        off: dict[str, Any] = {name: None}
        operator = replace(operator, **off)
    assert found == [
        "too_few_words",
        "words_too_short",
        "words_too_long",
        "too_many_hashes",
        "too_many_ellipses",
        "too_many_bullet_lines",
        "too_many_ellipsis_lines",
        "too_few_words_with_letter",
        "too_few_stop_words",
    ]
    assert verdict(operator, text) is None


@pytest.mark.parametrize("operator", [QUALITY_OFF, REPETITION_OFF])
def test_all_rules_off_keeps_everything(operator: Filter) -> None:
    assert operator.drop(batch(["", None, "x", "- x\n" * 100])).null_count == 4


@pytest.mark.parametrize("text", [None, "", " \n\n ", "\n"])
def test_nothing_to_measure_breaks_no_ratio(text: str | None) -> None:
    ratios: dict[str, Any] = {name: 0.5 for name in LIMITS if "ratio" in name}
    assert verdict(replace(QUALITY_OFF, min_mean_word_chars=3, max_mean_word_chars=10, **ratios), text) is None


def test_a_language_without_stop_words_is_refused() -> None:
    with pytest.raises(PipelineError, match="no stop words for 'tlh'"):
        GopherQuality(language="tlh", min_words=None).drop(batch(["Heghlu'meH QaQ jajvam"]))
    assert verdict(replace(QUALITY_OFF, language="tlh"), "QaQ jajvam") is None
    assert verdict(replace(QUALITY_OFF, language="tlh", min_stop_words=2, stop_words=("QaQ", "je")), "QaQ wav je") is None


def test_every_document_is_judged_by_its_own_language() -> None:
    texts = ["die Katze und der Hund"] * 2 + ["the cat and the dog"] * 3 + ["QaQ jajvam wav"]
    codes = pa.array(["de", "en", "en", None, "de", "tlh"])
    operator = replace(QUALITY_OFF, min_stop_words=2, language_column="lang.code")
    docs = batch(list(texts), lang=pa.StructArray.from_arrays([codes], ["code"]))
    few = ("too_few_stop_words", 0)
    assert operator.reads() == ("text", "lang.code")
    assert GopherQuality().reads() == ("text",)
    assert verdicts(operator, docs) == [None, few, None, None, few, None]
    assert verdicts(replace(operator, stop_words=("wav",), min_stop_words=1), docs) == [few] * 5 + [None]
    assert operator.drop(docs.slice(0, 0)).to_pylist() == []


def test_scripts_without_spaces_have_no_least_mean_length() -> None:
    text = "我们在这里学习中文，因为它很有用。" * 5
    few = ("words_too_short", 1.0)
    assert verdict(replace(GopherQuality(), language="zh"), text) is None
    assert verdict(replace(GopherQuality(), language="en"), text) == few
    assert verdict(replace(GopherQuality(), language="zh", min_mean_word_chars=2), text) == few, "a limit of one's own holds"
    codes = pa.array(["zh", "en"])
    assert verdicts(GopherQuality(language_column="lang"), batch([text, text], lang=codes)) == [None, few]


def only(name: str, limit: float, counting: Any) -> GopherRepetition:
    share: dict[str, Any] = {name: limit}
    return replace(REPETITION_OFF, counting=counting, **share)


# 30 characters, 8 of them break lines: paragraphs "one", "two" × 3, "one"
PARAGRAPHS = "one\n\ntwo\n\ntwo\n\n\ntwo\n\none"


@pytest.mark.parametrize(
    ("name", "reason", "text", "later", "every"),
    [
        ("max_repeated_paragraph_ratio", "repeated_paragraphs", PARAGRAPHS, 3 / 5, 5 / 5),
        ("max_repeated_paragraph_char_ratio", "repeated_paragraph_chars", PARAGRAPHS, 9 / 24, 15 / 24),
        ("max_repeated_line_ratio", "repeated_lines", "aa\nb\n\naa\nc", 1 / 4, 2 / 4),
        ("max_repeated_line_char_ratio", "repeated_line_chars", "aa\nb\n\naa\nc", 2 / 10, 4 / 10),
        ("max_top_2_gram_ratio", "top_2_gram", "a b c a b", 6 / 9, 6 / 9),
        ("max_top_3_gram_ratio", "top_3_gram", "a b c a b c", 10 / 11, 10 / 11),
        ("max_top_4_gram_ratio", "top_4_gram", "a b c d e", 7 / 9, 7 / 9),
        ("max_repeated_5_gram_ratio", "repeated_5_grams", "a b c d e x a b c d e", 5 / 21, 10 / 21),
        ("max_repeated_6_gram_ratio", "repeated_6_grams", "a a a a a a a a", 6 / 15, 8 / 15),
        ("max_repeated_7_gram_ratio", "repeated_7_grams", " ".join("abcdefg" * 2), 7 / 27, 14 / 27),
        ("max_repeated_8_gram_ratio", "repeated_8_grams", " ".join("abcdefgh" * 2), 8 / 31, 16 / 31),
        ("max_repeated_9_gram_ratio", "repeated_9_grams", " ".join("abcdefghi" * 3), 18 / 53, 27 / 53),
        ("max_repeated_10_gram_ratio", "repeated_10_grams", " ".join("abcdefghij" * 2), 10 / 39, 20 / 39),
    ],
)
def test_repetition(name: str, reason: str, text: str, later: float, every: float) -> None:
    for counting, value in (("later", later), ("all", every)):
        assert verdict(only(name, value, counting), text) is None
        assert verdict(only(name, value - 0.001, counting), text) == (reason, value)


@pytest.mark.parametrize("text", [None, "", " ", "one", "one two"])
def test_nothing_repeats_in_next_to_nothing(text: str | None) -> None:
    operator = replace(GopherRepetition(), max_top_2_gram_ratio=1, max_top_3_gram_ratio=1)
    assert verdict(operator, text) is None


def test_line_feeds_at_both_ends_make_two_empty_lines() -> None:
    assert verdict(GopherRepetition(), "\none\n") == ("repeated_lines", 1 / 3), "as in datatrove"
    assert verdict(GopherRepetition(), "\none") != ("repeated_lines", 1 / 3)


def test_repetition_is_judged_in_the_order_of_the_table() -> None:
    text = ("a a a a a\n" * 12 + "\n") * 3
    found, operator = [], GopherRepetition()
    while reason := verdict(operator, text):
        found.append(reason[0])
        name = reason[0].removesuffix("s")
        off: dict[str, Any] = {f"max_{name}_ratio": None}
        operator = replace(operator, **off)
    grams = [f"top_{n}_gram" for n in (2, 3, 4)] + [f"repeated_{n}_grams" for n in (5, 6, 7, 8, 9, 10)]
    assert found == ["repeated_paragraphs", "repeated_paragraph_chars", "repeated_lines", "repeated_line_chars", *grams]


def _per(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _quality(text: str) -> Iterator[tuple[str, float | None, float, int]]:
    """Yield reason, measure, limit and direction of every rule, in plain Python."""
    words, lines = word_rules.words(text, "numbers", "contractions"), text.splitlines()
    worded = [word for word in words if any(map(word_rules.wordly, word))]
    mean = _per(sum(map(len, worded)), len(worded))
    stops = ("the", "be", "to", "of", "and", "that", "have", "with")
    yield "too_few_words", len(worded), 50, -1
    yield "too_many_words", len(worded), 100_000, 1
    yield "words_too_short", mean, 3, -1
    yield "words_too_long", mean, 10, 1
    yield "too_many_hashes", _per(text.count("#"), len(words)), 0.1, 1
    yield "too_many_ellipses", _per(text.count("...") + text.count("…"), len(words)), 0.1, 1
    yield "too_many_bullet_lines", _per(sum(line.lstrip().startswith(("•", "-")) for line in lines), len(lines)), 0.9, 1
    yield "too_many_ellipsis_lines", _per(sum(line.rstrip().endswith(("...", "…")) for line in lines), len(lines)), 0.3, 1
    yield "too_few_words_with_letter", _per(sum(any(c.isalpha() for c in word) for word in words), len(words)), 0.8, -1
    yield "too_few_stop_words", len({*stops} & {*words}), 2, -1


def _repetition(text: str, counting: str) -> Iterator[tuple[str, float | None, float, int]]:
    words = word_rules.words(text, "numbers", "contractions")
    for breaks, name in (("blank", "paragraph"), ("runs", "line")):
        total, repeats, chars = plain.repeated_lines(plain.BREAKS[breaks](text), counting, skip_empty=False)
        yield f"repeated_{name}s", _per(repeats, total), 0.3, 1
        yield f"repeated_{name}_chars", _per(chars, len(text)), 0.2, 1
    for n, limit in ((2, 0.20), (3, 0.18), (4, 0.16)):
        yield f"top_{n}_gram", _per(plain.top_gram(words, n), len(text)), limit, 1
    for n in range(5, 11):
        yield f"repeated_{n}_grams", _per(plain.repeated_gram(words, n, counting), len(text)), round(0.20 - n / 100, 2), 1


def _first_broken(rules: Iterator[tuple[str, float | None, float, int]]) -> tuple[str, float] | None:
    for reason, value, limit, direction in rules:
        if value is not None and (value - limit) * direction > 0:
            return reason, value
    return None


@pytest.fixture(scope="module", params=["sample", "shared"])
def texts(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "sample":
        return [text[:6000] for text in sample_texts()]
    folder: Path = request.getfixturevalue("data")
    sets = ["pile_slices", "manpages_multiling", "wiki_xquad_parallel", "spam_email_sa", "code_samples"]
    return [text[:6000] for text in read_texts(folder, *sets, limit=60)]


def test_quality_of_real_documents(texts: list[str]) -> None:
    expected = [_first_broken(_quality(text)) for text in texts]
    assert verdicts(GopherQuality(), batch([*texts])) == expected
    assert len({one[0] for one in expected if one}) >= 3


@pytest.mark.parametrize("counting", ["later", "all"])
def test_repetition_of_real_documents(texts: list[str], counting: Any) -> None:
    expected = [_first_broken(_repetition(text, counting)) for text in texts]
    assert verdicts(GopherRepetition(counting=counting), batch([*texts])) == expected
    assert len({one[0] for one in expected if one}) >= 2


def test_punctuation_may_count_as_words_or_not() -> None:
    text = "one, two, three (3), four"  # ten words, four of them with a letter; without punctuation five
    rule = replace(QUALITY_OFF, min_words_with_letter_ratio=0.75)
    assert rule.drop(batch([text]))[0].as_py()["value"] == pytest.approx(4 / 10)
    assert replace(rule, punctuation_counts=False).drop(batch([text])).null_count == 1


def test_no_stop_words_at_all_are_refused() -> None:
    with pytest.raises(PipelineError, match="is empty"):
        GopherQuality(stop_words=()).verify(pa.schema([]))


def test_letters_that_are_words_are_not_judged_by_n_grams() -> None:
    text = "我们的工作是我们的生活。" * 30
    docs = batch([text])
    assert GopherRepetition().drop(docs).null_count == 0
    assert GopherRepetition(language="zh").drop(docs).null_count == 1
    assert GopherRepetition(language="zh", max_top_2_gram_ratio=0.001).drop(docs).null_count == 0
