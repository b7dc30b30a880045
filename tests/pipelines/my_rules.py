"""A user's own operators, one or more of every verb, for pipelines that are checked and never run.

Their verbs raise: a check that called one would have run something.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import pyarrow as pa

from curate.errors import PipelineError
from curate.protocols import DatasetOperator, Filter, FlatMapper, Judge, Mapper, Operator, Scorer

RAN = "a check must not run operators"


@dataclass(frozen=True)
class DigitRatio(Filter):
    """Drops documents with too many digits."""

    max_digit_ratio: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.max_digit_ratio <= 1:
            raise ValueError(f"max_digit_ratio must lie between 0 and 1, found {self.max_digit_ratio}")

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        raise AssertionError(RAN)


@dataclass(frozen=True)
class Words(Filter):
    """Drops documents without certain words."""

    words: tuple[str, ...]
    mode: Literal["any", "all"] = "any"
    min_hits: int = 1
    strict: bool = False
    weights: Mapping[str, float] | None = None

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        raise AssertionError(RAN)


@dataclass(frozen=True)
class FromHtml(Mapper):
    """Makes text from HTML."""

    cost: ClassVar[Literal["cheap", "costly"]] = "costly"

    def reads(self) -> tuple[str, ...]:
        return ("html",)

    def adds(self) -> Mapping[str, pa.DataType]:
        return {"text": pa.large_string()}

    def removes(self) -> tuple[str, ...]:
        return ("html",)

    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        raise AssertionError(RAN)


@dataclass(frozen=True)
class Paragraphs(FlatMapper):
    """Makes a document of every paragraph."""

    def adds(self) -> Mapping[str, pa.DataType]:
        return {"paragraph": pa.int32()}

    def expand(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        raise AssertionError(RAN)


@dataclass(frozen=True)
class Letters(Scorer):
    """Counts letters."""

    def output(self) -> pa.DataType:
        return pa.int64()

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        raise AssertionError(RAN)


@dataclass(frozen=True)
class Lang(Scorer):
    """Tells the language."""

    model: str = "lid"

    def output(self) -> pa.DataType:
        return pa.struct([("code", pa.string()), ("confidence", pa.float64())])

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        raise AssertionError(RAN)


@dataclass(frozen=True)
class AtLeast(Filter):
    """Drops documents whose number in a column is too small."""

    column: str
    minimum: float = 0.5

    def reads(self) -> tuple[str, ...]:
        return (self.column,)

    def verify(self, schema: pa.Schema) -> None:
        if "." not in self.column and not pa.types.is_floating(schema.field(self.column).type):
            raise PipelineError(f"column `{self.column}` is {schema.field(self.column).type}, not a number", "choose another column")

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        raise AssertionError(RAN)


@dataclass(frozen=True)
class Marks(DatasetOperator):
    """Marks duplicates."""

    similarity: float = 0.8

    def adds(self) -> Mapping[str, pa.DataType]:
        return {"keep": pa.bool_(), "kept_id": pa.string()}

    def run(self, inputs: object, work: object) -> None:
        raise AssertionError(RAN)


@dataclass(frozen=True)
class Train(DatasetOperator):
    """Trains a model."""

    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "artifact"
    classes: int = 2

    def run(self, inputs: object, work: object) -> None:
        raise AssertionError(RAN)


@dataclass(frozen=True)
class Compact(DatasetOperator):
    """Makes fewer shards."""

    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "documents"

    def reads(self) -> tuple[str, ...]:
        return ()

    def run(self, inputs: object, work: object) -> None:
        raise AssertionError(RAN)


@dataclass(frozen=True)
class Better(Judge):
    """Says whether one dataset is better than another."""

    seeds: int = 3

    def judge(self, inputs: object, work: object) -> object:
        raise AssertionError(RAN)


@dataclass(frozen=True)
class NoVerb(Operator):
    """Has no verb."""


@dataclass(frozen=True)
class Abstract(Filter):
    """Forgot its verb's method."""


@dataclass(frozen=True)
class Odd(Filter):
    """Has a parameter that YAML cannot give."""

    callback: Operator | None = None

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        raise AssertionError(RAN)


class NotADataclass(Filter):
    """Is no dataclass."""

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        raise AssertionError(RAN)
