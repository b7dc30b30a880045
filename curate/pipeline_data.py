"""Turns plain data (what YAML holds) into a `Pipeline` and back, and explains in words what does not fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from curate.executors.base import Resources
from curate.pipeline import Check, Input, Output, Pipeline, Stage, Step
from curate.pipeline_mistakes import Mistakes, Place, found
from curate.pipeline_models import (
    UNITS,
    CheckModel,
    InputModel,
    OutputModel,
    PipelineModel,
    ResourcesModel,
    StageModel,
    StepModel,
)
from curate.registry import suggest

_EXPECTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "names": "a name or a list of names",
    "size": "a size such as `512MB` or `2GiB`",
    "finite_number": "a finite number",
}
_MODELS: dict[type[BaseModel], type] = {
    ResourcesModel: Resources,
    InputModel: Input,
    StepModel: Step,
    StageModel: Stage,
    OutputModel: Output,
    CheckModel: Check,
}
_SECTIONS: dict[str, type[BaseModel]] = {"inputs": InputModel, "stages": StageModel, "outputs": OutputModel, "checks": CheckModel}


def check_structure(data: object, mistakes: Mistakes) -> PipelineModel | None:
    """Return the validated model, or note every key and value that does not fit."""
    try:
        return PipelineModel.model_validate(data)
    except ValidationError as error:
        for details in error.errors(include_url=False, include_context=True):
            if not _misspelt(details):
                _explain(details, mistakes)
    return None


def from_model(model: PipelineModel, folder: Path) -> Pipeline:
    """Build the pipeline; keys that the file leaves out keep the defaults of the dataclasses."""
    fields = {name: _build(getattr(model, name)) for name in model.model_fields_set - {"vars"}}
    return Pipeline(**fields, folder=folder)


def to_data(pipeline: Pipeline) -> dict[str, Any]:
    """Return the pipeline as plain data with the keys of the YAML; defaults are left out."""
    data: dict[str, Any] = _plain(pipeline)
    data.pop("folder", None)
    return data


def known_keys(model: type[BaseModel]) -> list[str]:
    """Return a model's keys as the file spells them."""
    return [info.alias or name for name, info in model.model_fields.items()]


def format_size(value: object) -> object:
    """Return a size in the largest unit that divides it: 268435456 becomes `256MiB`."""
    if isinstance(value, int) and value >= 1000 and not isinstance(value, bool):
        for name, factor in sorted(UNITS.items(), key=lambda unit: -unit[1]):
            if value % factor == 0 and factor > 1:
                return f"{value // factor}{name}"
    return value


def _build(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return _MODELS[type(value)](**{name: _build(getattr(value, name)) for name in value.model_fields_set})
    if isinstance(value, dict):
        return {name: _build(inner) for name, inner in value.items()}
    return [_build(inner) for inner in value] if isinstance(value, list) else value


def _plain(value: Any, name: str = "") -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value) if getattr(value, f.name) != _default(f)]
        return {name.rstrip("_"): _plain(inner, name) for name, inner in changed}
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(inner) for inner in value]
    return format_size(value) if name.endswith("_bytes") or name == "memory" else value


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default


def _explain(error: ErrorDetails, mistakes: Mistakes) -> None:
    place: Place = tuple(part for part in error["loc"] if part != "[key]")
    kind = error["type"]
    if kind == "missing":
        mistakes.add(place[:-1], f"missing key `{place[-1]}`{_inside(place[:-1])}")
    elif kind == "extra_forbidden":
        mistakes.add(place, f"unknown key `{place[-1]}`{_inside(place[:-1])}", _unknown_hint(place))
    else:
        hint = error["ctx"]["hint"] if kind == "input" else _value_hint(kind, error["input"], place)
        mistakes.add(place, f"{_subject(place)} {_complaint(error)}", hint)


