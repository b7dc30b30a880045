"""Reads what a folder of an embedding model says of itself, from its JSON files alone: kind, dimensions, modules, limits.

Two kinds are known: a transformer with a pooling of its tokens, as sentence-transformers saves it, and a static table with a vector
for each token, as model2vec and sentence-transformers save it. What a folder asks for beyond that is an error, never left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import orjson

from curate.errors import OperatorError
from curate_scorers.safetensors_files import check_weights, open_tensors

POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
OLD_POOLINGS = {  # in the order in which several are joined
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
ACTIVATIONS = {"Identity": "Identity", "Tanh": "Tanh", "ReLU": "ReLU", "GELU": "GELU", "SiLU": "SiLU", "Sigmoid": "Sigmoid"}
WIDTHS = ("hidden_size", "d_model", "dim", "n_embd")  # what architectures call the width of a token's state
HINT = "save the model with sentence-transformers or model2vec; nothing is downloaded"


@dataclass(frozen=True)
class Dense:
    """A linear layer behind the pooling, and what is applied to its result."""

    folder: Path
    inputs: int
    outputs: int
    activation: str


@dataclass(frozen=True)
class Folder:
    """What a model's folder says: `network` is where its weights and tokenizer lie, `dimensions` the length of its vectors.

    `matrix` is the name of a static table's tensor; `max_tokens` counts special tokens; `prefix` is the model's own default.
    """

    path: Path
    kind: Literal["transformer", "static"]
    network: Path
    dimensions: int
    poolings: tuple[str, ...] = ()
    dense: tuple[Dense, ...] = ()
    normalizes: bool = False
    max_tokens: int | None = None
    lower_case: bool = False
    prefix: str = ""
    pools_prefix: bool = True
    matrix: str = ""


def read_folder(path: Path) -> Folder:
    """Return what a folder says of its model; raise `OperatorError` when it is none, or one that we would not compute rightly."""
    if not path.is_dir():
        what = "is a file, not a folder" if path.is_file() else "there is no such folder"
        raise OperatorError(f"embedding model {path}: {what}", "paths are relative to the pipeline file; nothing is downloaded")
    if not (path / "modules.json").is_file():
        if (path / "model.safetensors").is_file() and "embeddings" in open_tensors(path / "model.safetensors").entries:
            return _static(path, path, [])
        raise OperatorError(f"embedding model {path}: there is no modules.json, so nothing says how tokens become a vector", HINT)
    modules = _modules(path)
    kinds = [kind for kind, _ in modules]
    if kinds[:1] == ["StaticEmbedding"]:
        return _static(path, modules[0][1], kinds[1:])
    if kinds[:2] != ["Transformer", "Pooling"]:
        raise OperatorError(f"embedding model {path}: its modules are {', '.join(kinds)}; a Transformer and a Pooling come first", HINT)
    return _transformer(path, modules)


def read_json(path: Path) -> Any:
    """Return a JSON file's content; raise `OperatorError` when it cannot be read."""
    try:
        return orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise OperatorError(f"embedding model {path.parent}: {path.name} cannot be read: {error}", HINT) from error


def _object(path: Path) -> dict[str, Any]:
    found = read_json(path)
    if not isinstance(found, dict):
        raise OperatorError(f"embedding model {path.parent}: {path.name} holds no object", HINT)
    return found


def _modules(path: Path) -> list[tuple[str, Path]]:
    """Return the kind and the folder of each module."""
    listed = read_json(path / "modules.json")
    try:
        found = [(str(entry["type"]), PurePosixPath(entry["path"])) for entry in sorted(listed, key=lambda entry: entry["idx"])]
    except (TypeError, KeyError) as error:
        raise OperatorError(f"embedding model {path}: modules.json is no list of modules", HINT) from error
    for kind, place in found:
        if not kind.startswith("sentence_transformers."):
            raise OperatorError(f"embedding model {path}: its module {kind} is code of its own, which is never run", HINT)
        if place.is_absolute() or ".." in place.parts:
            raise OperatorError(f"embedding model {path}: its module {kind} lies outside the folder, in {place}", HINT)
    return [(kind.rpartition(".")[2], path / place) for kind, place in found]


