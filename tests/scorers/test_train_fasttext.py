"""`train_fasttext`: the same model to the byte however the work is cut, judged on documents that it has not seen, and clear mistakes."""

from __future__ import annotations

import random
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.dataset import Dataset
from curate.errors import CurateError, OperatorError, PipelineError
from curate.kernels import read_model
from curate.pipeline import Input, Pipeline, Stage, Step
from curate.testing import check_operator
from curate_scorers.fasttext_score import FastText
from curate_scorers.fasttext_training_quality import auc, deciding_words, interval, reliability
from curate_scorers.fasttext_training_run import zero_end
from curate_scorers.fasttext_training_text import clean
from curate_scorers.train_fasttext import TrainFastText
from tests.engine import small
from tests.scorers import fasttext_models

FAST: Mapping[str, Any] = {"dim": 8, "bucket": 2000, "word_ngrams": 2, "lr": 0.5, "epoch": 20}
SHARED = [f"w{n}" for n in range(200)]
SCHEMA = pa.schema({"id": pa.string(), "text": pa.large_string(), "kind": pa.string(), "number": pa.int64(), "share": pa.float64()})


def document(dice: random.Random, kind: str, number: int) -> dict[str, Any]:
    """Return a document of words that all kinds have, and now and then one that only its kind has."""
    words = [f"{kind}{dice.randrange(5)}" if dice.random() < 0.1 else dice.choice(SHARED) for _ in range(dice.randrange(4, 30))]
    row = {"id": f"{kind}-{number}", "text": "\n".join([" ".join(words[:3]), " ".join(words[3:])]), "kind": kind}
    return row | {"number": len(kind), "share": 0.5}


def corpus(kinds: Mapping[str, int], seed: int = 3) -> list[dict[str, Any]]:
    """Return so many documents of each kind, in a mixed order."""
    dice = random.Random(seed)
    docs = [document(dice, kind, number) for kind, count in kinds.items() for number in range(count)]
    dice.shuffle(docs)
    return docs


def pipeline(folder: Path, sources: Mapping[str, Sequence[dict[str, Any]]], shards: int = 2, **params: Any) -> Pipeline:
    """Return a pipeline that trains on these sources; each is written as so many files."""
    for name, docs in sources.items():
        small.write_shards(folder / name, docs, shards, SCHEMA)
    stages = {"model": Stage(list(sources), use="train_fasttext", params={**FAST, **params})}
    return small.pipeline(folder, stages, inputs={name: Input(str(folder / name)) for name in sources}, shard_bytes=1)


def train(folder: Path, sources: Mapping[str, Sequence[dict[str, Any]]], workers: int = 1, **params: Any) -> Dataset:
    """Return the artifact of training on these sources."""
    planned, _ = small.run(pipeline(folder, sources, **params), folder / "ws", workers)
    return planned.dataset("model")


def model_of(made: Dataset) -> Path:
    """Return the file of the model."""
    return Path(made.url, made.manifest.about["model"]["file"])


def notes(made: Dataset) -> dict[str, Any]:
    """Return what the operator noted, by name."""
    return {note["name"]: note for note in made.manifest.notes}


TWO = {"wanted": 150, "crawl": 250}


@pytest.fixture(scope="module")
def two() -> dict[str, list[dict[str, Any]]]:
    docs = corpus(TWO)
    return {kind: [doc for doc in docs if doc["kind"] == kind] for kind in TWO}


