"""Which of several copies of a document stays: rules, and the ranks that they give to a batch of documents.

| rule                              | the copy that stays                                            |
|-----------------------------------|----------------------------------------------------------------|
| `first`                           | the first in the dataset's order                               |
| `longest`, `shortest`             | the one whose text has the most, or fewest, characters         |
| `{highest: COLUMN}`, `{lowest: …}` | the one with the highest, or lowest, number                   |
| `{latest: COLUMN}`, `{earliest: …}` | the one with the latest, or earliest, date                   |
| `{prefer: {COLUMN: [A, B, …]}}`   | one whose column is A, else one whose column is B, …           |

Where a rule leaves a tie the next one decides, and at last the dataset's order. A document without the column's value (null,
NaN, no date, none of the preferred) comes after all that have one. Dates are Arrow's dates and times, or strings that begin
as ISO 8601 does (`2024`, `2024-05`, `20240531`, `2024-05-31T10:00:00+02:00`), to the second; without a zone they are UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.document import TEXT, leaf, type_at
from curate.errors import DatasetError, PipelineError

TWICE = "leave `id:` out of the input and ids are made of places; or keep one of each first, with `exact_dedup` and `by: id`"
Ranks = np.ndarray[Any, np.dtype[np.uint64]]
WORDS = ("first", "longest", "shortest")
COLUMNS = ("highest", "lowest", "latest", "earliest")
LAST = np.uint64(2**64 - 1)
TOP = np.uint64(1 << 63)
HINT = "`first`, `longest`, `shortest`, `{highest: COLUMN}` (or lowest, latest, earliest), `{prefer: {COLUMN: [A, B]}}`, or a list of these"
DATE = (
    r"^\s*(?P<year>[0-9]{4})(?:-?(?P<month>0[1-9]|1[0-2])(?:-?(?P<day>0[1-9]|[12][0-9]|3[01])"
    r"(?:[T ]?(?P<hour>[01][0-9]|2[0-3]):?(?P<minute>[0-5][0-9])(?::?(?P<second>[0-5][0-9])(?:[.,][0-9]+)?)?"
    r"\s*(?P<zone>[+-][0-9]{2}:?[0-9]{2})?)?)?)?"
)


@dataclass(frozen=True)
class Rule:
    """One rule: its name, the column that it reads, and the values that it prefers."""

    name: str
    column: str = TEXT
    values: tuple[str, ...] = ()

    def rank(self, docs: pa.RecordBatch) -> Ranks:
        """Return a rank per document; the lowest stays."""
        column = leaf(docs, self.column)
        if self.name in ("longest", "shortest"):
            return _order(pc.utf8_length(column), self.name == "longest")
        if self.name in ("highest", "lowest"):
            return _order(column, self.name == "highest")
        if self.name in ("latest", "earliest"):
            return _order(seconds(column), self.name == "latest")
        found = pc.index_in(pc.cast(column, pa.string()), value_set=pa.array(self.values, pa.string()))
        return np.asarray(pc.fill_null(found, len(self.values)).to_numpy(zero_copy_only=False), dtype=np.uint64)

    def verify(self, schema: pa.Schema) -> None:
        """Raise `PipelineError` when the column is there and has a type that the rule cannot order."""
        kind = type_at(schema, self.column)
        if kind is None or self.name == "first":
            return
        ordered = _is_date(kind) or _is_text(kind) if self.name in ("latest", "earliest") else _is_number(kind)
        if self.name in ("highest", "lowest", "latest", "earliest") and not ordered:
            wanted = "a date" if self.name in ("latest", "earliest") else "a number"
            raise PipelineError(f"keep: `{self.name}` needs {wanted}, and column `{self.column}` is {kind}")


def parse(keep: Any) -> tuple[Rule, ...]:
    """Return the rules that a `keep` parameter stands for, most important first; raise `PipelineError` when it stands for none."""
    given = keep if isinstance(keep, list | tuple) else [keep]
    rules = tuple(_rule(item) for item in given)
    if not rules:
        raise PipelineError("`keep` is an empty list", HINT)
    return tuple(rule for rule in rules if rule.name != "first")


def _rule(item: Any) -> Rule:
    if isinstance(item, str) and item in WORDS:
        return Rule(item)
    if isinstance(item, Mapping) and len(item) == 1:
        (name, value) = next(iter(item.items()))
        if name in COLUMNS and isinstance(value, str) and value:
            return Rule(name, value)
        if name == "prefer" and isinstance(value, Mapping) and len(value) == 1:
            (column, values) = next(iter(value.items()))
            if isinstance(values, list | tuple) and values and all(isinstance(v, str) or type(v) is int for v in values):
                return Rule(name, str(column), tuple(map(str, values)))
    raise PipelineError(f"`keep` does not know the rule {item!r}", HINT)


def seconds(values: pa.Array) -> pa.Array:
    """Return dates as seconds since 1970, null where there is none."""
    if _is_text(values.type):
        return _parsed(values)
    if pa.types.is_dictionary(values.type):
        return seconds(values.dictionary_decode())
    moments = pc.cast(pc.cast(values, pa.timestamp("us")) if not pa.types.is_timestamp(values.type) else values, pa.int64())
    unit = values.type.unit if pa.types.is_timestamp(values.type) else "us"
    return pc.divide(moments, {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit])


def _parsed(values: pa.Array) -> pa.Array:
    parts = pc.extract_regex(pc.cast(values, pa.large_string()), DATE)
    given = parts.is_valid().to_numpy(zero_copy_only=False)
    year, month, day, hour, minute, second = (_numbers(parts, i, first) for i, first in enumerate((1970, 1, 1, 0, 0, 0)))
    zone = pc.struct_field(parts, 6)
    minutes = _signed(zone)
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    total = (months + day - 1) * 86400 + hour * 3600 + (minute - minutes) * 60 + second
    return pa.array(total, mask=~given)


def _numbers(parts: pa.Array, field: int, default: int) -> Any:
    digits = pc.fill_null(pc.struct_field(parts, field), "")
    filled = pc.if_else(pc.equal(digits, ""), str(default), digits)
    return pc.cast(filled, pa.int64()).to_numpy(zero_copy_only=False)


def _signed(zone: pa.Array) -> Any:
    """Return the minutes that a zone such as `+02:00` is ahead of UTC."""
    digits = pc.replace_substring(pc.fill_null(zone, ""), ":", "")
    filled = pc.if_else(pc.equal(digits, ""), "+0000", digits)
    sign = np.where(pc.starts_with(filled, "-").to_numpy(zero_copy_only=False), -1, 1)
    hours, rest = (pc.cast(pc.utf8_slice_codeunits(filled, *span), pa.int64()).to_numpy() for span in ((1, 3), (3, 5)))
    return sign * (hours * 60 + rest)


def _order(values: pa.Array, descending: bool) -> Ranks:
    """Return unsigned numbers in the order of the values, from the highest when `descending`; null and NaN come last."""
    given = values.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_integer(values.type) or pa.types.is_boolean(values.type):
        kind = pa.uint64() if pa.types.is_uint64(values.type) else pa.int64()
        numbers = pc.fill_null(pc.cast(values, kind), 0).to_numpy(zero_copy_only=False)
        bits = numbers if kind == pa.uint64() else numbers.view(np.uint64) ^ TOP
    else:
        floats = pc.fill_null(pc.cast(values, pa.float64()), 0.0).to_numpy(zero_copy_only=False) + 0.0  # −0 is 0
        given &= ~np.isnan(floats)
        raw = floats.view(np.uint64)
        bits = np.where(raw & TOP, ~raw, raw | TOP)  # IEEE 754 in the order of its values
    return np.where(given, ~bits if descending else bits, LAST)


def _is_number(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal))


def _is_date(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_timestamp, pa.types.is_date))


def _is_text(kind: pa.DataType) -> bool:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(test(value) for test in (pa.types.is_string, pa.types.is_large_string))


def verify_others(ids: pa.Array, kept_id: pa.Array, path: str) -> None:
    """Raise `DatasetError` when a document is to go for one of its own id: no mark, drop or story could tell them apart."""
    alike = pc.equal(ids, kept_id)
    if pc.any(alike).as_py():
        raise DatasetError(f"the id `{ids.filter(alike)[0].as_py()}` stands twice: in {path} and in another shard", TWICE)
