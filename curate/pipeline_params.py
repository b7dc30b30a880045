"""Makes operators from the parameters of a pipeline, and explains which parameter is wrong and why."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import re
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union

from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from curate.errors import CurateError, PipelineError
from curate.pipeline_mistakes import Mistakes, Place, found
from curate.protocols import DatasetOperator, Filter, FlatMapper, Judge, Mapper, Operator, Scorer
from curate.registry import find, parameters, suggest

_TOO_LARGE = 1 << 63
VERBS: tuple[type[Operator], ...] = (Filter, Mapper, FlatMapper, Scorer, DatasetOperator, Judge)
_WORDS: dict[object, str] = {
    int: "an integer",
    float: "a number",
    str: "a string",
    bool: "true or false",
    type(None): "null",
    Path: "a path",
    Any: "anything",
}
_PLURALS = {
    "an integer": "integers",
    "a number": "numbers",
    "a string": "strings",
    "true or false": "true and false",
    "a path": "paths",
    "anything": "anything",
}
_TYPE_ERRORS = re.compile(r".*_(type|parsing|from_float)|literal_error|missing|enum|.*unexpected.*")


def find_class(use: str, folder: Path) -> tuple[type[Operator], str | None]:
    """Return the class that `use` names and the code of a user's file; every failure is a `PipelineError`."""
    try:
        return find(use, folder)
    except CurateError:
        raise
    except Exception as error:  # a module of the user's may raise anything while it is imported
        raise PipelineError(f"operator `{use}` cannot be loaded: {type(error).__name__}: {error}") from error


def verb_of(cls: type[Operator]) -> str:
    """Return the name of the operator's verb, `Operator` when it has none."""
    return next((verb.__name__ for verb in VERBS if issubclass(cls, verb)), "Operator")


def fields_of(cls: type[Operator]) -> dict[str, dataclasses.Field[Any]]:
    """Return the parameters that a pipeline may set, by name."""
    return {field.name: field for field in parameters(cls) if field.init}


def required(field: dataclasses.Field[Any]) -> bool:
    """Tell whether a parameter has no default."""
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def type_of(cls: type[Operator], name: str) -> Any:
    """Return a parameter's type, resolved in the module of the class that declares it."""
    owner = next(base for base in cls.__mro__ if name in inspect.get_annotations(base))
    holder = types.SimpleNamespace(__annotations__={name: inspect.get_annotations(owner)[name]})
    names = vars(sys.modules[owner.__module__]) if owner.__module__ in sys.modules else {}
    return typing.get_type_hints(holder, globalns=dict(names), include_extras=True)[name]


def make(cls: type[Operator], use: str, params: Mapping[str, Any], place: Place, mistakes: Mistakes) -> Operator | None:
    """Return the operator, or None when its parameters are wrong and the mistakes are noted.

    `place` is that of the step, or of the stage of a dataset operator.
    """
    before = len(mistakes)
    values = _values(cls, use, params, (*place, "params"), mistakes)
    _note_missing(cls, use, params, place, mistakes)
    if len(mistakes) > before:
        return None
    lacking = sorted(getattr(cls, "__abstractmethods__", ()))
    if lacking:
        mistakes.add(place, f"`{use}` is a {verb_of(cls)} without the method `{lacking[0]}`", "write it: that is what a worker calls")
        return None
    try:
        return cls(**values)
    except (CurateError, ValueError) as error:
        said = error if isinstance(error, CurateError) else PipelineError(str(error))
        mistakes.add_said(_culprit(said.message, params, place), use, said)
    except Exception as error:  # the user's own class may raise anything
        mistakes.add(place, f"`{use}` cannot be made: {type(error).__name__}: {error}")
    return None


