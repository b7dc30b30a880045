"""A stage's documents by the columns that a report tells apart: what each value lost, and how its share of the text moved."""

from __future__ import annotations

from collections.abc import Mapping

from curate.report import charts
from curate.report.funnel import Stage
from curate.report.markup import Child, Column, Markup, Row, details, element, table
from curate.report.units import count, share, size

Numbers = Mapping[str, int]

_SHOWN = 12
_LEAST_MOVE = 0.005  # shares that all move by less are the same

_COLUMNS = (
    Column("Value"),
    Column("Documents in", numeric=True),
    Column("Out", numeric=True),
    Column("Dropped", numeric=True),
    Column("", wide=True),
    Column("Text in", numeric=True, minor=True),
    Column("Text out", numeric=True),
)
_MEASURED_COLUMNS = (Column("Value"), Column("Documents", numeric=True), Column("Text", numeric=True), Column("", wide=True))
_SHARE_COLUMNS = (
    Column("Value"),
    Column("Share before", numeric=True),
    Column("After", numeric=True),
    Column("", wide=True),
    Column("After / before", numeric=True),
)


def by_column(stage: Stage, measures_only: bool) -> Markup:
    """Return for each column a table of its values; where a stage chose, also the shares of the values before and after."""
    found = (stage.get("statistics") or {}).get("groups") or {}
    return Markup("".join(_column(str(column), values, stage, measures_only) for column, values in found.items() if values))


def _column(column: str, values: Mapping[str, Numbers], stage: Stage, measures_only: bool) -> Markup:
    ordered = sorted(values.items(), key=lambda item: (-item[1].get("rows_in", 0), -item[1].get("rows_out", 0), item[0]))
    columns, row = (_MEASURED_COLUMNS, _measured_row) if measures_only else (_COLUMNS, _row)
    title = f"{stage['name']} by {column}"
    shown = _cut(title, columns, [row(value, numbers) for value, numbers in ordered])
    moved = Markup() if measures_only else _shares(title, column, values)
    return Markup(element("h4", f"By {column}") + shown + moved)


def _cut(title: str, columns: tuple[Column, ...], rows: list[Row]) -> Markup:
    """Return a table of the first rows, and the others behind a click."""
    rest = rows[_SHOWN:]
    more = details(f"{count(len(rest))} more", table(f"{title}, the rest", columns, rest)) if rest else Markup()
    return Markup(table(title, columns, rows[:_SHOWN]) + more)


def _row(value: str, numbers: Numbers) -> Row:
    came, left = numbers.get("rows_in", 0), numbers.get("rows_out", 0)
    texts = size(numbers.get("text_bytes_in", 0)), size(numbers.get("text_bytes_out", 0))
    if not came:  # a column that only this stage adds: its groups are known on the way out
        return (value or "(empty)", "–", count(left), "–", None, "–", texts[1])
    dropped = max(came - left, 0)
    return (value or "(empty)", count(came), count(left), share(dropped, came), charts.split_bar(min(left, came), dropped), *texts)


def _measured_row(value: str, numbers: Numbers) -> Row:
    """Return a group of documents that were measured: none left, and attributes have no text."""
    came = numbers.get("rows_in", 0)
    return (value or "(empty)", count(came) if came else count(numbers.get("rows_out", 0)), size(numbers.get("text_bytes_in", 0)), None)


def _shares(title: str, column: str, values: Mapping[str, Numbers]) -> Markup:
    """Return each value's share of the text (of the documents, where there is no text) before and after, if any moved."""
    unit = "text_bytes" if any(numbers.get("text_bytes_in") for numbers in values.values()) else "rows"
    came, left = (sum(numbers.get(f"{unit}_{way}", 0) for numbers in values.values()) for way in ("in", "out"))
    if not came or not left:
        return Markup()
    moves = {value: (numbers.get(f"{unit}_in", 0) / came, numbers.get(f"{unit}_out", 0) / left) for value, numbers in values.items()}
    if max(abs(after - before) for before, after in moves.values()) < _LEAST_MOVE:
        return Markup()
    most = max(max(pair) for pair in moves.values())
    ordered = sorted(moves.items(), key=lambda item: (-item[1][1], -item[1][0], item[0]))
    shown = _cut(f"{title}, shares before and after", _SHARE_COLUMNS, [_share_row(value, *pair, most) for value, pair in ordered])
    return Markup(element("h4", [f"Share of the {'text' if unit == 'text_bytes' else 'documents'} by {column}", _KEY]) + shown)


def _key(css: str, name: str) -> Markup:
    return element("span", [element("i", None, {"class": f"key {css}"}), name])


_KEY = element("span", [_key("merged", "before"), _key("kept", "after")], {"class": "legend"})


def _share_row(value: str, before: float, after: float, most: float) -> Row:
    times: Child = f"{after / before:.2f} ×" if before else "–"
    return (value or "(empty)", share(before, 1), share(after, 1), charts.pair_bar(before, after, most), times)
