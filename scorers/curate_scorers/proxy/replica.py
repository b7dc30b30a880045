"""One of several processes that train one model: each has the whole model, takes its share of a step's rows, and adds up all gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed
from torch.nn import Module

from curate_scorers.proxy.checkpoint import State


@dataclass(frozen=True)
class Replica:
    """A process among `count`; the one with rank 0 keeps files and tells how it goes, and alone it has nobody to talk to."""

    rank: int = 0
    count: int = 1

    @property
    def device(self) -> torch.device:
        """Its own GPU where there are any, else the CPU."""
        return torch.device("cuda", self.rank) if torch.cuda.is_available() else torch.device("cpu")

    def own(self, rows: list[int]) -> list[int]:
        """Return its share of a step's rows."""
        return rows[self.rank :: self.count]

    def agree(self, state: State[Any]) -> None:
        """Take the state of the first one, who knows what an earlier attempt left."""
        if self.count == 1:
            return
        sent: list[Any] = [state.packed() if self.rank == 0 else None]
        distributed.broadcast_object_list(sent, device=self.device)
        if self.rank != 0:
            state.restore(sent[0])

    def add(self, total: torch.Tensor, model: Module) -> None:
        """Replace a sum of losses, and the gradients, by the sums over all replicas; who had no row has zeros."""
        if self.count == 1:
            return
        distributed.all_reduce(total)
        own = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in model.parameters()]
        flat = torch.cat([gradient.reshape(-1) for gradient in own])
        distributed.all_reduce(flat)
        for weight, gradient in zip(model.parameters(), flat.split([each.numel() for each in own]), strict=True):
            weight.grad = gradient.view_as(weight)


ALONE = Replica()
