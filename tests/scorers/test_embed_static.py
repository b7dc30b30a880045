"""`embed` with static tables beside model2vec and sentence-transformers, in every form that they are saved in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.errors import OperatorError
from curate.testing import check_operator
from curate_scorers.embed import Embed
from curate_scorers.safetensors_files import open_tensors
from tests.scorers.embed_models import TEXTS, WORDS, docs, rows, save_tokenizer

model2vec = pytest.importorskip("model2vec")
tokenizers = pytest.importorskip("tokenizers")

KNOWN = [text for text in TEXTS if "[SEP]" not in text]  # a special token in a text is text to us
DRAWN = np.random.default_rng(1).normal(size=(len(WORDS), 8)).astype(np.float32)


def tokenizer(folder: Path) -> Any:
    save_tokenizer(folder)
    return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))


def save(folder: Path, vectors: Any = DRAWN, **how: Any) -> Path:
    """Write a table as model2vec does."""
    model2vec.StaticModel(vectors, tokenizer(folder), **how).save_pretrained(folder)
    return folder


def made(folder: Path, texts: list[str]) -> Any:
    """Return what model2vec itself makes of texts, of length 1."""
    found = model2vec.StaticModel.from_pretrained(folder).encode(texts).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.int8, np.float64])
def test_equals_model2vec(tmp_path: Path, kind: Any) -> None:
    folder = save(tmp_path / "model", (20 * DRAWN).astype(kind))
    found = rows(Embed(str(folder)).score(docs(*KNOWN)))
    np.testing.assert_allclose(found, made(folder, KNOWN), atol=1e-3 if kind == np.float16 else 1e-6)  # which sums in float16


def test_a_quantised_vocabulary(tmp_path: Path) -> None:
    mapping = np.arange(len(WORDS), dtype=np.int32) % 11
    folder = save(tmp_path / "model", DRAWN[:11], token_mapping=mapping, weights=np.linspace(0.1, 1, len(WORDS), dtype=np.float32))
    np.testing.assert_allclose(rows(Embed(str(folder)).score(docs(*KNOWN))), made(folder, KNOWN), atol=1e-6)


def test_unknown_tokens_are_left_out(tmp_path: Path) -> None:
    operator = Embed(str(save(tmp_path / "model")))
    known, mixed = rows(operator.score(docs("the cat", "the zebra cat 港")))
    np.testing.assert_array_equal(known, mixed)
    assert operator.score(docs("zebra", "", None, "cat")).is_null().to_pylist() == [True, True, True, False]
    assert Embed(operator.model, normalize=False).score(docs("zebra")).null_count == 1


def test_unknown_tokens_of_a_unigram_vocabulary(tmp_path: Path) -> None:
    words = tokenizers.Tokenizer(tokenizers.models.Unigram([("<unk>", -9.0), ("▁the", -1.0), ("▁cat", -2.0), ("s", -3.0)], unk_id=0))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    model2vec.StaticModel(DRAWN[:4], words).save_pretrained(tmp_path)
    texts = ["the cats", "the 港 cat ß s"]
    np.testing.assert_allclose(rows(Embed(str(tmp_path)).score(docs(*texts))), made(tmp_path, texts), atol=1e-6)


@pytest.mark.parametrize("unit", [True, False])
def test_lengths_of_vectors(tmp_path: Path, unit: bool) -> None:
    folder = save(tmp_path / "model", normalize=unit)
    found = rows(Embed(str(folder), normalize=False).score(docs(*KNOWN)))
    np.testing.assert_allclose(found, model2vec.StaticModel.from_pretrained(folder).encode(KNOWN), atol=1e-6)
    assert bool(np.allclose(np.linalg.norm(found, axis=1), 1)) == unit


def test_the_first_tokens_only(tmp_path: Path) -> None:
    folder = save(tmp_path / "model", max_length=100)
    texts = ["a 9 on " * 200, "a " * 99 + "9 o a"]
    np.testing.assert_allclose(rows(Embed(str(folder)).score(docs(*texts))), made(folder, texts), atol=1e-6)
    one, two = rows(Embed(str(folder), max_tokens=2).score(docs("the cat", "the cat sat on a mat")))
    np.testing.assert_array_equal(one, two)


def test_a_text_of_many_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    operator = Embed(str(save(tmp_path / "model", max_length=None)))
    texts = ["the cat sat " * 500, "dog"]
    whole = rows(operator.score(docs(*texts)))
    monkeypatch.setattr("curate_scorers.embed_static.PIECE", 7)
    np.testing.assert_allclose(rows(operator.score(docs(*texts))), whole, atol=1e-6)


@pytest.mark.parametrize("unit", [True, False])
def test_equals_sentence_transformers(tmp_path: Path, unit: bool) -> None:
    library = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer import modules

    parts: list[Any] = [modules.StaticEmbedding(tokenizer(tmp_path / "words"), embedding_weights=DRAWN.copy())]
    model = library.SentenceTransformer(modules=[*parts, *([modules.Normalize()] if unit else [])], device="cpu")
    model.save(str(tmp_path / "model"))
    texts = [*KNOWN, "the zebra", "the cat sat " * 400]  # unknown tokens count, and there is no limit
    found = rows(Embed(str(tmp_path / "model"), normalize=False).score(docs(*texts)))
    np.testing.assert_allclose(found, model.encode(texts, show_progress_bar=False), atol=1e-5)


def test_bfloat16(tmp_path: Path) -> None:
    torch, safetensors = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")
    folder = save(tmp_path / "model")
    safetensors.save_file({"embeddings": torch.from_numpy(DRAWN).bfloat16()}, folder / "model.safetensors")
    expected = torch.from_numpy(DRAWN).bfloat16().float().numpy()
    np.testing.assert_array_equal(open_tensors(folder / "model.safetensors").read("embeddings"), expected)
    np.testing.assert_allclose(
        rows(Embed(str(folder)).score(docs("cat")))[0],
        expected[WORDS.index("cat")] / np.linalg.norm(expected[WORDS.index("cat")]),
        rtol=1e-6,
    )


def test_what_the_engine_relies_on(tmp_path: Path) -> None:
    check_operator(Embed(str(save(tmp_path / "model"))))


def test_it_needs_no_torch(tmp_path: Path) -> None:
    folder = save(tmp_path / "model")
    said = (
        "import sys, pyarrow as pa; from curate_scorers.embed import Embed\n"
        f"found = Embed({str(folder)!r}).score(pa.record_batch({{'id': ['a'], 'text': pa.array(['the cat'], pa.large_string())}}))\n"
        "print(found.null_count, {'torch', 'transformers'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True).stdout.strip() == "0 set()"


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"embeddings": DRAWN[:-1]}, "its tokenizer has the token 29, and its table 29 rows"),
        ({"embeddings": DRAWN[0]}, r"has the shape \(8,\), not tokens × dimensions"),
        ({"embeddings": DRAWN[:4], "mapping": np.arange(len(WORDS), dtype=np.int32)}, "names rows that its table of 4 lacks"),
        ({"embeddings": DRAWN, "weights": np.ones(3, np.float32)}, r"have weights of the shape \(3,\)"),
        ({"vectors": DRAWN}, "there is no tensor `embedding.weight`"),
    ],
)
def test_tables_that_do_not_fit(tmp_path: Path, tensors: Any, said: str) -> None:
    numpy_files = pytest.importorskip("safetensors.numpy")
    folder = save(tmp_path / "model")
    numpy_files.save_file(tensors, folder / "model.safetensors")
    with pytest.raises(OperatorError, match=said):
        Embed(str(folder)).score(docs("text"))
