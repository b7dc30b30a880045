"""What the rules know of languages: lists that can match, limits that rules have, and defaults that give way to them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import orjson
import pyarrow as pa
import pytest

from curate import kernels
from curate.errors import PipelineError
from curate.protocols import Filter, Operator
from curate.registry import OperatorSpec, build
from curate_operators import languages
from curate_operators.c4 import C4Page
from curate_operators.code import CodeQuality
from curate_operators.fineweb import FinewebQuality
from curate_operators.gopher import GopherQuality, GopherRepetition
from curate_operators.languages import has_stop_words, limits, stop_words, verify_language
from curate_operators.measure import Measure
from curate_operators.rules import LanguageFilter
from curate_operators.word_blocklist import WordBlocklist
from tests.kernels import word_rules

LANGUAGES, LIMITS = (orjson.loads(path.read_bytes()) for path in (languages.WORDS, languages.LIMITS))
UNSPACED = ["ja", "km", "lo", "my", "th", "zh"]


def test_the_english_list_is_gophers() -> None:
    assert stop_words("en") == ("the", "be", "to", "of", "and", "that", "have", "with")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_stop_word_can_be_met(language: str) -> None:
    assert set(LANGUAGES[language]) == {"stop_words"}
    listed = stop_words(language)
    assert re.fullmatch("[a-z]{2}", language)
    assert len(set(listed)) == len(listed) >= 4, "two different ones are asked for"
    words = kernels.words(kernels.Texts.of(pa.array([" ".join(listed), "-"])), language)
    assert words.first.tolist() == [0, len(listed), len(listed) + 1]
    assert [found.tolist() for found in kernels.matches(words, listed)] == [[len(listed), 0]] * 2
    assert [word.lower() for word in listed] == [*listed]


RULES: tuple[type[LanguageFilter], ...] = (GopherQuality, GopherRepetition, FinewebQuality, C4Page)
DEFAULTS = {field.name: field.default for rules in RULES for field in fields(rules)}  # type: ignore[arg-type]


@pytest.mark.parametrize("language", LIMITS)
def test_limits_are_those_of_the_rules_and_differ_from_the_published(language: str) -> None:
    found = LIMITS[language]
    assert re.fullmatch("[a-z]{2,3}", language)
    assert found
    for name, value in found.items():
        assert value != DEFAULTS[name]
        assert value is None or value > 0
        assert isinstance(value, int) or value is None or isinstance(DEFAULTS[name], float) or "mean" in name
    for least, most in (("min_words", "max_words"), ("min_mean_word_chars", "max_mean_word_chars")):
        low, high = (found.get(name, DEFAULTS[name]) for name in (least, most))
        assert low is None or high is None or low < high


def test_english_has_the_published_limits() -> None:
    assert "en" not in LIMITS


def test_scripts_without_spaces() -> None:
    assert [language for language in LANGUAGES if any(map(word_rules.alone, stop_words(language)[0]))] == UNSPACED
    for language in UNSPACED:
        assert LIMITS[language]["min_mean_word_chars"] is None
        assert LIMITS[language]["max_top_2_gram_ratio"] is None
        assert LIMITS[language]["min_words"] > 70, "a word is a letter there"


def test_limits_follow_the_language() -> None:
    assert limits("fi")["min_words"] < 50 < limits("vi")["min_words"]
    assert limits("fi")["min_mean_word_chars"] > 3 > limits("ko")["min_mean_word_chars"]
    assert limits("fi")["max_mean_word_chars"] > 10 > limits("ko")["max_mean_word_chars"]
    assert limits("th")["min_punctuated_line_ratio"] is None
    assert limits("th")["min_sentences"] is None
    assert limits("tlh") == {}


def test_a_limit_gives_way_only_at_its_default() -> None:
    assert GopherQuality().limit("min_mean_word_chars", "en") == 3
    assert GopherQuality().limit("min_mean_word_chars", "zh") is None
    assert GopherQuality().limit("max_mean_word_chars", "zh") == 10
    assert GopherQuality(min_mean_word_chars=2).limit("min_mean_word_chars", "zh") == 2
    assert GopherQuality(min_mean_word_chars=None).limit("min_mean_word_chars", "fi") is None
    assert GopherQuality().limit("min_mean_word_chars", "tlh") == 3
    assert GopherQuality(language_limits=False).limit("min_mean_word_chars", "zh") == 3


LONG_WORDS = "Ihmisoikeuksien tunnustaminen muodostaa vapauden perustan kansainvälisessä yhteisössä, ja " * 10
SYLLABLES = "mọi người đều có ý chí và lẽ ở bà ta, ai ai bị gì đó là do họ cả. " * 4
THAI_LINES = "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ\n" * 9
SHORT_LINES = "人人生而自由，在尊严和权利上一律平等。\n他们赋有理性和良心。\n" * 3
ONE_PAIR = "大家的书是大家的，大家的笔是大家的，大家的家是大家的。"

JUDGED = {
    "a length of words": ("gopher_quality", "fi", LONG_WORDS, "words_too_long", None),
    "short words": ("gopher_quality", "vi", SYLLABLES, "words_too_short", None),
    "fewer words": ("gopher_quality", "fi", LONG_WORDS[:450], "too_few_words", None),
    "more words": ("gopher_quality", "vi", "người đều " * 30, None, "too_few_words"),
    "n-grams of letters": ("gopher_repetition", "zh", ONE_PAIR, "top_2_gram", None),
    "no full stops": ("fineweb_quality", "th", THAI_LINES, "too_few_lines_end_in_punctuation", None),
    "short lines": ("fineweb_quality", "zh", SHORT_LINES, "too_many_short_lines", None),
    "line feeds": ("fineweb_quality", "fi", "Ihmisoikeusjulistuksen tunnustaminen.\n" * 9, "too_many_line_feeds", None),
    "no sentences": ("c4_page", "th", THAI_LINES[:60], "too_few_sentences", None),
}
ASIDE: dict[str, dict[str, Any]] = {"gopher_quality": {"min_stop_words": None}, "fineweb_quality": {"max_repeated_line_char_ratio": None}}


def reason(use: str, text: str, code: str | None = None, **params: Any) -> str | None:
    operator = build(OperatorSpec(use, ASIDE.get(use, {}) | params))
    assert isinstance(operator, Filter)
    columns = {"text": pa.array([text], pa.large_string())} | ({} if code is None else {"code": pa.array([code])})
    answer = operator.drop(pa.record_batch(columns))[0].as_py()
    return answer and str(answer["reason"])


@pytest.mark.parametrize("name", JUDGED)
def test_each_language_is_judged_by_its_own_limits(name: str) -> None:
    use, language, text, published, own = JUDGED[name]
    assert reason(use, text, language=language) == own
    assert reason(use, text, language, language_column="code") == own
    assert reason(use, text, language=language, language_limits=False) == published
    assert reason(use, text, language, language_column="code", language_limits=False) == published


def test_unknown_languages() -> None:
    assert has_stop_words("de")
    assert not has_stop_words("tlh")
    with pytest.raises(PipelineError, match="no stop words for 'tlh'") as refused:
        stop_words("tlh")
    assert "give your own" in str(refused.value.hint)


LANG = pa.struct([("score", pa.float32()), ("script", pa.string()), ("code", pa.large_string())])
SCHEMA = pa.schema(
    [("text", pa.large_string()), ("lang", LANG), ("site", pa.struct([("n", pa.int64()), ("tld", pa.string())])), ("n", pa.int32())]
)
ASKING: list[Callable[[str], Operator]] = [
    lambda path: WordBlocklist(("bad",), language=path),
    lambda path: Measure(language_column=path),
    lambda path: CodeQuality(language=path),
]


@pytest.mark.parametrize("asking", ASKING)
def test_a_language_is_a_string(asking: Callable[[str], Operator]) -> None:
    for path, hint in [("lang", "`lang.code`"), ("lang.score", "`lang.code`"), ("site", "`site.tld`"), ("n", "`lang.code`")]:
        with pytest.raises(PipelineError, match=rf"column `{re.escape(path)}` is ") as refused:
            asking(path).verify(SCHEMA)
        assert hint in str(refused.value.hint)
    asking("lang.code").verify(SCHEMA)
    asking("site.tld").verify(SCHEMA)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()), pa.null()])
def test_every_kind_of_string_will_do(kind: pa.DataType) -> None:
    verify_language(pa.schema([("code", kind)]), "code")
    docs = pa.record_batch({"text": pa.array(["der Hund"], pa.large_string()), "code": pa.nulls(1, kind)})
    assert Measure(measures=("stop_words",), language_column="code", language="de").score(docs)[0].as_py()["stop_words"] == 1


def test_no_language_is_no_mistake() -> None:
    verify_language(SCHEMA, None)
    verify_language(SCHEMA, "absent.code")
    verify_language(SCHEMA, "lang.absent")
