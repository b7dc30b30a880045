"""Keeps the documents for which a condition on their columns holds."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from curate.document import leaf
from curate.errors import PipelineError
from curate.protocols import Filter, decisions
from curate_operators.where_expression import Condition, parse

if TYPE_CHECKING:
    import polars as pl

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Where(Filter):
    """Keeps the documents for which a condition holds.

    ## What it does
    Evaluates a SQL condition on each document. The reason for a drop is the first part of the top-level `and` that is false, as
    written (`lang.confidence >= 0.65`); its value is the number that this part read, when it read one. When no part is false
    but one has no answer (a null), the reason is `unknown`.

    ## Why
    Scorers only measure, so that a threshold can change without scoring again. The condition is parsed when the pipeline is
    checked, and only what looks at one document at a time is allowed: no aggregates, windows, ranks or subqueries.

    ## Example
        - use: where
          params: {keep: "lang.code = 'en' and lang.confidence >= 0.65"}

    ## Parameters
    - `keep`: the condition. Columns by name, fields of structs with a dot, odd names in double quotes, text in single quotes;
      comparisons, and/or/not, arithmetic, in, between, like/ilike/`~`, is null, case, cast, coalesce, abs, round, length,
      lower, upper, starts_with, ends_with, regexp_like, replace, substr, extract(year from …).

    ## Source
    Polars SQL.
    """

    keep: str

    def __post_init__(self) -> None:
        if not self.reads():
            raise PipelineError(f"where: `{self.keep}` reads no column", "compare a column: lang.code = 'en'")

    @functools.cached_property
    def _conditions(self) -> tuple[Condition, ...]:
        return parse(self.keep)

    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(column for condition in self._conditions for column in condition.columns))

    def verify(self, schema: pa.Schema) -> None:
        """Raise `PipelineError` when the condition compares what cannot be compared, or a part of it is not true or false."""
        from polars.exceptions import PolarsError

        known = pa.schema([schema.field(name) for name in self._owners if name in schema.names])
        for path in self.reads():
            if path in known.names and pa.types.is_struct(known.field(path).type):
                fields = ", ".join(f"{path}.{field.name}" for field in known.field(path).type)
                raise PipelineError(f"where: `{path}` in `{self.keep}` is a struct", f"name a field: {fields}")
        row = pa.RecordBatch.from_arrays([pa.nulls(1, field.type) for field in known], schema=known)
        try:
            self._answers(row)
        except PolarsError as error:
            raise PipelineError(f"where: `{self.keep}`: {str(error).splitlines()[0]}", "compare values of one type") from error

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        import polars as pl

        answers = self._answers(docs)
        reasons = [
            pl.when(~pl.col(name)).then(pl.lit(condition.text)) for name, condition in zip(answers.columns, self._conditions, strict=True)
        ]
        unknown = pl.when(pl.any_horizontal(pl.all().is_null())).then(pl.lit(UNKNOWN))
        reason = answers.select(reason=pl.coalesce([*reasons, unknown]))["reason"].to_arrow()
        return decisions(reason, self._values(docs, answers))

    @functools.cached_property
    def _owners(self) -> list[str]:
        """The batch's columns that hold what the condition reads."""
        return list(dict.fromkeys(column.partition(".")[0] for column in self.reads()))

    def _answers(self, docs: pa.RecordBatch) -> pl.DataFrame:
        """Return a Boolean column for each part of the condition."""
        import polars as pl

        frame = pl.DataFrame(docs.select(self._owners))
        answers = frame.select(condition.expression.alias(str(i)) for i, condition in enumerate(self._conditions))
        for condition, dtype in zip(self._conditions, answers.dtypes, strict=True):
            if dtype != pl.Boolean:
                raise PipelineError(f"where: `{condition.text}` is {dtype}, not true or false", "compare it with something")
        return answers

    def _values(self, docs: pa.RecordBatch, answers: pl.DataFrame) -> pa.Array:
        """Return the one number that the first false part of each row read; null where it read none or several."""
        values = pa.nulls(docs.num_rows, pa.float64())
        decided = pc.is_valid(values)
        for condition, answer in zip(self._conditions, answers, strict=True):
            is_false = pc.and_not(pc.fill_null(pc.invert(answer.to_arrow()), False), decided)
            number = _number(docs, condition)
            if number is not None:
                values = pc.if_else(is_false, number, values)
            decided = pc.or_(decided, is_false)
        return values


def _number(docs: pa.RecordBatch, condition: Condition) -> pa.Array | None:
    """Return the only numeric column that a part reads, as doubles."""
    columns = [leaf(docs, path) for path in condition.columns]
    numbers = [column for column in columns if pa.types.is_integer(column.type) or pa.types.is_floating(column.type)]
    return pc.cast(numbers[0], pa.float64(), safe=False) if len(numbers) == 1 else None
