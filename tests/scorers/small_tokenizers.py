"""Small tokenizers, and pipelines that tokenise with them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from curate.dataset import Dataset
from curate.pipeline import Input, Pipeline, Stage, Step
from tests.engine import small

END = "<|endoftext|>"
WORDS = ["the", "harbour", "wall", "loses", "a", "few", "stones", "every", "winter", "naïve", "港口", "1999", "don't", "—", "ships"]


def save_tokenizer(folder: Path, size: int = 400, texts: Sequence[str] = tuple(WORDS), eos: str | None = END) -> Path:
    """Write a byte-level BPE tokenizer of at most so many tokens."""
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=size, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator([" ".join(texts)] * 3, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast"} | ({"eos_token": eos} if eos else {})
    (folder / "tokenizer_config.json").write_bytes(orjson.dumps(config))
    return folder


def documents(count: int, seed: int = 5, longest: int = 60) -> list[dict[str, Any]]:
    """Return documents of few and of many words; the last has an empty text."""
    dice = random.Random(seed)
    docs: list[dict[str, Any]] = [
        {"id": f"d{n}", "text": " ".join(dice.choices(WORDS, k=int(longest ** dice.random())))} for n in range(count)
    ]
    return [*docs, {"id": "empty", "text": ""}]


def pipeline(folder: Path, docs: Sequence[dict[str, Any]], stages: Mapping[str, Stage], shards: int = 3) -> Pipeline:
    """Return a pipeline over documents in so many shards that tokenises them in the stage `tokens`, before other stages."""
    small.write_shards(folder / "crawl", docs, shards, small.DOCUMENTS)
    tokens = Stage("crawl", operators=[Step("tokenize", {"tokenizer": "tokenizer"}, into="tokens")])
    return small.pipeline(
        folder, {"tokens": tokens, **stages}, inputs={"crawl": Input(str(folder / "crawl"))}, shard_bytes=1, folder=folder
    )


def made(pipe: Pipeline, workspace: Path, stage: str, workers: int = 1) -> Dataset:
    """Run a pipeline and return what a stage made."""
    planned, _ = small.run(pipe, workspace, workers)
    return planned.dataset(stage)


def tokens_of(pipe: Pipeline, workspace: Path) -> dict[str, list[int]]:
    """Return the tokens of each document that has any, by id, as the stage `tokens` made them."""
    rows = small.rows(small.plan(pipe, workspace).dataset("tokens"))
    return {row["id"]: row["tokens"]["ids"] for row in rows if row["tokens"] and row["tokens"]["ids"]}
