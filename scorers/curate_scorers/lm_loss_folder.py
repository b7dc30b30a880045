"""Looks at a Hugging Face folder without loading its model: whether the files of a causal language model are there, whole and safe.

Nothing here needs the extra `lm`, so that `curate check` can tell at once what a worker would find out later.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from curate.errors import OperatorError
from curate.files import verify_sha256
from curate_scorers.safetensors_files import HINT, open_tensors, weights_missing

INDEX = "model.safetensors.index.json"


def check_folder(path: Path, sha256: Mapping[str, str] | None = None) -> None:
    """Raise `OperatorError` unless a folder has the files of a language model, and `DatasetError` unless they have these hashes."""
    if not path.is_dir() or not (path / "config.json").is_file():
        hint = "paths are relative to the pipeline file; `python -m curate_scorers.make_model_family` makes models"
        raise OperatorError(f"language model {path}: there is no folder with a config.json", hint)
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        raise OperatorError(f"language model {path}: {weights_missing(path)}", HINT)
    if not (path / "tokenizer.json").is_file():
        raise OperatorError(f"language model {path}: it has no tokenizer.json", "save its fast tokenizer beside it")
    architecture(path)
    _check_parts(path)
    for file in weights:
        open_tensors(file)
    for name, wanted in (sha256 or {}).items():
        if not (path / name).is_file():
            raise OperatorError(f"language model {path}: it has no file {name}, whose hash is given", "correct `sha256`")
        verify_sha256(path / name, wanted)


def architecture(path: Path) -> str:
    """Return the class that a folder's config.json names."""
    found = _json(path, "config.json").get("architectures")
    if not isinstance(found, list) or not found or not isinstance(found[0], str):
        raise OperatorError(f"language model {path}: its config.json names no architecture", 'it holds {"architectures": ["NAME"], …}')
    return found[0]


def _check_parts(path: Path) -> None:
    """Raise `OperatorError` when weights lie in several files and one of them is missing."""
    if (path / INDEX).is_file():
        names = _json(path, INDEX).get("weight_map")
        missing = sorted({str(name) for name in names.values() if not (path / str(name)).is_file()}) if isinstance(names, dict) else []
        if missing:
            raise OperatorError(f"language model {path}: {missing[0]} is missing, one of the files in {INDEX}", "copy the whole folder")


def _json(path: Path, name: str) -> dict[str, Any]:
    try:
        found = orjson.loads((path / name).read_bytes())
    except orjson.JSONDecodeError as error:
        raise OperatorError(f"language model {path}: {name} cannot be read: {error}", "copy it again") from error
    if not isinstance(found, dict):
        raise OperatorError(f"language model {path}: {name} holds no object", "copy it again")
    return found
