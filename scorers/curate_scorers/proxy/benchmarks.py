"""Questions with known answers, in our own format: JSON lines that are read like any documents.

| column    | is                                                                                          |
|-----------|---------------------------------------------------------------------------------------------|
| `id`      | the question's name                                                                         |
| `text`    | what stands before the answer, ready to be continued; an empty text = nothing               |
| `choices` | the answers to choose from; null or missing = there is only the right one                   |
| `gold`    | the number of the right choice, from 0; null = nobody knows, and the question is left out   |
| `answer`  | the right answer where there are no choices; beside choices it is the right one of them     |
| `bad`     | of a minimal pair: the wrong sentence, `text` being the right one; there is nothing before  |

An answer follows its text behind one space, unless the text is empty or ends in white space. No further words are put around either:
whoever writes the file decides how a question is asked, so that it can be read in the file.

Where `text` is itself the right choice, the choices are what may stand before one `answer`, as in Winograd's schemas: the answer behind
the right choice is compared with the same answer behind the others.

    {"id": "sky", "text": "Question: What colour is the sky?\\nAnswer:", "choices": ["blue", "green"], "gold": 0}
    {"id": "france", "text": "The capital of France is", "answer": "Paris"}
    {"id": "agreement", "text": "The cats sleep.", "bad": "The cats sleeps."}
    {"id": "cup", "text": "The cup", "choices": ["The cup", "The spoon"], "gold": 0, "answer": "was full of tea."}
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
    """What stands before the answers, the answers, and which is right; `prompts` are those of each answer where they differ."""

    id: str
    prompt: str
    choices: tuple[str, ...]
    gold: int
    prompts: tuple[str, ...] = ()

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Yield for each answer what stands before it, and the whole."""
        for prompt, choice in zip(self.prompts or (self.prompt,) * len(self.choices), self.choices, strict=True):
            between = "" if not prompt or prompt[-1].isspace() else " "
            yield prompt.rstrip(" "), f"{prompt}{between}{choice}"


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


def answered(batch: pa.RecordBatch) -> Any:
    """Tell of each question whether its right answer is known: benchmarks keep back those of some, whose `gold` is null."""
    rows = batch.select([name for name in ("choices", "gold", "answer", "bad") if name in batch.schema.names]).to_pylist()
    return np.array([not row.get("choices") or any(row.get(name) is not None for name in ("gold", "answer", "bad")) for row in rows], bool)


def questions(batch: pa.RecordBatch, source: str) -> Iterator[Question]:
    """Yield the questions of a batch; raise `OperatorError` for one that cannot be asked."""
    for row in batch.to_pylist():
        yield _question(row, source)


def verify_questions(batch: pa.RecordBatch, source: str) -> None:
    """Raise `OperatorError` for a question of a batch that cannot be asked."""
    for _ in questions(batch, source):
        pass


def _question(row: Mapping[str, Any], source: str) -> Question:
    prompt, choices, gold, answer = row.get(TEXT) or "", row.get("choices"), row.get("gold"), row.get("answer")
    if row.get("bad") is not None:
        prompt, choices, gold, answer = "", [prompt, row["bad"]], 0, None
    elif not choices and answer is not None:
        choices, gold = [answer], 0
    where = f"question `{row[ID]}` of `{source}`"
    if not isinstance(choices, list) or not choices:
        raise OperatorError(f"{where} has neither `choices` nor an `answer`", HINT)
    if not all(isinstance(choice, str) and choice for choice in choices):
        raise OperatorError(f"{where} has an answer that is empty or no text", HINT)
    if isinstance(gold, float) and gold.is_integer():
        gold = int(gold)
    if isinstance(gold, bool) or not isinstance(gold, int) or not 0 <= gold < len(choices):
        raise OperatorError(f"{where}: gold is {gold}, and there are {len(choices)} choices", HINT)
    if not answer or answer == choices[gold]:
        return Question(row[ID], prompt, tuple(choices), gold)
    if prompt != choices[gold] or not isinstance(answer, str):
        hint = "leave `answer` out, or give the right choice as `text` too, if the choices are what stands before the answer"
        raise OperatorError(f"{where}: its `answer` is not the right one of its choices", hint)
    return Question(row[ID], prompt, (answer,) * len(choices), gold, tuple(choices))


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
