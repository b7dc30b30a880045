"""How fast a training goes: tokens a second, the share of what the device can do, and the time that is left."""

from __future__ import annotations

import time
from typing import Any

import torch

from curate.report.units import duration
from curate_scorers.proxy.packed import Packed
from curate_scorers.proxy.recipe import Recipe
from curate_scorers.proxy.replica import Replica

# bfloat16 operations a second as the makers give them, dense; the first name that a device's name holds counts
PEAKS = {"H200": 989e12, "H100": 989e12, "H800": 989e12, "A100": 312e12, "A800": 312e12, "L40S": 362e12, "L4": 121e12, "B200": 2250e12}
SIDE, ROUNDS = 1024, 3


def peak(device: torch.device) -> float:
    """Return the operations a second that a device can do: what its maker says, or what a large matrix product reaches."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        if known := [value for word, value in PEAKS.items() if word in name]:
            return known[0]
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    matrix = torch.ones(SIDE, SIDE, dtype=kind, device=device)
    return max(_rate(matrix) for _ in range(ROUNDS))


def _rate(matrix: Any) -> float:
    begun = time.perf_counter()
    float((matrix @ matrix)[0, 0])
    return 2 * SIDE**3 / (time.perf_counter() - begun)


class Meter:
    """Measures from the first step of this process."""

    def __init__(self, packed: Packed, recipe: Recipe, steps: int, replica: Replica) -> None:
        self._tokens = packed.tokens / packed.rows * recipe.rows_a_step(packed)
        self._flops = recipe.shape.flops(1, recipe.vocabulary(packed), packed.context) * self._tokens
        self._steps, self._peak = steps, peak(replica.device) * replica.count
        self._begun, self._first = time.perf_counter(), -1

    def line(self, step: int, loss: float) -> str:
        """Return how it goes after a step, in a few words."""
        said = f"step {step:,} of {self._steps:,}, loss {loss:.3f}"
        if self._first < 0:  # the first step compiles and warms up
            self._begun, self._first = time.perf_counter(), step
            return said
        seconds = (time.perf_counter() - self._begun) / (step - self._first)
        used = self._flops / seconds / self._peak
        return f"{said}, {self._tokens / seconds:,.0f} tokens/s, MFU {used:.0%}, {duration(seconds * (self._steps - step))} to go"
