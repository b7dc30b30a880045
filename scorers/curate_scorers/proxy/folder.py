"""A proxy model as a Hugging Face folder: weights in safetensors under Qwen3's names, its configuration, and the tokenizer beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import safetensors.torch
from torch import Tensor
from torch.nn import Module

from curate.files import local_file
from curate_scorers.proxy.model import EPSILON, INITIAL, THETA, Proxy
from curate_scorers.proxy.sizes import Shape

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def config_of(model: Proxy, eos: int) -> bytes:
    """Return config.json."""
    shape = model.shape
    told = {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": model.vocabulary,
        "hidden_size": shape.width,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "head_dim": shape.head,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "max_position_embeddings": model.length,
        "rms_norm_eps": EPSILON,
        "rope_theta": THETA,
        "rope_parameters": {"rope_type": "default", "rope_theta": THETA},
        "tie_word_embeddings": model.tied,
        "initializer_range": INITIAL,
        "bos_token_id": None,
        "eos_token_id": eos,
        "dtype": "float32",
    }
    return orjson.dumps(told, option=orjson.OPT_INDENT_2)


def weights_of(model: Module) -> dict[str, Tensor]:
    """Return the weights, a tied matrix once."""
    return {name: each.detach() for name, each in model.named_parameters()}


def packed_weights(tensors: Mapping[str, Tensor], told: tuple[str, str] = ("format", "pt")) -> bytes:
    """Return tensors as a safetensors file, and one text with its name: the library writes several in any order."""
    whole = {name: each.cpu().contiguous() for name, each in tensors.items()}
    return bytes(safetensors.torch.save(whole, dict([told])))


def read_proxy(folder: str, weights: str = WEIGHTS) -> Proxy:
    """Read a proxy model, an artifact's folder or URL, from any of its files of weights."""
    told = orjson.loads(local_file(f"{folder}/{CONFIG}").read_bytes())
    shape = Shape(told["hidden_size"], told["num_hidden_layers"], told["intermediate_size"], told["num_attention_heads"])
    model = Proxy(shape, told["vocab_size"], told["max_position_embeddings"], told["tie_word_embeddings"])
    load_weights(model, safetensors.torch.load_file(local_file(f"{folder}/{weights}")))
    return model


def load_weights(model: Module, tensors: Mapping[str, Any]) -> None:
    """Put weights into a model, a tied matrix once; other tensors are left alone."""
    model.load_state_dict({name: tensors[name] for name, _ in model.named_parameters()}, strict=False)  # not strict: tied ones
