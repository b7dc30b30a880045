"""Cuts tokenised documents into the windows that a language model reads, and windows into batches of like length.

A document is a sequence of tokens, the start token before them when the model has one; every token but the first is a target,
predicted from those before it. The first window predicts as many targets as it holds; each further one moves on by `stride` targets
and shows the model as much before them as it can take. Each target is predicted once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_PADDING = 0.1  # of a batch; shorter windows begin a batch of their own unless it would be a small one
MIN_SHARE = 0.25  # of the token budget: smaller batches cost more than padding does


@dataclass(frozen=True)
class Sequences:
    """The tokens of documents one after another, the start token included, and where each document begins and ends."""

    tokens: Any
    offsets: Any

    @staticmethod
    def of(ids: Sequence[Any], start: int | None) -> Sequences:
        """Return documents' token numbers as sequences."""
        first = [] if start is None else [start]
        parts = [np.asarray([*first, *row], np.int64) if len(row) else np.empty(0, np.int64) for row in ids]
        lengths = np.array([len(part) for part in parts], np.int64)
        return Sequences(np.concatenate([np.empty(0, np.int64), *parts]), np.concatenate([[0], np.cumsum(lengths)]))

    @property
    def lengths(self) -> Any:
        """Return the tokens of each document."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class Windows:
    """What a model reads at a time: the document, the first token, how many tokens go in, and how many of them at first predict nothing."""

    document: Any
    first: Any
    length: Any
    skipped: Any

    def __len__(self) -> int:
        return len(self.document)


def windows(sequences: Sequences, window: int, stride: int) -> Windows:
    """Return the windows of all documents, in their order."""
    targets = np.maximum(sequences.lengths - 1, 0)
    further = -(-np.maximum(targets - window, 0) // stride)
    count = np.where(targets > 0, 1 + further, 0)
    document = np.repeat(np.arange(len(count)), count)
    number = np.arange(len(document)) - np.repeat(np.cumsum(count) - count, count)
    end = np.minimum(window + number * stride, targets[document])
    begin = np.maximum(end - window, 0)
    predicted = np.where(number == 0, 0, window + (number - 1) * stride)
    return Windows(document, sequences.offsets[document] + begin, end - begin, predicted - begin)


def batches(lengths: Any, budget: int) -> Iterator[Any]:
    """Yield the numbers of windows of like length, longest first, no more tokens than `budget` in each unless one window has more."""
    order = np.argsort(-lengths, kind="stable")
    ordered = lengths[order]
    at = 0
    while at < len(order):
        longest = int(ordered[at])
        rows = max(1, budget // longest)
        alike = int(np.searchsorted(-ordered[at : at + rows], -(1 - MAX_PADDING) * longest, side="right"))
        small = max(1, int(budget * MIN_SHARE) // longest)
        taken = min(max(alike, small), rows, len(order) - at)
        yield order[at : at + taken]
        at += taken
