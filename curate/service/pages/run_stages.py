"""The stages of a run in one table: state, documents, throughput and memory over time."""

from __future__ import annotations

from curate.report.funnel import Stage, counts_of, ran
from curate.report.markup import Child, Column, Markup, Row, element, table
from curate.report.notes import anchor
from curate.report.stage import speed, spent
from curate.report.units import count, duration, plural, rate, size
from curate.service.pages.badges import state
from curate.service.pages.traces import trace
from curate.service.views.progress import StageProgress
from curate.service.views.runs import Run

_COLUMNS = (
    Column("Stage"),
    Column("State"),
    Column("Documents in", numeric=True),
    Column("Dropped", numeric=True, minor=True),
    Column("Out", numeric=True),
    Column("Time", numeric=True),
    Column("Throughput", numeric=True),
    Column("", minor=True),
    Column("Memory of a task", numeric=True),
    Column("", minor=True),
    Column("Retries", numeric=True, minor=True),
)


def stage_table(run: Run, base: str) -> Markup:
    """Return the table; links of the funnel lead to its rows, and its own to the pages of the stages."""
    stages = run.report.get("stages") or ()
    return table("Stages of this run", _COLUMNS, [_row(run, stage, base) for stage in stages], css="stages")


def _row(run: Run, stage: Stage, base: str) -> Row:
    name = str(stage["name"])
    going = run.progress.stages.get(name) or StageProgress(name)
    link = element("a", name, {"href": f"{base}/stages/{name}", "id": anchor(name)})
    peak = max(int(stage.get("peak_rss_bytes") or 0), going.peak_rss)
    memory = size(peak) if peak else "–"
    told = [*_documents(stage, going), *_pace(run, stage, going), *_traces(going, memory)]
    return (link, _state(stage, going), *told, count(stage.get("retries") or 0))


def _state(stage: Stage, going: StageProgress) -> Child:
    status = str(stage.get("status"))
    if status != "running":
        return state(status)
    told = f"{going.phase}: " if going.phase else ""
    told += f"{count(going.done)} of {plural(going.shards, 'shard')}"
    bar = element("progress", told, {"max": max(going.shards, 1), "value": going.done, "aria-label": f"{stage['name']}: {told}"})
    said = element("span", going.said, {"class": "said quiet"}) if going.said else None
    return [element("span", told, {"class": "badge running", "data-state": "running"}), bar, said]


def _documents(stage: Stage, going: StageProgress) -> list[str]:
    if ran(stage):
        counts = counts_of(stage)
        return [count(counts.rows_in), count(counts.rows_dropped), count(counts.rows_out)]
    if going.rows_in:
        return [count(going.rows_in), "–", count(going.rows_out)]
    return ["–"] * 3


def _pace(run: Run, stage: Stage, going: StageProgress) -> list[str]:
    """Return the time and the throughput of text, or of files while there is no text."""
    if ran(stage):
        return [spent(stage), speed(stage)[0]]
    if going.begun is None:
        return ["–", "–"]
    passed = going.seconds if going.seconds is not None else max(run.progress.elapsed - going.begun, 0.0)
    return [duration(passed), rate(going.speed(run.progress.elapsed), 1.0)]


def _traces(going: StageProgress, memory: str) -> list[Child]:
    """Return throughput over time, the memory of the largest task, and memory over time."""
    if going.pulse is None:
        return [None, memory, None]
    rates, peaks = going.pulse.rates(), [float(peak) for peak in going.pulse.peaks()]
    through = trace(rates, f"throughput of {going.name}, at most {rate(max(rates, default=0), 1)}", "kept")
    return [through, memory, trace(peaks, f"memory of {going.name}, at most {size(max(peaks, default=0))}", "added")]
