"""Finds operators by name: in installed packs, in a module, or in the user's own file.

A pack is an importable package with `OPERATORS = {"name": "module:Class"}`, announced by one entry point in the group
`curate.packs`. The import happens at first use, so that a pack with heavy modules costs nothing until then.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import importlib.metadata
import linecache
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from curate.errors import PipelineError
from curate.protocols import Operator

GROUP = "curate.packs"
BUILT_IN = {"apply": "curate.apply:Apply"}


@dataclass(frozen=True)
class OperatorSpec:
    """All that is needed to rebuild an operator on a worker.

    `use` is a registered name, `package.module:Class` or `file.py:Class`; `code` is the source of that file, which
    travels with the specification so that a worker needs no access to the user's folder.
    """

    use: str
    params: Mapping[str, Any] = field(default_factory=dict)
    code: str | None = None

    @property
    def code_sha(self) -> str | None:
        """The identity of the user's file."""
        return hashlib.sha256(self.code.encode()).hexdigest() if self.code is not None else None


@functools.cache
def packs() -> dict[str, str]:
    """Return registered operator names with `module:Class`; two packs may not claim one name."""
    found = dict(BUILT_IN)
    for entry in sorted(importlib.metadata.entry_points(group=GROUP)):
        for name, target in importlib.import_module(entry.value).OPERATORS.items():
            if name in found:
                raise PipelineError(f"operator `{name}` is offered by two packs: {found[name]} and {target}")
            found[name] = target
    return found


def find(use: str, folder: Path | None = None) -> tuple[type[Operator], str | None]:
    """Return the class that `use` names, and the source code when it lies in the user's file.

    `folder` is where relative file names start (the pipeline file's folder).
    """
    target, _, attribute = use.rpartition(":")
    if not target:
        return _registered(use), None
    if target.endswith(".py"):
        path = (folder or Path()) / target
        if not path.is_file():
            raise PipelineError(f"operator file not found: {path}", "paths are relative to the pipeline file")
        code = path.read_text(encoding="utf-8")
        return _attribute(load_code(code, target), attribute, use), code
    return _attribute(_import(target, use), attribute, use), None


def build(spec: OperatorSpec) -> Operator:
    """Make the operator on this worker."""
    target, _, attribute = spec.use.rpartition(":")
    if spec.code is not None:
        cls = _attribute(load_code(spec.code, target), attribute, spec.use)
    else:
        cls, _ = find(spec.use)
    return cls(**_tuples(cls, spec.params))


def load_code(code: str, name: str) -> types.ModuleType:
    """Load the user's source once per process, under a module name made of its hash."""
    module_name = f"curate_user_{hashlib.sha256(code.encode()).hexdigest()[:16]}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    module = types.ModuleType(module_name)
    module.__file__ = name
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)  # so that tracebacks show its lines
    sys.modules[module_name] = module  # dataclasses look their module up while the class is made
    try:
        exec(compile(code, name, "exec"), module.__dict__)  # noqa: S102 - the user's own operator file, named by the user
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        line = next((f" line {t.tb_lineno}" for t in _frames(error) if t.tb_frame.f_code.co_filename == name), "")
        raise PipelineError(f"cannot load {name}:{line} {type(error).__name__}: {error}") from error
    return module


def parameters(cls: type[Operator]) -> tuple[dataclasses.Field[Any], ...]:
    """Return an operator's parameters in order."""
    return dataclasses.fields(cls)  # type: ignore[arg-type]


def suggest(word: str, choices: list[str]) -> str | None:
    """Return a did-you-mean hint, or None when nothing is close."""
    close = get_close_matches(word, choices, n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else None


def _registered(use: str) -> type[Operator]:
    known = packs()
    if use not in known:
        listed = "`curate operators` lists what is installed"
        raise PipelineError(f"unknown operator `{use}`", suggest(use, list(known)) or listed)
    module, _, attribute = known[use].partition(":")
    return _attribute(_import(module, use), attribute, use)


def _import(module: str, use: str) -> types.ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = getattr(error, "name", None)
        if missing == module or (missing and module.startswith(f"{missing}.")):
            raise PipelineError(f"operator `{use}`: no module named `{module}`", "is the package installed in this environment?") from error
        raise PipelineError(f"operator `{use}` needs a module that is not installed: {error}") from error


def _attribute(module: types.ModuleType, attribute: str, use: str) -> type[Operator]:
    cls = getattr(module, attribute, None)
    if cls is None:
        names = [n for n, v in vars(module).items() if isinstance(v, type) and issubclass(v, Operator)]
        raise PipelineError(f"operator `{use}`: {module.__file__} has no class `{attribute}`", suggest(attribute, names))
    if not (isinstance(cls, type) and issubclass(cls, Operator) and dataclasses.is_dataclass(cls)):
        raise PipelineError(f"operator `{use}` is not a dataclass with one of curate's verbs", "see `curate.Filter` and its kin")
    return cls


def _tuples(cls: type[Operator], params: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no tuples: give list parameters back as tuples, so that operators stay hashable."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in params.items()}


def _frames(error: BaseException) -> list[types.TracebackType]:
    frames, trace = [], error.__traceback__
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    return frames
