"""A proxy model as a Hugging Face folder: weights in safetensors under Qwen3's names, its configuration, and the tokenizer beside them.

The tokenizer of the folder puts the token that ends documents before each text, where special tokens are asked for: so texts begin in
training, and so other programs have to read them to find what we find.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import safetensors.torch
from torch import Tensor
from torch.nn import Module

from curate.files import local_file
from curate_scorers.proxy import tokenizer_files
from curate_scorers.proxy.model import EPSILON, INITIAL, THETA, Proxy
from curate_scorers.proxy.sizes import Shape

CONFIG, WEIGHTS = "config.json", "model.safetensors"
BEGINNINGS = ("TemplateProcessing", "BertProcessing", "RobertaProcessing")  # of texts, as the package tokenizers has them


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
        "bos_token_id": eos,
        "eos_token_id": eos,
        "dtype": "float32",
    }
    return orjson.dumps(told, option=orjson.OPT_INDENT_2)


def begun_tokenizer(paths: Sequence[Path], eos: int) -> Iterator[tuple[str, bytes]]:
    """Yield a tokenizer's files, changed so that texts begin with the token that ends documents; one without that token as they are."""
    files = {path.name: orjson.loads(path.read_bytes()) for path in paths}
    tokenizer = files.get(tokenizer_files.TOKENIZER, {})
    if (token := _token(tokenizer, eos)) is not None:
        files[tokenizer_files.TOKENIZER] = tokenizer | {"post_processor": _beginning(token, eos, tokenizer.get("post_processor"))}
        told = {"eos_token": token} | files.get(tokenizer_files.CONFIG, {})
        told = {name: value for name, value in told.items() if name not in ("add_bos_token", "add_eos_token")}
        files[tokenizer_files.CONFIG] = told | {
            "bos_token": token,
            "tokenizer_class": "PreTrainedTokenizerFast",
        }  # others make their own beginning
        if tokenizer_files.SPECIAL in files:
            files[tokenizer_files.SPECIAL] |= {"bos_token": token}
    for name, content in files.items():
        yield name, orjson.dumps(content, option=orjson.OPT_INDENT_2)


def _token(tokenizer: Mapping[str, Any], number: int) -> str | None:
    """Return the text of a special token, None where a tokenizer has none of this number."""
    return next((each["content"] for each in tokenizer.get("added_tokens") or () if each["id"] == number), None)


def _beginning(token: str, number: int, before: Any) -> dict[str, Any]:
    """Return what puts a token before each text, behind what a tokenizer did already; what began texts otherwise is left out."""
    special = {"SpecialToken": {"id": token, "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": kind}} for name, kind in (("A", 0), ("B", 1)))
    tokens = {token: {"id": token, "ids": [number], "tokens": [token]}}
    begun = {"type": "TemplateProcessing", "single": [special, first], "pair": [special, first, second], "special_tokens": tokens}
    steps = before["processors"] if before and before["type"] == "Sequence" else [before] if before else []
    kept = [step for step in steps if step["type"] not in BEGINNINGS]
    return {"type": "Sequence", "processors": [*kept, begun]} if kept else begun


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
