"""Cross entropy of the next token from states and the head's matrix, a block of tokens at a time.

A vocabulary is wide: the logits of a whole batch, their exponents and their gradients go through memory again and again, and
need more of it than all layers. Here a block's logits become losses and gradients while they are in the cache, in the forward pass already,
and are forgotten. The square of log Z, which keeps logits from drifting, costs nothing more (z-loss: PaLM, 2022).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

BLOCK_BYTES = {"cpu": 2 << 20, "cuda": 512 << 20}  # of float32 logits at a time
Z_LOSS = 1e-4


class _Losses(torch.autograd.Function):
    """Sums losses; their gradients are computed on the way."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, targets: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        total = states.new_zeros((), dtype=torch.float64)
        regular = states.new_zeros((), dtype=torch.float64)
        to_states, to_weight = torch.empty_like(states), torch.zeros_like(weight, dtype=torch.float32)
        rows = max(1, BLOCK_BYTES[states.device.type] // (4 * len(weight)))
        for place in range(0, len(states), rows):
            block, told = states[place : place + rows], targets[place : place + rows, None]
            wanted, told = (told >= 0).float(), told.clamp(min=0)
            logits = (block @ weight.T).float()
            chosen = logits.gather(1, told)
            log_z = logits.logsumexp(1, keepdim=True)
            total += ((log_z - chosen) * wanted).sum()
            regular += (log_z.square() * wanted).sum()
            logits.sub_(log_z).exp_().mul_((1 + 2 * Z_LOSS * log_z) * wanted * scale)
            logits.scatter_add_(1, told, -scale * wanted)
            gradient = logits.to(states.dtype)
            torch.matmul(gradient, weight, out=to_states[place : place + rows])
            to_weight.addmm_(gradient.T.to(to_weight.dtype), block.to(to_weight.dtype))
        ctx.save_for_backward(to_states, to_weight.to(weight.dtype))
        ctx.mark_non_differentiable(total)
        return (total + Z_LOSS * regular) * scale, total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        to_states, to_weight = ctx.saved_tensors
        return to_states * gradients[0], to_weight * gradients[0], None, None


def losses(states: Tensor, weight: Tensor, targets: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Return what is minimised, the sum of cross entropy and z-loss times `scale`, and the sum of cross entropies alone, in nats.

    Targets below 0 are not counted.
    """
    minimised, total = _Losses.apply(states, weight, targets, scale)
    return minimised, total
