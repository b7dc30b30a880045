"""Muon for the matrices of layers, AdamW for everything else: one optimizer with one state.

Muon moves a matrix by its momentum made orthogonal, so that all directions of it learn equally fast. Five Newton–Schulz steps of odd
polynomials bring all singular values near 1 without a decomposition; matrices of one shape go through together. The update of a tall
matrix is multiplied by √(rows / columns): its norm as a map of vectors of unit mean square is then the rate, at any width.
Source: Jordan et al., *Muon* (2024).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

POLYNOMIAL = (3.4445, -4.7750, 2.0315)
STEPS = 5
MOMENTUM, BETAS, EPSILON = 0.95, (0.9, 0.95), 1e-8


def orthogonalised(matrices: Tensor, steps: int = STEPS) -> Tensor:
    """Return matrices (count × rows × columns) with their singular values between about 0.7 and 1.2, and the same singular vectors."""
    a, b, c = POLYNOMIAL
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Optimizer:
    """Updates parameters in place; its state is plain tensors by name. Without a `matrix_rate`, AdamW moves matrices too."""

    def __init__(
        self,
        named: Iterable[tuple[str, Tensor]],
        matrix_rate: float | None,
        other_rate: float,
        weight_decay: float,
        half: bool = False,
    ) -> None:
        self.matrix_rate, self.other_rate, self.weight_decay = matrix_rate or 0.0, other_rate, weight_decay
        self.half = half  # Muon's products in bfloat16, which suffices: singular values come near 1 only anyway
        self.steps = 0
        self._matrices: dict[torch.Size, dict[str, Tensor]] = {}
        self._others: dict[str, Tensor] = {}
        self._state: dict[str, Tensor] = {}
        for name, weight in named:
            if matrix_rate is not None and weight.ndim == 2 and ".layers." in name:
                self._matrices.setdefault(weight.shape, {})[name] = weight
            else:
                self._others[name] = weight
        for shape, group in self._matrices.items():
            first = next(iter(group.values()))
            self._state[f"momentum.{'x'.join(map(str, shape))}"] = first.new_zeros(len(group), *shape)
        for name, weight in self._others.items():
            self._state |= {f"mean.{name}": torch.zeros_like(weight), f"square.{name}": torch.zeros_like(weight)}

    @torch.no_grad()
    def step(self, share: float) -> None:
        """Take a step with a share of the rates."""
        self.steps += 1
        for shape, group in self._matrices.items():
            self._move_matrices(shape, list(group.values()), share * self.matrix_rate)
        for name, weight in self._others.items():
            self._move(name, weight, share * self.other_rate)

    def _move_matrices(self, shape: torch.Size, weights: list[Tensor], rate: float) -> None:
        momentum = self._state[f"momentum.{'x'.join(map(str, shape))}"]
        gradient = torch.stack([weight.grad for weight in weights])
        momentum.lerp_(gradient, 1 - MOMENTUM)
        ahead = gradient.lerp_(momentum, MOMENTUM)
        update = orthogonalised(ahead.bfloat16() if self.half else ahead).to(momentum.dtype)
        scale = rate * max(1.0, shape[0] / shape[1]) ** 0.5
        for weight, each in zip(weights, update, strict=True):
            weight.mul_(1 - rate * self.weight_decay).sub_(each, alpha=scale)

    def _move(self, name: str, weight: Tensor, rate: float) -> None:
        gradient = weight.grad
        mean, square = self._state[f"mean.{name}"], self._state[f"square.{name}"]
        mean.lerp_(gradient, 1 - BETAS[0])
        square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        unbiased = [1 - beta**self.steps for beta in BETAS]
        if weight.ndim == 2:
            weight.mul_(1 - rate * self.weight_decay)
        weight.addcdiv_(mean, (square / unbiased[1]).sqrt_().add_(EPSILON), value=-rate / unbiased[0])

    def state(self) -> dict[str, Tensor]:
        """Return the tensors that a checkpoint keeps."""
        return {f"optimizer.{name}": each for name, each in self._state.items()}

    def restore(self, tensors: Mapping[str, Any], steps: int) -> None:
        """Take the tensors of a checkpoint."""
        self.steps = steps
        for name, each in self._state.items():
            each.copy_(tensors[f"optimizer.{name}"])
