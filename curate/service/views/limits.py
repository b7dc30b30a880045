"""Which limit a document broke: the rule behind a reason in words, and the value that its parameter has in a run's pipeline.

Operators document their reasons in a table of their docstring, `| reason | broken when |`, in which limits stand in backticks:
the n-th reason of a row belongs to the n-th limit. Where there is no such row, a reason `too_few_chars` has the limit
`min_chars`, `too_many_…` and `…_too_long` a `max_…` of the same words.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from curate.errors import CurateError
from curate.pipeline import Pipeline, Step
from curate.pipeline_params import fields_of, find_class, required
from curate.protocols import Operator

_LIMITS = ("min_", "max_")
_NAME = re.compile(r"`([^`]+)`")
_FEW = re.compile(r"too_(?:few|little|small|short)_|_?too_(?:few|little|short|low)$")
_MANY = re.compile(r"too_(?:many|much|large|long)_|_?too_(?:many|much|long|high)$")


@dataclass(frozen=True)
class Limit:
    """A parameter and its value in the pipeline; `rule` says in words when it is broken, where the operator documents it."""

    parameter: str
    value: Any
    rule: str = ""


class Limits:
    """The limits of one pipeline: the copy that a run keeps."""

    def __init__(self, pipeline: Pipeline | None) -> None:
        self._pipeline = pipeline

    def of(self, stage: str, step: str, reason: str) -> Limit | None:
        """Return the limit behind a reason, or None when the decision has none or is not known."""
        found = self._step(stage, step)
        if found is None or found.use == "where":  # the reasons of `where` are its conditions, limits included
            return None
        if found.use == "apply":
            return self._applied(str(found.params.get("by") or step), reason)
        return _limit(found, reason)

    def _step(self, stage: str, step: str) -> Step | None:
        if self._pipeline is None or stage not in self._pipeline.stages:
            return None
        planned = self._pipeline.stages[stage]
        if step in planned.apply:
            return Step("apply", {"by": step})
        return next((found for found in planned.operators if found.label == step), None)

    def _applied(self, stage: str, reason: str) -> Limit | None:
        """Return the limit of a dataset operator whose marks were applied: how alike documents must be."""
        marking = self._pipeline.stages.get(stage) if self._pipeline else None
        if marking is None or marking.use is None:
            return None
        step = Step(marking.use, marking.params)
        return _limit(step, reason) or (_value(step, "similarity") if "similarity" in _fields(step.use) else None)


def _limit(step: Step, reason: str) -> Limit | None:
    known = _documented(step.use).get(reason)
    if known is not None:
        found = _value(step, known[0])
        return Limit(found.parameter, found.value, known[1])
    parameter = _by_name(reason, _fields(step.use))
    return _value(step, parameter) if parameter else None


def _value(step: Step, parameter: str) -> Limit:
    if parameter in step.params:
        return Limit(parameter, step.params[parameter])
    field = _fields(step.use).get(parameter)
    return Limit(parameter, None if field is None or required(field) else field.default)


@cache
def _class(use: str) -> type[Operator] | None:
    """Return an installed operator; the code of users is not run for a page."""
    try:
        return None if ":" in use else find_class(use, Path())[0]
    except CurateError:
        return None


@cache
def _fields(use: str) -> Mapping[str, Any]:
    cls = _class(use)
    return fields_of(cls) if cls else {}


def _by_name(reason: str, fields: Mapping[str, Any]) -> str | None:
    """Return the parameter whose name says the same as a reason."""
    for prefix, pattern in (("min_", _FEW), ("max_", _MANY)):
        noun, found = pattern.subn("", reason)
        if found:
            candidates = (f"{prefix}{noun}", f"{prefix}{noun}_ratio", f"{prefix}{noun.removesuffix('s')}_ratio")
            return next((name for name in candidates if name in fields), None)
    return None


@cache
def _documented(use: str) -> Mapping[str, tuple[str, str]]:
    """Return the parameter and the rule of each reason that an operator's docstring has in its table."""
    cls = _class(use)
    return dict(_table(inspect.getdoc(cls) or "", _fields(use))) if cls else {}


def _table(doc: str, fields: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
    for line in doc.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.strip().startswith("|") else []
        if len(cells) != 2:
            continue
        reasons = _NAME.findall(cells[0])
        parameters = [name for name in _NAME.findall(cells[1]) if name in fields and name.startswith(_LIMITS)]
        if reasons and len(parameters) == len(reasons):
            yield from ((reason, (parameter, cells[1])) for reason, parameter in zip(reasons, parameters, strict=True))
