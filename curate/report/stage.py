"""One stage's part of the page: its accounting, cost, drops, distributions, groups and evidence."""

from __future__ import annotations

from collections.abc import Mapping

from curate import histogram
from curate.histogram import LENGTH_EDGES, SCORE_EDGES
from curate.manifest import Counts
from curate.report import charts, clusters, evidence, groups, notes, scores
from curate.report.evidence import Detail
from curate.report.funnel import Stage, adds_up, counts_of, ran, steps_of
from curate.report.markup import Child, Column, Markup, Row, code, details, element, table
from curate.report.notes import anchor
from curate.report.units import count, duration, number, plural, rate, share, size


def section(stage: Stage, detail: Detail, opened: bool) -> Markup:
    """Return a stage's section; long pages keep it closed until a click."""
    name = str(stage["name"])
    summary = [element("h3", name), " ", badge(str(stage.get("status"))), element("span", _in_short(stage), {"class": "quiet"})]
    body = [conservation(stage), facts(stage), notes.noted(stage), clusters.clusters(stage, detail)]
    if ran(stage) or counts_of(stage).rows_in:
        body += [
            _titled("Why documents were dropped", evidence.drops(stage, detail)),
            evidence.quarantined(stage, detail),
            _titled("Phases" if in_phases(stage) else "Steps", steps(stage)),
            _titled("Distributions" if measures_only(stage) else "Kept and dropped", distributions(stage, detail)),
            scores.by_group(stage),
            scores.tails(stage, detail),
            groups.by_column(stage, measures_only(stage)),
            evidence.kept(stage, detail),
        ]
    anchored = element("div", body, {"id": anchor(name), "class": "body"})
    return details(summary, anchored, {"class": "stage", "open": "" if opened else None})


def badge(status: str) -> Markup:
    """Return a stage's or run's status as a word with a mark, never by colour alone."""
    marks = {"done": "✓", "reused": "↺", "failed": "✗", "gated": "✗", "blocked": "○", "interrupted": "‖"}
    return element("span", f"{marks.get(status, '·')} {status}", {"class": f"badge {status if status in marks else 'other'}"})


def _in_short(stage: Stage) -> str:
    counts = counts_of(stage)
    if not ran(stage):
        return str(stage.get("kind"))
    if stage.get("kind") == "artifact":
        return "artifact"
    if stage.get("kind") == "attributes":
        return f"attributes of {plural(counts.rows_out, 'document')}"
    return f"{plural(counts.rows_in, 'document')} in, {count(counts.rows_out)} out"


def conservation(stage: Stage) -> Markup:
    """Return the line that accounts for every document of a stage that ran."""
    counts = counts_of(stage)
    if not ran(stage) or stage.get("kind") == "artifact":
        return Markup()
    return accounting(counts)


def accounting(counts: Counts) -> Markup:
    """Return `N in + A added = O out + D dropped + M merged + E errored` with its verdict."""
    came, went = (counts.rows_in + counts.rows_added, counts.rows_out + counts.rows_dropped + counts.merged + counts.errored)
    terms = [
        f"{count(counts.rows_in)} in + {count(counts.rows_added)} added ",
        "= " if adds_up(counts) else "≠ ",
        f"{count(counts.rows_out)} out + {count(counts.rows_dropped)} dropped",
        f" + {count(counts.merged)} merged + {count(counts.errored)} errored ",
    ]
    wrong = f"✗ {count(abs(came - went))} unaccounted for"
    verdict = element("b", "✓" if adds_up(counts) else wrong, {"class": "yes" if adds_up(counts) else "no"})
    return element("p", [*terms, verdict], {"class": "conservation"})


def _titled(title: str, body: Markup) -> Markup:
    return Markup(element("h4", title) + body) if body else Markup()


def spent(stage: Stage) -> str:
    """Return the time that this run took for a stage; what an earlier run made took none."""
    return "–" if stage.get("status") == "reused" else duration(stage.get("seconds") or 0)


def speed(stage: Stage) -> tuple[str, str]:
    """Return MB/s of text (of files while there is no text yet) per second of the stage and per second of a core.

    The first is unknown when an earlier run made some of the shards, as their time is not in this run's.
    """
    counts = counts_of(stage)
    volume, shards = counts.text_bytes_in or counts.bytes_in, stage.get("shards")
    whole = stage.get("status") != "reused" and stage.get("new_shards", shards) == shards
    return rate(volume if whole else 0, stage.get("seconds") or 0), rate(volume, stage.get("cpu_seconds") or 0)


