from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pyarrow as pa
import pytest

from curate import kernels
from curate.errors import DatasetError, OperatorError, PipelineError
from curate_operators.language import SHIPPED_MODEL, Language
from curate_operators.language_scripts import scripts
from tests.operators.conftest import batch, read_texts

SENTENCES = {
    "en": "The harbour was built by the people of the town.",
    "de": "Der Hafen wurde von den Bürgern der Stadt gebaut.",
    "fr": "Le port a été construit par les habitants de la ville.",
    "ru": "Порт был построен жителями города.",
    "zh": "港口是镇上的人们建造的，他们有船。",
    "th": "ท่าเรือนี้สร้างโดยชาวเมือง",
}


def test_codes() -> None:
    found = Language().score(batch(list(SENTENCES.values())))
    assert found.field("code").to_pylist() == list(SENTENCES)
    assert all(0.5 < confidence <= 1 for confidence in found.field("confidence").to_pylist())


def test_golden_confidence_of_the_text_as_it_stands() -> None:
    found = Language(raw=True).score(batch([SENTENCES["en"]]))[0].as_py()
    assert found == {"code": "en", "confidence": pytest.approx(0.99822, abs=1e-4)}


def test_capitals_and_letters_taken_apart_change_nothing() -> None:
    plain = Language().score(batch(list(SENTENCES.values())))
    capitals: list[str | None] = [text.upper() for text in SENTENCES.values()]
    taken_apart: list[str | None] = [unicodedata.normalize("NFD", text) for text in SENTENCES.values()]
    assert Language().score(batch(capitals)).equals(plain)
    assert Language().score(batch(taken_apart)).equals(plain)
    assert Language(raw=True).score(batch([SENTENCES["de"].upper()])).field("code").to_pylist() != ["de"]


def test_addresses_are_not_words() -> None:
    addresses = " https://www.example.com/about-us.html www.example.org info@example.com"
    plain = Language().score(batch([SENTENCES["fr"]]))
    assert Language().score(batch([SENTENCES["fr"] + addresses])).equals(plain)
    assert Language().score(batch([addresses])).to_pylist() == [{"code": "und", "confidence": 0.0}]


def test_the_script_overrules_the_model() -> None:
    texts: list[str | None] = ["嗯", "උදාහරණ;", "ሞሮኮ", "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ"]  # Chinese, Sinhala, Amharic; the model does not know Cherokee's script
    assert set(Language(raw=True).score(batch(texts)).field("code").to_pylist()).isdisjoint({"zh", "si", "am", "und"})
    found = Language().score(batch(texts))
    assert found.field("code").to_pylist() == ["zh", "si", "am", "und"]
    assert found.field("confidence").to_pylist()[3] == 0


def test_foreign_words_do_not_overrule_the_model() -> None:
    text = "React の useState と useEffect を使うと functional component で state と lifecycle を扱えます。"
    assert Language().score(batch([text])).field("code").to_pylist() == ["ja"]


def test_every_label_has_a_script() -> None:
    assert set(scripts()) == set(kernels.read_model(SHIPPED_MODEL).labels)


@pytest.mark.parametrize("text", ["", None, " \n\t ", "\x00", "</s>", "12:30 – 45 €", "http://a.org/x"])
def test_text_without_words_is_undetermined(text: str | None) -> None:
    assert Language().score(batch([text])).to_pylist() == [{"code": "und", "confidence": 0.0}]


def test_line_breaks_and_end_markers_hide_nothing() -> None:
    plain = Language().score(batch([SENTENCES["de"]]))
    broken = Language().score(batch([SENTENCES["de"].replace(" ", "\n")]))
    assert broken.equals(plain)
    hidden = Language().score(batch([f"x </s> {SENTENCES['de']}"]))
    assert hidden.field("code").to_pylist() == ["de"]


def test_only_the_prefix_is_read() -> None:
    text = SENTENCES["en"] + " " + SENTENCES["de"] * 100
    assert Language(prefix_chars=len(SENTENCES["en"])).score(batch([text])).field("code").to_pylist() == ["en"]
    assert Language(prefix_chars=None).score(batch([text])).field("code").to_pylist() == ["de"]


def test_model_is_the_published_one() -> None:
    assert SHIPPED_MODEL.stat().st_size == 938_013
    assert (SHIPPED_MODEL.parent / "LICENSE-lid.176.md").is_file()


def test_own_model_and_labels(tmp_path: Path) -> None:
    """The shipped model with one label renamed."""
    path = tmp_path / "model.ftz"
    path.write_bytes(SHIPPED_MODEL.read_bytes().replace(b"__label__en\0", b"__label__english\0"))
    found = Language(model=str(path)).score(batch([SENTENCES["en"], SENTENCES["de"]]))
    assert found.field("code").to_pylist() == ["english", "de"]


@pytest.mark.parametrize("size", [0, 3, 20, 1_000, 400_000, 937_000, 938_012])
def test_cut_off_model_is_an_error_not_a_crash(tmp_path: Path, size: int) -> None:
    path = tmp_path / "cut.ftz"
    path.write_bytes(SHIPPED_MODEL.read_bytes()[:size])
    with pytest.raises(OperatorError, match="damaged"):
        Language(model=str(path)).score(batch(["text"]))


def test_what_is_no_model_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"<html>404 not found</html>" * 100)
    with pytest.raises(OperatorError, match="not a fastText model"):
        kernels.read_model(path)
    with pytest.raises(DatasetError, match="no such file: .*nowhere.bin"):
        Language(model=str(tmp_path / "nowhere.bin")).score(batch(["text"]))
    with pytest.raises(PipelineError, match="prefix_chars"):
        Language(prefix_chars=0)


def accuracy(operator: Language, rows: list[dict[str, str]]) -> float:
    found = operator.score(batch([row["text"] for row in rows])).field("code").to_pylist()
    return float(sum(code == row["lang"] for code, row in zip(found, rows, strict=True))) / len(rows)


def read(data: Path, name: str) -> list[dict[str, str]]:
    with pa.input_stream(data / name / "docs.jsonl.zst", compression="zstd") as stream:
        return [json.loads(line) for line in stream.read().splitlines()]


def test_accuracy_on_parallel_articles(data: Path) -> None:
    """XQuAD paragraphs in 12 languages, all of which the model knows."""
    assert accuracy(Language(), read(data, "wiki_xquad_parallel")) > 0.999


@pytest.mark.parametrize(("kind", "reference"), [("sentences", 0.769), ("word-pairs", 0.584)])
def test_accuracy_on_lingua_is_more_than_the_models_own(data: Path, kind: str, reference: float) -> None:
    """The references are lid.176.ftz's on all 79 languages of the set;"""
    rows = [row for row in read(data, "lid_lingua75") if row["kind"] == kind]
    assert accuracy(Language(), rows) > reference
    some = rows[::4]
    assert accuracy(Language(), some) > accuracy(Language(raw=True), some)


def test_confidence_never_exceeds_one(data: Path) -> None:
    found = Language().score(batch(list(read_texts(data, "social_th_wisesight", limit=2000))))
    assert max(found.field("confidence").to_pylist()) <= 1
