"""What `semantic_dedup` and `prototypes` tell of their threshold: a sentence, the numbers, and a curve of what each ε would remove."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from curate.report.units import count, plural, share
from curate.work import Curve, Verdict
from curate_scorers.semantic_dedup_values import GRID

LOWEST = -0.999  # where the bisection of `greedy` ends that removes all it can


@dataclass(frozen=True)
class Settled:
    """What was found: documents in all, those that were compared with nothing, those that go, and the threshold (None: all values)."""

    documents: int
    without: int
    gone: int
    threshold: float | None
    keep_fraction: float | None
    slack: float = 0.0

    @property
    def missing(self) -> int:
        """How many more documents the share asks for, none where it is near enough."""
        asked = 0.0 if self.keep_fraction is None else (1 - self.keep_fraction) * self.documents - self.gone
        return int(asked) if asked >= 1 + self.slack * self.documents else 0

    @property
    def reached(self) -> bool:
        """Whether as many documents go as the share asks for; ties at the threshold stay without any fault."""
        return not self.missing or (self.threshold is not None and not self.slack)

    @property
    def tied(self) -> bool:
        """Whether documents of one value keep the share from being met: a lower threshold takes too many."""
        return bool(self.missing) and self.threshold is not None and self.threshold > LOWEST


def about(found: Settled) -> dict[str, Any]:
    """Return what stands in the manifest."""
    eps = None if found.threshold is None else 1 - found.threshold
    return {"threshold": found.threshold, "eps": eps, "documents": found.documents, "removed": found.gone, "without": found.without}


def duplicates(found: Settled, above: Sequence[int]) -> Verdict:
    """Return the note of `semantic_dedup`; it does not pass when too few documents have another one before them."""
    limit = "any similarity" if found.threshold is None else f"similarity > {found.threshold:.6g} (eps {1 - found.threshold:.6g})"
    parts = [f"{limit}: removed {_of(found)}", *_without(found)]
    alone = "`keep_fraction` is not reached: the others are alone or first in their clusters; take fewer clusters"
    parts += _tied(found) or ([] if found.reached else [alone])
    return Verdict(found.reached, ", ".join(parts), about(found), _curve(found, above) if above else None)


def prototypes(found: Settled) -> Verdict:
    """Return the note of `prototypes`."""
    limit = "any" if found.threshold is None else f"similarity to the centroid > {found.threshold:.6g}"
    parts = [f"{limit}: removed {_of(found)}", *_without(found)]
    parts += _tied(found) or ([] if found.reached else ["`keep_fraction` is not reached: the others have no vector"])
    return Verdict(found.reached, ", ".join(parts), about(found))


def _of(found: Settled) -> str:
    return f"{count(found.gone)} of {plural(found.documents, 'document')} ({share(found.gone, found.documents)})"


def _without(found: Settled) -> list[str]:
    return [f"{plural(found.without, 'document')} without a vector or a cluster stay"] if found.without else []


def _tied(found: Settled) -> list[str]:
    asked = f"`keep_fraction` asks for {count(found.missing)} more: documents of equal similarity go or stay together"
    return [asked] if found.tied else []


def _curve(found: Settled, above: Sequence[int]) -> Curve:
    """Return what share of the documents each ε would remove."""
    line = [(eps, number / max(found.documents, 1)) for eps, number in zip(GRID, above, strict=True)]
    marks = {"eps": 1 - found.threshold} if found.threshold is not None and 0 <= 1 - found.threshold <= 1 else {}
    return Curve("eps", "share removed", {"removed": line}, marks=marks)
