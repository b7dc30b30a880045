"""What models of torch and transformers have in common: packages, the device and the dtype, and files that are read or told of.

    LIBRARY = Library("embedding model", "embed", "float16")
    torch = LIBRARY.package("torch")
    device, dtype = LIBRARY.settled(folder, "auto", "auto")
    with LIBRARY.reading(folder):
        network, info = auto.from_pretrained(folder, dtype=getattr(torch, dtype), **WEIGHTS)
    LIBRARY.check_loaded(folder, info)

Weights come from safetensors only: a pickle runs what its author likes. The code of a folder is never run, and nothing is downloaded.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from curate.errors import OperatorError

Device = Literal["auto", "cpu", "cuda"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]

LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
WEIGHTS: dict[str, Any] = LOCAL | {"use_safetensors": True, "output_loading_info": True}
KNOWN = "see that the installed transformers knows this kind of model, and that its folder was copied whole"
FAST = "save its fast tokenizer again, or copy it again"
SAID_CHARS, LISTED = 500, 3


@dataclass(frozen=True)
class Library:
    """The packages behind one kind of models: what errors call a model, the extra of curate that has them, and the dtype on a GPU."""

    model: str
    extra: str
    half: Dtype

    def package(self, name: str) -> Any:
        """Return a package; raise `OperatorError` with what to install when it is not there."""
        try:
            return importlib.import_module(name)
        except ImportError as error:
            hint = f"install curate with its extra `{self.extra}`: `pip install '.[{self.extra}]'` in a checkout"
            raise OperatorError(f"{self.model}s need {name}, which is not installed", hint) from error

    def settled(self, folder: Path, device: Device, dtype: Dtype) -> tuple[str, str]:
        """Return where and in what numbers a model works; raise `OperatorError` for a GPU that is not there."""
        there = self.package("torch").cuda.is_available()
        if device == "cuda" and not there:
            raise self.error(folder, "`device: cuda`, and torch sees no GPU here", "leave `device` out to work on the CPU")
        where = ("cuda" if there else "cpu") if device == "auto" else device
        return where, ("float32" if where == "cpu" else self.half) if dtype == "auto" else dtype

    def error(self, folder: Path, what: str, hint: str) -> OperatorError:
        """Return an error that names the model."""
        return OperatorError(f"{self.model} {folder}: {what}", hint)

    @contextmanager
    def reading(self, folder: Path, part: str = "it", hint: str = KNOWN) -> Iterator[None]:
        """Turn what transformers raises into an `OperatorError`, without its advice to upgrade this and that."""
        try:
            with self.quiet():
                yield
        except OperatorError:
            raise
        except Exception as error:
            said = " ".join(str(error).strip().partition("\n\n")[0].split())[:SAID_CHARS]
            raise self.error(folder, f"{part} cannot be read: {type(error).__name__}: {said}", hint) from error

    def check_loaded(self, folder: Path, info: Mapping[str, Any], unread: str | None = None) -> None:
        """Raise `OperatorError` when weights were not in the files, and so were made up; those that begin with `unread` nobody reads."""
        lost = sorted(map(str, [*info["missing_keys"], *(entry[0] for entry in info["mismatched_keys"])]))
        lost = [name for name in lost if unread is None or not name.startswith(unread)]
        if lost:
            more = f" and {len(lost) - LISTED} more" if len(lost) > LISTED else ""
            shown = ", ".join(lost[:LISTED])
            raise self.error(folder, f"its files have no weights for {shown}{more}", "they would be made up: save it again")

    def tokenizer(self, folder: Path, path: Path) -> Any:
        """Return the fast tokenizer at `path` as transformers wraps it; raise `OperatorError` when there is none."""
        with self.reading(folder, "its tokenizer", FAST):
            wrapped = self.package("transformers").AutoTokenizer.from_pretrained(path, **LOCAL)
        if not wrapped.is_fast:
            raise self.error(folder, "its tokenizer.json is not read by the package tokenizers", "save a fast tokenizer")
        return wrapped

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Silence transformers while a model is loaded or saved: what it would say of weights is an error of ours."""
        told = self.package("transformers.utils.logging")
        level, bars = told.get_verbosity(), told.is_progress_bar_enabled()
        told.set_verbosity_error()
        told.disable_progress_bar()
        try:
            yield
        finally:
            told.set_verbosity(level)
            if bars:
                told.enable_progress_bar()