def _static(path: Path, network: Path, after: Sequence[str]) -> Folder:
    unknown = [kind for kind in after if kind != "Normalize"]
    if unknown:
        raise OperatorError(f"embedding model {path}: a static table followed by {unknown[0]} is not read", HINT)
    tensors = open_tensors(network / "model.safetensors")
    matrix = "embeddings" if "embeddings" in tensors.entries else "embedding.weight"
    shape = tensors.shape(matrix)
    if len(shape) != 2 or not all(shape):
        raise OperatorError(f"embedding model {path}: its tensor `{matrix}` has the shape {shape}, not tokens × dimensions", HINT)
    _need_tokenizer(path, network)
    config = _object(network / "config.json") if matrix == "embeddings" and (network / "config.json").is_file() else {}
    limit = config.get("max_length", 512) if matrix == "embeddings" else None
    normalizes = "Normalize" in after or bool(config.get("normalize"))
    return Folder(path, "static", network, shape[1], normalizes=normalizes, max_tokens=limit, prefix=_prompt(path), matrix=matrix)


def _transformer(path: Path, modules: Sequence[tuple[str, Path]]) -> Folder:
    network = modules[0][1]
    _need_tokenizer(path, network)
    check_weights(f"embedding model {path}", network)
    config = _object(network / "config.json")
    width = next((config[name] for name in WIDTHS if isinstance(config.get(name), int)), None)
    pooling = _object(modules[1][1] / "config.json")
    poolings = _poolings(path, pooling)
    stated = pooling.get("embedding_dimension", pooling.get("word_embedding_dimension", width))
    if not isinstance(stated, int) or width not in (None, stated):
        raise OperatorError(f"embedding model {path}: it pools {stated} numbers of each token, and its states have {width}", HINT)
    dense, normalizes, dimensions = [], False, stated * len(poolings)
    for kind, folder in modules[2:]:
        if kind == "Normalize":
            normalizes = True
        elif kind == "Dense" and not normalizes:
            dense.append(_dense(path, folder, dimensions))
            dimensions = dense[-1].outputs
        else:
            raise OperatorError(f"embedding model {path}: a module {kind} in this place is not known", HINT)
    settings = next((_object(file) for file in sorted(network.glob("sentence_*_config.json"))), {})
    return Folder(
        path,
        "transformer",
        network,
        dimensions,
        poolings,
        tuple(dense),
        normalizes,
        settings.get("max_seq_length"),
        bool(settings.get("do_lower_case")),
        _prompt(path),
        bool(pooling.get("include_prompt", True)),
    )


def _poolings(path: Path, config: Mapping[str, Any]) -> tuple[str, ...]:
    told = config.get("pooling_mode")
    if told is None:
        found = tuple(mode for key, mode in OLD_POOLINGS.items() if config.get(key)) or ("mean",)
    else:
        found = (told,) if isinstance(told, str) else tuple(told)
    unknown = [mode for mode in found if mode not in POOLINGS]
    if unknown:
        raise OperatorError(f"embedding model {path}: its pooling `{unknown[0]}` is not known", f"known: {', '.join(POOLINGS)}")
    return found


def _dense(path: Path, folder: Path, inputs: int) -> Dense:
    config = _object(folder / "config.json")
    activation = str(config.get("activation_function", "torch.nn.modules.activation.Tanh")).rpartition(".")[2]
    places = {config.get("module_input_name", "sentence_embedding"), config.get("module_output_name") or "sentence_embedding"}
    if activation not in ACTIVATIONS or config.get("use_residual") or places != {"sentence_embedding"}:
        raise OperatorError(f"embedding model {path}: its module {folder.name} asks for more than a linear layer and {activation}", HINT)
    shape = open_tensors(folder / "model.safetensors").shape("linear.weight")
    if shape != (config.get("out_features"), inputs):
        raise OperatorError(
            f"embedding model {path}: the weights of {folder.name} have the shape {shape}, and {inputs} numbers come in", HINT
        )
    return Dense(folder, inputs, shape[0], activation)


def _prompt(path: Path) -> str:
    """Return what the model itself puts before every text."""
    file = path / "config_sentence_transformers.json"
    config = _object(file) if file.is_file() else {}
    name = config.get("default_prompt_name")
    return str(config.get("prompts", {}).get(name) or "") if name else ""


def _need_tokenizer(path: Path, network: Path) -> None:
    if not (network / "tokenizer.json").is_file():
        raise OperatorError(f"embedding model {path}: it has no tokenizer.json", "save its fast tokenizer beside it")
