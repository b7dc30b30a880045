"""The training loop: one model on one packed corpus, from the first step or from where an earlier attempt was killed.

    trained = train(read_packed(folder, names), Recipe(size="2M", tokens=1_000_000), keeper)

On a CPU the same recipe, corpus, machine and number of threads give the same bytes, with or without kills in between.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from curate.errors import OperatorError
from curate_scorers.proxy import batches, folder, speed
from curate_scorers.proxy.annealing import STABLE, stable_file
from curate_scorers.proxy.checkpoint import Checkpoints, Keeper, State
from curate_scorers.proxy.losses import losses
from curate_scorers.proxy.model import Proxy
from curate_scorers.proxy.optimizers import Optimizer
from curate_scorers.proxy.packed import Packed
from curate_scorers.proxy.recipe import Recipe
from curate_scorers.proxy.replica import ALONE, Replica
from curate_scorers.proxy.schedule import Schedule

CLIP = 1.0

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Trained:
    """What a training made: the names of its files, and the loss of each step in nats a token."""

    files: list[str]
    losses: list[float]
    schedule: Schedule


@dataclass
class Training:
    """Everything that one training works with."""

    packed: Packed
    recipe: Recipe
    keeper: Keeper
    tell: Tell
    replica: Replica
    state: State[Proxy]
    schedule: Schedule

    def run(self) -> None:
        """Take all steps that are left, and keep what is asked for on the way."""
        checkpoints = Checkpoints(self.keeper)
        checkpoints.resume(self.state)
        self.replica.agree(self.state)
        meter = speed.Meter(self.packed, self.recipe, self.schedule.steps, self.replica)
        keep_at = self.recipe.snapshot_steps(self.schedule)
        first = self.replica.rank == 0
        while True:
            if first:
                self._keep(keep_at)
            if self.state.step == self.schedule.steps:
                return
            loss = self._step()
            self.state.losses.append(loss)
            self.state.step += 1
            if first:
                self.tell(meter.line(self.state.step, loss))
                checkpoints.after_step(self.state)

    def _step(self) -> float:
        """Take one step and return its loss, in nats a token."""
        state, recipe = self.state, self.recipe
        count = recipe.rows_a_step(self.packed)
        rows = batches.Order(self.packed.rows, recipe.seed).take(state.step * count, count)
        tokens = self.packed.used(rows)
        total = torch.zeros((), dtype=torch.float64, device=self.replica.device)
        for batch in batches.batches(self.packed, self.replica.own(rows), self.replica.device, recipe.micro_tokens):
            total += self.accumulate(batch, tokens)
        self.replica.add(total, state.model)
        loss = float(total) / tokens
        if not math.isfinite(loss):
            told = f"the loss of step {state.step + 1} is {loss}"
            matrix_rate, other_rate = recipe.rates
            hint = f"lower `matrix_rate` ({matrix_rate:g}) and `other_rate` ({other_rate:.2g})"
            raise OperatorError(f"train_proxy: {told}", hint)
        self.update()
        return loss

    def accumulate(self, batch: batches.Batch, tokens: int) -> Any:
        """Add a batch's gradients, of a step of so many tokens, and return the sum of its losses."""
        model = self.state.model
        with self._precision():
            states = model(batch.inputs, batch.positions, batch.where)
            minimised, summed = losses(states, model.lm_head.weight, batch.targets, 1 / tokens)
        minimised.backward()
        return summed

    def update(self) -> None:
        """Move the weights by the gradients."""
        torch.nn.utils.clip_grad_norm_(self.state.model.parameters(), CLIP)
        self.state.optimizer.step(self.schedule.rate(self.state.step))
        self.state.model.zero_grad(set_to_none=True)

    def _precision(self) -> Any:
        return torch.autocast(self.replica.device.type, torch.bfloat16, enabled=self.state.optimizer.half)

    def _keep(self, snapshots: list[int]) -> None:
        """Write the files that belong to this step."""
        step = self.state.step
        if step in snapshots:
            self.keeper.write(snapshot(step), folder.packed_weights(folder.weights_of(self.state.model)))
        if self.recipe.keep_stable and step == self.schedule.stable_until:
            self.keeper.write(STABLE, self.state.packed())
        if step == self.schedule.steps:
            self.keeper.write(folder.WEIGHTS, folder.packed_weights(folder.weights_of(self.state.model)))
            self.keeper.write(folder.CONFIG, folder.config_of(self.state.model, self.packed.eos))


def snapshot(step: int) -> str:
    """Return the name of the weights of a step."""
    return f"step-{step:06d}.safetensors"


def train(
    packed: Packed,
    recipe: Recipe,
    keeper: Keeper,
    tell: Tell = lambda line: None,
    base: str | None = None,
    replica: Replica = ALONE,
) -> Trained:
    """Train a model, alone or as one of several replicas; `base` is the folder of one trained with `keep_stable`, and is annealed."""
    device = replica.device
    schedule = recipe.schedule(packed, base is not None)
    with _told_of_memory(recipe, packed, device):
        model = Proxy(recipe.shape, recipe.vocabulary(packed), packed.length, recipe.tied_head, recipe.seed).to(device)
        state = State(model, optimizer_of(model, recipe))
        if base is not None:
            _start_from(base, state)
        if device.type == "cuda":
            for layer in model.model.layers:
                layer.compile()
        Training(packed, recipe, keeper, tell, replica, state, schedule).run()
    names = [folder.CONFIG, folder.WEIGHTS, *map(snapshot, recipe.snapshot_steps(schedule)), *([STABLE] if recipe.keep_stable else [])]
    return Trained(names, state.losses, schedule)


def optimizer_of(model: Proxy, recipe: Recipe) -> Optimizer:
    """Return the optimizer of a model where it lies."""
    is_half = recipe.precision == "bfloat16" or (recipe.precision == "auto" and model.lm_head.weight.is_cuda)
    return Optimizer(model.named_parameters(), *recipe.rates, recipe.weight_decay, is_half)


def _start_from(base: str, state: State[Proxy]) -> None:
    """Take weights and optimizer of a stable checkpoint; raise `OperatorError` when they are of another model."""
    path = stable_file(base)
    try:
        state.restore(path.read_bytes())
    except (RuntimeError, KeyError) as error:
        hint = "`size`, `tied_head` and the tokenizer are those that it was trained with"
        raise OperatorError(f"train_proxy: {path} is of another model: {str(error).splitlines()[0]}", hint) from error
    state.step, state.losses = 0, []


@contextmanager
def _told_of_memory(recipe: Recipe, packed: Packed, device: torch.device) -> Iterator[None]:
    """Turn what torch says when memory runs out into an error with a remedy."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error):
            rows = max(packed.length, recipe.micro_tokens or batches.MICRO_TOKENS[device.type])
            hint = f"a `micro_tokens` below {rows:,}" if rows > packed.length else f"rows of fewer than {rows:,} tokens"
            hint += ", a smaller vocabulary, or a smaller size need less"
            raise OperatorError(f"train_proxy: no memory for {recipe.size} on this machine: {str(error).strip()[:200]}", hint) from error
        raise
