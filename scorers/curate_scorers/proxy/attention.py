"""Attention within pieces that lie one behind another: none sees another one.

On a CPU each piece is a call of its own: nothing is masked, and nothing is computed that a mask would throw away. On a GPU many small
calls are slow, and FlexAttention skips the blocks of its mask that are empty.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import flex_attention as flex


def attend(q: Tensor, k: Tensor, v: Tensor, where: Sequence[int] | flex.BlockMask) -> Tensor:
    """Return what each token (tokens × heads × width of a head) takes from those of its piece that are not behind it."""
    q, k, v = (each.transpose(0, 1).unsqueeze(0) for each in (q, k, v))
    found = flex.flex_attention(q, k, v, block_mask=where) if isinstance(where, flex.BlockMask) else _by_piece(q, k, v, where)
    return found.squeeze(0).transpose(0, 1)


def _by_piece(q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int]) -> Tensor:
    cut = zip(*(each.split(lengths, 2) for each in (q, k, v)), strict=True)
    return torch.cat([F.scaled_dot_product_attention(q, k, v, is_causal=True) for q, k, v in cut], 2)


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
