"""Warm up, stay, decay: the learning rate as a share of its peak.

The stable part knows nothing of its end, so that a model trained that far can be annealed on any corpus, at the cost of the decay
alone (Hägele et al., *Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations*, 2024).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Steps from `begin` to `steps`: warm-up at their beginning, a linear decay to zero at their end."""

    steps: int
    warm_up: int
    decay: int

    @staticmethod
    def of(steps: int, warm_up_ratio: float, decay_ratio: float) -> Schedule:
        """Return the schedule of so many steps."""
        return Schedule(steps, round(steps * warm_up_ratio), round(steps * decay_ratio))

    @property
    def stable_until(self) -> int:
        """The step that the decay begins with."""
        return self.steps - self.decay

    def rate(self, step: int) -> float:
        """Return the share of the peak at a step, from 0 on; the last step is a little above zero."""
        rising = (step + 1) / (self.warm_up + 1) if step < self.warm_up else 1.0
        falling = (self.steps - step) / (self.decay + 1) if step >= self.stable_until else 1.0
        return min(rising, falling)
