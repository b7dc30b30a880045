"""Folders that `embed` refuses, each with a sentence that says what is wrong, before a model is loaded where that can be known."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from curate.errors import OperatorError, PipelineError
from curate_scorers.embed import Embed
from curate_scorers.safetensors_files import INDEX
from tests.scorers.embed_models import docs, save_network, save_sentence_model
from tests.scorers.spoilt_models import cut_short, posing, without

pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sentence_model(tmp_path_factory.mktemp("models") / "whole", dense=5)


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


def change(path: Path, **entries: Any) -> None:
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()) | entries))


def module(folder: Path, place: int, **entries: Any) -> None:
    listed = orjson.loads((folder / "modules.json").read_bytes())
    listed[place] |= entries
    (folder / "modules.json").write_bytes(orjson.dumps(listed))


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def dense_pickled(folder: Path) -> None:
    (folder / "2_Dense" / "model.safetensors").rename(folder / "2_Dense" / "pytorch_model.bin")


BEFORE: list[tuple[Callable[[Path], Any], str]] = [
    (lambda folder: (folder / "modules.json").unlink(), "no modules.json, so nothing says how tokens become a vector"),
    (lambda folder: (folder / "modules.json").write_bytes(b"{"), "modules.json cannot be read"),
    (lambda folder: (folder / "modules.json").write_bytes(b'{"a": 1}'), "modules.json is no list of modules"),
    (lambda folder: (folder / "model.safetensors").unlink(), "it has no weights"),
    (pickled, r"its weights are a pickle, pytorch_model\.bin"),
    (dense_pickled, r"2_Dense: its weights are a pickle"),
    (posing, "is no safetensors file, whatever its name says"),
    (cut_short, "is damaged: .* bytes are not what its header says"),
    (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer.json"),
    (lambda folder: (folder / "config.json").write_bytes(b"{"), "config.json cannot be read"),
    (lambda folder: (folder / "config.json").write_bytes(b"[]"), "config.json holds no object"),
    (lambda folder: module(folder, 0, type="os.system"), "its module os.system is code of its own, which is never run"),
    (lambda folder: module(folder, 1, path="../other"), "lies outside the folder"),
    (lambda folder: module(folder, 0, type="sentence_transformers.models.CLIPModel"), "its modules are CLIPModel, Pooling"),
    (lambda folder: module(folder, 3, type="sentence_transformers.models.LSTM"), "a module LSTM in this place is not known"),
    (lambda folder: change(folder / "1_Pooling" / "config.json", pooling_mode="attention"), "its pooling `attention` is not known"),
    (lambda folder: change(folder / "1_Pooling" / "config.json", embedding_dimension=9), "it pools 9 numbers of each token"),
    (lambda folder: change(folder / "2_Dense" / "config.json", activation_function="os.system"), "more than a linear layer and"),
    (lambda folder: change(folder / "2_Dense" / "config.json", out_features=9), r"the weights of 2_Dense have the shape \(5, 24\)"),
]

LOADED: list[tuple[Callable[[Path], Any], str]] = [
    (without("encoder.layer.1.output.dense.weight"), r"no weights for encoder\.layer\.1\.output\.dense\.weight"),
    (lambda folder: (folder / "tokenizer.json").write_bytes(b"{}"), "its tokenizer cannot be read"),
    (lambda folder: change(folder / "config.json", model_type="nothing"), "cannot be read"),
    (lambda folder: change(folder / "config.json", auto_map={"AutoModel": "code.Model"}, model_type="own"), "cannot be read"),
]


@pytest.mark.parametrize(("spoil", "said"), BEFORE)
def test_folders_that_are_refused_at_once(folder: Path, spoil: Callable[[Path], Any], said: str) -> None:
    spoil(folder)
    with pytest.raises(OperatorError, match=said):
        Embed(str(folder)).output()


@pytest.mark.parametrize(("spoil", "said"), LOADED)
def test_folders_that_are_refused_when_they_are_loaded(folder: Path, spoil: Callable[[Path], Any], said: str) -> None:
    spoil(folder)
    with pytest.raises(OperatorError, match=said):
        Embed(str(folder)).score(docs("text"))


@pytest.mark.parametrize("spoil", [lambda folder: None, lambda folder: (folder / "model.safetensors").unlink()])
def test_parts_of_weights_that_are_missing_are_told_at_once(folder: Path, spoil: Callable[[Path], Any]) -> None:
    parts = {"a": "model.safetensors", "b": "model-00002-of-00003.safetensors", "c": "model-00003-of-00003.safetensors"}
    (folder / INDEX).write_bytes(orjson.dumps({"weight_map": parts}))
    spoil(folder)
    with pytest.raises(OperatorError, match=r"model-00002-of-00003\.safetensors, model-00003-of-00003\.safetensors.* are missing") as told:
        Embed(str(folder)).output()
    assert told.value.hint == "copy the whole folder" and told.value.message.startswith(f"embedding model {folder}: ")


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"weight_map": ["a"]}'])
def test_an_index_that_says_nothing_is_refused(folder: Path, content: bytes) -> None:
    (folder / INDEX).write_bytes(content)
    with pytest.raises(OperatorError, match="does not say in which files its weights are"):
        Embed(str(folder)).output()


def test_weights_in_parts_are_read(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    before = Embed(str(folder)).score(docs("the cat"))
    weights = sorted(load_file(folder / "model.safetensors").items())
    halves = {f"model-{number}-of-2.safetensors": dict(part) for number, part in enumerate((weights[::2], weights[1::2]), 1)}
    for name, part in halves.items():
        save_file(part, folder / name, {"format": "pt"})
    (folder / "model.safetensors").unlink()
    (folder / INDEX).write_bytes(orjson.dumps({"metadata": {}, "weight_map": {key: name for name, part in halves.items() for key in part}}))
    assert Embed(str(folder)).score(docs("the cat")).equals(before)


def test_what_transformers_says_is_told_without_its_advice(folder: Path) -> None:
    change(folder / "config.json", model_type="nothing")
    with pytest.raises(OperatorError, match="model type `nothing`") as told:
        Embed(str(folder)).score(docs("text"))
    assert "pip install" not in told.value.message and "\n" not in told.value.message and "installed transformers" in str(told.value.hint)


def test_a_generative_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="nothing says how tokens become a vector"):
        Embed(str(save_network(tmp_path / "llama", "llama"))).output()


def test_a_prefix_that_the_model_would_leave_out(folder: Path) -> None:
    change(folder / "1_Pooling" / "config.json", include_prompt=False)
    assert Embed(str(folder)).score(docs("cat")).null_count == 0
    with pytest.raises(PipelineError, match="leaves its prefix out of its pooling"):
        Embed(str(folder), prefix="query: ").output()


def test_missing_folders_and_packages(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OperatorError, match="there is no such folder"):
        Embed(str(tmp_path / "none")).output()
    with pytest.raises(OperatorError, match="is a file, not a folder"):
        Embed(str(folder / "config.json")).output()
    for place in ("stage:trained", "s3://bucket/model"):
        with pytest.raises(PipelineError, match="model is no folder"):
            Embed(place)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(OperatorError, match="torch, which is not installed") as caught:
        Embed(str(folder)).score(docs("text"))
    assert "[embed]" in str(caught.value.hint)


def test_too_few_tokens_and_no_gpu(folder: Path) -> None:
    import torch

    with pytest.raises(OperatorError, match="2 tokens leave none for the text"):
        Embed(str(folder), max_tokens=2).score(docs("text"))
    if not torch.cuda.is_available():
        with pytest.raises(OperatorError, match="embedding model .*: `device: cuda`, and torch sees no GPU here"):
            Embed(str(folder), device="cuda").score(docs("text"))
