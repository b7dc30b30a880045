"""Reads a `where` expression: Polars parses the SQL, this module decides what it may hold.

Whatever looks at more than one row (aggregates, windows, subqueries, ranks, shifts) would give a result that depends on how
the documents were cut into batches. Polars has no test for that (`is_row_separable` passes `n > avg(n)`), so the tree is
checked against a list of what is known to look at one row; anything else is refused.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from curate.errors import PipelineError

if TYPE_CHECKING:
    import polars as pl

ALLOWED_FUNCTIONS: dict[str, frozenset[str]] = {
    "": frozenset({"Abs", "Ceil", "Ceiling", "Coalesce", "FillNull", "Floor", "MaxHorizontal", "MinHorizontal", "Negate", "Round", "Sign"}),
    "Boolean": frozenset(
        {"AllHorizontal", "AnyHorizontal", "IsBetween", "IsFinite", "IsIn", "IsInfinite", "IsNan", "IsNotNan", "IsNotNull", "IsNull", "Not"}
    ),
    "ListExpr": frozenset({"Contains", "Length"}),
    "Sql": frozenset({"Binary", "IsIn", "Round"}),
    "StringExpr": frozenset(
        {
            "ConcatHorizontal",
            "Contains",
            "EndsWith",
            "Find",
            "Head",
            "LenBytes",
            "LenChars",
            "Lowercase",
            "Replace",
            "Reverse",
            "Slice",
            "StartsWith",
            "StripChars",
            "StripCharsEnd",
            "StripCharsStart",
            "Tail",
            "Uppercase",
        }
    ),
    "StructExpr": frozenset({"FieldByName"}),
    "TemporalExpr": frozenset({"Day", "Hour", "Month", "Quarter", "Week", "WeekDay", "Year"}),
}
CHILDREN = {"BinaryExpr": ("left", "right"), "Ternary": ("predicate", "truthy", "falsy"), "Cast": ("expr",)}
PLAIN_LITERALS = frozenset({"Scalar", "Dyn"})
MEMBERSHIP = (("Boolean", "IsIn"), ("Sql", "IsIn"))
FIELD = ("StructExpr", "FieldByName")
ROW_WISE = "`where` looks at one document at a time: comparisons, and/or/not, arithmetic, in, between, like, is null, case, text functions"
CLOCK = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"})  # Polars puts today's in
QUOTES = 'a column whose name is a word of SQL stands in double quotes: "{}"'


@dataclass(frozen=True)
class Condition:
    """One part of a top-level AND: its text in the pipeline, the expression, and the columns it reads, dotted."""

    text: str
    expression: pl.Expr
    columns: tuple[str, ...]


def parse(keep: str) -> tuple[Condition, ...]:
    """Return the parts of the expression's top-level AND, or raise `PipelineError` naming what cannot be used."""
    if ";" in _TOKEN.findall(keep):
        raise PipelineError(f"where: `;` in `{keep}`", "`keep` is one condition, not a statement")  # older Polars ignore what follows
    _refuse_clock(keep)
    parts = [_condition(text) for text in split_and(keep)]
    if len(parts) > 1:
        # Splitting reads the text, Polars the grammar: where they disagree the expression stays whole.
        joined = parts[0].expression
        for part in parts[1:]:
            joined = joined & part.expression
        if not joined.meta.eq(_sql(keep)):
            return (_condition(keep),)
    return tuple(parts) if parts else (_condition(keep),)


def _refuse_clock(keep: str) -> None:
    """Raise `PipelineError` when a condition asks for the time of the run: the same input would give other documents tomorrow."""
    solid = ["", *(token.lower() for token in _TOKEN.findall(keep) if not token.isspace()), ""]
    for before, word, after in zip(solid, solid[1:], solid[2:], strict=False):
        if before != "." and (word in CLOCK or (word, after) == ("now", "(")):
            raise PipelineError(f"where: `{word}` in `{keep}` is another time in every run", "write the date: date '2025-01-31'")


def _condition(text: str) -> Condition:
    expression = _sql(text)
    tree = orjson.loads(expression.meta.serialize(format="json"))
    return Condition(" ".join(text.split()), expression, tuple(dict.fromkeys(_columns(tree, text))))


