"""Measures against plain Python, and conditions over them against the filters, rule by rule."""

from __future__ import annotations

import collections
import dataclasses
import math
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import Filter
from curate.document import set_column
from curate.errors import PipelineError
from curate.testing import documents
from curate_operators.c4 import C4Page
from curate_operators.dclm import DclmPage
from curate_operators.fineweb import FinewebQuality
from curate_operators.gopher import GopherQuality, GopherRepetition
from curate_operators.measure import Measure
from curate_operators.where import Where
from tests.operators.conftest import batch, read_texts

SETS = ("pile_slices", "web_c4_demo", "wiki_xquad_parallel", "spam_email_sa", "code_samples", "manpages_multiling")
EVERYTHING = (*Measure.measures, "compression")
BREAKS = [
    "one\rtwo\rthree\rfour\rfive\rsix",
    "one\u2028two\u2028three\u2028four",
    "same line\r\nsame line\r\nsame line\rsame line",
    "a\u2029a\x85a\x0ba",
]


def measured(text: str | None, operator: Measure | None = None) -> dict[str, Any]:
    row: dict[str, Any] = (operator or Measure()).score(batch([text]))[0].as_py()
    return row


@pytest.fixture(scope="module")
def docs(data: Path) -> pa.RecordBatch:
    """Real documents of many kinds, the awkward ones, and all of them with measures in both ways of counting."""
    texts: list[str | None] = [*read_texts(data, *SETS, limit=250), *documents().column("text").to_pylist(), *BREAKS]
    found = batch(texts)
    found = set_column(found, "measure", Measure().score(found))
    return set_column(found, "strict", Measure(counting="all").score(found))


