"""The columns of an input: the union of its files' columns by name, under the names that documents use.

`options.text` becomes `text`, `options.id` is copied to `id`; a column of the data that stands in their way is kept as
`original_<name>`. Types widen only where no value can change (int32 and int64, float and double, date precision,
string and large_string); dictionaries are decoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

from curate.document import ID, ID_TYPE, SOURCE, TEXT, TEXT_TYPE
from curate.errors import DatasetError
from curate.readers.base import ReadOptions
from curate.registry import suggest

Evidence = tuple[pa.DataType, str]
"""A type and where it was seen."""

WHOLE_NUMBER = pa.int32()
"""What a JSON number without a fraction is while types are inferred: it widens to double, as JSON has one kind of number."""

_SIGNED = (pa.int8(), pa.int16(), pa.int32(), pa.int64())
_UNSIGNED = (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
_UNITS = ("s", "ms", "us", "ns")


class Incompatible(Exception):
    """Two types that no type holds without loss."""


def unify(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    """Return the narrowest type that holds the values of both unchanged; raise `Incompatible` when there is none."""
    a, b = plain(a), plain(b)
    if a.equals(b) or pa.types.is_null(b):
        return a
    if pa.types.is_null(a):
        return b
    for rule in (_unify_numbers, _unify_strings, _unify_times, _unify_decimals, _unify_nested):
        wide = rule(a, b)
        if wide is not None:
            return wide
    raise Incompatible(f"{a} and {b}")


def plain(kind: pa.DataType) -> pa.DataType:
    """Return the type without dictionaries, extensions, views and field metadata, at every depth."""
    types = pa.types
    if types.is_dictionary(kind):
        return plain(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return plain(kind.storage_type)
    if types.is_string_view(kind) or types.is_binary_view(kind):
        return pa.large_string() if types.is_string_view(kind) else pa.large_binary()
    if types.is_struct(kind):
        return pa.struct([pa.field(field.name, plain(field.type)) for field in kind])
    if types.is_map(kind):
        return pa.map_(plain(kind.key_type), plain(kind.item_type))
    if types.is_large_list(kind) or types.is_large_list_view(kind):
        return pa.large_list(plain(kind.value_type))
    if types.is_list(kind) or types.is_fixed_size_list(kind) or types.is_list_view(kind):
        return pa.list_(plain(kind.value_type))
    return kind


def _unify_numbers(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    types = pa.types
    if types.is_floating(a) and types.is_floating(b):
        return a if a.bit_width >= b.bit_width else b
    if types.is_integer(a) and types.is_integer(b):
        return _unify_integers(a, b)
    if types.is_integer(a) and types.is_floating(b):
        a, b = b, a
    if types.is_floating(a) and types.is_integer(b):  # mantissas hold 11, 24 and 53 bits
        bits = b.bit_width
        return a if bits < {16: 11, 32: 24, 64: 53}[a.bit_width] else pa.float64() if bits <= 32 else None
    return None


def _unify_integers(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    for family in (_SIGNED, _UNSIGNED):
        if a in family and b in family:
            return a if a.bit_width >= b.bit_width else b
    signed, unsigned = (a, b) if a in _SIGNED else (b, a)
    bits = max(signed.bit_width, unsigned.bit_width * 2)
    return {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}.get(bits)


def _unify_strings(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    types = pa.types
    if (types.is_string(a) or types.is_large_string(a)) and (types.is_string(b) or types.is_large_string(b)):
        return pa.large_string()
    binary = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary)
    if any(is_kind(a) for is_kind in binary) and any(is_kind(b) for is_kind in binary):
        large = types.is_large_binary(a) or types.is_large_binary(b)
        return pa.large_binary() if large else pa.binary()
    return None


def _unify_times(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    types = pa.types
    if types.is_timestamp(a) and types.is_timestamp(b) and a.tz == b.tz:
        return a if _UNITS.index(a.unit) >= _UNITS.index(b.unit) else b
    if types.is_date(a) and types.is_date(b):
        return pa.date64()
    return None


def _unify_decimals(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    if not (pa.types.is_decimal(a) and pa.types.is_decimal(b)):
        return None
    scale = max(a.scale, b.scale)
    precision = max(a.precision - a.scale, b.precision - b.scale) + scale
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale) if precision <= 76 else None


def _unify_nested(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    types = pa.types
    if types.is_struct(a) and types.is_struct(b):
        fields = {field.name: field.type for field in a}
        for field in b:
            fields[field.name] = unify(fields[field.name], field.type) if field.name in fields else field.type
        return pa.struct(list(fields.items()))
    if _is_list(a) and _is_list(b):
        make = pa.large_list if types.is_large_list(a) or types.is_large_list(b) else pa.list_
        return make(unify(a.value_type, b.value_type))
    return None


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def union(files: Iterable[tuple[str, Iterable[pa.Field]]]) -> dict[str, Evidence]:
    """Return the union of files' columns in the order of first appearance, each with where its type was seen.

    Ids become strings in any case, so a column `id` may hold whole numbers in one file and strings in another.
    """
    found: dict[str, Evidence] = {}
    for where, fields in files:
        for field in fields:
            found[field.name] = widen(field.name, found.get(field.name), (plain(field.type), where))
    return found


def widen(name: str, known: Evidence | None, new: Evidence) -> Evidence:
    """Return the evidence that covers both, or raise `DatasetError` that names both places."""
    if known is None or known[0].equals(new[0]):
        return known or new
    try:
        wide = unify(known[0], new[0])
    except Incompatible:
        if name == ID and _names_things(known[0]) and _names_things(new[0]):
            return ID_TYPE, new[1]
        raise DatasetError(
            f"column `{name}` is {_shown(known[0])} in {known[1]} but {_shown(new[0])} in {new[1]}",
            "convert one of the files, or read them as two inputs",
        ) from None
    return wide, known[1] if wide.equals(known[0]) else new[1]


def _shown(kind: pa.DataType) -> str:
    return "a whole number" if kind is WHOLE_NUMBER else str(kind)


def _names_things(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string))


def final_name(name: str, kind: pa.DataType, options: ReadOptions) -> str:
    """Return what a column of the data is called in documents."""
    if name == options.text:
        return TEXT
    in_the_way = (
        name == TEXT
        or (name == ID and options.id not in (None, ID))
        or (name == SOURCE and not (pa.types.is_string(kind) or pa.types.is_large_string(kind)))
    )
    return f"original_{name}" if in_the_way else name


def id_column(options: ReadOptions) -> str:
    """Return the column of the data that holds ids, if there is one."""
    return options.id or ID


def document_schema(columns: Mapping[str, Evidence], options: ReadOptions) -> pa.Schema:
    """Return the documents' schema for the columns of the data: `id` first, `source` added last when missing."""
    _check_named(columns, options)
    fields = [pa.field(ID, ID_TYPE)]
    if not columns:  # nothing to learn from, as all files are empty or damaged: `read` says what is wrong with them
        fields.append(pa.field(TEXT, TEXT_TYPE))
    for name, (kind, where) in columns.items():
        final = final_name(name, kind, options)
        if final == TEXT:
            fields.append(pa.field(TEXT, _text_type(name, kind, where)))
        elif final != ID:
            fields.append(pa.field(final, pa.string() if final == SOURCE else kind))
    if SOURCE not in [field.name for field in fields]:
        fields.append(pa.field(SOURCE, pa.string()))
    return _unique(pa.schema(fields))


