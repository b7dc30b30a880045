"""Small embedding models of random numbers, saved by the libraries that define their formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

TEXTS = ["the cat sat on the mat .", "naïve dogs : 9 o'clock ?", "a", "word " * 60 + "end", "an [SEP] inside", "cats and dogs\n\nsat"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"?[].:'9ao", "the", "cat", "sat", "on", "mat", "an", "end", "word"]
WORDS += ["inside", "and", "dog", "##s", "naive", "clock", "sep", "query"]


def save_tokenizer(folder: Path, limit: int = 64) -> Any:
    """Write a lower-casing WordPiece tokenizer of few tokens and return it."""
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    wrapped = transformers.BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)}, model_max_length=limit)
    wrapped.save_pretrained(folder)
    return wrapped


def save_network(folder: Path, kind: str = "bert") -> Path:
    """Write a random network with its tokenizer, as transformers does."""
    import torch
    import transformers

    save_tokenizer(folder)
    torch.manual_seed(1)
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "initializer_range": 0.4}
    if kind == "bert":
        config = transformers.BertConfig(vocab_size=len(WORDS), hidden_size=24, max_position_embeddings=64, **sizes)
        transformers.BertModel(config).save_pretrained(folder)
    elif kind == "llama":
        config = transformers.LlamaConfig(vocab_size=len(WORDS), hidden_size=24, max_position_embeddings=64, pad_token_id=0, **sizes)
        transformers.LlamaForCausalLM(config).save_pretrained(folder)
    else:
        config = transformers.T5Config(vocab_size=len(WORDS), d_model=24, d_kv=12, d_ff=48, num_layers=2, num_heads=2)
        transformers.T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def save_sentence_model(folder: Path, pooling: str | Sequence[str] = "mean", kind: str = "bert", dense: int = 0, unit: bool = True) -> Path:
    """Write a sentence-transformers model: a network, a pooling, a dense layer of so many numbers, vectors of length 1."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    parts: list[Any] = [modules.Transformer(str(save_network(folder.with_name(folder.name + "-network"), kind)))]
    parts.append(modules.Pooling(24, pooling))
    if dense:
        parts.append(modules.Dense(24 * (1 if isinstance(pooling, str) else len(pooling)), dense))
    SentenceTransformer(modules=[*parts, *([modules.Normalize()] if unit else [])], device="cpu").save(str(folder))
    return folder


def docs(*texts: str | None) -> pa.RecordBatch:
    """Return texts as documents `d0`, `d1`, …"""
    ids = pa.array([f"d{i}" for i in range(len(texts))], pa.string())
    return pa.RecordBatch.from_arrays([ids, pa.array(texts, pa.large_string())], ["id", "text"])


def rows(vectors: pa.Array) -> Any:
    """Return vectors as a matrix; rows of documents without one are NaN."""
    return np.array([row if row is not None else [np.nan] * vectors.type.list_size for row in vectors.to_pylist()], np.float32)
