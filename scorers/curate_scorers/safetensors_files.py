"""Reads tensors from safetensors files: a table of contents in JSON, then plain numbers. No other format is read: a pickle can run code.

It needs NumPy alone, so that the shape of a matrix is known while a pipeline is checked, without loading torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from curate.errors import OperatorError

HINT = "weights are read from *.safetensors only: save the model again"
INDEX = "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
MAX_CONTENTS = 100_000_000  # bytes of a table of contents, as the format's own library allows
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I8": "<i1", "U8": "<u1", "I32": "<i4", "I64": "<i8"}


@dataclass(frozen=True)
class Tensors:
    """A file's tensors: name, type, shape and the place of each."""

    path: Path
    entries: dict[str, dict[str, Any]]
    begin: int

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor; raise `OperatorError` when there is none of this name."""
        return tuple(self._entry(name)["shape"])

    def read(self, name: str) -> Any:
        """Return a tensor as numbers that NumPy can reckon with: bfloat16 becomes float32, other types stay."""
        entry = self._entry(name)
        if entry["dtype"] not in DTYPES:
            raise OperatorError(f"{self.path}: tensor `{name}` has numbers of type {entry['dtype']}", f"known: {', '.join(DTYPES)}")
        first, last = entry["data_offsets"]
        with self.path.open("rb") as file:
            file.seek(self.begin + first)
            data = np.frombuffer(file.read(last - first), DTYPES[entry["dtype"]])
        if entry["dtype"] == "BF16":
            data = (data.astype(np.uint32) << 16).view(np.float32)
        return data.reshape(entry["shape"])

    def _entry(self, name: str) -> dict[str, Any]:
        if name not in self.entries:
            shown = ", ".join(sorted(self.entries)[:5]) or "none"
            raise OperatorError(f"{self.path}: there is no tensor `{name}`", f"its tensors: {shown}")
        return self.entries[name]


def open_tensors(path: Path) -> Tensors:
    """Read a file's table of contents; raise `OperatorError` when there is no such file or it is no whole safetensors file."""
    if not path.is_file():
        raise OperatorError(f"{path.parent}: {weights_missing(path.parent)}", HINT)
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        contents = file.read(length) if length <= min(MAX_CONTENTS, size - 8) else b""
    try:
        entries = {name: entry for name, entry in orjson.loads(contents).items() if name != "__metadata__"}
        ends = [_end(entry) for entry in entries.values()]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise OperatorError(f"{path} is no safetensors file, whatever its name says", HINT) from error
    if 8 + length + max(ends, default=0) != size:
        raise OperatorError(f"{path} is damaged: {size:,} bytes are not what its header says", "copy it again")
    return Tensors(path, entries, 8 + length)


def check_weights(model: str, folder: Path) -> None:
    """Raise `OperatorError` unless a folder has weights: whole files, and all that its index names; `model` is what errors call it."""
    missing = _missing_parts(model, folder) if (folder / INDEX).is_file() else []
    if missing:
        raise OperatorError(f"{model}: of the files in {INDEX}, {', '.join(missing)} {_are(missing)} missing", "copy the whole folder")
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise OperatorError(f"{model}: {weights_missing(folder)}", HINT)
    for file in files:
        open_tensors(file)


def _missing_parts(model: str, folder: Path) -> list[str]:
    """Return the files that an index names and that are not there."""
    try:
        names = {str(name) for name in orjson.loads((folder / INDEX).read_bytes())["weight_map"].values()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise OperatorError(f"{model}: {INDEX} does not say in which files its weights are", "copy it again") from error
    return sorted(name for name in names if not (folder / name).is_file())


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def weights_missing(folder: Path) -> str:
    """Say in what way a folder lacks weights that are safe to read."""
    pickles = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLES) if folder.is_dir() else []
    return f"its weights are a pickle, {pickles[0]}, which could run any code" if pickles else "it has no weights"


def _end(entry: dict[str, Any]) -> int:
    """Return where a tensor's numbers end; raise `ValueError` when there are not as many bytes as its shape says."""
    first, last = entry["data_offsets"]
    wanted = last - first
    if entry["dtype"] in DTYPES:
        wanted = math.prod(entry["shape"]) * np.dtype(DTYPES[entry["dtype"]]).itemsize
    if not 0 <= first <= last or last - first != wanted:
        raise ValueError(f"{last - first} bytes of shape {entry['shape']}")
    return int(last)
