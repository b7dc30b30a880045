"""What `semantic_dedup` and `prototypes` tell of their threshold: a sentence, the numbers, and a curve of what each ε would remove."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from curate.report.units import count, plural, share
from curate.work import Curve, Verdict
from curate_scorers.semantic_dedup_values import GRID

FAR = 0.2  # ε from which more and more of what goes is not the same: `python -m tests.benchmarks.semantic_dedup`
MOST = 0.5  # of the documents; Abbas et al. (2023) saw no harm up to here
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
    """Return the note of `semantic_dedup`, with how many documents each ε of `GRID` would remove (empty: unknown).

    It does not pass when the share that was asked for is not reached, or only by taking what is not alike, nor when ε takes none or most.
    """
    limit = "any similarity" if found.threshold is None else f"similarity > {found.threshold:.6g} (eps {1 - found.threshold:.6g})"
    parts = [f"{limit}: removed {_of(found)}", *_without(found)]
    alone = "`keep_fraction` is not reached: the others are alone or first in their clusters; take fewer clusters"
    parts += _tied(found) or ([] if found.reached else [alone])
    doubts = _doubts(found, above)
    curve = _curve(found, above) if above else None
    return Verdict(found.reached and not doubts, "; ".join([", ".join(parts), *doubts]), about(found), curve)


def prototypes(found: Settled) -> Verdict:
    """Return the note of `prototypes`."""
    limit = "any" if found.threshold is None else f"similarity to the centroid > {found.threshold:.6g}"
    parts = [f"{limit}: removed {_of(found)}", *_without(found)]
    parts += _tied(found) or ([] if found.reached else ["`keep_fraction` is not reached: the others have no vector"])
    return Verdict(found.reached, ", ".join(parts), about(found))


def _doubts(found: Settled, above: Sequence[int]) -> list[str]:
    """Return what is likely not meant, and the ε that would do better."""
    eps = None if found.threshold is None else 1 - found.threshold
    if found.keep_fraction is not None:
        wide = found.gone and (eps is None or eps > FAR)
        return [f"documents that little alike share a subject and are no copies{_would(found, above, FAR)}"] if wide else []
    if not found.gone and found.documents > found.without:
        first = next((e for e, number in zip(GRID, above, strict=False) if number), None)
        return [f"`eps` is too small to remove anything{_would(found, above, first)}"]
    if found.gone > MOST * found.documents:
        last = max((e for e, number in zip(GRID, above, strict=False) if number <= MOST * found.documents), default=None)
        return [f"`eps` removes most of the documents{_would(found, above, last)}"]
    return []


def _would(found: Settled, above: Sequence[int], eps: float | None) -> str:
    """Return what another ε of the grid would remove, nothing where that was not counted."""
    if eps is None or not above:
        return ""
    return f": `eps: {eps:g}` would remove {share(above[GRID.index(eps)], found.documents)}"


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