def _text_type(name: str, kind: pa.DataType, where: str) -> pa.DataType:
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
        raise DatasetError(f"the text column `{name}` is {kind} in {where}", "`text:` names a column of strings")
    return TEXT_TYPE


def _check_named(columns: Mapping[str, Evidence], options: ReadOptions) -> None:
    """Raise `DatasetError` when a column that the input names is missing, or cannot be an id."""
    asked = [("id", options.id)] + ([("text", options.text)] if options.text != TEXT else [])
    for key, name in asked:
        if name is not None and name not in columns and columns:
            hint = suggest(name, list(columns)) or f"columns: {', '.join(list(columns)[:20])}"
            raise DatasetError(f"input `{options.input}`: `{key}: {name}` names a column that the files do not have", hint)
    kind, where = columns.get(id_column(options), (ID_TYPE, ""))
    if not (_names_things(kind) or pa.types.is_null(kind)):
        raise DatasetError(
            f"input `{options.input}`: the id column `{id_column(options)}` is {kind} in {where}",
            "ids are strings or whole numbers; name another column with `id:`",
        )


def _unique(schema: pa.Schema) -> pa.Schema:
    for name in schema.names:
        if schema.names.count(name) > 1:
            raise DatasetError(f"two columns would be called `{name}`", "rename one of them in the data")
    return schema