def off(operator: type[Filter]) -> dict[str, Any]:
    """Every rule of a filter turned off."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(operator):  # type: ignore[arg-type]
        if field.name.startswith(("min_", "max_")):
            found[field.name] = None
        elif field.name.startswith("drop_"):
            found[field.name] = False
    return found


def condition(measure: str, rule: str, limit: float) -> str:
    return f"{measure} is null or {measure} {'>=' if rule.startswith('min_') else '<='} {limit}"


RULES: list[tuple[type[Filter], dict[str, Any], str]] = [
    (GopherQuality, {"min_words": 50}, "plain_words"),
    (GopherQuality, {"max_words": 2000}, "plain_words"),
    (GopherQuality, {"min_mean_word_chars": 3.5}, "mean_word_chars"),
    (GopherQuality, {"max_mean_word_chars": 6}, "mean_word_chars"),
    (GopherQuality, {"max_hash_ratio": 0.01}, "hash_ratio"),
    (GopherQuality, {"max_ellipsis_ratio": 0.01}, "ellipsis_ratio"),
    (GopherQuality, {"max_bullet_line_ratio": 0.1}, "bullet_line_ratio"),
    (GopherQuality, {"max_ellipsis_line_ratio": 0.1}, "ellipsis_line_ratio"),
    (GopherQuality, {"min_words_with_letter_ratio": 0.8}, "words_with_letter_ratio"),
    (GopherQuality, {"min_stop_words": 2}, "stop_words"),
    (GopherQuality, {"min_stop_words": 6, "stop_word_counting": "occurrences"}, "stop_word_occurrences"),
    (GopherRepetition, {"max_repeated_line_ratio": 0.3}, "repeated_line_ratio"),
    (GopherRepetition, {"max_repeated_line_char_ratio": 0.05}, "repeated_line_char_ratio"),
    (GopherRepetition, {"max_repeated_paragraph_ratio": 0.1}, "repeated_paragraph_ratio"),
    (GopherRepetition, {"max_repeated_paragraph_char_ratio": 0.05}, "repeated_paragraph_char_ratio"),
    *((GopherRepetition, {f"max_top_{n}_gram_ratio": 0.1}, f"top_{n}_gram_ratio") for n in (2, 3, 4)),
    *((GopherRepetition, {f"max_repeated_{n}_gram_ratio": 0.1}, f"repeated_{n}_gram_ratio") for n in range(5, 11)),
    (FinewebQuality, {"min_punctuated_line_ratio": 0.12}, "punctuated_line_ratio"),
    (FinewebQuality, {"max_short_line_ratio": 0.67}, "short_line_ratio"),
    (FinewebQuality, {"max_repeated_line_char_ratio": 0.01}, "repeated_full_line_char_ratio"),
    (FinewebQuality, {"max_line_feed_ratio": 0.3}, "line_feed_ratio"),
    (C4Page, {"min_sentences": 5}, "sentences"),
]


@pytest.mark.parametrize(("rule", "params", "measure"), RULES, ids=[measure for _, _, measure in RULES])
def test_a_condition_decides_as_the_rule(docs: pa.RecordBatch, rule: type[Filter], params: dict[str, Any], measure: str) -> None:
    [(name, limit)] = [(name, limit) for name, limit in params.items() if name.startswith(("min_", "max_"))]
    operator = rule(**(off(rule) | params))
    _same(docs, operator, f"measure.{measure}", condition(f"measure.{measure}", name, limit))
    strict = dataclasses.replace(operator, counting="all") if rule is GopherRepetition else operator  # type: ignore[type-var]
    _same(docs, strict, f"strict.{measure}", condition(f"strict.{measure}", name, limit))


def _same(docs: pa.RecordBatch, operator: Filter, measure: str, keep: str) -> None:
    ours = operator.drop(docs)
    reasons = pc.struct_field(ours, "reason")
    if isinstance(operator, FinewebQuality):  # it drops texts without lines always; the count of full lines says so
        keep, reasons = f"measure.full_lines > 0 and ({keep})", pc.fill_null(reasons, "")
        reasons = pc.if_else(pc.equal(reasons, ""), pa.scalar(None, pa.string()), reasons)
    found = Where(keep).drop(docs)
    dropped = pc.is_valid(found)
    assert dropped == pc.is_valid(reasons)
    assert 0 < pc.sum(dropped).as_py() < len(docs), "the limit cuts"
    table = pc.struct_field(docs.column(measure.partition(".")[0]), measure.partition(".")[2])
    by_rule = pc.fill_null(pc.not_equal(reasons, "no_lines"), False)
    values = pc.cast(table.filter(by_rule), pa.float64())
    assert values == pc.struct_field(ours, "value").filter(by_rule), "the very numbers that the filter records"


def test_the_whole_of_gopher_quality_as_one_condition(docs: pa.RecordBatch) -> None:
    keep = (
        "measure.plain_words between 50 and 100000 and measure.mean_word_chars between 3 and 10 and measure.hash_ratio <= 0.1 "
        "and measure.ellipsis_ratio <= 0.1 and measure.bullet_line_ratio <= 0.9 and measure.ellipsis_line_ratio <= 0.3 "
        "and measure.words_with_letter_ratio >= 0.8 and measure.stop_words >= 2"
    )
    found = pc.is_valid(Where(keep).drop(docs))
    assert found == pc.is_valid(GopherQuality().drop(docs))


def test_what_is_no_measure_is_a_column_or_the_text_itself(docs: pa.RecordBatch) -> None:
    page = C4Page(min_sentences=None)
    assert pc.is_valid(Where("not (text ilike '%lorem ipsum%') and not (text like '%{%')").drop(_full(docs))) == pc.is_valid(
        page.drop(_full(docs))
    )
    docs = docs.append_column("removed_word_ratio", pa.array(np.arange(len(docs)) % 10 / 100))
    assert pc.is_valid(Where("removed_word_ratio <= 0.05").drop(docs)) == pc.is_valid(DclmPage(min_words=None).drop(docs))


def _full(docs: pa.RecordBatch) -> pa.RecordBatch:
    return docs.filter(docs.column("text").is_valid())


def test_characters_equal_plain_python(data: Path) -> None:
    texts = read_texts(data, *SETS, limit=60)
    rows = Measure(measures=EVERYTHING).score(batch(list(texts))).to_pylist()
    codec = pa.Codec("lz4_raw")
    for text, row in zip(texts, rows, strict=True):
        kinds = [unicodedata.category(char) for char in text]
        assert (row["chars"], row["bytes"]) == (len(text), len(text.encode()))
        assert row["letter_ratio"] == sum(kind[0] == "L" for kind in kinds) / len(text)
        assert row["digit_ratio"] == sum(kind == "Nd" for kind in kinds) / len(text)
        assert row["upper_ratio"] == sum(kind in ("Lu", "Lt") for kind in kinds) / len(text)
        assert row["space_ratio"] == sum(map(str.isspace, text)) / len(text)
        assert row["punctuation_ratio"] == sum(kind[0] == "P" for kind in kinds) / len(text)
        assert row["symbol_ratio"] == sum(kind[0] == "S" for kind in kinds) / len(text)
        lengths = list(map(len, text.splitlines()))
        assert (row["lines"], row["max_line_chars"]) == (len(lengths), max(lengths))
        assert row["mean_line_chars"] == sum(lengths) / len(lengths)
        assert row["entropy"] == pytest.approx(_entropy(text), abs=1e-6)
        assert row["compression_ratio"] == codec.compress(text.encode()).size / len(text.encode())


def _entropy(text: str) -> float:
    shares = [count / len(text) for count in collections.Counter(text).values()]
    return -sum(share * math.log2(share) for share in shares)


@given(st.lists(st.text(max_size=300), max_size=4))
@settings(max_examples=50)
def test_entropy_of_any_text(texts: list[str]) -> None:
    found = Measure(measures=("entropy",)).score(batch(list(texts))).to_pylist()
    for text, row in zip(texts, found, strict=True):
        assert row["entropy"] == (pytest.approx(_entropy(text), abs=1e-6) if text else None)


@pytest.mark.parametrize(
    ("text", "entropy"),
    [("aaaa", 0), ("abab", 1), ("abcdefgh", 3), ("éèéè", 1), ("😀a😀a", 1), ("aaab", 0.811278), ("", None), (None, None)],
)
def test_entropy_is_bits_per_character(text: str | None, entropy: float | None) -> None:
    assert measured(text)["entropy"] == entropy


def test_a_small_text_by_hand() -> None:
    row = measured("The cat # sat...\n- the CAT, 12\n\nthe end")
    assert {key: row[key] for key in ("words", "plain_words", "lines", "full_lines", "stop_words", "stop_word_occurrences")} == {
        "words": 12,
        "plain_words": 8,
        "lines": 4,
        "full_lines": 3,
        "stop_words": 1,
        "stop_word_occurrences": 2,
    }
    assert row["mean_word_chars"] == (3 + 3 + 3 + 3 + 3 + 2 + 3 + 3) / 8
    assert (row["hash_ratio"], row["ellipsis_ratio"]) == (1 / 12, 1 / 12)
    assert (row["bullet_line_ratio"], row["ellipsis_line_ratio"]) == (1 / 4, 1 / 4)
    assert (row["max_line_chars"], row["short_line_ratio"], row["punctuated_line_ratio"]) == (16, 1, 1 / 3)
    assert row["line_feed_ratio"] == 3 / 12


def test_repetition_by_hand() -> None:
    lines, counts = measured("a b\nc d\na b\na b"), measured("a b\nc d\na b\na b", Measure(counting="all"))
    assert lines["repeated_full_line_char_ratio"] == counts["repeated_full_line_char_ratio"] == 6 / 12, "as FineWeb counts, always"
    assert (lines["repeated_line_ratio"], counts["repeated_line_ratio"]) == (2 / 4, 3 / 4)
    assert (lines["repeated_line_char_ratio"], counts["repeated_line_char_ratio"]) == (6 / 15, 9 / 15)
    assert lines["top_2_gram_ratio"] == 3 * 3 / 15
    assert measured("x" * 4000, Measure(measures=("compression",)))["compression_ratio"] < 0.02


def test_nothing_gives_zeros_and_nulls() -> None:
    for text in ("", None):
        row = measured(text, Measure(measures=EVERYTHING))
        assert {value for key, value in row.items() if not key.endswith("_ratio") and "mean" not in key and key != "entropy"} == {0}
        shares = {key: value for key, value in row.items() if key.endswith("_ratio") or "mean" in key}
        assert {key for key, value in shares.items() if value is not None} == {"repeated_line_ratio", "repeated_paragraph_ratio"}
        assert row["repeated_line_ratio"] == row["repeated_paragraph_ratio"] == 0, "one empty line, as a split gives"


def test_only_what_is_named_is_there() -> None:
    operator = Measure(measures=("stop_words", "digit_ratio"))
    assert [field.name for field in operator.output()] == ["digit_ratio", "stop_words", "stop_word_occurrences", "stop_word_ratio"]
    assert measured("the 12", operator) == {"digit_ratio": 2 / 6, "stop_words": 1, "stop_word_occurrences": 1, "stop_word_ratio": 1 / 2}
    assert "compression_ratio" not in measured("x")
    for wrong in (("wrods",), ()):
        with pytest.raises(PipelineError, match="measure: there is no measure"):
            Measure(measures=wrong)


def test_by_language() -> None:
    texts: list[str | None] = ["der Hund und die Katze", "the dog and the cat", "港口是镇上的人们建造的", "ok"]
    lang = pa.StructArray.from_arrays([pa.array(["de", "en", "zh", "xx"])], ["code"])
    docs = batch(texts, lang=lang)
    operator = Measure(measures=("words", "stop_words"), language_column="lang.code")
    rows = operator.score(docs).to_pylist()
    assert [row["stop_word_occurrences"] for row in rows] == [3, 3, rows[2]["stop_word_occurrences"], None]
    assert rows[2]["words"] == 11
    assert operator.reads() == ("text", "lang.code")
    for refused in (Measure(language="xx").score, lambda docs: Measure(language="xx").verify(docs.schema)):
        with pytest.raises(PipelineError, match="no stop words for 'xx'"):
            refused(docs)
    Measure(measures=("words",), language="xx").verify(docs.schema)
    assert measured("a rose is a rose", Measure(stop_words=("rose",)))["stop_word_ratio"] == 2 / 5


def test_columns_are_known_before_anything_runs() -> None:
    schema = pa.schema([("text", pa.large_string()), pa.field("measure", Measure().output())])
    Where("measure.mean_word_chars between 3 and 10 and measure.entropy > 3").verify(schema)
    with pytest.raises(PipelineError, match="compression_ratio"):
        Where("measure.compression_ratio > 0.2").verify(schema)
