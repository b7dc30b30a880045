"""A run's stages as a graph: what is read, what was made of it, which checks judged it and where it was published."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from curate.pipeline_graph import references
from curate.report.funnel import Stage, counts_of, ran
from curate.report.markup import Markup
from curate.report.units import count, plural, size
from curate.service.pages.graph import Node, graph
from curate.service.pages.layout import Edge
from curate.service.views.progress import StageProgress
from curate.service.views.runs import Run


def run_graph(run: Run, base: str) -> Markup:
    """Return the graph of a run; `base` is the address of its page, below which its stages have theirs."""
    inputs, outputs, checks = list(_inputs(run)), list(_outputs(run)), list(_checks(run))
    stages = [_stage(run, stage, base) for stage in run.report.get("stages") or ()]
    nodes = [*inputs, *stages, *checks, *outputs]
    return graph(f"The stages of {run.report.get('pipeline')}", nodes, list(_edges(run))) if nodes else Markup()


def _inputs(run: Run) -> Iterator[Node]:
    for name, told in (run.plan.get("inputs") or {}).items():
        if name not in run.stages:
            yield Node(name, f"{plural(told['files'], 'file')}, {size(told['bytes'])}", "input")
    for name, told in (run.plan.get("artifacts") or {}).items():
        yield Node(name, f"{count(told['rows'])} rows of an artifact", "input")


def _stage(run: Run, stage: Stage, base: str) -> Node:
    name = str(stage["name"])
    going = run.progress.stages.get(name) or StageProgress(name)
    status = str(stage.get("status"))
    share = 1.0 if ran(stage) else going.share
    return Node(name, _told(stage, going), status, share, f"{base}/stages/{name}")


def _told(stage: Stage, going: StageProgress) -> str:
    if ran(stage):
        counts = counts_of(stage)
        if stage.get("kind") == "artifact":
            return "artifact"
        dropped = counts.rows_in + counts.rows_added != counts.rows_out
        return f"{count(counts.rows_out)} of {count(counts.rows_in)} stayed" if dropped else plural(counts.rows_out, "document")
    if stage.get("status") == "running":
        where = f"{going.phase}: " if going.phase else ""
        return f"{where}{count(going.done)} of {plural(going.shards, 'shard')}"
    return str(stage.get("kind") if stage.get("status") == "waiting" else stage.get("status"))


def _checks(run: Run) -> Iterator[Node]:
    judged = {str(check.get("name")): bool(check.get("passed")) for check in run.report.get("checks") or ()}
    for name, check in (run.pipeline.checks if run.pipeline else {}).items():
        state = ("done" if judged[name] else "failed") if name in judged else "waiting"
        yield Node(_check(name), "passed" if state == "done" else "said no" if state == "failed" else check.use, f"{state} check")


def _outputs(run: Run) -> Iterator[Node]:
    published: dict[str, Any] = {str(output["name"]): output for output in run.report.get("outputs") or ()}
    for name, output in (run.pipeline.outputs if run.pipeline else {}).items():
        told = f"{plural(published[name]['rows'], 'document')}, {size(published[name]['bytes'])}" if name in published else output.format
        yield Node(_output(name), told, "output" if name in published else "output waiting")


def _edges(run: Run) -> Iterator[Edge]:
    for name, planned in run.stages.items():
        yield from ((str(source), name) for source in planned["from"] if source != name)
    if run.pipeline is None:
        return
    for name, stage in run.pipeline.stages.items():
        yield from ((source, name) for source in sorted(references(stage)))
    for name, check in run.pipeline.checks.items():
        yield from ((source, _check(name)) for source in (*check.sources, *sorted(references(check))))
    for name, output in run.pipeline.outputs.items():
        yield output.stage or name, _output(name)


def _check(name: str) -> str:
    return f"{name} ?"


def _output(name: str) -> str:
    return f"→ {name}"
