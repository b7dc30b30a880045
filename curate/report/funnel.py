"""The way of the documents through a run: which stages follow one another, and what each step took away.

A *line* is a chain of documents stages, from a reader to a dataset that no other documents stage goes on from. Attribute
stages only measure, so they are no part of a line; what they decide shows where it is applied. A stage that takes documents
from several places continues the line of the first; the others' documents join it there.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from curate.manifest import Counts

Report = Mapping[str, Any]
Stage = Mapping[str, Any]

_FIELDS = tuple(Counts.__dataclass_fields__)


@dataclass(frozen=True)
class Change:
    """One step's effect on the number of documents: `rows` taken away or added, by reason, and how many are `left`."""

    kind: Literal["added", "dropped", "merged", "errored"]
    stage: str
    step: str
    rows: int
    left: int
    reasons: Mapping[str, int]

    @property
    def before(self) -> int:
        """Documents ahead of this step."""
        return self.left - self.rows if self.kind == "added" else self.left + self.rows


@dataclass(frozen=True)
class Line:
    """Stages one after another, and how many documents joined ahead of a stage from elsewhere, by its name."""

    stages: Sequence[Stage]
    joined: Mapping[str, int]

    @property
    def origin(self) -> str:
        """The name of the input that the line starts from."""
        return next((str(name) for name in self.stages[0].get("inputs") or ()), str(self.end["name"]))

    @property
    def end(self) -> Stage:
        """The last stage."""
        return self.stages[-1]

    @property
    def complete(self) -> bool:
        """Whether every stage has a whole result."""
        return all(ran(stage) for stage in self.stages)

    def changes(self) -> Iterator[tuple[Stage, list[Change]]]:
        """Yield each stage with the changes in it, those that joined first."""
        for stage in self.stages:
            rows = self.joined.get(str(stage["name"]), 0)
            joining = [Change("added", str(stage["name"]), "joined from elsewhere", rows, counts_of(stage).rows_in, {})] if rows else []
            yield stage, joining + list(changes(stage))

    def total(self) -> Counts:
        """Return the accounting as if the line were one stage: what entered the first, what left the last, all between."""
        whole = Counts()
        for stage in self.stages:
            whole.add(counts_of(stage))
        first, last = counts_of(self.stages[0]), counts_of(self.end)
        whole.rows_in, whole.text_bytes_in, whole.bytes_in = first.rows_in, first.text_bytes_in, first.bytes_in
        whole.rows_out, whole.text_bytes_out, whole.bytes_out = last.rows_out, last.text_bytes_out, last.bytes_out
        whole.rows_added += sum(self.joined.values())
        return whole


def counts_of(stage: Stage) -> Counts:
    """Return a stage's counts; a stage that never ran has zeros."""
    raw = stage.get("counts") or {}
    return Counts(**{name: raw[name] for name in _FIELDS if raw.get(name) is not None})


def ran(stage: Stage) -> bool:
    """Say whether a stage has a whole result."""
    return stage.get("status") in ("done", "reused")


def lines(report: Report) -> list[Line]:
    """Return every line, those that end in an output first, then the longest."""
    every = {str(stage["name"]): stage for stage in report.get("stages") or ()}
    stages = {name: stage for name, stage in every.items() if stage.get("kind") == "documents"}
    upstream = {name: next((i for i in stage.get("inputs") or () if i in stages and i != name), None) for name, stage in stages.items()}
    ends = [name for name in stages if name not in set(upstream.values())]
    published = {str(output.get("stage") or output["name"]) for output in report.get("outputs") or ()}
    chains = [_chain(end, stages, upstream) for end in ends]
    found = [Line(chain, {str(b["name"]): _joined(a, b, every) for a, b in itertools.pairwise(chain)}) for chain in chains]
    return sorted(found, key=lambda line: (line.end["name"] not in published, -len(line.stages)))


def _chain(end: str, stages: Mapping[str, Stage], upstream: Mapping[str, str | None]) -> list[Stage]:
    chain: list[Stage] = []
    name: str | None = end
    while name is not None and len(chain) < len(stages):
        chain.insert(0, stages[name])
        name = upstream[name]
    return chain


def _joined(before: Stage, stage: Stage, every: Mapping[str, Stage]) -> int:
    """Return how many documents a stage took from elsewhere than the stage before it in the line.

    Other stages say how many they gave; a pipeline's input does not, so it is what is left over.
    """
    others = [name for name in stage.get("inputs") or () if name != before["name"]]
    given = [every[name] for name in others if name in every and every[name].get("kind") == "documents"]
    if any(name not in every for name in others):
        return max(counts_of(stage).rows_in - counts_of(before).rows_out, 0)
    return sum(counts_of(other).rows_out for other in given)


def steps_of(stage: Stage) -> list[str]:
    """Return the names of a stage's steps in order, with any that only the counts know last."""
    counts = counts_of(stage)
    known = [str(step) for step in stage.get("steps") or ()]
    return known + [step for step in dict.fromkeys((*counts.dropped, *counts.edited)) if step not in known]


def changes(stage: Stage) -> Iterator[Change]:
    """Yield what changed the number of documents: additions, then drops step by step, then rows merged and errored."""
    counts, name = counts_of(stage), str(stage["name"])
    left = counts.rows_in + counts.rows_added
    if counts.rows_added:
        yield Change("added", name, "new documents", counts.rows_added, left, {})
    for step in steps_of(stage):
        reasons = counts.dropped.get(step) or {}
        rows = sum(reasons.values())
        left -= rows
        if rows:
            yield Change("dropped", name, step, rows, left, by_size(reasons))
    if counts.merged:
        left -= counts.merged
        yield Change("merged", name, "merged into others", counts.merged, left, {})
    if counts.errored:
        yield Change("errored", name, "quarantined", counts.errored, left - counts.errored, {})


def by_size(reasons: Mapping[str, int]) -> dict[str, int]:
    """Return the reasons with the most documents first, equals by name."""
    return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))


def adds_up(counts: Counts) -> bool:
    """Say whether every document is accounted for."""
    return counts.rows_in + counts.rows_added == counts.rows_out + counts.rows_dropped + counts.merged + counts.errored
