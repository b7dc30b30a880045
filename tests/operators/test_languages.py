"""What the rules know of languages: lists that can match, limits that exist, and defaults that give way to them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from importlib import resources

import orjson
import pyarrow as pa
import pytest

from curate import kernels
from curate.errors import PipelineError
from curate.protocols import Operator
from curate_operators.code import CodeQuality
from curate_operators.gopher import GopherQuality, GopherRepetition
from curate_operators.languages import has_stop_words, limit, stop_words, verify_language
from curate_operators.measure import Measure
from curate_operators.word_blocklist import WordBlocklist
from tests.kernels import word_rules

LANGUAGES = orjson.loads(resources.files("curate_operators").joinpath("languages.json").read_bytes())
UNSPACED = ["ja", "km", "lo", "my", "th", "zh"]


def test_the_english_list_is_gophers() -> None:
    assert stop_words("en") == ("the", "be", "to", "of", "and", "that", "have", "with")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_stop_word_can_be_met(language: str) -> None:
    listed = stop_words(language)
    assert re.fullmatch("[a-z]{2}", language)
    assert len(set(listed)) == len(listed) >= 4, "two different ones are asked for"
    words = kernels.words(kernels.Texts.of(pa.array([" ".join(listed), "-"])), language)
    assert words.first.tolist() == [0, len(listed), len(listed) + 1]
    assert [found.tolist() for found in kernels.matches(words, listed)] == [[len(listed), 0]] * 2
    assert [word.lower() for word in listed] == [*listed]


@pytest.mark.parametrize("language", LANGUAGES)
def test_limits_are_those_of_the_rules(language: str) -> None:
    known = LANGUAGES[language]
    assert set(known) <= {"stop_words", "limits"}
    assert set(known.get("limits", {})) <= {field.name for rules in (GopherQuality, GopherRepetition) for field in fields(rules)}


def test_scripts_without_spaces() -> None:
    assert [language for language in LANGUAGES if any(map(word_rules.alone, stop_words(language)[0]))] == UNSPACED
    assert [language for language in LANGUAGES if LANGUAGES[language].get("limits")] == UNSPACED


def test_a_limit_gives_way_only_at_its_default() -> None:
    assert limit(GopherQuality(), "min_mean_word_chars", "en") == 3
    assert limit(GopherQuality(), "min_mean_word_chars", "zh") is None
    assert limit(GopherQuality(), "max_mean_word_chars", "zh") == 10
    assert limit(GopherQuality(min_mean_word_chars=2), "min_mean_word_chars", "zh") == 2
    assert limit(GopherQuality(min_mean_word_chars=None), "min_mean_word_chars", "en") is None
    assert limit(GopherQuality(), "min_mean_word_chars", "tlh") == 3


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
