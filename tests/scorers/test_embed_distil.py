"""A static table made of a transformer: what it holds, that the libraries of its format read it, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.errors import OperatorError
from curate_scorers import embed_distil
from curate_scorers.embed import Embed
from curate_scorers.embed_distil import distil, reduced, weights
from curate_scorers.safetensors_files import open_tensors
from tests.scorers.embed_models import TEXTS, WORDS, docs, rows, save_sentence_model

pytest.importorskip("torch")
library = pytest.importorskip("sentence_transformers")


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sentence_model(tmp_path_factory.mktemp("models") / "mean", unit=False)


@pytest.fixture(scope="module")
def table(transformer: Path) -> Path:
    distil(transformer, transformer.with_name("table"), 6)
    return transformer.with_name("table")


def test_tokens_have_the_vectors_of_their_texts(transformer: Path, table: Path) -> None:
    """With all dimensions left, turning and centring keep distances; what is left is a weight for each token."""
    distil(transformer, transformer.with_name("all"), 24)
    found = open_tensors(transformer.with_name("all") / "model.safetensors").read("embeddings") / weights(len(WORDS))[:, None]
    words = ["the", "cat", "dog", "query"]
    alone = library.SentenceTransformer(str(transformer), device="cpu").encode(words, show_progress_bar=False)
    own = found[[WORDS.index(word) for word in words]]
    np.testing.assert_allclose(np.linalg.norm(own[:, None] - own, axis=2), np.linalg.norm(alone[:, None] - alone, axis=2), atol=1e-5)
    few = open_tensors(table / "model.safetensors").read("embeddings") / weights(len(WORDS))[:, None]
    np.testing.assert_allclose(few, found[:, :6], atol=1e-5)


def test_blocks_change_no_vector_and_are_told(transformer: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Any] = []
    monkeypatch.setattr(embed_distil, "BLOCK", 7)
    distil(transformer, tmp_path / "new", 6, on_event=events.append)
    assert (tmp_path / "new" / "model.safetensors").read_bytes() == (table / "model.safetensors").read_bytes()
    blocks = -(-len(WORDS) // 7)
    assert [event["event"] for event in events] == ["stage_started", *["shard_done"] * blocks, "stage_done"]
    assert events[0]["shards"] == blocks and sum(event["rows_in"] for event in events[1:-1]) == len(WORDS)


def test_components_are_in_order_and_signed() -> None:
    vectors = np.random.default_rng(1).normal(size=(500, 5)) * [3, 1, 9, 0.1, 5] + 7
    found = reduced(vectors, 3)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(found.std(0), [9, 5, 3], rtol=0.1)
    np.testing.assert_allclose(np.abs(np.cov(found.T)[np.triu_indices(3, 1)]), 0, atol=1e-9)
    assert np.corrcoef(found[:, 0], vectors[:, 2])[0, 1] > 0.99


def test_rare_tokens_weigh_more() -> None:
    found = weights(1000)
    assert (np.diff(found) > 0).all()
    assert 0 < found[0] < 0.01 < found[-1] < 1


def test_embed_and_the_libraries_agree(table: Path) -> None:
    model2vec = pytest.importorskip("model2vec")
    texts = [text for text in TEXTS if "[SEP]" not in text]
    found = rows(Embed(str(table)).score(docs(*texts)))
    assert found.shape == (len(texts), 6)
    np.testing.assert_allclose(found, model2vec.StaticModel.from_pretrained(table).encode(texts), atol=1e-6)
    known = [text for text in texts if set(text.replace("\n", " ").split()) <= set(WORDS)]  # sentence-transformers counts unknown ones
    model = library.SentenceTransformer(str(table), device="cpu")
    np.testing.assert_allclose(rows(Embed(str(table)).score(docs(*known))), model.encode(known, show_progress_bar=False), atol=1e-6)


def test_what_is_refused(transformer: Path, table: Path, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="is a static table already"):
        distil(table, tmp_path / "new")
    with pytest.raises(OperatorError, match="is there already"):
        distil(transformer, table, 6)
    for dimensions in (0, 25):
        with pytest.raises(OperatorError, match=f"dimensions is not from 1 to 24, what .* has: {dimensions}"):
            distil(transformer, tmp_path / "new", dimensions)
    assert list(tmp_path.iterdir()) == []


def test_the_command(transformer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["embed_distil", str(transformer), str(tmp_path / "new"), "--dimensions", "3"])
    embed_distil.main()
    first, second, last = capsys.readouterr().err.splitlines()
    assert first == f"{embed_distil.STAGE}: 1 shard" and second.startswith(f"{embed_distil.STAGE}: done, {len(WORDS)} in")
    assert last.startswith(f"{tmp_path / 'new'}: a table of 3 dimensions")
    assert Embed(str(tmp_path / "new")).output().list_size == 3
    with pytest.raises(SystemExit, match="is there already"):
        embed_distil.main()
