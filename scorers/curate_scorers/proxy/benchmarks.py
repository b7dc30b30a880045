"""Questions with known answers, in our own format: JSON lines that are read like any documents.

| column    | is                                                                                          |
|-----------|---------------------------------------------------------------------------------------------|
| `id`      | the question's name                                                                         |
| `text`    | what stands before the answer, ready to be continued; an empty text = nothing               |
| `choices` | the answers to choose from; null or missing = there is only the right one                   |
| `gold`    | the number of the right choice, from 0                                                      |
| `answer`  | the right answer where there are no choices                                                 |
| `bad`     | of a minimal pair: the wrong sentence, `text` being the right one; there is nothing before  |

An answer follows its text behind one space, unless the text is empty or ends in white space. No further words are put around either:
whoever writes the file decides how a question is asked, so that it can be read in the file.

    {"id": "sky", "text": "Question: What colour is the sky?\\nAnswer:", "choices": ["blue", "green"], "gold": 0}
    {"id": "france", "text": "The capital of France is", "answer": "Paris"}
    {"id": "agreement", "text": "The cats sleep.", "bad": "The cats sleeps."}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate.document import ID, TEXT
from curate.errors import OperatorError

COLUMNS = (TEXT, "choices", "gold", "answer", "bad")
HINT = "each has `choices` and `gold`, the number of the right one from 0, or an `answer`, or `bad`, the wrong one of a pair"


@dataclass(frozen=True)
class Question:
    """What stands before the answers, the answers, and which is right."""

    id: str
    prompt: str
    choices: tuple[str, ...]
    gold: int

    @property
    def between(self) -> str:
        """What stands between the prompt and an answer."""
        return "" if not self.prompt or self.prompt[-1].isspace() else " "


@dataclass(frozen=True)
class Marks:
    """How a model did on questions, an array each; `right…` and what compares answers are NaN where there is nothing to choose."""

    bits: Any
    bytes: Any
    tokens: Any
    correct_prob: Any
    norm_correct_prob: Any
    margin: Any
    right: Any
    right_per_byte: Any
    right_per_token: Any


def columns_of(schema: pa.Schema) -> list[str]:
    """Return the columns of a question that there are."""
    return [ID, *(name for name in COLUMNS if name in schema.names)]


def questions(batch: pa.RecordBatch, source: str) -> Iterator[Question]:
    """Yield the questions of a batch; raise `OperatorError` for one that cannot be asked."""
    for row in batch.to_pylist():
        yield _question(row, source)


def _question(row: Mapping[str, Any], source: str) -> Question:
    prompt, choices, gold = row.get(TEXT) or "", row.get("choices"), row.get("gold")
    if row.get("bad") is not None:
        prompt, choices, gold = "", [prompt, row["bad"]], 0
    elif not choices and row.get("answer") is not None:
        choices, gold = [row["answer"]], 0
    where = f"question `{row[ID]}` of `{source}`"
    if not isinstance(choices, list) or not choices:
        raise OperatorError(f"{where} has neither `choices` nor an `answer`", HINT)
    if not all(isinstance(choice, str) and choice for choice in choices):
        raise OperatorError(f"{where} has an answer that is empty or no text", HINT)
    if isinstance(gold, float) and gold.is_integer():
        gold = int(gold)
    if not isinstance(gold, int) or not 0 <= gold < len(choices):
        raise OperatorError(f"{where}: gold is {gold}, and there are {len(choices)} choices", HINT)
    return Question(row[ID], prompt, tuple(choices), gold)


def marks(asked: list[Question], bits: list[Any], tokens: list[Any]) -> Marks:
    """Return how a model did: `bits` and `tokens` have an array for each question, with a number for each of its answers."""
    rows = [_mark(question, np.asarray(b), np.asarray(t)) for question, b, t in zip(asked, bits, tokens, strict=True)]
    return Marks(*(np.array(column) for column in zip(*rows, strict=True)))


def _mark(question: Question, bits: Any, tokens: Any) -> tuple[float, ...]:
    """Return the fields of `Marks`; the first of equal answers counts as chosen."""
    gold, size = question.gold, np.array([len(choice.encode()) for choice in question.choices], np.float64)
    per_byte, per_token = bits / size, bits / np.maximum(tokens, 1)
    own = (float(bits[gold]), float(size[gold]), float(tokens[gold]), float(np.exp2(-per_byte[gold])))
    if len(bits) == 1:
        return (*own, *[np.nan] * 5)
    share = 1 / float(np.exp2(np.minimum(bits[gold] - bits, 1000)).sum())
    margin = own[3] - float(np.exp2(-np.delete(per_byte, gold).min()))
    chosen = (bits.argmin(), per_byte.argmin(), per_token.argmin())
    return (*own, share, margin, *(float(choice == gold) for choice in chosen))