def in_words(hint: Any) -> str:
    """Say what a type accepts: `list[str] | None` is `a list of strings or null`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return in_words(arguments[0])
    if origin is Literal:
        return "one of " + ", ".join(f"`{a}`" for a in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(in_words(a) for a in sorted(arguments, key=lambda a: a is type(None)))
    base = origin or hint
    if isinstance(base, type) and issubclass(base, Mapping):
        return f"a mapping of {_plural(in_words(arguments[1]))}" if len(arguments) == 2 else "a mapping"
    if isinstance(base, type) and issubclass(base, Sequence | set | frozenset) and base is not str:
        return _list_in_words(arguments)
    return _WORDS.get(hint) or f"a {getattr(hint, '__name__', hint)}"


def _plural(words: str) -> str:
    return _PLURALS.get(words, words)


def _list_in_words(arguments: tuple[Any, ...]) -> str:
    items = [in_words(a) for a in arguments if a is not ...]
    if len(items) == 1 or (items and len(set(items)) == 1 and ... in arguments):
        return f"a list of {_plural(items[0])}"
    return f"a list of {', '.join(items)}" if items else "a list"


def _values(cls: type[Operator], use: str, params: Mapping[str, Any], place: Place, mistakes: Mistakes) -> dict[str, Any]:
    fields = fields_of(cls)
    values = {}
    for name, value in params.items():
        if name not in fields:
            known = f"its parameters are: {', '.join(fields)}" if fields else "it takes no parameters"
            mistakes.add((*place, name), f"unknown parameter `{name}` of `{use}`", suggest(str(name), list(fields)) or known)
            continue
        try:
            values[name] = _value(cls, use, name, value)
        except _Wrong as wrong:
            mistakes.add((*place, name, *wrong.inside), *wrong.args)
    return values


class _Wrong(Exception):
    """A value that its parameter does not take; the arguments are the text and a hint."""

    def __init__(self, what: str, hint: str | None = None, inside: Place = ()) -> None:
        super().__init__(what, hint)
        self.inside = inside


def _value(cls: type[Operator], use: str, name: str, value: Any) -> Any:
    try:
        hint = type_of(cls, name)
        adapter: TypeAdapter[Any] = TypeAdapter(hint)
    except (NameError, TypeError, PydanticSchemaGenerationError) as error:
        raise _Wrong(f"`{name}` of `{use}` has a type that only Python can give") from error
    try:
        text = json.dumps(value)
    except (TypeError, ValueError) as error:
        raise _Wrong(f"`{name}` of `{use}` must be plain data, found {found(value)}") from error
    try:
        valid = adapter.validate_json(text, strict=True)
    except ValidationError as error:
        raise _explained(error.errors(include_url=False), use, name, hint, value) from None
    if isinstance(valid, int) and abs(valid) >= _TOO_LARGE:
        raise _Wrong(f"`{name}` of `{use}` is too large: {valid}", "whole numbers have 64 bits; null is no limit")
    if isinstance(valid, float) and math.isnan(valid):
        raise _Wrong(f"`{name}` of `{use}` must be {in_words(hint)}, found nan")
    return valid


def _explained(errors: list[ErrorDetails], use: str, name: str, hint: Any, value: Any) -> _Wrong:
    error = errors[0]
    subject = f"`{name}` of `{use}`"
    inside: Place = tuple(error["loc"]) if _exists(value, error["loc"]) else ()
    if not _TYPE_ERRORS.fullmatch(error["type"]):
        return _Wrong(f"{subject}: {error['msg'][:1].lower()}{error['msg'][1:]}, found {found(error['input'])}", None, inside)
    at = f" (item {inside[0] + 1})" if inside and isinstance(inside[0], int) else f" (key `{inside[0]}`)" if inside else ""
    wrong = error["input"] if inside else value
    return _Wrong(f"{subject} must be {in_words(hint)}, found {found(wrong)}{at}", _hint(hint, wrong), inside)


def _exists(value: Any, loc: tuple[int | str, ...]) -> bool:
    """Tell whether a location lies in the value; those of unions hold names of types instead."""
    for part in loc:
        keys = range(len(value)) if isinstance(value, list) else value if isinstance(value, dict) else ()
        if part not in keys:
            return False
        value = value[part]
    return True


def _hint(hint: Any, value: Any) -> str | None:
    words = in_words(hint)
    if isinstance(value, str) and "one of" in words:
        return suggest(value, re.findall(r"`([^`]*)`", words))
    if isinstance(value, str) and ("an integer" in words or "a number" in words):
        plain = value.replace("_", "").replace(",", "")
        return f"write {plain}" if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", plain) else None
    if isinstance(value, str) and "true or false" in words and value.lower() in ("yes", "no", "on", "off"):
        return "YAML 1.2 knows `true` and `false` only"
    if isinstance(value, str) and "list" in words:
        return f"write `[{value}]`"
    return "put it in quotes" if isinstance(value, int | float) and "string" in words else None


def _note_missing(cls: type[Operator], use: str, params: Mapping[str, Any], place: Place, mistakes: Mistakes) -> None:
    fields = fields_of(cls)
    unknown = [str(name) for name in params if name not in fields]
    misspelt = {suggest(name, list(fields)) for name in unknown}
    for name, field in fields.items():
        if name not in params and required(field) and f"did you mean `{name}`?" not in misspelt:
            mistakes.add(place, f"`{use}` needs the parameter `{name}`", f"it is {in_words(_type_or_any(cls, name))}")


def _type_or_any(cls: type[Operator], name: str) -> Any:
    try:
        return type_of(cls, name)
    except (NameError, TypeError):
        return Any


def _culprit(message: str, params: Mapping[str, Any], place: Place) -> Place:
    """Return the place of the one parameter that a message names, else that of the step."""
    named = [name for name in params if re.search(rf"\b{re.escape(str(name))}\b", message)]
    return (*place, "params", named[0]) if len(named) == 1 else place
