"""`curate` turns raw crawls into pretraining corpora and accounts for every document on the way.

The names below are the public API; each is imported when it is first used, so `import curate` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from curate.version import VERSION

__version__ = VERSION

if TYPE_CHECKING:
    from curate.client import Client
    from curate.dataset import Dataset, load
    from curate.errors import CurateError, DatasetError, OperatorError, PipelineError, TransientError, WorkspaceError
    from curate.executors.base import Resources
    from curate.launch import run_pipeline
    from curate.pipeline import Check, Input, Output, Pipeline, Stage, Step
    from curate.pipeline_yaml import load_pipeline
    from curate.protocols import DatasetOperator, Filter, FlatMapper, Judge, Mapper, Scorer, decisions
    from curate.work import Place, Verdict, Work

_HOMES = {
    "curate.client": ("Client",),
    "curate.dataset": ("Dataset", "load"),
    "curate.errors": ("CurateError", "DatasetError", "OperatorError", "PipelineError", "TransientError", "WorkspaceError"),
    "curate.executors.base": ("Resources",),
    "curate.launch": ("run_pipeline",),
    "curate.pipeline": ("Check", "Input", "Output", "Pipeline", "Stage", "Step"),
    "curate.pipeline_yaml": ("load_pipeline",),
    "curate.protocols": ("DatasetOperator", "Filter", "FlatMapper", "Judge", "Mapper", "Scorer", "decisions"),
    "curate.work": ("Place", "Verdict", "Work"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Check",
    "Client",
    "CurateError",
    "Dataset",
    "DatasetError",
    "DatasetOperator",
    "Filter",
    "FlatMapper",
    "Input",
    "Judge",
    "Mapper",
    "OperatorError",
    "Output",
    "Pipeline",
    "PipelineError",
    "Place",
    "Resources",
    "Scorer",
    "Stage",
    "Step",
    "TransientError",
    "Verdict",
    "Work",
    "WorkspaceError",
    "__version__",
    "decisions",
    "load",
    "load_pipeline",
    "run_pipeline",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'curate' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
