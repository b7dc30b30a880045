"""Cross entropy of the next token from states and the head's matrix, a block of tokens at a time.

A vocabulary is wide: the logits of a whole batch, their exponents and their gradients go through memory again and again, and
need more of it than all layers. Here a block's logits become losses and gradients while they are in the cache, in the forward pass already,
and are forgotten. The square of log Z, which keeps logits from drifting, costs nothing more (z-loss: PaLM, 2022).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

BLOCK_BYTES = {"cpu": 8 << 20, "cuda": 512 << 20}  # of float32 logits at a time: fewer make more of the matrix's gradient
TOGETHER = 8  # blocks whose gradients in bfloat16 a CPU multiplies at a time: each time the matrix's gradient is read and written
Z_LOSS = 1e-4


class _Losses(torch.autograd.Function):
    """Sums losses; their gradients are computed on the way."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, targets: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        device = states.device.type
        kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype
        with torch.autocast(device, enabled=False):
            sums, to_states, to_weight = _summed(states.to(kind), weight.to(kind), targets, scale)
        ctx.save_for_backward(to_states.to(states.dtype), to_weight.to(weight.dtype))
        minimised, total = (sums[0] + Z_LOSS * sums[1]) * scale, sums[0]
        ctx.mark_non_differentiable(total)
        return minimised, total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        to_states, to_weight = ctx.saved_tensors
        return to_states.mul_(gradients[0]), to_weight.mul_(gradients[0]), None, None


def _summed(states: Tensor, weight: Tensor, targets: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sums of cross entropies and of squares of log Z, and the gradients of states and weight."""
    sums = states.new_zeros(2, dtype=torch.float64)
    to_states, to_weight = torch.empty_like(states), torch.zeros_like(weight, dtype=torch.float32)
    rows = max(1, BLOCK_BYTES[states.device.type] // (4 * len(weight)))
    together = TOGETHER if states.device.type == "cpu" and weight.dtype != torch.float32 else 1
    for place in range(0, len(states), together * rows):
        part = slice(place, min(place + together * rows, len(states)))
        blocks = (_gradient(states[at], weight, targets[at], scale, sums) for at in _cut(part, rows))
        if together == 1:
            [gradient] = (block.to(states.dtype) for block in blocks)
        else:
            gradient = states.new_empty(part.stop - part.start, len(weight))
            for at, block in zip(gradient.split(rows), blocks, strict=True):
                at.copy_(block)
        torch.matmul(gradient, weight, out=to_states[part])
        if weight.dtype == torch.float32:
            to_weight.addmm_(gradient.T, states[part])
        else:
            to_weight.add_(gradient.T @ states[part])
    return sums, to_states, to_weight


def _cut(part: slice, rows: int) -> Iterator[slice]:
    return (slice(place, min(place + rows, part.stop)) for place in range(part.start, part.stop, rows))


def _gradient(states: Tensor, weight: Tensor, targets: Tensor, scale: float, sums: Tensor) -> Tensor:
    """Return the gradient of a block's logits, and add its losses to the sums."""
    wanted, told = (targets >= 0).float()[:, None], targets.clamp(min=0)[:, None]
    logits = (states @ weight.T).float()
    chosen, most = logits.gather(1, told), logits.amax(1, keepdim=True)
    z = logits.sub_(most).exp_().sum(1, keepdim=True)
    log_z = z.log() + most
    sums += torch.stack([((log_z - chosen) * wanted).sum(), (log_z.square() * wanted).sum()])
    logits.mul_((1 + 2 * Z_LOSS * log_z) * wanted * scale / z).scatter_add_(1, told, -scale * wanted)
    return logits


def losses(states: Tensor, weight: Tensor, targets: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Return what is minimised, the sum of cross entropy and z-loss times `scale`, and the sum of cross entropies alone, in nats.

    Targets below 0 are not counted.
    """
    minimised, total = _Losses.apply(states, weight, targets, scale)
    return minimised, total
