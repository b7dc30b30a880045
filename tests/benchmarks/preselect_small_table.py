"""Says what the methods selected: means over seeds with intervals, and whether PreSelect beats each of the others."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.benchmarks.preselect_small_pool import Target

OURS, POOL, TAUGHT = "PreSelect", "the pool", "PreSelect's positives"
METHODS = (OURS, "random", "lowest loss", "middle loss", "DCLM, instructions", "DCLM, the target")
RIVALS = METHODS[1:-1]  # the last sees the target's text, which PreSelect does not
T_95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
"""Student's t, two-sided 95 %, by degrees of freedom: one less than there are seeds."""


@dataclass(frozen=True)
class Found:
    """The share of useful characters and documents in what one method selected for one target, and how many documents that were."""

    seed: int
    target: str
    method: str
    chars: float
    docs: float
    count: int


Interval = tuple[float, float, float]


def interval(values: Sequence[float]) -> Interval:
    """Return mean, low and high: a t-interval of 95 % over seeds."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, math.nan, math.nan
    half = T_95[min(len(values) - 1, 9)] * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def of(rows: Sequence[Found], target: str, method: str) -> list[float]:
    """Return the shares of useful characters of a method, by seed."""
    return [row.chars for row in sorted(rows, key=lambda row: row.seed) if (row.target, row.method) == (target, method)]


def gain(rows: Sequence[Found], target: str, rival: str) -> Interval:
    """Return by how much PreSelect's share is higher than a rival's, pool by pool."""
    pairs = zip(of(rows, target, OURS), of(rows, target, rival), strict=True)
    return interval([ours - theirs for ours, theirs in pairs])


def text(rows: Sequence[Found], targets: Mapping[str, Target], spreads: Mapping[str, float]) -> str:
    """Return the tables and the verdicts; `spreads` is how far apart the models are on each target, in bits per byte."""
    return "\n\n".join([_shares(rows, targets, spreads), _gains(rows, targets), _verdicts(rows, list(targets))])


def _shares(rows: Sequence[Found], targets: Mapping[str, Target], spreads: Mapping[str, float]) -> str:
    seeds = len({row.seed for row in rows})
    head = f"Share of useful characters in the selected tenth, mean of {seeds} seeds (95 % t-interval over seeds):"
    lines = [f"| method | {' | '.join(targets)} |", "|---|" + "---|" * len(targets)]
    useful = [" + ".join(f"`{name}`" for name in sorted(target.useful)) for target in targets.values()]
    lines.append(f"| *useful are* | {' | '.join(useful)} |")
    lines.append(f"| *{POOL}* | {' | '.join(f'{statistics.fmean(of(rows, target, POOL)):.2f}' for target in targets)} |")
    for method in METHODS:
        lines.append(f"| {method} | {' | '.join(_share(interval(of(rows, target, method))) for target in targets)} |")
    lines.append(f"| *{TAUGHT}* | {' | '.join(f'{statistics.fmean(of(rows, target, TAUGHT)):.2f}' for target in targets)} |")
    lines.append(f"| *best model ahead of the worst, bits per byte* | {' | '.join(f'{spreads[target]:.2f}' for target in targets)} |")
    return head + "\n\n" + "\n".join(lines)


def _share(found: Interval) -> str:
    mean, low, high = found
    return f"{mean:.2f} ({max(low, 0):.2f} to {min(high, 1):.2f})"


def _gains(rows: Sequence[Found], targets: Mapping[str, Target]) -> str:
    lines = [f"| PreSelect's share less that of | {' | '.join(targets)} |", "|---|" + "---|" * len(targets)]
    for rival in METHODS[1:]:
        cells = ["{:+.2f} ({:+.2f} to {:+.2f})".format(*gain(rows, target, rival)) for target in targets]
        lines.append(f"| {rival} | {' | '.join(cells)} |")
    return "The same pool by pool:\n\n" + "\n".join(lines)


def _verdicts(rows: Sequence[Found], targets: Sequence[str]) -> str:
    return "\n".join(f"- {_verdict(rows, rival, targets)}" for rival in METHODS[1:])


def _verdict(rows: Sequence[Found], rival: str, targets: Sequence[str]) -> str:
    found = {target: gain(rows, target, rival) for target in targets}
    better = [target for target, (_, low, _) in found.items() if low > 0]
    worse = [target for target, (_, _, high) in found.items() if high < 0]
    open_ = [target for target in targets if target not in better and target not in worse]
    parts = [("better", better), ("worse", worse), ("not told apart", open_)]
    said = "; ".join(f"{word} on {', '.join(names)}" for word, names in parts if names)
    return f"beside *{rival}*: {said}."
