"""Describes pipelines and operators to editors and people: JSON Schema (draft 2020-12) and `curate operators show`."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import PydanticSchemaGenerationError, TypeAdapter

from curate.errors import CurateError, PipelineError
from curate.pipeline_models import PipelineModel
from curate.pipeline_params import fields_of, find_class, in_words, required, type_of, verb_of
from curate.protocols import DatasetOperator, FlatMapper, Mapper, Operator, Scorer
from curate.registry import packs

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_OWN = {"type": "string", "pattern": "^.+:[A-Za-z_][A-Za-z0-9_]*$", "description": "`file.py:Class` or `package.module:Class`"}
_VERB_OF_USE = {"StepModel": ("Filter", "Mapper", "FlatMapper", "Scorer"), "StageModel": ("DatasetOperator",), "CheckModel": ("Judge",)}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a pipeline file, with the parameters of every installed operator.

    Operators whose modules cannot be imported here (an extra is missing) are left out; names with `:` are always allowed.
    """
    schema = PipelineModel.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    operators = _installed()
    for model, verbs in _VERB_OF_USE.items():
        _add_operators(definitions[model], {use: cls for use, cls in operators.items() if verb_of(cls) in verbs}, model)
    definitions["StageModel"]["oneOf"] = [{"required": ["use"]}, {"anyOf": [{"required": ["operators"]}, {"required": ["apply"]}]}]
    files = {"required": ["path"], "properties": {"artifact": {"type": "null"}}}
    definitions["InputModel"]["oneOf"] = [files, {"required": ["artifact"], "maxProperties": 1}]
    names = {"pattern": "^[A-Za-z][A-Za-z0-9_]*$"}
    for section in ("inputs", "stages", "outputs", "checks"):
        schema["properties"][section]["propertyNames"] = names
    return {"$schema": DIALECT, **schema, "title": "curate pipeline"}


def describe(cls: type[Operator], use: str | None = None) -> dict[str, Any]:
    """Return what a person wants to know of an operator, as plain data; `use` is the name a pipeline calls it by."""
    operator = _with_defaults(cls)
    sections = _sections(inspect.getdoc(cls) or "")
    return {
        "use": use or f"{cls.__module__}:{cls.__qualname__}",
        "verb": verb_of(cls),
        "module": cls.__module__,
        "class": cls.__qualname__,
        "version": cls.version,
        "reproducible": cls.reproducible,
        "cost": cls.cost,
        "parameters": [_parameter(cls, name, field) for name, field in fields_of(cls).items()],
        "reads": list(operator.reads()) if operator else None,
        "adds": _adds(operator) if operator else None,
        "emits": getattr(cls, "emits", None) if issubclass(cls, DatasetOperator) else None,
        "summary": sections.pop("", ""),
        "sections": sections,
    }


def describe_text(cls: type[Operator], use: str | None = None) -> str:
    """Return the description for a terminal."""
    about = describe(cls, use)
    lines = [f"{about['use']}  {about['verb']}, version {about['version']}  ({about['module']}:{about['class']})", "", about["summary"], ""]
    for title, body in about["sections"].items():
        lines += [title, *(f"  {line}".rstrip() for line in body.splitlines()), ""]
    lines += ["Types and defaults" if about["parameters"] else "No parameters"]
    width = max((len(p["name"]) for p in about["parameters"]), default=0)
    for p in about["parameters"]:
        default = "required" if p["required"] else f"default {_shown(p['default'])}"
        lines.append(f"  {p['name']:<{width}}  {p['type']}, {default}")
    lines += ["", f"Reads  {_listed(about['reads'])}"]
    if about["adds"] or about["adds"] is None:
        lines.append(f"Adds   {_listed(about['adds'])}")
    if about["emits"]:
        lines.append(f"Emits  {about['emits']}")
    return "\n".join(lines) + "\n"


def _sections(doc: str) -> dict[str, str]:
    """Split a docstring at its `## Title` lines; what stands before the first has the title ``."""
    parts = re.split(r"^## *(.+?) *$", doc, flags=re.MULTILINE)
    return {title: textwrap.dedent(body.strip("\n")).rstrip() for title, body in zip(["", *parts[1::2]], parts[::2], strict=True)}


