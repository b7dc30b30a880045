"""What a refiner's training is to be. Needs no torch, so that a pipeline is checked without it."""

from __future__ import annotations

from dataclasses import dataclass

from curate.errors import PipelineError
from curate_scorers.proxy.recipe import Precision
from curate_scorers.proxy.schedule import Schedule

LEAST_STEPS = 8  # of an epoch


@dataclass(frozen=True)
class Recipe:
    """A training, but for its base and examples; the parameters are described by `train_refiner`."""

    epochs: int = 3
    batch_examples: int = 64
    rate: float = 1e-5
    matrix_rate: float | None = None
    weight_decay: float = 0.0
    warm_up_ratio: float = 0.05
    max_tokens: int = 2048
    precision: Precision = "auto"
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_examples", "rate", "matrix_rate", "max_tokens"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise PipelineError(f"train_refiner: {name} is not above 0: {value}")
        if self.weight_decay < 0 or self.seed < 0:
            name = "weight_decay" if self.weight_decay < 0 else "seed"
            raise PipelineError(f"train_refiner: {name} is less than 0: {getattr(self, name)}")
        if not 0 <= self.warm_up_ratio < 1:
            raise PipelineError(f"train_refiner: warm_up_ratio is not from 0 up to 1: {self.warm_up_ratio}")

    def examples_a_step(self, examples: int) -> int:
        """Return how many examples make a step: fewer where an epoch would not have eight steps otherwise."""
        return max(1, min(self.batch_examples, examples // LEAST_STEPS))

    def schedule(self, examples: int) -> Schedule:
        """Return the schedule on so many examples: after its warm-up the rate decays to zero."""
        steps = max(1, round(self.epochs * examples / self.examples_a_step(examples)))
        warm_up = round(steps * self.warm_up_ratio)
        return Schedule(steps, warm_up, steps - warm_up)

    def judged_at(self, steps: int) -> list[int]:
        """Return the steps after which the held-out examples are looked at: the end of each epoch."""
        return sorted({round(steps * epoch / self.epochs) for epoch in range(1, self.epochs + 1)})
