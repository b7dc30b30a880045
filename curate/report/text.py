"""The run's outcome as plain text: the funnel with its reasons, where the corpus is, and whether everything adds up."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from curate.manifest import Counts
from curate.report.funnel import Change, Line, Report, Stage, adds_up, counts_of, lines, ran
from curate.report.units import clip, count, duration, plural, printable, share, size

WIDTH = 100
_SHOWN_REASONS = 8
_SHOWN_LINES = 3

Cells = tuple[str, str, str, str]


def summary(report: Report) -> str:
    """Return the whole ending of a run, at most `WIDTH` columns wide except for paths, which stay whole."""
    return "\n".join([_title(report), *_paragraph(funnel(report)), *_paragraph(_stages(report)), *_paragraph(_ending(report))]) + "\n"


def funnel(report: Report) -> list[str]:
    """Return the funnel as aligned lines: documents and bytes in, drops by step and reason, documents and bytes out."""
    found = lines(report)
    cells = [cell for line in found[:_SHOWN_LINES] for cell in _line(line)]
    printed = _aligned([("", "documents", "share", "text"), *cells]) if cells else []
    if len(found) > _SHOWN_LINES:
        printed.append(f"… {plural(len(found) - _SHOWN_LINES, 'more line')} of documents in report.html")
    return printed


def _title(report: Report) -> str:
    complete = sum(ran(stage) for stage in report.get("stages") or ())
    stages = f"{complete} of {plural(len(report.get('stages') or ()), 'stage')}"
    parts = (
        str(report.get("pipeline")),
        str(report.get("status")),
        duration(report.get("seconds") or 0),
        stages,
        str(report.get("run_id")),
    )
    return clip(printable("  ".join(parts)), WIDTH)


def _paragraph(printed: Sequence[str]) -> list[str]:
    return ["", *printed] if printed else []


def _line(line: Line) -> Iterator[Cells]:
    """Yield label, documents, share of the documents that entered, and text bytes."""
    whole = line.total()
    yield (f"in: {line.origin}", count(whole.rows_in), "", _volume(whole.text_bytes_in, whole.bytes_in))
    for index, (stage, moved) in enumerate(line.changes()):
        yield _stage(stage, index == 0)
        for change in moved:
            yield from _change(change, whole.rows_in)
    if not line.complete:
        return
    last = counts_of(line.end)
    yield (
        f"out: {line.end['name']}",
        count(last.rows_out),
        share(last.rows_out, whole.rows_in),
        _volume(last.text_bytes_out, last.bytes_out),
    )


def _stage(stage: Stage, first: bool) -> Cells:
    """Return a stage's heading; the first one's numbers stand in the line above it."""
    counts = counts_of(stage)
    label = str(stage["name"]) if ran(stage) else f"{stage['name']} ({stage.get('status')})"
    if first or not (ran(stage) or counts.rows_in):
        return (label, "", "", "")
    return (label, count(counts.rows_in), "", size(counts.text_bytes_in) if counts.text_bytes_in else "")


def _change(change: Change, entered: int) -> Iterator[Cells]:
    sign = "+" if change.kind == "added" else "-"
    if not change.reasons:
        yield (f"  {change.step}", f"{sign}{count(change.rows)}", share(change.rows, entered), "")
    shown = list(change.reasons.items())
    for reason, rows in shown[:_SHOWN_REASONS]:
        label = change.step if change.step == reason else f"{change.step}: {reason}"
        yield (f"  {label}", f"-{count(rows)}", share(rows, entered), "")
    rest = sum(rows for _, rows in shown[_SHOWN_REASONS:])
    if rest:
        more = len(shown) - _SHOWN_REASONS
        label = f"  {change.step}: {count(more)} more reason{'s' if more > 1 else ''}"
        yield (label, f"-{count(rest)}", share(rest, entered), "")


def _volume(text: int, files: int) -> str:
    return size(text) if text else f"{size(files)} files" if files else ""


def _aligned(rows: Sequence[Cells]) -> list[str]:
    """Set the first column left, the others right; a label that is too long is cut."""
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    first = min(widths[0], WIDTH - sum(widths[1:]) - 6)
    return [
        f"{clip(printable(label), first):<{first}}  {rows_:>{widths[1]}}  {part:>{widths[2]}}  {text:>{widths[3]}}".rstrip()
        for label, rows_, part, text in rows
    ]


def _stages(report: Report) -> list[str]:
    """Return what a person must know beside the funnel: conservation, stages that are not done, and what stages noted."""
    found = [line for line in lines(report) if line.complete]
    printed = [_accounting(line.total()) for line in found[:_SHOWN_LINES]]
    for stage in report.get("stages") or ():
        if not ran(stage):
            printed.append(clip(printable(f"stage {stage['name']}: {stage.get('status')}"), WIDTH))
        for note in stage.get("notes") or ():
            printed += _note(str(stage["name"]), note)
    return printed


def _note(stage: str, note: Mapping[str, Any]) -> list[str]:
    """Return what a stage noted, in as many lines as that takes."""
    told = printable(f"{'' if note.get('passed') else 'warning: '}{stage}: {note.get('message')}")
    return textwrap.wrap(told, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _accounting(counts: Counts) -> str:
    came = f"{count(counts.rows_in)} in + {count(counts.rows_added)} added"
    kept = f"{count(counts.rows_out)} out + {count(counts.rows_dropped)} dropped"
    went = f"{kept} + {count(counts.merged)} merged + {count(counts.errored)} errored"
    return f"{came} = {went}  ok" if adds_up(counts) else f"{came} != {went}  NOT ACCOUNTED FOR"


def _ending(report: Report) -> list[str]:
    printed = [_check(check) for check in report.get("checks") or ()]
    for output in report.get("outputs") or ():
        facts = f"{plural(output.get('rows') or 0, 'document')}, {size(output.get('bytes') or 0)}, {output.get('format')}"
        printed.append(printable(f"output {output.get('name')}: {output.get('path')}  ({facts})"))
    if report.get("page"):
        printed.append(printable(f"report {report['page']}"))
    error = report.get("error")
    if error:
        printed += [f"error: {printable(str(error.get('message')), keep=chr(10))}"]
        printed += [f"hint: {printable(str(error['hint']))}"] if error.get("hint") else []
    return printed


def _check(check: Mapping[str, Any]) -> str:
    verdict = "passed" if check.get("passed") else "FAILED"
    told = printable(f"check {check.get('name')}: {verdict}: {check.get('message') or ''}").rstrip(": ")
    return "\n".join(textwrap.wrap(told, WIDTH, subsequent_indent="  ", break_on_hyphens=False))
