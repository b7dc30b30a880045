"""The `fasttext` scorer beside the official library: the same probabilities for every loss and format, and clear errors for bad files."""

from __future__ import annotations

import hashlib
import pickle
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import DatasetError, OperatorError, PipelineError
from curate.kernels import read_model
from curate.testing import check_operator
from curate_operators.language import SHIPPED_MODEL
from curate_scorers.fasttext_score import TOP, FastText
from tests.kernels import columns
from tests.kernels.conftest import sample_texts
from tests.scorers import fasttext_models

MODELS: Mapping[str, Mapping[str, Any]] = {
    "softmax-pairs.bin": {"loss": "softmax", "wordNgrams": 2},
    "softmax-parts.ftz": {"loss": "softmax", "minn": 2, "maxn": 4, "wordNgrams": 3, "quantise": {"qnorm": True, "dsub": 3}},
    "softmax-pruned.ftz": {"loss": "softmax", "minn": 2, "maxn": 3, "wordNgrams": 2, "quantise": {"cutoff": 2500, "retrain": False}},
    "softmax-words-left.ftz": {"loss": "softmax", "minn": 2, "maxn": 3, "wordNgrams": 2, "quantise": {"cutoff": 900, "retrain": False}},
    "ova-parts.bin": {"loss": "ova", "minn": 1, "maxn": 4},
    "ns-words.bin": {"loss": "ns"},
    "no-parts.bin": {"loss": "softmax", "minn": 5, "maxn": 3},
    "hs-pairs.bin": {"loss": "hs", "wordNgrams": 2},
}
BREAKS = re.compile(r"[\n\r\x00]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fasttext")
    (folder / "train.txt").write_text("\n".join(fasttext_models.training_lines()) + "\n")
    for name, options in MODELS.items():
        fasttext_models.train(folder / "train.txt", folder / name, **options)
    return folder


def official(path: Path) -> Any:
    from fasttext.FastText import _FastText

    return _FastText(model_path=str(path))


def expected(model: Any, text: str, labels: tuple[str, ...]) -> list[float]:
    """Return what the official library says of a text read as one line; it adds 1e-5 to each probability."""
    found = {label.removeprefix("__label__"): value for value, label in model.f.predict(BREAKS.sub(" ", text) + "\n", -1, -1e-5, "strict")}
    return [found.get(label, 0.0) for label in labels]


@pytest.mark.parametrize("name", [*MODELS, "lid.176.ftz"])
def test_probabilities_are_the_official_ones(folder: Path, name: str) -> None:
    path = folder / name if name in MODELS else SHIPPED_MODEL
    ours, theirs = read_model(path), official(path)
    texts = [*(text[:2000] for text in sample_texts(4)), "a", "one two", "__label__part1 one two", "Ω≈ç√ 港口 مرحبا"]
    found, words = ours.probabilities(pa.array(texts))
    told = np.array([expected(theirs, text, ours.labels) for text in texts])
    extra = 0.0 if ours.loss == "hs" else 1e-5
    assert np.abs(found - np.minimum(told - extra, 1.0)).max() <= 1e-6
    assert (words > 0).all()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), min_size=1, max_size=6))
def test_any_text(texts: list[str]) -> None:
    ours = read_model(SHIPPED_MODEL)
    theirs = official(SHIPPED_MODEL)
    texts = [text.replace("</s>", " ") for text in texts]
    found, _ = ours.probabilities(pa.array(texts, pa.large_string()))
    for row, text in zip(found, texts, strict=True):
        assert np.abs(row - np.minimum(expected(theirs, text, ours.labels), 1.0)).max() <= 1e-6


@given(columns.columns())
def test_any_bytes(column: columns.Column) -> None:
    found, words = read_model(SHIPPED_MODEL).probabilities(column.array)
    again, _ = read_model(SHIPPED_MODEL).probabilities(columns.of(*column.contents))
    assert found.shape == (len(column.rows), 176) and np.array_equal(found, again)
    assert np.isfinite(found).all() and (words >= 0).all()


def test_the_end_mark_in_a_text_ends_nothing(folder: Path) -> None:
    score = FastText(str(folder / "softmax-pairs.bin"), "part1").score
    whole, marked, lines = score(docs("one two three", "one </s> two three", "one\ntwo\r\nthree")).to_pylist()
    assert whole == marked == lines


