"""What an editor offers while a pipeline is written: the keys of each part of it, the operators, and the parameters of each."""

from __future__ import annotations

import inspect
from functools import cache
from pathlib import Path
from typing import Any

from curate.pipeline_params import find_class
from curate.schema import json_schema

_SHORT = 90
_STEPS, _STAGES = "StepModel", "StageModel"


@cache
def words() -> dict[str, Any]:
    """Return `{keys: {part: {key: what it is}}, operators: {name: {of, is, params: {name: default or type}}}}` from the JSON Schema."""
    schema = json_schema()
    definitions = schema["$defs"]
    parts = {"pipeline": schema, "input": definitions["InputModel"], "stage": definitions[_STAGES], "step": definitions[_STEPS]}
    parts |= {"output": definitions["OutputModel"], "check": definitions["CheckModel"]}
    keys = {part: {key: _first(told.get("description", "")) for key, told in found["properties"].items()} for part, found in parts.items()}
    operators = {use: told | {"of": "step"} for use, told in _alternatives(definitions[_STEPS]["oneOf"])}
    for part, model in (("stage", _STAGES), ("check", "CheckModel")):
        operators |= {use: told | {"of": part} for use, told in _conditions(definitions[model].get("allOf", []))}
    for use, told in operators.items():
        told["is"] = _first(inspect.getdoc(find_class(use, Path())[0]) or "")
    return {"keys": keys, "operators": operators}


def _alternatives(found: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [(each["title"], _operator(each["properties"])) for each in found if "title" in each]


def _conditions(found: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [(each["if"]["properties"]["use"]["const"], _operator(each["then"]["properties"])) for each in found]


def _operator(properties: dict[str, Any]) -> dict[str, Any]:
    params = properties.get("params", {}).get("properties", {})
    return {"is": "", "params": {name: _told(spec) for name, spec in params.items()}}


def _told(spec: dict[str, Any]) -> str:
    """Return a parameter's default, or its type where it has none."""
    if "default" in spec:
        default = spec["default"]
        return "null" if default is None else str(default).lower() if isinstance(default, bool) else str(default)[:_SHORT]
    return str(spec.get("type", "needed"))


def _first(description: str) -> str:
    """Return the first sentence of a description."""
    line = description.strip().split("\n", 1)[0]
    return line if len(line) <= _SHORT else f"{line[: _SHORT - 1]}…"
