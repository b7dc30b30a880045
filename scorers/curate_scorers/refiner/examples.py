"""Examples as tokens: a prompt as a server will show it to the model, and the answer that the model is to write behind it.

The prompt goes through the base's chat template, as every server does it; a base without one gets `TEMPLATE`, which is the messages
alone, behind the token that ends documents. What is learnt is the answer and the token that ends it, nothing of the prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.document import ID, leaf
from curate.errors import OperatorError
from curate.hashing import chances

PROMPT, ANSWER = "prompt", "answer"
ROWS = pa.schema({ID: pa.string(), PROMPT: pa.large_string(), ANSWER: pa.large_string(), "held": pa.bool_()})
TEMPLATE = "{{ eos_token }}{% for message in messages %}{{ message['content'] }}\n{% endfor %}"


@dataclass(frozen=True)
class Pairs:
    """Prompts and answers in the order of their ids, which of them are held out, and how many rows had none."""

    prompts: Sequence[str]
    answers: Sequence[str]
    held: Any
    empty: int


@dataclass(frozen=True)
class Examples:
    """Each example's tokens, prompt and answer, and how many of them are the prompt's."""

    tokens: Sequence[Any]
    prompts: Any

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def answer_tokens(self) -> int:
        """How many tokens there are to learn."""
        return sum(map(len, self.tokens)) - int(self.prompts.sum())


@dataclass(frozen=True)
class Padded:
    """Examples of a forward pass: what the model reads (rows × length), the tokens that follow, and which of those are to be learnt."""

    inputs: Any
    targets: Any
    wanted: Any


def read_pairs(batches: Iterable[pa.RecordBatch], split_by: str, held_out: float, seed: int) -> Pairs:
    """Return examples in the order of their ids; rows with the same value of `split_by` are all held out or none of them."""
    rows = [ROWS.empty_table()]
    for batch in batches:
        by = pc.coalesce(leaf(batch, split_by).cast(pa.large_string()), batch.column(ID).cast(pa.large_string()))
        held = pa.array(chances(by, seed) < held_out)
        rows.append(pa.table([batch.column(ID), batch.column(PROMPT), batch.column(ANSWER), held], ROWS.names).cast(ROWS))
    table = pa.concat_tables(rows).sort_by(ID)
    said = pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(table.column(ANSWER)), ""), False)
    used = table.filter(pc.and_(table.column(PROMPT).is_valid(), said))
    prompts, answers, held = (used.column(name).to_pylist() for name in (PROMPT, ANSWER, "held"))
    return Pairs(prompts, answers, np.array(held, bool), table.num_rows - used.num_rows)


def told(tokenizer: Any, pairs: Pairs, chosen: Sequence[int], max_tokens: int) -> tuple[Examples, int]:
    """Return the chosen examples as tokens, and how many of them are longer than `max_tokens` and left out."""
    end = tokenizer.eos_token_id
    if end is None:
        raise OperatorError(
            "train_refiner: the base's tokenizer has no token that ends a text", "name its `eos_token` in tokenizer_config.json"
        )
    shown = [_shown(tokenizer, pairs.prompts[i]) for i in chosen]
    prompts = _tokens(tokenizer, shown)
    answers = _tokens(tokenizer, [pairs.answers[i] for i in chosen])
    fit = [i for i, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)) if len(prompt) + len(answer) < max_tokens]
    found = [np.array([*prompts[i], *answers[i], end], np.int64) for i in fit]
    return Examples(found, np.array([len(prompts[i]) for i in fit], np.int64)), len(chosen) - len(fit)


def _shown(tokenizer: Any, prompt: str) -> str:
    return str(tokenizer.apply_chat_template([{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False))


def _tokens(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    return [list(each) for each in tokenizer(list(texts), add_special_tokens=False)["input_ids"]] if texts else []


def padded(examples: Examples, rows: Sequence[int], most: int) -> Iterator[Padded]:
    """Yield some examples, those of like length together, as many at a time as have `most` tokens with their padding."""
    order = sorted(rows, key=lambda row: (len(examples.tokens[row]), row))
    while order:
        longest = len(examples.tokens[order[-1]]) - 1
        count = max(1, most // longest)
        taken, order = order[-count:], order[:-count]
        yield _padded([examples.tokens[row] for row in taken], examples.prompts[taken], longest)


def _padded(tokens: Sequence[Any], prompts: Any, longest: int) -> Padded:
    inputs, targets = np.zeros((len(tokens), longest), np.int64), np.zeros((len(tokens), longest), np.int64)
    for row, each in enumerate(tokens):
        inputs[row, : len(each) - 1], targets[row, : len(each) - 1] = each[:-1], each[1:]
    place = np.arange(longest)
    lengths = np.array([len(each) - 1 for each in tokens])
    return Padded(inputs, targets, (place >= prompts[:, None] - 1) & (place < lengths[:, None]))
