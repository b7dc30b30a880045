"""Makes examples for `train_refiner` of documents whose programs are known: what a refiner is shown, and what it is to answer.

Adds `prompt` and `answer` (large strings); `text` is the one behind the other.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from curate.document import ID, ID_TYPE, PARENT_ID, TEXT, TEXT_TYPE, leaf, set_column
from curate.protocols import FlatMapper
from curate_operators.prompt_sets import Style, read, read_file
from curate_operators.prompted import named
from curate_operators.prox_chunk import CHUNK
from curate_operators.prox_document import SET, TRAINED
from curate_operators.prox_program import Call, RemoveLines, Replace, read_program, write_program
from curate_operators.prox_windows import Window, windows
from curate_operators.token_counts import Tokens, read_tokens

PROMPT, ANSWER = "prompt", "answer"


@dataclass(frozen=True)
class ProxExamples(FlatMapper):
    """Turns documents with programs into examples from which a refiner learns to write them.

    ## What it does
    Cuts each document into the windows that `prox_chunk` shows a trained model, and makes a document of each: `prompt`, exactly what the
    model will be asked, and `answer`, the part of the program that is about this window: its lines that go, by their numbers in the whole
    document, and the strings to be replaced that stand in it; `keep_chunk()` where that is nothing. `text` is both. A document without
    a program (null, or one with a line that is no call) has no examples, nor has one that no window shows: they go with the reason
    `expanded_to_none`.

    ## Why
    A model does in use what it did in training only where it is shown the same. Programs may come from `prox_annotate`, from people,
    or from a rule that is too slow to be run on everything.

    ## Example
        - use: prox_examples
          params: {program: annotation.program}

    ## Parameters
    - `program`: the column of programs, whose line numbers are those of the document.
    - `prompt_file`, `tokenizer`: as those of the `prox_chunk` that the refiner is for, with `trained: true`.

    ## Source
    Zhou et al., *Programming Every Example* (ProX, 2024).
    """

    files: ClassVar[tuple[str, ...]] = ("prompt_file", "tokenizer")
    folders: ClassVar[tuple[str, ...]] = ("tokenizer",)

    program: str = "annotation.program"
    prompt_file: str | None = None
    tokenizer: str | None = None

    def reads(self) -> tuple[str, ...]:
        return (TEXT, self.program)

    def verify_file(self, parameter: str, path: Path) -> None:
        if parameter == "tokenizer":
            read_tokens(str(path))
        else:
            named(read_file(path), CHUNK + TRAINED, "prox_examples")

    def adds(self) -> dict[str, pa.DataType]:
        return {PROMPT: TEXT_TYPE, ANSWER: TEXT_TYPE}

    def expand(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        texts = pc.fill_null(docs.column(TEXT), "").to_pylist()
        programs = leaf(docs, self.program).to_pylist()
        made = [(row, *pair) for row, (text, told) in enumerate(zip(texts, programs, strict=True)) for pair in self._pairs(text, told)]
        whole = docs.take(pa.array([row for row, *_ in made], pa.int64()))
        whole = set_column(whole, PARENT_ID, whole.column(ID).cast(ID_TYPE))
        whole = set_column(whole, TEXT, pa.array([f"{prompt}\n{answer}" for _, prompt, answer in made], docs.column(TEXT).type))
        whole = set_column(whole, PROMPT, pa.array([prompt for _, prompt, _ in made], TEXT_TYPE))
        return set_column(whole, ANSWER, pa.array([answer for *_, answer in made], TEXT_TYPE))

    def _pairs(self, text: str, told: str | None) -> Iterator[tuple[str, str]]:
        """Yield for each window what the model is asked, and what it is to answer."""
        program = read_program(told) if told is not None else None
        if program is None or program.errors or not text.strip():
            return
        style = self._style
        for window in windows(text, self._tokens.count, style.max_input_tokens, max_line_chars=style.max_line_chars):
            yield style.ask(window.text).messages[-1][1], write_program(list(_of_window(program.calls, window)))

    @functools.cached_property
    def _style(self) -> Style:
        return named(read(SET, self.prompt_file), CHUNK + TRAINED, "prox_examples")

    @functools.cached_property
    def _tokens(self) -> Tokens:
        return read_tokens(self.tokenizer)


def _of_window(calls: Sequence[Call], window: Window) -> Iterator[Call]:
    """Yield what of a program is about a window, replacements first, as they are carried out."""
    for call in calls:
        if isinstance(call, Replace) and any(call.source in line for line in window.lines):
            yield call
    for call in calls:
        if isinstance(call, RemoveLines) and call.start <= window.end and call.end >= window.start:
            yield RemoveLines(max(call.start, window.start), min(call.end, window.end))
