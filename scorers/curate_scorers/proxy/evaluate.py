"""Measures texts and answers under a causal language model, in bits.

Everything begins with the model's start token, as its training data did. A text is read in windows, as `lm_loss` reads it. An answer
costs what its tokens cost behind its question: both are tokenised together, and the answer is what comes after as many tokens as the
question has alone, the field's convention. What is longer than the model can see loses its beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from curate.errors import OperatorError
from curate_scorers.lm_loss import BATCH_TOKENS
from curate_scorers.lm_loss_model import LanguageModel
from curate_scorers.lm_loss_windows import Sequences, Windows, batches, windows
from curate_scorers.proxy.benchmarks import Question

WINDOW = 2048  # tokens that a model sees at most
STRIDE = 512  # targets of each further window of a text


def text_bits(model: LanguageModel, texts: Sequence[str]) -> tuple[Any, Any]:
    """Return the bits and the tokens of each text."""
    rows = _encoded(model, texts)
    sequences = Sequences.of(rows, model.start)
    window = min(model.max_window or WINDOW, WINDOW)
    cut = windows(sequences, window, min(STRIDE, max(1, window // 2)))
    tokens = np.array([len(row) for row in rows], np.int64)
    bits = np.bincount(cut.document, _bits(model, sequences, cut), len(rows)) if len(cut) else np.zeros(len(rows))
    if model.start is None:
        bits += np.where(tokens > 0, np.log2(model.vocabulary), 0.0)
    return bits, tokens


def answer_bits(model: LanguageModel, asked: Sequence[Question]) -> tuple[list[Any], list[Any]]:
    """Return for each question the bits of each of its answers, and their tokens."""
    before, whole = zip(*(pair for question in asked for pair in question.pairs()), strict=True)
    rows = _encoded(model, whole)
    prompts = list(dict.fromkeys(before))
    tokens = {prompt: len(row) for prompt, row in zip(prompts, _encoded(model, prompts), strict=True)}
    known = np.array([tokens[prompt] for prompt in before], np.int64)
    total = np.array([len(row) for row in rows], np.int64)
    known = np.minimum(known, total - 1)  # an answer that melts into its question's last token has that one
    sequences = Sequences.of(rows, model.start)
    cut, uncounted = _answers(sequences, known, model)
    bits = _bits(model, sequences, cut) + np.where(uncounted, np.log2(model.vocabulary), 0.0)
    edges = np.cumsum([len(question.choices) for question in asked])[:-1]
    return np.split(bits, edges), np.split(total - known, edges)


def _answers(sequences: Sequences, known: Any, model: LanguageModel) -> tuple[Windows, Any]:
    """Return a window for each answer that predicts its tokens only, and whether the first of these has nothing before it."""
    before = 0 if model.start is None else 1
    targets = sequences.lengths - 1
    length = np.minimum(targets, min(model.max_window or WINDOW, WINDOW))
    dropped = targets - length
    skipped = np.maximum(known + before - 1 - dropped, 0)
    return Windows(np.arange(len(known)), sequences.offsets[:-1] + dropped, length, skipped), (known + before) == 0


def _bits(model: LanguageModel, sequences: Sequences, cut: Windows) -> Any:
    """Return the bits of each window; one without a target has none."""
    found = np.zeros(len(cut))
    some = np.flatnonzero(cut.length > 0)
    for chosen in batches(cut.length[some], BATCH_TOKENS[model.network.device.type]):
        found[some[chosen]] = model.bits(sequences, cut, some[chosen])
    if not np.isfinite(found).all():
        raise OperatorError(f"model {model.folder}: its loss is no number (NaN)", "train it again with a lower rate")
    return found


def _encoded(model: LanguageModel, texts: Sequence[str]) -> list[Any]:
    return [encoded.ids for encoded in model.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
