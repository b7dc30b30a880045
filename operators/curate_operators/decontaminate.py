"""Drops documents that hold items of benchmarks, so that a model's marks tell of what it can do and not of what it has read."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import orjson
import pyarrow as pa

from curate.document import TEXT
from curate.errors import PipelineError
from curate.files import local_file
from curate.protocols import Filter, decisions
from curate_operators.benchmark_grams import Item, Runs, WordHashes, listed, longest

MAX_BENCHMARKS = 200
UNNAMED = "contaminated"


@dataclass(frozen=True)
class Decontaminate(Filter):
    """Drops documents that hold items of benchmarks.

    ## What it does
    Looks for every run of `words` words of the benchmarks' items, and for items that are shorter as a whole from `min_words` on, both
    sides in lower case and without punctuation. A document with one of them is dropped. The reason is `in_` and the name of the benchmark,
    or `contaminated` where the file does not say; the value is the length of the longest stretch in words.

    Runs that more than `max_items` items share are how a benchmark asks (*which of the following is not …*), and count for nothing.

    ## Why
    Benchmarks stand on many pages, and language models know them by heart: what they write is to be looked at, too. Runs of 13 words alone
    find half of the items, since short ones have none.

    ## Example
        - use: decontaminate
          params: {benchmarks: benchmarks.jsonl.zst}

    ## Parameters
    - `benchmarks`: a JSONL file (`.gz` and `.zst` too), an item a line.
    - `fields`: of each item, the fields to look for, each by itself; what is missing or no string is passed over.
    - `name`: the field with the name of the benchmark.
    - `words`: the length of a run.
    - `min_words`: shorter items are not looked for.
    - `max_items`: null = every run counts.

    ## Source
    Runs of 13 words: Brown et al., *Language Models are Few-Shot Learners* (2020), which passes over frequent ones, too; short items as a
    whole: Shao et al., *DeepSeekMath* (2024), from 3 words on there.
    """

    files: ClassVar[tuple[str, ...]] = ("benchmarks",)

    benchmarks: str
    fields: tuple[str, ...] = (TEXT,)
    name: str = "benchmark"
    words: int = 13
    min_words: int = 8
    max_items: int | None = 10

    def __post_init__(self) -> None:
        if not 1 <= self.min_words <= self.words:
            raise PipelineError(f"decontaminate: `min_words` is {self.min_words}, not from 1 to `words`, {self.words}")
        if not self.fields:
            raise PipelineError("decontaminate: `fields` is empty", f"[{TEXT}]")
        if self.max_items is not None and self.max_items < 1:
            raise PipelineError(f"decontaminate: `max_items` is less than 1: {self.max_items}", "null lets every run count")

    def verify_file(self, parameter: str, path: Path) -> None:
        self._read(path)

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        names, runs = self._known
        reasons: list[str | None] = [None] * docs.num_rows
        lengths = np.zeros(docs.num_rows)
        for row, length, benchmark in longest(runs, WordHashes.of(docs.column(TEXT))):
            reasons[row], lengths[row] = names[benchmark], length
        return decisions(pa.array(reasons, pa.string()), pa.array(lengths))

    @functools.cached_property
    def _known(self) -> tuple[Sequence[str], Sequence[Runs]]:
        """The reasons of all benchmarks, and what to look for."""
        path = local_file(self.benchmarks)
        items = self._read(path)
        names = sorted({item.benchmark for item in items})
        runs = listed(items, names, self.words, self.min_words, self.max_items)
        if not runs:
            raise PipelineError(f"decontaminate: {path}: no item has {self.min_words} words", "lower `min_words`, or see `fields`")
        return names, runs

    def _read(self, path: Path) -> list[Item]:
        """Return the items of a file; raise `PipelineError` for what is no JSONL, has none, or has a benchmark for each item."""
        items = [item for told in _lines(path) for item in self._items(told)]
        if not items:
            raise PipelineError(f"decontaminate: {path}: no line has a text in {', '.join(f'`{name}`' for name in self.fields)}")
        if len({item.benchmark for item in items}) > MAX_BENCHMARKS:
            hint = "`name` is the field with the name of an item's benchmark, such as `mmlu`"
            raise PipelineError(f"decontaminate: {path}: more than {MAX_BENCHMARKS} benchmarks in `{self.name}`", hint)
        return items

    def _items(self, told: dict[str, Any]) -> Iterator[Item]:
        named = told.get(self.name)
        benchmark = "in_" + re.sub(r"[^a-z0-9]+", "_", named.lower()).strip("_") if isinstance(named, str) else UNNAMED
        yield from (Item(told[name], benchmark) for name in self.fields if isinstance(told.get(name), str))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSONL file; raise `PipelineError`, with the line, for what is none."""
    try:
        with pa.input_stream(str(path), compression="detect") as stream:
            lines = stream.read().splitlines()
    except (OSError, pa.ArrowInvalid) as error:
        raise PipelineError(f"decontaminate: {path} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        try:
            told = orjson.loads(line) if line.strip() else {}
        except orjson.JSONDecodeError as error:
            raise PipelineError(f"decontaminate: {path}, line {number}: no JSON: {error}") from error
        if not isinstance(told, dict):
            raise PipelineError(f"decontaminate: {path}, line {number}: no JSON object")
        yield told