def docs(*texts: str | None) -> pa.RecordBatch:
    return pa.record_batch({"id": pa.array(map(str, range(len(texts)))), "text": pa.array(texts, pa.large_string())})


def test_scores(folder: Path) -> None:
    path = str(folder / "softmax-pairs.bin")
    rows = docs("one two three", None, "", " \n", "__label__part1")
    top = FastText(path).score(rows)
    assert top.type == TOP and [value is None for value in top.to_pylist()] == [False, True, True, True, True]
    best = top[0].as_py()
    alone = FastText(path, best["label"]).score(rows)
    assert alone.type == pa.float32() and alone.to_pylist() == [best["probability"], None, None, None, None]
    assert FastText(path, f"__label__{best['label']}").score(rows).equals(alone)


def test_passes_the_battery() -> None:
    check_operator(FastText(str(SHIPPED_MODEL), "en"))
    check_operator(FastText(str(SHIPPED_MODEL)))


def test_bad_files(folder: Path, tmp_path: Path) -> None:
    whole, path = (folder / "softmax-parts.ftz").read_bytes(), tmp_path / "model.bin"
    with pytest.raises(OperatorError, match="fastText model not found"):
        read_model(path)
    for other in (b"", b"\x80\x04", pickle.dumps({"a": 1}), b"<html>" + bytes(100)):
        path.write_bytes(other)
        with pytest.raises(OperatorError, match="not a fastText model"):
            read_model(path)
    draw = random.Random(1)
    for size in sorted({9, 63, 64, 100, len(whole) - 1, *(draw.randrange(8, len(whole)) for _ in range(40))}):
        path.write_bytes(whole[:size])
        with pytest.raises(OperatorError, match="is damaged"):
            read_model(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(OperatorError, match="is damaged"):
        read_model(path)
    dense = (folder / "ns-words.bin").read_bytes()
    path.write_bytes(dense[:-4] + np.float32(np.nan).tobytes())
    with pytest.raises(OperatorError, match="training failed"):
        read_model(path)
    buckets = 8 + 8 * 4  # the ninth setting: rows that words are hashed into
    path.write_bytes(dense[:buckets] + (1 << 20).to_bytes(4, "little") + dense[buckets + 4 :])
    with pytest.raises(OperatorError, match="contradicts itself"):
        read_model(path)
    for setting, value in ((5, 1 << 30), (9, -1), (10, 1 << 30)):  # word n-grams, shortest and longest part of a word
        place = 8 + setting * 4
        path.write_bytes(dense[:place] + value.to_bytes(4, "little", signed=True) + dense[place + 4 :])
        with pytest.raises(OperatorError, match="settings that no training gives"):
            read_model(path)
    pruned = (folder / "softmax-pruned.ftz").read_bytes()
    pairs = read_model(folder / "softmax-pruned.ftz").vocabulary.pruned
    assert pairs is not None and len(pairs[0]) > 100
    kept = pruned.index(np.array([pairs[0][0], pairs[1][0]], "<i4").tobytes())
    path.write_bytes(pruned[: kept + 4] + (1 << 20).to_bytes(4, "little") + pruned[kept + 8 :])
    with pytest.raises(OperatorError, match="contradicts itself"):
        read_model(path)
    vectors = fasttext_models.train(folder / "train.txt", tmp_path / "vectors.bin", kind="unsupervised", minCount=1)
    with pytest.raises(OperatorError, match="it is no classifier"):
        read_model(vectors)


def test_bad_parameters(folder: Path) -> None:
    path = folder / "softmax-pairs.bin"
    with pytest.raises(PipelineError, match="label is empty"):
        FastText(str(path), "")
    with pytest.raises(OperatorError, match="has no label `en`") as caught:
        FastText(str(path), "en").score(docs("one"))
    assert "part0" in str(caught.value.hint)
    good = hashlib.sha256(path.read_bytes()).hexdigest()
    assert FastText(str(path), sha256=good.upper()).score(docs("one")).null_count == 0
    with pytest.raises(DatasetError, match="is another file: its SHA-256 is"):
        FastText(str(path), sha256="0" * 64).score(docs("one"))
