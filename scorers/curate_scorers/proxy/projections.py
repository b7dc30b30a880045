"""Several matrices applied to one input as a single product.

On a CPU in bfloat16 the input is then rounded once and not for each matrix, and there is one gradient of it and not one to add up for
each. In float32 joining costs what it saves, and a GPU's compiler sees to it by itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def projected(x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
    """Return `x @ weight.T` for each weight (outputs × inputs), of vectors (count × inputs)."""
    if x.is_cuda or not torch.is_autocast_enabled("cpu"):
        return tuple(F.linear(x, weight) for weight in weights)
    found: tuple[Tensor, ...] = _Projected.apply(x, *weights)
    return found


class _Projected(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        kind = torch.get_autocast_dtype("cpu")
        ctx.kind, ctx.rows = x.dtype, [len(weight) for weight in weights]
        rounded, joined = x.to(kind), torch.cat([weight.to(kind) for weight in weights])
        ctx.save_for_backward(rounded, joined)
        return tuple((rounded @ joined.T).split(ctx.rows, -1))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        rounded, joined = ctx.saved_tensors
        gradient = torch.cat(gradients, -1)
        to_weights = (gradient.T @ rounded).to(ctx.kind).split(ctx.rows)
        return (gradient @ joined).to(ctx.kind), *to_weights
