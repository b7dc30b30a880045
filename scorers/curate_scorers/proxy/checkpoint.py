"""What a training leaves so that it can go on: weights, the optimizer's state, the step and the losses so far, in one file with its hash.

The order of the data is a function of the step, so there is nothing else to keep. The file is replaced whole; one that a dying disk
spoilt is not read, and the training starts anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import orjson
import safetensors.torch
import xxhash
from torch.nn import Module

from curate_scorers.proxy.folder import load_weights, packed_weights, weights_of
from curate_scorers.proxy.optimizers import Optimizer

Model = TypeVar("Model", bound=Module)

NAME = "checkpoint"
LEAST_S, COST_RATIO = 0.5, 0.02  # seconds between two, and the share of the time that they may take


class Keeper(Protocol):
    """Where a training keeps files, whatever becomes of its process."""

    def write(self, name: str, data: bytes) -> None:
        """Make or replace a file, whole."""

    def read(self, name: str) -> bytes | None:
        """Return a file, None where there is none."""


@dataclass
class State(Generic[Model]):
    """A training between two steps."""

    model: Model
    optimizer: Optimizer
    step: int = 0
    losses: list[float] = field(default_factory=list)

    def packed(self) -> bytes:
        """Return it as a safetensors file."""
        told = orjson.dumps({"step": self.step, "optimizer_steps": self.optimizer.steps, "losses": self.losses}).decode()
        return packed_weights(weights_of(self.model) | self.optimizer.state(), ("training", told))

    def restore(self, data: bytes) -> None:
        """Go back to what a file holds."""
        tensors = safetensors.torch.load(data)
        told = orjson.loads(told_in(data))
        load_weights(self.model, tensors)
        self.optimizer.restore(tensors, told["optimizer_steps"])
        self.step, self.losses = told["step"], told["losses"]


def told_in(data: bytes) -> str:
    """Return the text about a training that stands in a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    return str(orjson.loads(data[8 : 8 + length])["__metadata__"]["training"])


class Checkpoints:
    """Keeps the state now and then: so often that little is lost, so rarely that it costs little."""

    def __init__(self, keeper: Keeper, now: Callable[[], float] = time.monotonic) -> None:
        self._keeper, self._now = keeper, now
        self._last, self._cost = now(), 0.0

    def resume(self, state: State[Any]) -> bool:
        """Take up what an earlier attempt left, and say whether there was anything."""
        data = self._keeper.read(NAME)
        if data is None or xxhash.xxh3_64_digest(data[:-8]) != data[-8:]:
            return False
        state.restore(data[:-8])
        return True

    def after_step(self, state: State[Any]) -> None:
        """Keep the state if it is time to."""
        begun = self._now()
        if begun - self._last < max(LEAST_S, self._cost / COST_RATIO):
            return
        data = state.packed()
        self._keeper.write(NAME, data + xxhash.xxh3_64_digest(data))
        self._last = self._now()
        self._cost = self._last - begun