def facts(stage: Stage) -> Markup:
    """Return what a stage took, and where its result lies."""
    counts = counts_of(stage)
    wall, core = speed(stage)
    known: list[tuple[str, Child]] = []
    if ran(stage) or stage.get("seconds"):
        known = [
            ("Time", spent(stage)),
            ("Core time", duration(stage.get("cpu_seconds") or 0)),
            ("Speed, text" if counts.text_bytes_in else "Speed, files", wall),
            ("Per core", core),
            ("Peak memory", size(stage.get("peak_rss_bytes") or 0)),
            ("Text in", size(counts.text_bytes_in)),
            ("Text out", size(counts.text_bytes_out)),
            ("Files in", size(counts.bytes_in)),
            ("Files out", size(counts.bytes_out)),
            ("Shards", _shards(stage)),
            ("Retries", count(stage.get("retries") or 0)),
        ]
    listed = element("dl", [element("div", [element("dt", name), element("dd", value)]) for name, value in known], {"class": "facts"})
    origin = ", ".join(str(name) for name in stage.get("inputs") or ())
    lines: list[Child] = [["From ", code(origin), ". "] if origin else None]
    if stage.get("dataset"):
        lines.append(["Result in ", code(str(stage["dataset"])), ". "])
    if stage.get("fingerprint"):
        lines.append(["Fingerprint ", code(str(stage["fingerprint"])), "."])
    return Markup((listed if known else "") + element("p", lines, {"class": "quiet paths"}))


def _shards(stage: Stage) -> str:
    shards, new = stage.get("shards") or 0, stage.get("new_shards")
    return count(shards) if new is None or new == shards else f"{count(shards)}, {count(new)} new"


_STEP_COLUMNS = (
    Column("Step"),
    Column("Dropped", numeric=True),
    Column("Edited", numeric=True),
    Column("Bytes removed", numeric=True, minor=True),
    Column("Bytes added", numeric=True, minor=True),
    Column("Time", numeric=True),
    Column("Share of time", numeric=True, minor=True),
    Column("", wide=True),
)


_PHASE_COLUMNS = (Column("Phase"), Column("Time", numeric=True), Column("Share of time", numeric=True, minor=True), Column("", wide=True))


def in_phases(stage: Stage) -> bool:
    """Tell a dataset operator: what was timed are its phases, and no steps."""
    times = stage.get("step_seconds") or {}
    return bool(times) and not set(times) & set(steps_of(stage))


def _phases(stage: Stage, times: Mapping[str, float]) -> Markup:
    """Return where the time of a dataset operator went."""
    whole = sum(times.values())
    rows: list[Row] = [(name, duration(time), share(time, whole), _time_bar(time, whole)) for name, time in times.items()]
    return table(f"Phases of {stage['name']}: time of all tasks", _PHASE_COLUMNS, rows)


def _time_bar(seconds: float, whole: float) -> Markup:
    return charts.bar(round(1000 * seconds), round(1000 * whole), "time")


def steps(stage: Stage) -> Markup:
    """Return where the time of a chain, or of a dataset operator's phases, went."""
    times: Mapping[str, float] = stage.get("step_seconds") or {}
    if in_phases(stage):
        return _phases(stage, times)
    counts, whole = counts_of(stage), sum(times.values())
    rows: list[Row] = []
    for step in [*steps_of(stage), *(step for step in times if step not in steps_of(stage))]:
        dropped = sum((counts.dropped.get(step) or {}).values())
        edited, seconds = counts.edited.get(step) or {}, times.get(step, 0.0)
        changed = [count(edited["rows"]), size(edited["bytes_removed"]), size(edited["bytes_added"])] if edited else ["–"] * 3
        spent = [duration(seconds) if step in times else "–", share(seconds, whole)]
        rows.append((step, count(dropped) if dropped else "–", *changed, *spent, _time_bar(seconds, whole)))
    return table(f"Steps of {stage['name']}: drops, edits and time", _STEP_COLUMNS, rows)


def measures_only(stage: Stage) -> bool:
    """Tell a stage that describes documents and drops none."""
    return stage.get("kind") == "attributes"


def distributions(stage: Stage, detail: Detail) -> Markup:
    """Return the histograms of lengths and scores, kept and dropped."""
    statistics = stage.get("statistics") or {}
    fates = ("measured", "dropped") if measures_only(stage) else ("kept", "dropped")
    plots = [charts.plot("Length", "bytes of text", statistics.get("length") or {}, LENGTH_EDGES, fates)]
    for column, pair in (statistics.get("scores") or {}).items():
        plots.append(charts.plot(str(column), "", pair, SCORE_EDGES, fates))
    drawn = [charts.chart(each, detail.hover) for each in plots if each is not None]
    return Markup(_lengths(stage) + element("div", drawn, {"class": "charts"})) if drawn else Markup()


def _lengths(stage: Stage) -> Markup:
    """Return in a sentence whether a stage chose by length: many selections do so without a word."""
    pair = (stage.get("statistics") or {}).get("length") or {}
    stayed, went = (histogram.median(pair.get(fate) or {}, LENGTH_EDGES) for fate in ("kept", "dropped"))
    if not stayed or not went:
        return Markup()
    ratio = stayed / went
    told = "about as long as" if 0.95 < ratio < 1.05 else f"{number(float(f'{ratio:.2g}'))} times as long as"
    sentence = f"By the median, documents that stayed are {told} those that went: {size(stayed)} of text against {size(went)}."
    return element("p", sentence, {"class": "quiet lengths"})
