"""What stages found out about their own work: warnings at the top of the page, notes with measures and curves in each stage."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from curate.report import charts
from curate.report.curves import curve
from curate.report.funnel import Report, Stage
from curate.report.markup import Child, Column, Markup, Row, element, table
from curate.report.units import number

Note = Mapping[str, Any]
_MAX_ROWS = 200


def warnings(report: Report) -> Markup:
    """Return every note that does not pass, in one box below the headline."""
    found: list[Child] = []
    for stage in report.get("stages") or ():
        for note in stage.get("notes") or ():
            if not note.get("passed"):
                link = element("a", f"{stage['name']}, {note.get('name')}", {"href": f"#{anchor(str(stage['name']))}"})
                found.append(element("p", [element("b", "Warning"), " of ", link, ": ", str(note.get("message"))]))
    return element("div", found, {"class": "warning", "role": "alert"}) if found else Markup()


def anchor(name: str) -> str:
    """Return the page's address of a stage."""
    return f"stage-{name}"


def noted(stage: Stage) -> Markup:
    """Return what a stage found out, each note with its measures and its picture."""
    found = [_note(str(stage["name"]), note) for note in stage.get("notes") or ()]
    return element("div", [element("h4", "What the stage found out"), found], {"class": "notes"}) if found else Markup()


def _note(stage: str, note: Note) -> Markup:
    passed = bool(note.get("passed"))
    mark = element("b", "✓ " if passed else "Warning: ", {"class": "yes" if passed else "no"})
    name = element("span", [" ", str(note.get("name"))], {"class": "quiet"})
    said = element("p", [mark, str(note.get("message")), name])
    drawn = curve(f"{stage}, {note.get('name')}", note["curve"]) if note.get("curve") else None
    shown = measured(f"{stage}, {note.get('name')}", note.get("measures") or {})
    return element("div", [said, element("div", [drawn, shown], {"class": "noted"})], {"class": "note"})


def are_rows(measures: Mapping[str, Any]) -> bool:
    """Tell whether measures are mappings, which make the rows of a table."""
    return bool(measures) and all(isinstance(value, Mapping) for value in measures.values())


def measured(title: str, measures: Mapping[str, Any]) -> Markup:
    """Return measures as a table: a row each, or with columns when each is a mapping."""
    rows: list[Row] = []
    if are_rows(measures):
        names = list(dict.fromkeys(name for value in measures.values() for name in value))
        if len(names) == 1 and (weights := _signed(measures, names[0])):
            return _weights(title, names[0], weights)
        rows = [(str(key), *(measure(value.get(name, "–")) for name in names)) for key, value in list(measures.items())[:_MAX_ROWS]]
        return table(title, [Column(""), *(Column(str(name), numeric=True) for name in names)], rows)
    rows = [(str(key), measure(value)) for key, value in list(measures.items())[:_MAX_ROWS]]
    return table(title, [Column("Measure"), Column("", numeric=True)], rows)


def measure(value: object) -> str:
    """Return a measure as people read it."""
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _signed(measures: Mapping[str, Mapping[str, Any]], name: str) -> dict[str, float]:
    """Return numbers of which some are above zero and some below, such as what words add to a label; else nothing."""
    found = {str(key): value.get(name) for key, value in list(measures.items())[:_MAX_ROWS]}
    numbers = {key: value for key, value in found.items() if isinstance(value, int | float) and not isinstance(value, bool)}
    both = any(value > 0 for value in numbers.values()) and any(value < 0 for value in numbers.values())
    return numbers if both and len(numbers) == len(found) and all(map(math.isfinite, numbers.values())) else {}


def _weights(title: str, name: str, weights: Mapping[str, float]) -> Markup:
    """Return a table of numbers with their bars on both sides of zero, in the order of the note."""
    most = max(abs(value) for value in weights.values())
    rows: list[Row] = [(element("bdi", key), charts.signed_bar(value, most), measure(value)) for key, value in weights.items()]
    return table(title, [Column(""), Column("", wide=True), Column(name, numeric=True)], rows, css="weights")
