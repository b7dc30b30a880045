"""How likely a label is at a score: the curve that never falls and fits labelled documents best, and how it does on others.

The curve is isotonic regression by pooling adjacent violators: scores in order, neighbours joined until no share falls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curate.work import Curve, Verdict
from curate_scorers.correlations import spearman
from curate_scorers.fasttext_training_quality import Bools, Floats, auc, interval, reliability


@dataclass(frozen=True)
class LabelCurve:
    """Runs of scores with one chance each: the lowest and the highest score, the share of documents that have the label, and how many."""

    lowest: Floats
    highest: Floats
    chance: Floats
    documents: np.ndarray[Any, np.dtype[np.int64]]

    @classmethod
    def of(cls, told: Mapping[str, Sequence[float]]) -> LabelCurve:
        """Return the curve that `told` told; raise ValueError where its columns do not fit one another."""
        lowest, highest, chance = (np.array(told[name], np.float64) for name in ("lowest", "highest", "chance"))
        documents = np.array(told["documents"], np.int64)
        in_order = (lowest <= highest).all() and (highest[:-1] < lowest[1:]).all() and (np.diff(chance) > 0).all()
        if (
            not len(lowest) == len(highest) == len(chance) == len(documents) > 0
            or not in_order
            or not ((chance >= 0) & (chance <= 1)).all()
        ):
            raise ValueError("its columns do not fit one another")
        return cls(lowest, highest, chance, documents)

    def told(self) -> dict[str, list[float]]:
        """Return the curve as JSON data."""
        return {name: getattr(self, name).tolist() for name in ("lowest", "highest", "chance", "documents")}

    def chances(self, scores: Floats) -> Floats:
        """Return the chance at each score: straight lines between runs, and the ends' beyond them."""
        knots = np.column_stack([self.lowest, self.highest]).ravel()
        return np.interp(scores, knots, np.repeat(self.chance, 2))


def fitted(scores: Floats, wanted: Bools) -> LabelCurve:
    """Return the curve of labelled documents, one or more."""
    levels, own = np.unique(scores, return_inverse=True)
    documents, with_label = np.bincount(own), np.bincount(own, weights=wanted)
    runs: list[tuple[int, int, float, int]] = []  # first and last level, documents with the label, documents
    for level in range(len(levels)):
        run = (level, level, float(with_label[level]), int(documents[level]))
        while runs and runs[-1][2] * run[3] >= run[2] * runs[-1][3]:  # the share before is no lower
            first, _, more, others = runs.pop()
            run = (first, level, more + run[2], others + run[3])
        runs.append(run)
    begins, ends, shares, counts = (np.array(column) for column in zip(*runs, strict=True))
    return LabelCurve(levels[begins], levels[ends], shares / counts, counts)


def measured(curve: LabelCurve, scores: Floats, wanted: Bools) -> Mapping[str, float]:
    """Return how scores and chances of documents that were not fitted go with their labels; empty without documents of both kinds."""
    if not wanted.any() or wanted.all():
        return {}
    chances = curve.chances(scores)
    low, high = interval(wanted, scores)
    return {
        "auc": auc(wanted, scores),
        "low": low,
        "high": high,
        "rank_correlation": float(spearman(scores[None], wanted.astype(np.float64))[0]),
        "agreement": float(((chances >= 0.5) == wanted).mean()),
        "commonest_label": float(max(wanted.mean(), 1 - wanted.mean())),
        "off": sum(one["documents"] * abs(one["mean"] - one["share"]) for one in reliability(wanted, chances)) / len(wanted),
    }


def verdict(found: Mapping[str, float], curve: LabelCurve, documents: int) -> Verdict:
    """Return what the measures say; it passes when the AUC is surely above a half."""
    points = np.column_stack([curve.lowest, curve.highest]).ravel()
    line = [(float(score), float(chance)) for score, chance in zip(points, np.repeat(curve.chance, 2), strict=True)]
    picture = Curve("score", "share with the label", {"fitted": line})
    if not found:
        return Verdict(False, "not judged: no held-out documents of both kinds; give more, or raise `held_out`", {}, picture)
    auc_told = f"AUC {found['auc']:.3f} (95 %: {found['low']:.3f} to {found['high']:.3f})"
    message = f"{auc_told}, rank correlation {found['rank_correlation']:.3f} on {documents:,} documents held out"
    message += f"; chances agree with {found['agreement']:.1%} of labels (the commonest alone: {found['commonest_label']:.1%})"
    message += f" and are off by {found['off']:.3f} on average"
    return Verdict(found["low"] > 0.5, message, {name: round(value, 4) for name, value in found.items()}, picture)
