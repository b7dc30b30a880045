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
from curate_scorers.safetensors_files import check_weights

HINT = "paths are relative to the pipeline file; `train_proxy`, `train_family` and `python -m curate_scorers.make_model_family` make models"


def check_folder(path: Path, sha256: Mapping[str, str] | None = None) -> None:
    """Raise `OperatorError` unless a folder has the files of a language model, and `DatasetError` unless they have these hashes."""
    if not path.is_dir() or not (path / "config.json").is_file():
        inside = sorted(found.parent.name for found in path.glob("*/config.json"))
        hint = f"name one of its folders: {', '.join(inside)}" if inside else HINT
        raise OperatorError(f"language model {path}: there is no folder with a config.json", hint)
    check_weights(f"language model {path}", path)
    if not (path / "tokenizer.json").is_file():
        raise OperatorError(f"language model {path}: it has no tokenizer.json", "save its fast tokenizer beside it")
    architecture(path)
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


def _json(path: Path, name: str) -> dict[str, Any]:
    try:
        found = orjson.loads((path / name).read_bytes())
    except orjson.JSONDecodeError as error:
        raise OperatorError(f"language model {path}: {name} cannot be read: {error}", "copy it again") from error
    if not isinstance(found, dict):
        raise OperatorError(f"language model {path}: {name} holds no object", "copy it again")
    return found
