"""Arrow types for JSON values: inferring them from a sample, and telling which values fit them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from curate.readers.schema import WHOLE_NUMBER, unify

_MAX_FIELDS = 256
_SCALARS: dict[type, pa.DataType] = {
    type(None): pa.null(),
    bool: pa.bool_(),
    int: WHOLE_NUMBER,
    float: pa.float64(),
    str: pa.string(),
}
_ALLOWED: dict[pa.DataType, frozenset[type]] = {
    pa.bool_(): frozenset({bool, type(None)}),
    pa.int64(): frozenset({int, type(None)}),
    pa.float64(): frozenset({int, float, type(None)}),
    pa.string(): frozenset({str, type(None)}),
    pa.large_string(): frozenset({str, type(None)}),
}


def infer(value: Any) -> pa.DataType:
    """Return the type of one JSON value; raise `Incompatible` for a list whose items have no common type."""
    scalar = _SCALARS.get(type(value))
    if scalar is not None:
        return scalar
    if isinstance(value, dict):
        return pa.struct([pa.field(key, infer(item)) for key, item in value.items()])
    kind = pa.null()
    for item in value:
        kind = unify(kind, infer(item))
    return pa.list_(kind)


def resolve(kind: pa.DataType) -> pa.DataType | None:
    """Return the column type for an inferred one; None when the sample showed no value that tells it.

    Objects with very many keys are dictionaries in disguise and have no type either.
    """
    if pa.types.is_null(kind):
        return None
    if pa.types.is_int32(kind):
        return pa.int64()
    if pa.types.is_list(kind):
        item = resolve(kind.value_type)
        return pa.list_(item) if item is not None else None
    if pa.types.is_struct(kind):
        fields = [(field.name, resolve(field.type)) for field in kind]
        known = [pa.field(name, kind) for name, kind in fields if kind is not None]
        return pa.struct(known) if 0 < len(known) <= _MAX_FIELDS else None
    return kind


def fits(value: Any, kind: pa.DataType) -> bool:
    """Tell whether a JSON value can be stored in this type unchanged, apart from unknown keys of objects."""
    if value is None:
        return True
    allowed = _ALLOWED.get(kind)
    if allowed is not None:
        return type(value) in allowed and (type(value) is not int or _holds(value, kind))
    if pa.types.is_struct(kind):
        return isinstance(value, dict) and all(fits(value.get(field.name), field.type) for field in kind)
    return isinstance(value, list) and all(fits(item, kind.value_type) for item in value)


def all_fit(values: list[Any], kind: pa.DataType) -> bool:
    """Tell whether every value fits, at C speed where the types alone decide."""
    allowed = _ALLOWED.get(kind)
    if allowed is None or int in allowed:
        return all(fits(value, kind) for value in values)
    return allowed.issuperset(map(type, values))


def has_unknown_keys(value: Any, kind: pa.DataType) -> bool:
    """Tell whether an object, at any depth of the value, has a key with a value that the type does not know."""
    if pa.types.is_struct(kind) and isinstance(value, dict):
        known = {field.name: field.type for field in kind}
        return any(item is not None and (key not in known or has_unknown_keys(item, known[key])) for key, item in value.items())
    if pa.types.is_list(kind) and isinstance(value, list):
        return is_nested(kind.value_type) and any(has_unknown_keys(item, kind.value_type) for item in value)
    return False


def is_nested(kind: pa.DataType) -> bool:
    """Tell whether values of this type may hold objects."""
    return bool(pa.types.is_struct(kind) or pa.types.is_list(kind))


def _holds(value: int, kind: pa.DataType) -> bool:
    if pa.types.is_floating(kind):
        return abs(value) <= 1 << 53
    return -(1 << 63) <= value < 1 << 63
