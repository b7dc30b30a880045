"""`train_refiner`: it learns what it is shown, writes it in transformers as it was judged, and goes on where it was killed."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from curate.dataset import Dataset
from curate.errors import CurateError, OperatorError, PipelineError
from curate.pipeline import Input, Pipeline, Stage, Step
from curate.testing import check_operator
from curate_scorers.refiner.train_refiner import TrainRefiner
from tests.engine import small
from tests.scorers.proxy_corpora import Files
from tests.scorers.small_tokenizers import save_tokenizer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import pyarrow as pa  # noqa: E402

from curate_scorers.lm_loss_model import MODELS, read_model  # noqa: E402
from curate_scorers.refiner.examples import TEMPLATE, padded, read_pairs, told  # noqa: E402
from curate_scorers.refiner.recipe import Recipe  # noqa: E402
from curate_scorers.refiner.train import train  # noqa: E402

SCHEMA = pa.schema(
    {name: pa.string() if name.endswith("id") else pa.large_string() for name in ("id", "text", "prompt", "answer", "parent_id")}
)
FAST: Mapping[str, Any] = {"epochs": 4, "batch_examples": 8, "rate": 3e-3, "matrix_rate": 0.02, "held_out": 0.1, "warm_up_ratio": 0.1}
WORDS = ("harbour", "wall", "stones", "winter", "ships")


def rows(count: int) -> list[dict[str, Any]]:
    """Return examples whose answer is the word of the prompt that stands behind a star, two for each document."""
    dice = random.Random(3)
    made = []
    for number in range(count):
        words = [dice.choice(WORDS) for _ in range(3)]
        chosen = dice.randrange(3)
        prompt = " ".join(f"*{word}" if place == chosen else word for place, word in enumerate(words))
        made.append({"id": f"e{number:03d}", "text": prompt, "prompt": prompt, "answer": words[chosen], "parent_id": f"d{number // 2}"})
    return made


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of random weights that knows the words."""
    folder = save_tokenizer(tmp_path_factory.mktemp("base"), 300, texts=WORDS)
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=320,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def pipeline(folder: Path, base: Path, docs: list[dict[str, Any]], shards: int = 2, **params: Any) -> Pipeline:
    small.write_shards(folder / "examples", docs, shards, SCHEMA)
    stages = {"refiner": Stage("examples", use="train_refiner", params={"base": str(base), **FAST, **params})}
    return small.pipeline(folder, stages, inputs={"examples": Input(str(folder / "examples"))}, shard_bytes=1)


