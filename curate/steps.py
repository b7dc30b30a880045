"""The steps of a chain as tasks carry them, and each worker's instances of their operators."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass

from curate.protocols import Operator
from curate.registry import OperatorSpec, build


@dataclass(frozen=True)
class StepSpec:
    """An operator of the chain, by specification."""

    label: str
    into: str
    operator: OperatorSpec


@functools.lru_cache(maxsize=64)
def _operator(use: str, params: str, code: str | None) -> Operator:
    return build(OperatorSpec(use, json.loads(params), code))


def operator(spec: OperatorSpec) -> Operator:
    """Return this worker's instance of an operator: made once, so that a model is loaded once."""
    return _operator(spec.use, json.dumps(dict(spec.params), sort_keys=True), spec.code)
