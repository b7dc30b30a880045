"""The proxy model: a decoder-only transformer over pieces of text that lie one behind another.

RMSNorm, rotary positions, normalised queries and keys, SwiGLU, a tied or an untied head: what Qwen3 is, so that weights written under
the same names are a `Qwen3ForCausalLM`. There is no batch dimension: a batch is a row of pieces, each with positions of its own and
blind to the others, so that short documents cost no padding and attention costs the squares of their own lengths only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from curate_scorers.proxy.attention import attend
from curate_scorers.proxy.pointwise import rms_norm, turned
from curate_scorers.proxy.projections import projected
from curate_scorers.proxy.sizes import Shape

EPSILON, THETA = 1e-6, 10_000.0
INITIAL = 0.02  # standard deviation of embeddings; other matrices are uniform, and those that write into the stream begin as zeros

Where = Any  # which tokens see which: the lengths of the pieces, or FlexAttention's mask of them


class Norm(nn.Module):
    """Root-mean-square norm over the last dimension."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, EPSILON)


class SelfAttention(nn.Module):
    """Attention whose queries and keys are normalised by head and turned by their position."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(shape.width, shape.width, bias=False) for _ in range(4))
        self.q_norm, self.k_norm = Norm(shape.head), Norm(shape.head)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], where: Where) -> Tensor:
        found = projected(x, self.q_proj.weight, self.k_proj.weight, self.v_proj.weight)
        q, k, v = (each.view(len(x), self.heads, -1) for each in found)
        q, k = (turned(norm(each), *turn).to(v.dtype) for norm, each in ((self.q_norm, q), (self.k_norm, k)))
        mixed = attend(q, k, v, where)
        return self.o_proj(mixed.reshape(x.shape))


class Mlp(nn.Module):
    """SwiGLU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = (nn.Linear(shape.width, shape.inner, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(shape.inner, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = projected(x, self.gate_proj.weight, self.up_proj.weight)
        return self.down_proj(F.silu(gate) * up)


class Layer(nn.Module):
    """Attention, then an MLP, each reading a normalised stream and adding to it."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm, self.self_attn = Norm(shape.width), SelfAttention(shape)
        self.post_attention_layernorm, self.mlp = Norm(shape.width), Mlp(shape)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], where: Where) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), turn, where)
        return x + self.mlp(self.post_attention_layernorm(x))


class Stream(nn.Module):
    """Embeddings, layers, the last norm: tokens to states."""

    def __init__(self, shape: Shape, vocabulary: int, length: int) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(vocabulary, shape.width)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = Norm(shape.width)
        angle = torch.arange(length)[:, None] * THETA ** (-torch.arange(0, shape.head, 2) / shape.head)
        self.register_buffer("cos", torch.cat([angle.cos(), angle.cos()], -1)[:, None], persistent=False)
        self.register_buffer("sin", torch.cat([-angle.sin(), angle.sin()], -1)[:, None], persistent=False)

    def forward(self, tokens: Tensor, positions: Tensor, where: Where) -> Tensor:
        x = self.embed_tokens(tokens)
        turn = (self.cos[positions], self.sin[positions])
        for layer in self.layers:
            x = layer(x, turn, where)
        return self.norm(x)


class Proxy(nn.Module):
    """The model; `forward` returns states, which are logits once `head` is applied to them."""

    def __init__(self, shape: Shape, vocabulary: int, length: int, tied: bool = True, seed: int = 1) -> None:
        super().__init__()
        self.shape, self.vocabulary, self.length, self.tied = shape, vocabulary, length, tied
        self.model = Stream(shape, vocabulary, length)
        self.lm_head = nn.Linear(shape.width, vocabulary, bias=False)
        if tied:
            self.lm_head.weight = self.model.embed_tokens.weight
        self._initialise(torch.Generator().manual_seed(seed))

    def _initialise(self, generator: torch.Generator) -> None:
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                bound = (3 / weight.shape[1]) ** 0.5
                if "embed_tokens" in name or "lm_head" in name:
                    nn.init.normal_(weight, std=INITIAL, generator=generator)
                elif "o_proj" in name or "down_proj" in name:
                    nn.init.zeros_(weight)
                else:
                    nn.init.uniform_(weight, -bound, bound, generator=generator)

    def forward(self, tokens: Tensor, positions: Tensor, where: Where) -> Tensor:
        return self.model(tokens, positions, where)

    def head(self, states: Tensor) -> Tensor:
        """Return the logits of states."""
        return self.lm_head(states)
