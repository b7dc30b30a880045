"""Two runs side by side: what their pipelines say differently, and what became of the documents stage by stage."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from curate.report.funnel import Report, counts_of, ran
from curate.storage import Storage, join

_DIFF_LINES = 400


@dataclass(frozen=True)
class Pair:
    """One number in both runs; None where a run has no such stage, step or reason, or has not come so far."""

    name: str
    before: float | None
    after: float | None

    @property
    def moved(self) -> float | None:
        """The difference, where both are known."""
        return None if self.before is None or self.after is None else self.after - self.before


@dataclass(frozen=True)
class StagePair:
    """A stage in both runs; `same` says that both used the very same dataset. `drops` are by `step: reason`, the most moved first."""

    name: str
    same: bool
    rows_in: Pair
    rows_out: Pair
    seconds: Pair
    peak_rss: Pair
    drops: list[Pair]


def stage_pairs(before: Report, after: Report) -> list[StagePair]:
    """Return the stages of both runs, in the order of the second; stages that only the first has come last."""
    sides = [{str(stage["name"]): stage for stage in report.get("stages") or ()} for report in (before, after)]
    return [_stage_pair(name, sides[0].get(name, {}), sides[1].get(name, {})) for name in dict.fromkeys([*sides[1], *sides[0]])]


def _stage_pair(name: str, before: Report, after: Report) -> StagePair:
    sides = (before, after)
    counts = [counts_of(side) if side and ran(side) else None for side in sides]
    rows = [(found.rows_in, found.rows_out) if found else (None, None) for found in counts]
    seconds = [side.get("seconds") if side and side.get("status") == "done" else None for side in sides]  # reused: an earlier run's
    memory = [side.get("peak_rss_bytes") if side and ran(side) else None for side in sides]
    dropped = [_by_reason(side) for side in sides]
    known = [found if counts[side] else None for side, found in enumerate(dropped)]
    drops = [Pair(key, *(None if found is None else found.get(key, 0) for found in known)) for key in {**dropped[0], **dropped[1]}]
    return StagePair(
        name,
        bool(before and after) and before.get("fingerprint") == after.get("fingerprint"),
        Pair("documents in", rows[0][0], rows[1][0]),
        Pair("documents out", rows[0][1], rows[1][1]),
        Pair("time", *seconds),
        Pair("peak memory", *memory),
        sorted(drops, key=lambda pair: (-abs(pair.moved or 0), pair.name)),
    )


def _by_reason(stage: Report) -> dict[str, int]:
    return {f"{step}: {reason}": rows for step, reasons in counts_of(stage).dropped.items() for reason, rows in reasons.items()}


def text_difference(before: str, after: str, names: tuple[str, str]) -> list[tuple[str, str]]:
    """Return the lines of a unified difference as (sign, text): `-`, `+`, ` ` or `@` for what was left out."""
    return list(_difference(before, after, names))


def _difference(before: str, after: str, names: tuple[str, str]) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(difflib.unified_diff(before.splitlines(), after.splitlines(), *names, n=3, lineterm="")):
        if number >= _DIFF_LINES:
            yield "@", "… the rest is left out"
            return
        if number >= 2:  # the names of both sides stand above
            yield ("@", line.strip("@ ")) if line.startswith("@@") else (line[:1] or " ", line[1:])


def pipeline_text(storage: Storage, run_id: str) -> str:
    """Return the pipeline that a run kept, or nothing."""
    path = join("runs", run_id, "pipeline.yaml")
    return storage.read(path).decode(errors="replace") if storage.info(path) is not None else ""
