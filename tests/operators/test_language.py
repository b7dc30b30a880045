from __future__ import annotations

from pathlib import Path

import pytest

from curate.errors import OperatorError, PipelineError
from curate_operators.fasttext_file import verify_whole
from curate_operators.language import SHIPPED_MODEL, Language
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


def test_golden_confidence() -> None:
    found = Language().score(batch([SENTENCES["en"]]))[0].as_py()
    assert found == {"code": "en", "confidence": pytest.approx(0.99822, abs=1e-4)}


@pytest.mark.parametrize("text", ["", None, " \n\t ", "\x00", "</s>"])
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
    """The shipped model with one label renamed; fastText's own trainer stops at random with NaN in the wheels for numpy 2."""
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
        verify_whole(path)
    with pytest.raises(OperatorError, match="not found"):
        Language(model=str(tmp_path / "nowhere.bin")).score(batch(["text"]))
    with pytest.raises(PipelineError, match="prefix_chars"):
        Language(prefix_chars=0)


def test_accuracy_on_parallel_articles(data: Path) -> None:
    """XQuAD paragraphs in 12 languages, all of which the model knows."""
    import json

    import pyarrow as pa

    with pa.input_stream(data / "wiki_xquad_parallel" / "docs.jsonl.zst", compression="zstd") as stream:
        rows = [json.loads(line) for line in stream.read().splitlines()]
    found = Language().score(batch([row["text"] for row in rows])).field("code").to_pylist()
    right = sum(code == row["lang"] for code, row in zip(found, rows, strict=True))
    assert right / len(rows) > 0.99


def test_confidence_never_exceeds_one(data: Path) -> None:
    found = Language().score(batch(list(read_texts(data, "social_th_wisesight", limit=2000))))
    assert max(found.field("confidence").to_pylist()) <= 1
