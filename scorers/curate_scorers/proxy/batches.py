"""Which rows a step is made of, and how they come to the device: the order is a function of the seed and the step, nothing else."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from curate_scorers.proxy.attention import block_mask
from curate_scorers.proxy.packed import Packed, Pieces

MICRO_TOKENS = {"cpu": 2048, "cuda": 32768}  # of a forward pass, unless a recipe says another: on a CPU more does not fit its cache


@dataclass(frozen=True)
class Order:
    """All rows shuffled anew in each epoch, epoch after epoch."""

    rows: int
    seed: int

    def take(self, first: int, count: int) -> list[int]:
        """Return the rows at some places of the endless order."""
        places = range(first, first + count)
        return [int(self._epoch(place // self.rows)[place % self.rows]) for place in places]

    def _epoch(self, epoch: int) -> Any:
        return _permutation(self.rows, self.seed, epoch)


@functools.lru_cache(maxsize=2)
def _permutation(rows: int, seed: int, epoch: int) -> Any:
    return np.random.default_rng([seed, epoch]).permutation(rows)


@dataclass(frozen=True)
class Batch:
    """What one forward pass reads, on its device."""

    inputs: Tensor
    targets: Tensor
    positions: Tensor
    where: Any


def batches(packed: Packed, rows: list[int], device: torch.device, micro_tokens: int | None = None) -> Iterator[Batch]:
    """Yield the rows of a step, so many at a time as one forward pass takes: `micro_tokens`, one row at least.

    On a GPU all have one shape, since it is compiled for it.
    """
    count = max(1, (micro_tokens or MICRO_TOKENS[device.type]) // packed.length)
    for place in range(0, len(rows), count):
        pieces = packed.take(rows[place : place + count])
        yield batch_of(pieces if device.type == "cpu" else filled(pieces, count * packed.length), device)


def batch_of(pieces: Pieces, device: torch.device) -> Batch:
    """Return pieces as tensors."""
    inputs, targets, positions = (torch.from_numpy(each).to(device) for each in (pieces.inputs, pieces.targets, pieces.positions))
    lengths = pieces.lengths.tolist()
    return Batch(inputs, targets, positions, lengths if device.type == "cpu" else block_mask(lengths, device))


def filled(pieces: Pieces, size: int) -> Pieces:
    """Return pieces with single tokens behind them that predict nothing, up to a size."""
    missing = size - len(pieces.inputs)
    zeros, ones = np.zeros(missing, np.int64), np.ones(missing, np.int64)
    columns = (pieces.inputs, zeros), (pieces.targets, -ones), (pieces.positions, zeros), (pieces.lengths, ones)
    return Pieces(*(np.concatenate(pair) for pair in columns))