def _complaint(error: ErrorDetails) -> str:
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    if kind == "input":
        return error["msg"]
    if kind in ("names", "size"):
        return f"must be {_EXPECTED[kind]}, found {context['found']}"
    if kind in _EXPECTED:
        return f"must be {_EXPECTED[kind]}, found {found(value)}"
    if kind == "literal_error":
        return f"must be {str(context['expected']).replace(chr(39), '`')}, found {found(value)}"
    if kind == "greater_than_equal":
        return f"must be at least {context['ge']:g}, found {found(value)}"
    if kind == "greater_than":
        return f"must be more than {context['gt']:g}, found {found(value)}"
    if kind == "too_short":
        return "must not be empty"
    return f"is wrong: {error['msg']}, found {found(value)}"


def _subject(place: Place) -> str:
    match place:
        case ():
            return "a pipeline"
        case (str(section), name) if section in _SECTIONS:
            return f"{section.rstrip('s')} `{name}`"
        case (*_, "operators", int(index)):
            return f"step {index + 1}"
        case ("vars", name):
            return f"var `{name}`"
        case (*_, str(name), int(index)):
            return f"item {index + 1} of `{name}`"
    return f"`{place[-1]}`"


def _inside(place: Place) -> str:
    return f" in {_subject(place)}" if place else ""


def _value_hint(kind: str, value: object, place: Place) -> str | None:
    if kind == "string_type" and isinstance(value, int | float):
        return "put it in quotes"
    if kind == "model_type" and isinstance(value, str) and place[-2:-1] == ("operators",):
        return f"write `use: {value}`"
    if kind in ("int_type", "float_type", "bool_type") and isinstance(value, str):
        return _scalar_hint(kind, value)
    if kind == "literal_error" and isinstance(value, str):
        return suggest(value, [str(v) for v in _choices(place)])
    if kind == "size" and isinstance(value, str) and value[-1:] in "kKMGT" and value[:-1].strip().isdecimal():
        return f"write `{value}B` (powers of 1000) or `{value}iB` (powers of 1024)"
    if kind == "list_type" and isinstance(value, str):
        return f"write `[{value}]`"
    return "remove the key, or give it a value" if value is None else None


def _scalar_hint(kind: str, value: str) -> str | None:
    if kind == "bool_type":
        return "YAML 1.2 knows `true` and `false` only" if value.lower() in ("yes", "no", "on", "off", "y", "n") else None
    digits = value.replace("_", "").replace(",", "")
    return f"write {digits}" if digits.isdecimal() else None


def _choices(place: Place) -> list[object]:
    model = _model_at(place[:-1])
    schema = model.model_json_schema()["properties"].get(str(place[-1]), {}) if model else {}
    return [v for part in [schema, *schema.get("anyOf", [])] for v in part.get("enum", [])]


def _unknown_hint(place: Place) -> str | None:
    model = _model_at(place[:-1])
    if model is None:
        return None
    close = suggest(str(place[-1]), known_keys(model))
    if close is None and model is StepModel:
        return f"an operator's parameters go under `params:`; a step has the keys {_listed(model)}"
    return close or f"known keys: {_listed(model)}"


def _misspelt(error: ErrorDetails) -> bool:
    """Tell whether a missing key stands there with a typing error, which is reported as an unknown key."""
    place, value = tuple(error["loc"]), error["input"]
    model = _model_at(place[:-1])
    if error["type"] != "missing" or model is None or not isinstance(value, dict):
        return False
    unknown = [key for key in value if key not in known_keys(model)]
    return any(suggest(key, known_keys(model)) == f"did you mean `{place[-1]}`?" for key in unknown)


def _model_at(place: Place) -> type[BaseModel] | None:
    match place:
        case ():
            return PipelineModel
        case (str(section), _) if section in _SECTIONS:
            return _SECTIONS[section]
        case ("stages", _, "operators", _):
            return StepModel
        case ("stages", _, "resources"):
            return ResourcesModel
    return None


def _listed(model: type[BaseModel]) -> str:
    return ", ".join(known_keys(model))
