"""Has a language model judge questions, before anything is spent on answering them.

`instruct_score` emits a struct, null where there is no question or no judgement: `quality` and `difficulty` (int32, from 1 to 10) and
`needs_context` (bool); `instruct_guard` reads it and drops.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.document import TEXT, leaf
from curate.llm import Answer
from curate.protocols import Filter, Scorer
from curate_operators.instruct_query import SET
from curate_operators.prompt_sets import Style
from curate_operators.prompted import Prompted, json_object, named
from curate_operators.rules import Verdict

SCORE = "score"
LEAST, MOST = 1, 10
NUMBERS, NEEDS_CONTEXT = ("quality", "difficulty"), "needs_context"
OUTPUT = pa.struct([*(pa.field(name, pa.int32()) for name in NUMBERS), pa.field(NEEDS_CONTEXT, pa.bool_())])
NUMBER = {"type": "integer", "minimum": LEAST, "maximum": MOST}
SCHEMA = {
    "type": "object",
    "properties": {**dict.fromkeys(NUMBERS, NUMBER), NEEDS_CONTEXT: {"type": "boolean"}},
    "required": [*NUMBERS, NEEDS_CONTEXT],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class InstructScore(Prompted, Scorer):
    """Has a language model judge questions: how good, how hard, and whether they can be answered as they stand.

    ## What it does
    Shows the model each question alone, without the document that it was made from, and asks for JSON with `quality` and `difficulty`
    from 1 to 10 and `needs_context`: whether it speaks of something that it does not bring along. The server is told the schema. What
    holds no such judgement, and a blank text, is null. A prompt without an answer is an error of its row.

    ## Why
    Half of what models ask about a text is *what does the passage say*: a question that nobody could answer who has not seen it.

    ## Example
        - use: instruct_score
          into: query
          params: {llm: {model: llama-70b, endpoint: "http://127.0.0.1:8000/v1"}}
        - use: instruct_guard

    ## Parameters
    - `llm`: the model and how it is asked; see `curate.llm.Settings`.
    - `prompt_file`: prompts of your own, a file like `curate_operators/prompts/instruct.yaml`.
    - `tokenizer`: a folder or file of the model's tokenizer, to count tokens with; null = a token for every 4 bytes.

    ## Source
    Liang et al., *Aligning Instruction Tuning with Pre-training* (AITP, 2025); the prompt is ours.
    """

    version = 2
    prompts: ClassVar[str] = SET

    def chosen(self, styles: Mapping[str, Style]) -> Sequence[Style]:
        return [named(styles, SCORE, "instruct_score")]

    def output(self) -> pa.DataType:
        return OUTPUT

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        texts = pc.fill_null(docs.column(TEXT), "").to_pylist()
        shown = [row for row, text in enumerate(texts) if text.strip()]
        most = self._style.max_input_tokens
        prompts = [dataclasses.replace(self._style.ask(self._tokens.first(texts[row], most)), schema=SCHEMA) for row in shown]
        judged: list[Mapping[str, Any] | None] = [None] * len(texts)
        for row, answer in zip(shown, self._llm.ask(prompts), strict=True):
            judged[row] = _judgement(answer)
        return pa.array(judged, OUTPUT)


def _judgement(answer: Answer) -> Mapping[str, Any] | None:
    """Return what an answer says, None where a number is missing or out of bounds."""
    told = json_object(answer.required())
    numbers = [told.get(name) for name in NUMBERS]
    if not all(type(number) is int and LEAST <= number <= MOST for number in numbers) or type(told.get(NEEDS_CONTEXT)) is not bool:
        return None
    return {name: told[name] for name in (*NUMBERS, NEEDS_CONTEXT)}


@dataclass(frozen=True)
class InstructGuard(Filter):
    """Drops questions that are not worth an answer.

    ## What it does
    The reason is `not_scored` where there is no judgement, `needs_context` where the question cannot be answered as it stands,
    `low_quality` below `min_quality`, `too_easy` below `min_difficulty`, and `too_hard` above `max_difficulty`.

    ## Why
    An answer costs ten times the tokens of a question, and a pair whose question makes no sense teaches that sense is not needed.

    ## Example
        - use: instruct_guard
          params: {min_quality: 7, min_difficulty: 3}

    ## Parameters
    Each limit is inclusive and can be null = off.
    - `by`: the column of `instruct_score`.
    - `self_contained`: false = questions that need context stay.

    ## Source
    Liang et al., *Aligning Instruction Tuning with Pre-training* (AITP, 2025), which tells of no limits; these are ours.
    """

    by: str = "query"
    min_quality: int | None = 6
    min_difficulty: int | None = None
    max_difficulty: int | None = None
    self_contained: bool = True

    def reads(self) -> tuple[str, ...]:
        return tuple(f"{self.by}.{name}" for name in (*NUMBERS, NEEDS_CONTEXT))

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        verdict = Verdict(docs.num_rows)
        quality, difficulty = (_doubles(leaf(docs, f"{self.by}.{name}")) for name in NUMBERS)
        verdict.where("not_scored", np.isnan(quality), quality)
        if self.self_contained:
            needs = pc.fill_null(leaf(docs, f"{self.by}.{NEEDS_CONTEXT}"), False).to_numpy(zero_copy_only=False)
            verdict.where("needs_context", needs, quality)
        verdict.below("low_quality", self.min_quality, quality)
        verdict.below("too_easy", self.min_difficulty, difficulty)
        verdict.above("too_hard", self.max_difficulty, difficulty)
        return verdict.decisions()


def _doubles(numbers: pa.Array) -> np.ndarray[Any, np.dtype[np.float64]]:
    found: np.ndarray[Any, np.dtype[np.float64]] = pc.cast(numbers, pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    return found
