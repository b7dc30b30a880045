"""Operators that ask a language model, as a user's own might."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from curate import Filter, Mapper
from curate.document import TEXT, set_column
from curate.llm import Llm, Prompt


@dataclass(frozen=True)
class Say(Mapper):
    """Replaces each document by what the model says to it."""

    reproducible = "cached"
    cost = "costly"

    llm: Mapping[str, Any] = field(hash=False)
    prefix: str = ""

    def __post_init__(self) -> None:
        self.models()

    def models(self) -> dict[str, Llm]:
        return {"llm": self._llm}

    @functools.cached_property
    def _llm(self) -> Llm:
        return Llm(self.llm)

    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        answers = self._llm.ask([Prompt.user(self.prefix + text) for text in docs.column(TEXT).to_pylist()])
        return set_column(docs, TEXT, pa.array([answer.required() for answer in answers], pa.large_string()))


@dataclass(frozen=True)
class Unsaid(Filter):
    """Drops documents that the model has no answer to, and asks a second model of which it wants nothing."""

    llm: Mapping[str, Any] = field(hash=False)
    other: Mapping[str, Any] = field(hash=False)

    def models(self) -> dict[str, Llm]:
        return {"llm": self._llm, "other": self._other}

    @functools.cached_property
    def _llm(self) -> Llm:
        return Llm(self.llm)

    @functools.cached_property
    def _other(self) -> Llm:
        return Llm(self.other)

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        prompts = [Prompt.user(text) for text in docs.column(TEXT).to_pylist()]
        self._other.ask(prompts[:1])
        answers = self._llm.ask(prompts)
        return pa.array(["no_answer" if answer.finish == "error" else None for answer in answers], pa.string())