@pytest.fixture(scope="module")
def made(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("refiner")
    odd: list[dict[str, Any]] = [
        {"id": "x1", "text": "", "prompt": "wall", "answer": " ", "parent_id": "x"},
        {"id": "x2", "text": "", "prompt": None, "answer": "wall", "parent_id": "x"},
        {"id": "x3", "text": "", "prompt": "wall " * 90, "answer": "wall", "parent_id": "x"},
    ]
    planned, _ = small.run(pipeline(folder, base, rows(240) + odd), folder / "ws")
    return planned.dataset("refiner")


def notes(dataset: Dataset) -> dict[str, Any]:
    return {note["name"]: note for note in dataset.manifest.notes}


def answer(folder: str, prompt: str) -> str:
    """Return what greedy decoding writes behind a prompt, as any user of the folder would ask it."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    shown = tokenizer.apply_chat_template([{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False)
    ids = tokenizer(shown, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        out = model.generate(ids, max_new_tokens=12, do_sample=False, pad_token_id=0)
    return str(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))


def test_it_learns_and_transformers_writes_what_was_judged(made: Dataset) -> None:
    best = next(each for each in made.manifest.about["judged"] if each["step"] == made.manifest.about["kept_step"])
    assert best["exact"] > 0.9 and best["loss"] == min(each["loss"] for each in made.manifest.about["judged"])
    right = sum(answer(made.url, row["prompt"]) == row["answer"] for row in rows(280)[240:])
    assert right >= 34


def test_notes_tell_what_was_left_out_and_how_good_it_is(made: Dataset) -> None:
    told = notes(made)
    assert not told["left out"]["passed"] and "2 without prompt or answer, 1 longer than 64 tokens" in told["left out"]["message"]
    assert "are answered exactly" in told["held out"]["message"] and len(told["held out"]["measures"]) == FAST["epochs"]
    about = made.manifest.about
    assert about["examples"] + about["held_out"] == 240 and about["held_out"] > 5
    curve = small.rows(made)
    assert curve[-1]["step"] == about["steps"] and curve[-1]["loss"] < curve[0]["loss"] / 2


def test_the_folder_is_the_base_with_other_weights_and_a_template(made: Dataset, base: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert Path(made.url, name).read_bytes() == (base / name).read_bytes()
    assert Path(made.url, "chat_template.jinja").read_text() == TEMPLATE
    training = orjson.loads(Path(made.url, "training.json").read_bytes())
    assert training["epochs"] == FAST["epochs"] and training["curve"][-1]["step"] == training["steps"]


def test_shards_make_no_difference(made: Dataset, base: Path, tmp_path: Path) -> None:
    weights = []
    for shards in (1, 3):
        folder = tmp_path / str(shards)
        planned, _ = small.run(pipeline(folder, base, rows(60), shards, epochs=1), folder / "ws")
        weights.append(Path(planned.dataset("refiner").url, "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


@pytest.mark.parametrize("dies_after", [1, 4])
def test_a_training_that_dies_goes_on_to_the_same_bytes(base: Path, monkeypatch: pytest.MonkeyPatch, dies_after: int) -> None:
    monkeypatch.setattr("curate_scorers.proxy.checkpoint.LEAST_S", 0.0)
    monkeypatch.setattr("curate_scorers.proxy.checkpoint.COST_RATIO", float("inf"))
    whole = _trained(base, Files())
    files = Files()
    files.dies_after = dies_after
    with pytest.raises(KeyboardInterrupt):
        _trained(base, files)
    assert "model.safetensors" not in files or dies_after > 1
    again = _trained(base, files)
    assert files["model.safetensors"] == whole["files"]["model.safetensors"] and again["told"] == whole["told"]


def _trained(base: Path, files: Files) -> dict[str, Any]:
    batches = [pa.RecordBatch.from_pylist(rows(80), SCHEMA)]
    model, tokenizer = read_model(str(base), dtype="float32"), MODELS.tokenizer(base, base)
    tokenizer.chat_template = TEMPLATE
    pairs = read_pairs(batches, "parent_id", 0.2, 1)
    examples, _ = told(tokenizer, pairs, [i for i, held in enumerate(pairs.held) if not held], 64)
    held, _ = told(tokenizer, pairs, [i for i, held in enumerate(pairs.held) if held], 64)
    trained = train(model, examples, held, Recipe(epochs=2, batch_examples=8, rate=3e-3), files, lambda line: None)
    return {"files": files, "told": trained}


def test_examples_of_one_document_are_on_one_side() -> None:
    pairs = read_pairs([pa.RecordBatch.from_pylist(rows(200), SCHEMA)], "parent_id", 0.3, 1)
    assert pairs.held[::2].tolist() == pairs.held[1::2].tolist() and 0.1 < pairs.held.mean() < 0.5


def test_only_the_answer_is_learnt(base: Path) -> None:
    tokenizer = MODELS.tokenizer(base, base)
    tokenizer.chat_template = TEMPLATE
    pairs = read_pairs([pa.RecordBatch.from_pylist(rows(9), SCHEMA)], "parent_id", 0, 1)
    examples, _ = told(tokenizer, pairs, range(9), 64)
    seen = 0
    for part in padded(examples, range(9), 40):
        for targets, wanted, inputs in zip(part.targets, part.wanted, part.inputs, strict=True):
            learnt = targets[wanted]
            assert learnt[-1] == tokenizer.eos_token_id and inputs[0] == tokenizer.eos_token_id
            assert tokenizer.decode(learnt[:-1]) in pairs.answers
            seen += 1
    assert seen == 9


def test_a_worker_runs_the_model_of_a_stage(base: Path, tmp_path: Path) -> None:
    """What the model is made of is part of what it refined; where it lies is for the worker to know."""
    found = []
    for epochs in (1, 2):
        made = pipeline(tmp_path, base, rows(4), epochs=epochs)
        step = Step("prox_chunk", {"llm": {"engine": "vllm", "model": "stage:refiner"}, "trained": True})
        stages = {**made.stages, "cleaned": Stage("examples", operators=[step])}
        planned = small.plan(dataclasses.replace(made, stages=stages), tmp_path / "ws")
        [planned_step] = planned.stages["cleaned"].steps
        assert planned_step.operator.params["llm"]["model"] == f"{tmp_path / 'ws'}/{planned.stages['refiner'].folder}"
        found.append(planned.stages["cleaned"].fingerprint)
    assert found[0] != found[1]


def test_mistakes_are_told(base: Path, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="held_out is not from 0 up to 1"):
        TrainRefiner("x", held_out=1.0)
    with pytest.raises(PipelineError, match="rate is not above 0"):
        TrainRefiner("x", rate=0)
    with pytest.raises(CurateError, match=r"there is no folder with a config\.json"):
        small.plan(pipeline(tmp_path / "a", tmp_path, rows(4)), tmp_path / "ws")
    with pytest.raises(OperatorError, match="there is no example to train on"):
        small.run(pipeline(tmp_path / "b", base, [row | {"answer": ""} for row in rows(4)]), tmp_path / "ws")
    with pytest.raises(OperatorError, match="the loss of step"):
        small.run(pipeline(tmp_path / "c", base, rows(40), rate=1e30, matrix_rate=None), tmp_path / "ws")


def test_the_battery() -> None:
    check_operator(TrainRefiner("models/small"))
