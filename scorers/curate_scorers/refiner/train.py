"""Fine-tunes a causal language model on answers to prompts: one plain loop, from the first step or from where an attempt was killed.

On a CPU the same base, examples, machine and number of threads give the same bytes, with or without kills in between: the order is a
function of the seed and the step, and nothing is dropped out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from torch.nn.functional import cross_entropy

from curate.errors import OperatorError
from curate_scorers.lm_loss_model import LanguageModel
from curate_scorers.proxy import folder
from curate_scorers.proxy.batches import MICRO_TOKENS, Order
from curate_scorers.proxy.checkpoint import Checkpoints, Keeper, State
from curate_scorers.proxy.optimizers import Optimizer
from curate_scorers.proxy.schedule import Schedule
from curate_scorers.refiner.examples import Examples, Padded, padded
from curate_scorers.refiner.folder import stored_dtype
from curate_scorers.refiner.recipe import Recipe

CLIP = 1.0

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Judged:
    """Held-out examples after a step: nats a token, the share of tokens that are the likeliest, and of answers that are so whole.

    An answer whose tokens are all the likeliest is what greedy decoding writes.
    """

    step: int
    loss: float
    token_accuracy: float
    exact: float


@dataclass(frozen=True)
class Trained:
    """What a training made: the loss of each step in nats a token, what was judged, and the step whose weights are kept."""

    losses: list[float]
    judged: list[Judged]
    best: int
    schedule: Schedule


@dataclass
class Training:
    """Everything that one training works with."""

    model: LanguageModel
    examples: Examples
    held: Examples
    recipe: Recipe
    keeper: Keeper
    tell: Tell
    state: State[Any]

    def run(self) -> Trained:
        """Take all steps that are left; the weights that are kept are those that were best on held-out examples, else the last."""
        schedule = self.recipe.schedule(len(self.examples))
        judged_at = self.recipe.judged_at(schedule.steps)
        checkpoints = Checkpoints(self.keeper)
        checkpoints.resume(self.state)
        judged = [found for step in judged_at if step < self.state.step and (found := self._read(step))]
        while True:
            if self.state.step in judged_at:
                judged.append(self._judge())
                if min(judged, key=lambda each: each.loss) is judged[-1] or not len(self.held):
                    self.keeper.write(folder.WEIGHTS, self._weights())
            if self.state.step == schedule.steps:
                best = min(judged, key=lambda each: each.loss) if len(self.held) else judged[-1]
                return Trained(self.state.losses, judged, best.step, schedule)
            loss = self._step(schedule)
            self.state.losses.append(loss)
            self.state.step += 1
            self.tell(f"step {self.state.step:,} of {schedule.steps:,}, loss {loss:.3f}")
            checkpoints.after_step(self.state)

    def _step(self, schedule: Schedule) -> float:
        """Take one step and return its loss, in nats a token of the answers."""
        count = self.recipe.examples_a_step(len(self.examples))
        rows = Order(len(self.examples), self.recipe.seed).take(self.state.step * count, count)
        tokens = sum(len(self.examples.tokens[row]) - int(self.examples.prompts[row]) for row in rows)
        total = 0.0
        for part in padded(self.examples, rows, MICRO_TOKENS[self._device.type]):
            loss = cross_entropy(*self._predicted(part), reduction="sum") / tokens
            loss.backward()
            total += float(loss.detach())
        if not math.isfinite(total):
            raise OperatorError(f"train_refiner: the loss of step {self.state.step + 1} is {total}", f"lower `rate` ({self.recipe.rate:g})")
        torch.nn.utils.clip_grad_norm_(self.model.network.parameters(), CLIP)
        self.state.optimizer.step(schedule.rate(self.state.step))
        self.model.network.zero_grad(set_to_none=True)
        return total

    def _predicted(self, part: Padded) -> tuple[Any, Any]:
        """Return logits and targets of the tokens that are to be learnt. Padding stands behind, where no token of the row sees it."""
        wanted = torch.from_numpy(part.wanted).to(self._device)
        ids = torch.from_numpy(part.inputs).to(self._device)
        network = self.model.network
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self.state.optimizer.half):
            if self.model.plain_head:
                states = network.base_model(input_ids=ids, use_cache=False).last_hidden_state[wanted]
                logits = network.get_output_embeddings()(states)
            else:
                logits = network(input_ids=ids, use_cache=False).logits[wanted]
        return logits.float(), torch.from_numpy(part.targets).to(self._device)[wanted]

    def _judge(self) -> Judged:
        """Look at the held-out examples, and keep what was found."""
        sums = np.zeros(4)
        for part in padded(self.held, range(len(self.held)), MICRO_TOKENS[self._device.type]):
            with torch.no_grad():
                logits, targets = self._predicted(part)
                right = np.ones(part.wanted.shape, bool)
                right[part.wanted] = (logits.argmax(-1) == targets).cpu().numpy()
                loss = float(cross_entropy(logits, targets, reduction="sum"))
            sums += [loss, right[part.wanted].sum(), len(targets), right.all(axis=1).sum()]
        loss, hits, tokens, exact = sums.tolist()
        found = Judged(self.state.step, loss / max(tokens, 1), hits / max(tokens, 1), exact / max(len(self.held), 1))
        self.keeper.write(_name(found.step), orjson.dumps(found))
        return found

    def _read(self, step: int) -> Judged | None:
        data = self.keeper.read(_name(step))
        return None if data is None else Judged(**orjson.loads(data))

    def _weights(self) -> bytes:
        """Return the weights in the numbers that the base's are in."""
        kind = getattr(torch, stored_dtype(Path(self.model.folder)))
        return folder.packed_weights({name: each.to(kind) for name, each in folder.weights_of(self.model.network).items()})

    @property
    def _device(self) -> torch.device:
        return torch.device(self.model.network.device)


def _name(step: int) -> str:
    return f"judged-{step:07d}"


def train(model: LanguageModel, examples: Examples, held: Examples, recipe: Recipe, keeper: Keeper, tell: Tell) -> Trained:
    """Fine-tune a model, which is changed in place; the best weights are left with the keeper as `model.safetensors`."""
    half = recipe.precision == "bfloat16" or (recipe.precision == "auto" and model.network.device.type == "cuda")
    learnt = [(name, weight) for name, weight in model.network.named_parameters() if weight.requires_grad]
    optimizer = Optimizer(learnt, recipe.matrix_rate, recipe.rate, recipe.weight_decay, half)
    return Training(model, examples, held, recipe, keeper, tell, State(model.network, optimizer)).run()