def _sql(text: str) -> pl.Expr:
    import polars as pl
    from polars.exceptions import PolarsError

    try:
        return pl.sql_expr(text)
    except (PolarsError, ValueError) as error:
        with contextlib.suppress(PolarsError, ValueError):
            return pl.sql_expr(_with_quotes(text))
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        word = re.search(r"unsupported function '(\w+)'", first_line)
        raise PipelineError(f"where: cannot read `{text}`: {first_line}", QUOTES.format(word[1]) if word else ROW_WISE) from error


def _with_quotes(text: str) -> str:
    """Put double quotes round the first word, and round names with dots between them.

    Polars takes a condition that begins with `top`, `limit` or `group` for a clause, and `user.name` for a function's field.
    """
    tokens = _TOKEN.findall(text)
    solid = [i for i, token in enumerate(tokens) if not token.isspace()]
    followed = dict(itertools.pairwise(solid))
    columns = [i for i in solid if _WORD.fullmatch(tokens[i]) and "." in (tokens[i - 1 : i] + tokens[i + 1 : i + 2])]
    if solid and _WORD.fullmatch(tokens[solid[0]]) and tokens[followed.get(solid[0], solid[0])] != "(":
        columns.append(solid[0])
    return "".join(f'"{token}"' if i in columns else token for i, token in enumerate(tokens))


def _columns(node: Any, text: str) -> Iterator[str]:
    """Yield the columns of a tree, having checked every node of it."""
    kind, body = next(iter(node.items())) if isinstance(node, dict) and len(node) == 1 else (None, {})
    if kind == "Column":
        yield str(body)
    elif kind == "Function":
        yield from _function_columns(body, text)
    elif kind in CHILDREN:
        for child in CHILDREN[kind]:
            yield from _columns(body[child], text)
    elif kind != "Literal" or not set(body) <= PLAIN_LITERALS:
        raise PipelineError(f"where: `{_name(node)}` is not allowed in `{text}`", ROW_WISE)


def _function_columns(body: Any, text: str) -> Iterator[str]:
    family, name = _function_name(body["function"])
    inputs = body["input"]
    if name not in ALLOWED_FUNCTIONS.get(family, ()):
        raise PipelineError(f"where: function `{f'{family} {name}'.strip()}` is not allowed in `{text}`", ROW_WISE)
    if (family, name) == FIELD:
        yield f"{_field_owner(inputs[0], text)}.{body['function'][family][name]}"
        return
    if (family, name) in MEMBERSHIP:
        # A column on the right would mean "anywhere in the batch".
        if "Literal" not in inputs[1]:
            raise PipelineError(f"where: `in` and `any` take a list of values in `{text}`", ROW_WISE)
        inputs = inputs[:1]
    for part in inputs:
        yield from _columns(part, text)


def _field_owner(node: Any, text: str) -> str:
    owners = list(_columns(node, text))
    if len(owners) != 1:
        raise PipelineError(f"where: a field is taken of something that is no column in `{text}`")
    return owners[0]


def _function_name(function: Any) -> tuple[str, str]:
    """Return family and name of `{"Family": "Name"}` and `{"Family": {"Name": options}}`; `Name` alone has no family."""
    if isinstance(function, str):
        return "", function
    family, inner = next(iter(function.items()))
    if isinstance(inner, dict):
        inner = next(iter(inner), "")
    return str(family), str(inner)


def _name(node: Any) -> str:
    if not isinstance(node, dict) or not node:
        return str(node)
    kind, body = next(iter(node.items()))
    return f"{kind} {next(iter(body))}" if kind == "Agg" and isinstance(body, dict) else str(kind)


_WORD = re.compile(r"[^\W\d]\w*")
_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|\w+|[()]|.", re.DOTALL)


def split_and(text: str) -> list[str]:
    """Cut a SQL expression at the ANDs of its top level; one whole piece when there is an OR beside them."""
    pieces, start, depth, between = [], 0, 0, 0
    for token in _TOKEN.finditer(text):
        word = token.group().lower()
        depth += (word in ("(", "case")) - (word in (")", "end"))
        if depth:
            continue
        if word == "or":
            return [text]
        if word == "between":
            between += 1
        elif word == "and" and between:
            between -= 1
        elif word == "and":
            pieces.append(text[start : token.start()])
            start = token.end()
    return [*pieces, text[start:]]
