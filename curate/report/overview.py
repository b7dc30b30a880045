"""The top of the page: the headline, the funnel, all stages at a glance, what came out and what the checks said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from curate.report import charts
from curate.report.funnel import Change, Line, Report, Stage, adds_up, counts_of, lines, ran
from curate.report.markup import Child, Column, Markup, Row, code, details, element, table
from curate.report.notes import anchor, are_rows, measure, measured
from curate.report.stage import accounting, badge, speed, spent
from curate.report.units import count, duration, plural, share, size

_SHOWN_LINES = 3


def masthead(report: Report) -> Markup:
    """Return the headline, which says in a sentence how the run ended, and the facts below it."""
    facts: list[tuple[str, Child]] = [
        ("Status", badge(str(report.get("status")))),
        ("Started", _when(report.get("started_at"))),
        ("Duration", duration(report.get("seconds") or 0)),
        ("Executor", str(report.get("executor") or "–")),
        ("curate", str(report.get("curate_version") or "–")),
        ("Run", code(str(report.get("run_id")))),
        ("Workspace", code(str(report.get("workspace") or "–"))),
        ("Command", code(str(report.get("command") or "–"))),
    ]
    listed = [element("div", [element("dt", name), element("dd", value)]) for name, value in facts]
    head = [
        element("p", "Run report", {"class": "kicker"}),
        element("h1", headline(report)),
        element("p", standfirst(report), {"class": "standfirst"}),
    ]
    return element("header", [*head, element("dl", listed, {"class": "facts"}), _error(report.get("error"))])


def _when(started: object) -> str:
    try:
        return datetime.fromisoformat(str(started)).strftime("%-d %B %Y, %H:%M %Z").strip()
    except ValueError:
        return str(started or "–")


def headline(report: Report) -> str:
    """Return the outcome as a headline."""
    name, status = str(report.get("pipeline")), report.get("status")
    if status == "failed":
        stage = (report.get("error") or {}).get("stage")
        return f"{name} failed in stage {stage}" if stage else f"{name} failed"
    if status == "gated":
        failed = [str(check.get("name")) for check in report.get("checks") or () if not check.get("passed")]
        return f"{name} was held back by {failed[0] if len(failed) == 1 else plural(len(failed), 'check')}"
    if status == "interrupted":
        return f"{name} was interrupted"
    found = lines(report)
    if not found:
        return f"{name} finished"
    counts = found[0].total()
    return f"{name} kept {count(counts.rows_out)} of {plural(counts.rows_in, 'document')}"


def standfirst(report: Report) -> str:
    """Return the run in a sentence of numbers: text in and out, drops, rows quarantined, stages."""
    stages = report.get("stages") or ()
    complete = sum(ran(stage) for stage in stages)
    parts = [f"{count(complete)} of {plural(len(stages), 'stage')} complete"]
    found = [line for line in lines(report)[:1] if line.complete]
    if found:
        counts = found[0].total()
        parts.append(
            f"{plural(counts.rows_dropped, 'document')} dropped ({share(counts.rows_dropped, counts.rows_in + counts.rows_added)})"
        )
        parts.append(f"{_volume(counts, True)} in, {_volume(counts, False)} out")
    errored = sum(counts_of(stage).errored for stage in stages)
    if errored:
        parts.append(f"{plural(errored, 'row')} quarantined")
    return " · ".join(parts)


def _volume(counts: Any, entering: bool) -> str:
    text, files = (counts.text_bytes_in, counts.bytes_in) if entering else (counts.text_bytes_out, counts.bytes_out)
    return f"{size(text)} of text" if text else f"{size(files)} of files"


def _error(error: Mapping[str, Any] | None) -> Markup:
    if not error:
        return Markup()
    hint = element("p", ["hint: ", str(error["hint"])], {"class": "hint"}) if error.get("hint") else None
    return element("div", [element("pre", str(error.get("message"))), hint], {"class": "error", "role": "alert"})


_FUNNEL_COLUMNS = (
    Column("Step"),
    Column("", wide=True),
    Column("Change", numeric=True),
    Column("Share, size", numeric=True, minor=True),
    Column("Documents left", numeric=True),
)


def funnel(report: Report) -> Markup:
    """Return the funnel of every line of documents, picture and table in one."""
    found = lines(report)
    drawn = [_line(line) for line in found]
    if len(found) > _SHOWN_LINES:
        more = details(f"{count(len(found) - _SHOWN_LINES)} more lines of documents", drawn[_SHOWN_LINES:])
        drawn = [*drawn[:_SHOWN_LINES], more]
    seen = {change.kind for line in found for _, moved in line.changes() for change in moved}
    key = [_key(kind) for kind in ("kept", "dropped", "added", "merged", "errored") if kind == "kept" or kind in seen]
    intro = element("p", ["Where the documents went. ", element("span", key, {"class": "legend"})], {"class": "intro"})
    return element("section", [element("h2", "The funnel"), intro, drawn]) if drawn else Markup()


def _key(kind: str) -> Markup:
    return element("span", [element("i", None, {"class": f"key {kind}"}), "quarantined" if kind == "errored" else kind])


def _line(line: Line) -> Markup:
    counts = line.total()
    changes = list(line.changes())
    most = max([counts.rows_in, *(max(change.before, change.left) for _, moved in changes for change in moved)])
    rows: list[Row | Markup] = []
    for stage, moved in changes:
        rows.append(_stage_row(stage, most))
        rows += [_change_row(change, most, counts.rows_in) for change in moved]
    if line.complete:
        rows.append(_out_row(line, most))
    verdict = (
        accounting(counts) if line.complete else element("p", "Not every stage of this line ran to its end.", {"class": "conservation"})
    )
    return Markup(table(f"From {line.origin} to {line.end['name']}", _FUNNEL_COLUMNS, rows, css="funnel") + verdict)


def _stage_row(stage: Stage, most: int) -> Markup:
    counts = counts_of(stage)
    link = element("a", str(stage["name"]), {"href": f"#{anchor(str(stage['name']))}"})
    note = None if ran(stage) else [" ", badge(str(stage.get("status")))]
    volume = element("span", _volume(counts, True), {"class": "quiet"}) if counts.rows_in else None
    picture = charts.band(counts.rows_in, counts.rows_in, most, "kept")
    return _cells([[link, note], picture, None, volume, count(counts.rows_in) if ran(stage) or counts.rows_in else "–"], "group")


def _cells(cells: list[Child], css: str) -> Markup:
    made = [element("th", cells[0], {"scope": "row"})]
    made += [element("td", cell, {"class": column.css}) for column, cell in zip(_FUNNEL_COLUMNS[1:], cells[1:], strict=True)]
    return element("tr", made, {"class": css})


def _change_row(change: Change, most: int, entered: int) -> Row:
    reasons = f" {plural(len(change.reasons), 'reason')}" if len(change.reasons) > 1 else "".join(f" {reason}" for reason in change.reasons)
    label = [change.step, element("span", reasons, {"class": "quiet"})] if reasons.strip() != change.step else [change.step]
    sign = "+" if change.kind == "added" else "−"
    picture = charts.band(change.before, change.left, most, change.kind)
    return (label, picture, f"{sign}{count(change.rows)}", share(change.rows, entered), count(change.left))


def _out_row(line: Line, most: int) -> Markup:
    last = counts_of(line.end)
    entered = line.total().rows_in
    volume = element("span", _volume(last, False), {"class": "quiet"}) if last.rows_out else None
    picture = charts.band(last.rows_out, last.rows_out, most, "kept")
    return _cells(["out", picture, share(last.rows_out, entered), volume, count(last.rows_out)], "group last")


_STAGE_COLUMNS = (
    Column("Stage"),
    Column("Kind", minor=True),
    Column("Status"),
    Column("In", numeric=True),
    Column("Dropped", numeric=True),
    Column("Quarantined", numeric=True, minor=True),
    Column("Out", numeric=True),
    Column("Time", numeric=True),
    Column("Speed", numeric=True),
    Column("Peak memory", numeric=True),
    Column("Retries", numeric=True, minor=True),
)


def glance(report: Report) -> Markup:
    """Return all stages in one table."""
    rows = [_glance_row(stage) for stage in report.get("stages") or ()]
    shown = table("All stages", _STAGE_COLUMNS, rows)
    return element("section", [element("h2", "Stages at a glance"), shown]) if rows else Markup()


def _glance_row(stage: Stage) -> Row:
    counts, name = counts_of(stage), str(stage["name"])
    link = element("a", name, {"href": f"#{anchor(name)}"})
    numbers = [count(n) for n in (counts.rows_in, counts.rows_dropped, counts.errored, counts.rows_out)]
    measured = [spent(stage), speed(stage)[0], size(stage.get("peak_rss_bytes") or 0), count(stage.get("retries") or 0)]
    cells = [*(numbers if stage.get("counts") else ["–"] * 4), *(measured if ran(stage) or stage.get("seconds") else ["–"] * 4)]
    return (link, str(stage.get("kind")), badge(str(stage.get("status"))), *cells)


def outputs(report: Report) -> Markup:
    """Return the published corpora with their paths."""
    columns = (
        Column("Output"),
        Column("Path", wide=True),
        Column("Format"),
        Column("Documents", numeric=True),
        Column("Size", numeric=True),
    )
    rows = [
        (
            str(each.get("name")),
            code(str(each.get("path"))),
            str(each.get("format")),
            count(each.get("rows") or 0),
            size(each.get("bytes") or 0),
        )
        for each in report.get("outputs") or ()
    ]
    return element("section", [element("h2", "What came out"), table("Outputs", columns, rows)]) if rows else Markup()


def checks(report: Report) -> Markup:
    """Return the checks with their verdicts and measures."""
    rows: list[Row] = [_check_row(check) for check in report.get("checks") or ()]
    columns: Sequence[Column] = (Column("Check"), Column("Verdict"), Column("Finding", wide=True), Column("Measures"))
    if not any(row[-1] for row in rows):  # measures that are rows have tables of their own
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    details = [_check_details(check) for check in report.get("checks") or () if are_rows(check.get("measures") or {})]
    return element("section", [element("h2", "Checks"), table("Checks", columns, rows), *details]) if rows else Markup()


def _check_details(check: Mapping[str, Any]) -> Markup:
    """Return the table of a check whose measures are rows, which would not fit into one of its own."""
    name = str(check.get("name"))
    return element("div", [element("h4", name), measured(f"Check {name}", check["measures"])])


def _check_row(check: Mapping[str, Any]) -> Row:
    passed = bool(check.get("passed"))
    verdict = element("b", "✓ passed" if passed else "✗ failed", {"class": "yes" if passed else "no"})
    measures = check.get("measures") or {}
    single = {} if are_rows(measures) else measures
    told = [element("div", [str(name), " ", element("b", measure(value))]) for name, value in single.items()]
    return (str(check.get("name")), verdict, str(check.get("message") or ""), told)


def unbalanced(report: Report) -> list[str]:
    """Return the names of finished stages whose documents do not add up."""
    stages = [stage for stage in report.get("stages") or () if ran(stage) and stage.get("kind") != "artifact"]
    return [str(stage["name"]) for stage in stages if not adds_up(counts_of(stage))]