@pytest.fixture(scope="module")
def made(two: dict[str, list[dict[str, Any]]], tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return train(tmp_path_factory.mktemp("made"), two, held_out=0.25)


def test_held_out_documents_have_the_scores_that_the_scorer_gives(made: Dataset, two: dict[str, list[dict[str, Any]]]) -> None:
    rows = small.rows(made)
    texts = {doc["id"]: doc["text"] for docs in two.values() for doc in docs}
    assert all(row["text"] == texts[row["id"]] and row["label"] == row["id"].partition("-")[0] for row in rows)
    batch = pa.RecordBatch.from_pylist([{"id": row["id"], "text": row["text"]} for row in rows], small.DOCUMENTS)
    path = str(model_of(made))
    assert FastText(path, "wanted").score(batch).to_pylist() == [row["score"] for row in rows]
    assert [best["label"] for best in FastText(path).score(batch).to_pylist()] == [row["likeliest"] for row in rows]
    trained = made.manifest.about["training_set"]["documents"]
    held = Counter(row["label"] for row in rows)
    assert {kind: trained[kind] + held[kind] for kind in TWO} == TWO
    assert 60 < made.rows < 140


def test_measures_are_those_of_the_rows(made: Dataset) -> None:
    rows = small.rows(made)
    wanted, others = ([row["score"] for row in rows if (row["label"] == "wanted") == is_wanted] for is_wanted in (True, False))
    pairs = [(a > b) + (a == b) / 2 for a in wanted for b in others]
    measured = made.manifest.about["measures"]
    assert measured["auc"] == pytest.approx(sum(pairs) / len(pairs))
    assert measured["accuracy"] == pytest.approx(sum(row["label"] == row["likeliest"] for row in rows) / len(rows))
    assert 0.7 < measured["low"] < measured["auc"] < measured["high"] <= 1
    told = notes(made)
    assert told["held-out"]["passed"] and f"{measured['auc']:.3f}" in told["held-out"]["message"]
    assert sum(one["documents"] for one in told["calibration"]["measures"].values()) == len(rows)
    assert len(told["calibration"]["curve"]["dots"]["held-out"]) == len(told["calibration"]["measures"])
    assert told["labels"]["measures"]["wanted"] == {"trained on": 150 - len(wanted), "held out": len(wanted)}
    first = list(told["words"]["measures"])[:5]
    assert sorted(first) == [f"wanted{n}" for n in range(5)]
    assert all(f"crawl{n}" in list(told["words"]["measures"])[-10:] for n in range(5))


def test_the_official_library_reads_the_model(made: Dataset) -> None:
    from fasttext.FastText import _FastText

    official, ours = _FastText(model_path=str(model_of(made))), read_model(model_of(made))
    assert sorted(label.removeprefix("__label__") for label in official.labels) == ["crawl", "wanted"] == sorted(ours.labels)
    assert "</s>" in official.words and not any("label" in word for word in official.words)


@pytest.mark.parametrize(("shards", "workers"), [(1, 1), (5, 2)])
def test_nothing_depends_on_how_the_work_is_cut(
    made: Dataset, two: dict[str, list[dict[str, Any]]], tmp_path: Path, shards: int, workers: int
) -> None:
    again = train(tmp_path, two, workers, shards=shards, held_out=0.25)
    assert again.manifest.about == made.manifest.about
    assert again.manifest.notes == made.manifest.notes
    assert model_of(again).read_bytes() == model_of(made).read_bytes()
    assert small.rows(again) == small.rows(made)


def test_a_column_of_labels_gives_the_same_model(made: Dataset, two: dict[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    docs = [*two["wanted"], *two["crawl"], document(random.Random(1), "other", 1) | {"kind": None}, corpus({"odd": 1})[0] | {"text": " \n"}]
    one = train(tmp_path, {"all": docs}, held_out=0.25, label="kind")
    assert model_of(one).read_bytes() == model_of(made).read_bytes()
    assert "1 had no label, 1 no words" in notes(one)["labels"]["message"]
    assert one.manifest.about["positive"] == "wanted"  # the last by name


def test_labels_may_be_numbers_and_have_other_names(two: dict[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    docs = {"all": [*two["wanted"], *two["crawl"], *corpus({"ignored": 9})]}
    one = train(tmp_path, docs, label="number", labels={"6": "good", "5": "bad"}, positive="bad")
    assert set(read_model(model_of(one)).labels) == {"good", "bad"}
    counts = one.manifest.about["training_set"]["documents"]
    held = Counter(row["label"] for row in small.rows(one))
    assert {label: counts[label] + held[label] for label in counts} == {"good": 150, "bad": 250}
    assert one.manifest.about["measures"]["auc"] > 0.7


def test_caps_and_balance_choose_the_same_documents_for_ever(two: dict[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    def chosen(name: str, **params: Any) -> dict[str, set[str]]:
        rows = small.rows(train(tmp_path / name, two, held_out=0.9, epoch=1, **params))
        return {kind: {row["id"] for row in rows if row["label"] == kind} for kind in TWO}

    everything, balanced, capped = chosen("all"), chosen("balance", balance=True), chosen("cap", max_per_label=100)
    assert balanced["wanted"] == everything["wanted"] and balanced["crawl"] < everything["crawl"]
    assert all(capped[kind] < balanced[kind] for kind in TWO)
    for found, most in ((balanced, 150), (capped, 100)):
        assert all(0.75 * most < len(ids) <= most for ids in found.values())


def test_capped_labels_have_so_many_documents(two: dict[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    one = train(tmp_path, two, max_per_label=200, held_out=0)
    assert one.manifest.about["training_set"]["documents"] == {"wanted": 150, "crawl": 200}
    assert one.rows == 0 and not notes(one)["held-out"]["passed"] and "held_out" in notes(one)["held-out"]["message"]


@pytest.mark.parametrize("split_by", ["text", "kind"])
def test_copies_are_on_one_side(tmp_path: Path, split_by: str) -> None:
    docs = corpus({f"site{n}": 12 for n in range(12)})
    copies = [doc | {"id": f"copy-{doc['id']}", "text": doc["text"].replace("\n", "  ")} for doc in docs]
    sources = {"wanted": docs, "crawl": copies}
    rows = small.rows(train(tmp_path, sources, held_out=0.4, split_by=split_by))
    by_value = Counter(" ".join(row["text"].split()) if split_by == "text" else re.search(r"site\d+", row["id"])[0] for row in rows)  # type: ignore[index]
    assert set(by_value.values()) == ({2} if split_by == "text" else {24})
    assert 3 <= len(by_value) < 0.8 * len(docs)


@pytest.mark.parametrize("loss", ["ns", "hs", "ova"])
def test_every_loss(two: dict[str, list[dict[str, Any]]], tmp_path: Path, loss: str) -> None:
    one = train(tmp_path, two, loss=loss, minn=2 if loss == "ns" else 0, maxn=3 if loss == "ns" else 0, held_out=0.3, lr=0.5)
    assert one.manifest.about["measures"]["auc"] > 0.7
    assert ("words" in notes(one)) == (loss == "ova")


def test_quantised_models(made: Dataset, two: dict[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    one = train(tmp_path, two, quantise=True, cutoff=1000, held_out=0.25, zero_eos=True)
    assert model_of(one).name == "model.ftz" and model_of(one).stat().st_size < model_of(made).stat().st_size / 3
    assert one.manifest.about["training_set"] == made.manifest.about["training_set"]
    assert one.manifest.about["measures"]["auc"] > 0.7


def test_the_end_of_a_text_weighs_nothing(two: dict[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    plain, zeroed = (read_model(model_of(train(tmp_path / str(zero), two, zero_eos=zero))) for zero in (False, True))
    row = plain.vocabulary.names.index(b"</s>")
    expected = plain.matrix.copy()
    assert np.abs(expected[row]).max() > 1e-3
    expected[row] = 0
    assert np.array_equal(zeroed.matrix, expected) and np.array_equal(zeroed.output, plain.output)
    once, thrice = (zeroed.probabilities(pa.array([" ".join(["wanted1"] * n)]))[0][0] for n in (1, 3))
    assert np.argmax(once) == np.argmax(thrice) == zeroed.labels.index("wanted")


def test_zeroing_changes_one_row_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("\n".join(fasttext_models.training_lines()[:50]) + "\n")
    path = fasttext_models.train(tmp_path / "text", tmp_path / "model.bin", minn=2, maxn=3)
    before = path.read_bytes()
    zero_end(path)
    after = path.read_bytes()
    changed = [place for place, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    assert len(before) == len(after) and len(changed) > 0 and changed[-1] - changed[0] < 4 * 10
    model = read_model(path)
    assert not model.matrix[model.vocabulary.names.index(b"</s>")].any()


WORDS = st.sampled_from(["a", "b</s>", "</s>", "__label__x", "x__label__", "é", "\u00a0", "__label__", "\u2028", "<s>"])
GAPS = st.sampled_from([" ", "  ", "\n", "\t", "\r\n", "\v", "\f", "\x00", " \n "])


@given(st.lists(st.lists(st.tuples(WORDS, GAPS), max_size=8), min_size=1, max_size=5), GAPS)
def test_cleaning_leaves_the_words_that_count(texts: list[list[tuple[str, str]]], lead: str) -> None:
    raw = [lead + "".join(word + gap for word, gap in text) for text in texts]
    expected = [" ".join(w for w, _ in text if w != "</s>" and not w.startswith("__label__")) for text in texts]
    assert clean(pa.array(raw, pa.large_string())).to_pylist() == expected
    assert [clean(pa.array([text]))[0].as_py() for text in raw] == expected  # whatever else is in the batch


def test_worked_numbers() -> None:
    wanted = np.array([True, True, False, False, True])
    scores = np.array([0.9, 0.5, 0.5, 0.1, 0.2])
    assert auc(wanted, scores) == pytest.approx((2 + 1.5 + 1) / 6)
    low, high = interval(np.tile(wanted, 40), np.tile(scores, 40))
    assert low < auc(wanted, scores) < high and high - low < 0.25
    assert (low, high) == interval(np.tile(wanted, 40), np.tile(scores, 40))
    bins = reliability(np.array([True, False, True]), np.array([1.0, 0.04, 0.96]))
    assert [(one["from"], one["documents"], one["share"]) for one in bins] == [(0.0, 1, 0.0), (0.9, 2, 1.0)]
    assert bins[1]["mean"] == pytest.approx(0.98)


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    draw = np.random.default_rng(5)
    truth, covered, times = 0.7602499, 0, 100  # P(x > y) for normals one standard deviation apart: Φ(1/√2)
    for _ in range(times):
        scores = np.concatenate([draw.normal(1, 1, 80), draw.normal(0, 1, 80)])
        low, high = interval(np.arange(160) < 80, scores)
        covered += low <= truth <= high
    assert 88 <= covered <= 100


def test_deciding_words_are_products_of_rows(made: Dataset) -> None:
    model = read_model(model_of(made))
    good, bad = (model.output[model.labels.index(label)] for label in ("wanted", "crawl"))
    for word, weight in deciding_words(model, "wanted"):
        row = model.matrix[model.vocabulary.names.index(word.encode())]
        assert weight == pytest.approx(float(row @ good - row @ bad), abs=1e-4)


ERRORS: Mapping[str, tuple[Mapping[str, int], dict[str, Any], str]] = {
    "one source": ({"wanted": 9}, {}, "all documents have the label `wanted`, and a classifier tells two or more apart"),
    "one value": ({"wanted": 9}, {"label": "kind"}, "all 9 documents have the label `wanted`"),
    "one class": ({"wanted": 9, "empty": 4}, {}, "all 9 documents have the label `wanted` \\(0 unlabelled, 4 empty\\)"),
    "nothing": ({"empty": 4}, {"label": "kind"}, "no documents to train on \\(0 unlabelled, 4 empty\\)"),
    "no such label": ({"wanted": 9, "crawl": 9}, {"positive": "good"}, "no source has the label `good`"),
    "no such value": ({"wanted": 9, "crawl": 9}, {"label": "kind", "positive": "good"}, "no document has the label `good`"),
    "renamed alike": ({"wanted": 9, "crawl": 9}, {"labels": {"wanted": "x", "crawl": "x"}}, "all documents have the label `x`"),
    "none of the values": ({"wanted": 9}, {"label": "kind", "labels": {"good": "x"}}, "no documents to train on \\(9 unlabelled"),
    "two words": ({"wanted": 9, "crawl": 9}, {"labels": {"wanted": "a b", "crawl": "c"}}, "not a label for fastText: `a b`"),
    "too many labels": ({"wanted": 1200}, {"label": "id"}, "more than 1,000 labels"),
    "not a source": ({"wanted": 9, "crawl": 9}, {"labels": {"good": "x"}}, "`good` is no source of this stage"),
    "all held out": ({"wanted": 9, "crawl": 2}, {"held_out": 0.999}, "of label `crawl` is left to train on"),
    "diverged": ({"wanted": 60, "crawl": 60}, {"lr": 1e6}, "fastText failed: .*NaN"),
    "too small": ({"wanted": 9, "crawl": 9}, {"quantise": True, "word_ngrams": 1}, "fastText failed: .*too small"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_mistakes_are_told(tmp_path: Path, name: str) -> None:
    kinds, params, message = ERRORS[name]
    sources = {kind: [doc | ({"text": " \n"} if kind == "empty" else {}) for doc in corpus({kind: count})] for kind, count in kinds.items()}
    with pytest.raises(CurateError, match=message) as told:
        train(tmp_path, sources, **params)
    assert told.value.hint


def test_labels_that_are_no_labels(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="reads the column `missing`, which is not there"):
        small.plan(_declared(tmp_path, "missing"), tmp_path / "ws")
    with pytest.raises(PipelineError, match="label column `share` is double"):
        train(tmp_path / "run", {"all": corpus({"wanted": 5, "crawl": 5})}, label="share")
    with pytest.raises(PipelineError, match="label column `share` is double"):
        TrainFastText(label="share").verify(SCHEMA)


def _declared(folder: Path, label: str) -> Pipeline:
    small.write_shards(folder / "in", corpus({"wanted": 2}), 1, SCHEMA)
    stages = {
        "text": Stage("crawl", operators=(Step("length"),)),
        "model": Stage("text", use="train_fasttext", params={"label": label}),
    }
    return small.pipeline(folder / "in", stages)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "fasttext", None)
    with pytest.raises(OperatorError, match="the package `fasttext` is not installed") as told:
        train(tmp_path, {"wanted": corpus({"wanted": 3}), "crawl": corpus({"crawl": 3})})
    assert told.value.hint == "pip install '.[fasttext]'"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"held_out": 1.0}, "held_out is not from 0 up to 1"),
        ({"dim": 0}, "dim is less than 1"),
        ({"lr": -1.0}, "lr is less than 0"),
        ({"cutoff": 5}, "cutoff prunes quantised models only"),
        ({"bucket": 0, "word_ngrams": 2}, "bucket is 0"),
        ({"max_per_label": 0}, "max_per_label is less than 1"),
    ],
)
def test_bad_parameters(params: dict[str, Any], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        TrainFastText(**params)


def test_passes_the_battery() -> None:
    check_operator(TrainFastText(word_ngrams=2, zero_eos=True))
