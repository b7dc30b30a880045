"""A refiner's folder: the base's own files, but for its weights, with a chat template where the base has none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson

from curate_scorers.refiner.examples import TEMPLATE

CONFIG, TEMPLATE_FILE, TOKENIZER_CONFIG = "config.json", "chat_template.jinja", "tokenizer_config.json"
KEPT = (
    CONFIG,
    "generation_config.json",
    "tokenizer.json",
    TOKENIZER_CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    TEMPLATE_FILE,
)


def files_beside(base: Path, has_template: bool) -> Iterator[tuple[str, bytes]]:
    """Yield the files that stand beside the weights."""
    for name in KEPT:
        if (base / name).is_file():
            yield name, (base / name).read_bytes()
    if not has_template:
        yield TEMPLATE_FILE, TEMPLATE.encode()


def stored_dtype(base: Path) -> str:
    """Return what numbers a model's weights are stored in, as torch calls them."""
    told = orjson.loads((base / CONFIG).read_bytes())
    return str(told.get("dtype") or told.get("torch_dtype") or "float32")