def _installed() -> dict[str, type[Operator]]:
    found = {}
    for use in sorted(packs()):
        try:
            found[use] = find_class(use, Path())[0]
        except PipelineError:  # an optional dependency is not installed
            continue
    return found


def _add_operators(definition: dict[str, Any], operators: Mapping[str, type[Operator]], model: str) -> None:
    """Let an editor complete `use` and, once that stands there, the parameters of this operator."""
    properties = definition["properties"]
    if model == "StepModel":
        own = {"properties": {"use": _OWN}}
        definition["oneOf"] = [*(_alternative(use, cls) for use, cls in operators.items()), own]
        properties["use"] = {"type": "string", "description": properties["use"]["description"]}
        return
    registered = [{"enum": list(operators)}] if operators else []  # draft 2020-12 wants lists with something in them
    properties["use"] = {"anyOf": [*registered, _OWN], "description": properties["use"]["description"]}
    if operators:
        definition["allOf"] = [_condition(use, cls) for use, cls in operators.items()]


def _alternative(use: str, cls: type[Operator]) -> dict[str, Any]:
    needs = ["params"] if any(required(field) for field in fields_of(cls).values()) else []
    described = {"const": use, "description": inspect.getdoc(cls) or ""}
    return {"title": use, "properties": {"use": described, "params": _params_schema(cls)}, "required": ["use", *needs]}


def _condition(use: str, cls: type[Operator]) -> dict[str, Any]:
    alternative = _alternative(use, cls)
    then = {"properties": {"params": alternative["properties"]["params"]}, "required": alternative["required"]}
    return {"if": {"properties": {"use": {"const": use}}, "required": ["use"]}, "then": then}


def _params_schema(cls: type[Operator]) -> dict[str, Any]:
    fields = fields_of(cls)
    properties = {name: _type_schema(cls, name) | _default_schema(field) for name, field in fields.items()}
    needed = [name for name, field in fields.items() if required(field)]
    return {"type": "object", "properties": properties, "additionalProperties": False} | ({"required": needed} if needed else {})


def _type_schema(cls: type[Operator], name: str) -> dict[str, Any]:
    try:
        schema = TypeAdapter(type_of(cls, name)).json_schema()
    except (NameError, TypeError, PydanticSchemaGenerationError):  # a type that only Python can give
        return {}
    return {} if "$defs" in schema else schema  # references would have to move to the top of the pipeline's schema


def _default_schema(field: dataclasses.Field[Any]) -> dict[str, Any]:
    return {} if required(field) else {"default": _plain(_default(field))}


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default


def _plain(value: Any) -> Any:
    if isinstance(value, str | int | float | None):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, Sequence | set | frozenset) else str(value)


def _parameter(cls: type[Operator], name: str, field: dataclasses.Field[Any]) -> dict[str, Any]:
    needed = required(field)
    return {"name": name, "type": _type_text(cls, name), "required": needed, "default": None if needed else _plain(_default(field))}


def _type_text(cls: type[Operator], name: str) -> str:
    try:
        return in_words(type_of(cls, name))
    except (NameError, TypeError):
        return "a Python object"


def _with_defaults(cls: type[Operator]) -> Operator | None:
    """Return an instance to ask for columns, or None when it needs parameters or a module that is not here."""
    try:
        return cls()
    except (CurateError, TypeError, ValueError, ImportError):
        return None


def _adds(operator: Operator) -> dict[str, str]:
    if isinstance(operator, Scorer):
        return {"(into)": str(operator.output())}
    if isinstance(operator, Mapper | FlatMapper | DatasetOperator):
        return {name: str(kind) for name, kind in operator.adds().items()}
    return {}


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _listed(names: Mapping[str, str] | Sequence[str] | None) -> str:
    if names is None:
        return "depends on its parameters"
    if isinstance(names, Mapping):
        return ", ".join(f"{name} ({kind})" for name, kind in names.items())
    return ", ".join(names) or "no columns"
