"""What the rules know of languages: lists that can match, limits that exist, and defaults that give way to them."""

from __future__ import annotations

import re
from dataclasses import fields
from importlib import resources

import orjson
import pyarrow as pa
import pytest

from curate import kernels
from curate.errors import PipelineError
from curate_operators.gopher import GopherQuality
from curate_operators.languages import has_stop_words, limit, stop_words
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
    assert set(known.get("limits", {})) <= {field.name for field in fields(GopherQuality)}


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
