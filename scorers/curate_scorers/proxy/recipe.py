"""What a training is to be: a model, a budget, rates. Needs no torch, so that a pipeline is checked, and its cost told, without it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal

from curate.errors import OperatorError, PipelineError
from curate_scorers.proxy.packed import Packed
from curate_scorers.proxy.schedule import Schedule
from curate_scorers.proxy.sizes import Shape, batch_tokens, shape

Precision = Literal["auto", "float32", "bfloat16"]

OTHER_RATE, OTHER_RATE_WIDTH = 0.004, 768  # and at other widths as 1 / √width
LEAST_STEPS = 200  # a batch is made smaller until a budget has about as many
ALIGNED = 64  # vocabularies are rounded up to a multiple: matrix products are faster


@dataclass(frozen=True)
class Recipe:
    """A training, but for its corpus; the parameters are described by `train_proxy`."""

    size: str = "2M"
    tokens: int | None = None
    tokens_per_parameter: float | None = None
    batch_tokens: int | None = None
    micro_tokens: int | None = None
    max_epochs: float = 4
    matrix_rate: float = 0.02
    other_rate: float | None = None
    weight_decay: float = 0.0
    warm_up_ratio: float = 0.05
    decay_ratio: float = 0.2
    tied_head: bool = True
    precision: Precision = "auto"
    snapshots: int = 0
    keep_stable: bool = False
    seed: int = 1

    def __post_init__(self) -> None:
        shape(self.size)
        if self.tokens is not None and self.tokens_per_parameter is not None:
            raise PipelineError("tokens and tokens_per_parameter are both given", "leave one of them out")
        for name in (field.name for field in fields(self)):
            if isinstance(value := getattr(self, name), float) and not math.isfinite(value):
                raise PipelineError(f"{name} is no finite number: {value}")
        for name in ("tokens", "tokens_per_parameter", "batch_tokens", "micro_tokens", "max_epochs", "matrix_rate", "other_rate"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise PipelineError(f"{name} is not above 0: {value}")
        for name in ("weight_decay", "snapshots", "seed", "warm_up_ratio", "decay_ratio"):
            if getattr(self, name) < 0:
                raise PipelineError(f"{name} is less than 0: {getattr(self, name)}")
        if self.warm_up_ratio + self.decay_ratio > 1:
            raise PipelineError("warm_up_ratio and decay_ratio are more than 1 together", "0.05 and 0.2 leave three quarters between them")

    @property
    def shape(self) -> Shape:
        """The network's measures."""
        return shape(self.size)

    @property
    def budget(self) -> int:
        """How many tokens to train on."""
        return self.tokens or round((self.tokens_per_parameter or 20) * self.shape.parameters)

    @property
    def rates(self) -> tuple[float, float]:
        """The peak learning rates of Muon, whose steps mean the same at any width, and of AdamW, whose steps do not."""
        return self.matrix_rate, self.other_rate or OTHER_RATE * (OTHER_RATE_WIDTH / self.shape.width) ** 0.5

    def vocabulary(self, packed: Packed) -> int:
        """Return how many tokens the network knows."""
        return -(-packed.vocabulary // ALIGNED) * ALIGNED

    def rows_a_step(self, packed: Packed) -> int:
        """Return how many rows make a step, which is no larger than the budget."""
        wanted = self.batch_tokens or min(batch_tokens(self.size), self.budget / LEAST_STEPS)
        return max(1, round(min(wanted, self.budget) / packed.length))

    def tokens_a_step(self, packed: Packed) -> float:
        """Return how many tokens a step reads on average, padding aside."""
        return packed.tokens / packed.rows * self.rows_a_step(packed)

    def steps(self, packed: Packed) -> int:
        """Return how many steps the budget is; raise `OperatorError` when the corpus is too small for it."""
        if not packed.tokens:
            raise OperatorError("train_proxy: the packed corpus is empty", "look at what its stage dropped")
        epochs = self.budget / packed.tokens
        if epochs > self.max_epochs:
            told = f"a budget of {self.budget:,} tokens reads a corpus of {packed.tokens:,} {epochs:.1f} times"
            hint = "more text, a smaller budget, or a higher max_epochs"
            raise OperatorError(f"train_proxy: {told}, more than `max_epochs: {self.max_epochs:g}`", hint)
        steps_an_epoch = packed.rows / self.rows_a_step(packed)
        return max(1, min(round(epochs * steps_an_epoch), int(self.max_epochs * steps_an_epoch)))

    def tokens_read(self, packed: Packed) -> int:
        """Return how many tokens the steps will read: about the budget, since steps are whole."""
        return round(self.steps(packed) * self.tokens_a_step(packed))

    def schedule(self, packed: Packed, anneals: bool) -> Schedule:
        """Return the schedule; annealing is nothing but its decay."""
        steps = self.steps(packed)
        return Schedule(steps, 0, steps) if anneals else Schedule.of(steps, self.warm_up_ratio, self.decay_ratio)

    def snapshot_steps(self, schedule: Schedule) -> list[int]:
        """Return the steps whose weights are kept beside the last: evenly over the decay, which they divide into `snapshots` + 1 parts.

        A decay of few steps has fewer; what it begins with is none of them.
        """
        gap = schedule.decay / (self.snapshots + 1)
        steps = {schedule.steps - round(gap * k) for k in range(1, self.snapshots + 1)}
        return sorted(steps - {schedule.stable_until, schedule.steps})
