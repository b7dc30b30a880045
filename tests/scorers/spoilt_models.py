"""Ways to spoil the weights of a model's folder, for scorers that must refuse them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path


def posing(folder: Path) -> None:
    """Put a pickle under the name of a safetensors file."""
    (folder / "model.safetensors").write_bytes(pickle.dumps({"a": 1}))


def cut_short(folder: Path) -> None:
    """Take the last bytes away."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def without(tensor: str) -> Callable[[Path], None]:
    """Return what takes one tensor out of the file."""

    def spoil(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        weights = load_file(folder / "model.safetensors")
        del weights[tensor]
        save_file(weights, folder / "model.safetensors", {"format": "pt"})

    return spoil
