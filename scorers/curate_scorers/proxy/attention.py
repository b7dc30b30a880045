"""Attention within pieces that lie one behind another: none sees another one.

On a CPU each piece is a call of its own: hardly anything is computed that a mask would throw away. Matrix products of blocks of queries
take less time there than torch's kernel for long pieces, and for all in bfloat16, which slows that kernel
(`python -m tests.benchmarks.proxy_speed`). On a GPU many small calls are slow, and FlexAttention skips the blocks of its mask that are
empty.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import flex_attention as flex

BLOCK = 128  # queries at a time
SHORT, LONGEST = 256, 1024  # tokens of a piece, whose shares are a number for each two of them and each head


def attend(q: Tensor, k: Tensor, v: Tensor, where: Sequence[int] | flex.BlockMask) -> Tensor:
    """Return what each token (tokens × heads × width of a head) takes from those of its piece that are not behind it."""
    q, k, v = (each.transpose(0, 1) for each in (q, k, v))
    if isinstance(where, flex.BlockMask):
        found = flex.flex_attention(q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0), block_mask=where).squeeze(0)
    elif (0 if q.dtype == torch.bfloat16 else SHORT) < max(where) <= LONGEST:
        found = _InBlocks.apply(q.contiguous(), k.contiguous(), v.contiguous(), where)
    else:
        cut = zip(*(each.unsqueeze(0).split(where, 2) for each in (q, k, v)), strict=True)
        found = torch.cat([F.scaled_dot_product_attention(q, k, v, is_causal=True) for q, k, v in cut], 2).squeeze(0)
    return found.transpose(0, 1)


class _InBlocks(torch.autograd.Function):
    """Softmax of what a block of queries finds in its piece, up to its own end; the shares are kept for the way back."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int]) -> Tensor:
        q = q * q.shape[-1] ** -0.5
        found, shares = torch.empty_like(q), []
        behind = q.new_full((BLOCK, BLOCK), -torch.inf).triu(1)
        for start, low, high in _blocks(lengths):
            scores = torch.bmm(q[:, low:high], k[:, start:high].mT)
            scores[..., low - start :] += behind[: high - low, : high - low]
            shares.append(scores.softmax(-1))
            found[:, low:high] = torch.bmm(shares[-1], v[:, start:high])
        ctx.lengths = lengths
        ctx.save_for_backward(q, k, v, *shares)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        [gradient], (q, k, v, *shares) = gradients, ctx.saved_tensors
        to_q, to_k, to_v = torch.empty_like(q), torch.zeros_like(k, dtype=torch.float32), torch.zeros_like(v, dtype=torch.float32)
        for (start, low, high), share in zip(_blocks(ctx.lengths), shares, strict=True):
            own, seen = slice(low, high), slice(start, high)
            to_v[:, seen] += torch.bmm(share.mT, gradient[:, own])
            to_share = torch.bmm(gradient[:, own], v[:, seen].mT)
            to_scores = torch.ops.aten._softmax_backward_data(to_share, share, -1, share.dtype)
            to_q[:, own] = torch.bmm(to_scores, k[:, seen])
            to_k[:, seen] += torch.bmm(to_scores.mT, q[:, own])
        return to_q.mul_(q.shape[-1] ** -0.5), to_k.to(k.dtype), to_v.to(v.dtype), None


def _blocks(lengths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield the start of a piece, and start and end of each block of queries in it."""
    ends = list(accumulate(lengths))
    for start, end in zip([0, *ends], ends, strict=False):
        yield from ((start, low, min(low + BLOCK, end)) for low in range(start, end, BLOCK))


def block_mask(lengths: Sequence[int], device: Any) -> flex.BlockMask:
    """Return FlexAttention's mask of pieces of these lengths."""
    piece = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)).to(device)

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (piece[query] == piece[key]) & (query >= key)

    make = _compiled_mask() if piece.is_cuda else flex.create_block_mask
    return make(sees, None, None, len(piece), len(piece), device=piece.device)


@functools.cache
def _compiled_mask() -> Any:
    return torch.compile(flex.create_block_mask)  # else it makes a matrix of tokens × tokens
