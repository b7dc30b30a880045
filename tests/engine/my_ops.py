"""A user's own operators, one of each verb, that break on documents whose text says so."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pyarrow as pa

from curate.dataset import Dataset, read_shard
from curate.protocols import DatasetOperator, Filter, FlatMapper, Mapper, Scorer
from curate.work import Place, Verdict, Work


def texts(docs: pa.RecordBatch) -> list[str]:
    return [text or "" for text in docs.column("text").to_pylist()]


def refuse(docs: pa.RecordBatch, word: str) -> list[str]:
    """Return the texts, or raise on the first that holds the word."""
    found = texts(docs)
    for text in found:
        if word and word in text:
            raise ValueError(f"cannot bear {word!r}")
    return found


@dataclass(frozen=True)
class Even(Filter):
    """Drops documents whose id ends with an odd digit."""

    def reads(self) -> tuple[str, ...]:
        return ("id",)

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        return pa.array(["odd" if int(doc_id[-1]) % 2 else None for doc_id in docs.column("id").to_pylist()], pa.string())


@dataclass(frozen=True)
class Short(Filter):
    """Drops short texts, with their length as evidence."""

    min_chars: int = 3
    poison: str = ""
    plain: bool = False

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        found = refuse(docs, self.poison)
        if self.plain:
            return pa.array(["short" if len(text) < self.min_chars else None for text in found])  # of type null when all stay
        return pa.array([{"reason": "short" if len(t) < self.min_chars else None, "value": float(len(t))} for t in found])


@dataclass(frozen=True)
class Upper(Mapper):
    """Writes `a` in capitals and doubles `b`, and counts what it did in a new column."""

    poison: str = ""

    def adds(self) -> Mapping[str, pa.DataType]:
        return {"vowels": pa.int64()}

    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        found = refuse(docs, self.poison)
        changed = pa.array(
            [None if t is None else t.replace("a", "Ä").replace("b", "bb") for t in docs.column("text").to_pylist()], pa.large_string()
        )
        docs = docs.set_column(docs.schema.get_field_index("text"), "text", changed)
        return docs.append_column("vowels", pa.array([text.count("a") or None for text in found]))


@dataclass(frozen=True)
class Anonymous(Mapper):
    """Takes the column `source` away."""

    def removes(self) -> tuple[str, ...]:
        return ("source",)

    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        return docs.drop_columns(["source"])


@dataclass(frozen=True)
class Length(Scorer):
    """Measures the text."""

    poison: str = ""

    def output(self) -> pa.DataType:
        return pa.struct({"chars": pa.int64(), "first": pa.string()})

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        return pa.array([{"chars": len(t), "first": t[:1] or None} for t in refuse(docs, self.poison)], self.output())


@dataclass(frozen=True)
class Parts(FlatMapper):
    """Splits a text at `|`; one without any text gives nothing."""

    poison: str = ""

    def expand(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        pieces = [(i, part) for i, text in enumerate(refuse(docs, self.poison)) for part in text.split("|") if text]
        children = docs.take(pa.array([i for i, _ in pieces], pa.int64()))
        children = children.set_column(
            children.schema.get_field_index("text"), "text", pa.array([part for _, part in pieces], pa.large_string())
        )
        return children.append_column("parent_id", children.column("id"))


def _called(item: dict[str, Any]) -> None:
    """Leave a mark for every call, so that a test can count them."""
    with open(os.path.join(item["log"], "calls"), "a") as log:
        log.write(f"{os.getpid()} {item['phase']} {item['shard']}\n")


def count_rows(item: dict[str, Any], place: Place) -> int:
    """Count the rows of a shard."""
    _called(item | {"phase": "count"})
    if item["shard"] == item["poison"]:
        raise ValueError("cannot bear this shard")
    return sum(batch.num_rows for batch in read_shard(place.storage, item["path"], ["id"]))


def number_rows(item: dict[str, Any], place: Place) -> Iterator[pa.RecordBatch]:
    """Give every row of a shard its number in the dataset."""
    _called(item | {"phase": "write"})
    number = item["first"]
    for batch in read_shard(place.storage, item["path"], ["id"]):
        yield pa.record_batch({"id": batch.column("id"), "number": pa.array(range(number, number + batch.num_rows), pa.int64())})
        number += batch.num_rows


@dataclass(frozen=True)
class Number(DatasetOperator):
    """Numbers the documents of a dataset."""

    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "attributes"

    log: str  # a folder: a file's content would be part of identity. It names the shard to break on, if any
    way: str = "function"

    def reads(self) -> tuple[str, ...]:
        return ("id",)

    def adds(self) -> Mapping[str, pa.DataType]:
        return {"number": pa.int64()}

    def run(self, inputs: list[Dataset], work: Work) -> None:
        poison = max((int(name) for name in os.listdir(self.log) if name.isdecimal()), default=-1)
        items = [
            {"path": inputs[0].shard_path(i), "shard": i, "log": self.log, "poison": poison} for i in range(len(inputs[0].manifest.shards))
        ]
        if self.way == "lambda":
            work.map("count", lambda item, place: 1, items)
        if self.way == "nested":
            work.map("count", self._nested, items)
        if self.way == "nothing":
            return
        counts = work.map("count", count_rows, items)
        work.write_shards(number_rows, [item | {"first": sum(counts[:i])} for i, item in enumerate(items)])
        work.note("shards", Verdict(sum(counts) == 20, f"{sum(counts)} rows", {"rows": counts}))
        if self.way == "twice":
            work.note("shards", Verdict(True, "again"))

    def _nested(self, item: dict[str, Any], place: Place) -> int:
        return 1
