"""What a stage's scores look like: their distribution by source or language, and the documents at both ends behind a click."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate import histogram
from curate.histogram import SCORE_EDGES
from curate.report import charts
from curate.report.evidence import Detail, document
from curate.report.funnel import Stage
from curate.report.markup import Child, Column, Markup, Row, details, element, table
from curate.report.units import count, number

Histogram = Mapping[str, int]

_SHOWN_GROUPS = 12
_SHOWN_SCORES = 20
_COLUMNS = (
    Column("Value"),
    Column("Documents", numeric=True),
    Column("", wide=True),
    Column("10%", numeric=True, minor=True),
    Column("Median", numeric=True),
    Column("90%", numeric=True, minor=True),
)
_SIDES = ("lowest", "highest")


def by_group(stage: Stage) -> Markup:
    """Return for each column and score a table of the column's values, each with the score's distribution, behind a click."""
    found: list[Child] = []
    for column, scores in ((stage.get("statistics") or {}).get("scores_by") or {}).items():
        told = [(str(score), groups) for score, groups in scores.items() if len(groups) > 1][:_SHOWN_SCORES]
        if told:
            found.append(element("h4", f"Scores by {column}"))
            found += [_table(f"{stage['name']}, {score} by {column}", score, groups) for score, groups in told]
    return element("div", found, {"class": "scores"}) if found else Markup()


def _table(title: str, score: str, groups: Mapping[str, Histogram]) -> Markup:
    ordered = sorted(groups.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    between = charts.span(list(groups.values()), SCORE_EDGES)
    rows: list[Row] = [_row(value, found, between) for value, found in ordered[:_SHOWN_GROUPS]]
    rest = ordered[_SHOWN_GROUPS:]
    more = element("p", f"{count(len(rest))} further values, {count(sum(sum(g.values()) for _, g in rest))} documents", {"class": "quiet"})
    return details(_summary(score, ordered[:_SHOWN_GROUPS]), [table(title, _COLUMNS, rows), more if rest else None])


def _row(value: str, found: Histogram, between: list[float]) -> Row:
    quantiles = [_said(quantile(found, q)) for q in (0.1, 0.5, 0.9)]
    return (value or "(empty)", count(sum(found.values())), charts.strip(histogram.counts(found, between), between), *quantiles)


def _summary(score: str, ordered: list[tuple[str, Histogram]]) -> list[Child]:
    """Return the score's name and between which values its medians lie."""
    medians = [(middle, value) for value, found in ordered if (middle := quantile(found, 0.5)) is not None]
    if not medians:
        return [element("b", score)]
    (low, lowest), (high, highest) = min(medians), max(medians)
    return [element("b", score), f": medians from {number(low)} ({lowest or '(empty)'}) to {number(high)} ({highest or '(empty)'})"]


def quantile(found: Histogram, share: float) -> float | None:
    """Return a quantile, interpolated within its bin; None for an empty histogram."""
    between = histogram.edges([found], SCORE_EDGES)
    numbers = histogram.counts(found, between)
    left = share * sum(numbers)
    for lower, upper, rows in zip(between, between[1:], numbers, strict=False):
        if rows and left <= rows:
            return lower + (upper - lower) * left / rows
        left -= rows
    return None


def _said(value: float | None) -> str:
    return "–" if value is None else number(value)


def tails(stage: Stage, detail: Detail) -> Markup:
    """Return the documents with the lowest and the highest scores, each end behind a click."""
    found: list[Child] = []
    for score, sides in ((stage.get("samples") or {}).get("tails") or {}).items():
        for side in _SIDES:
            shown = (sides.get(side) or ())[: detail.samples]
            if shown:
                found.append(details(_ends(str(score), side, shown), [document(sample, detail) for sample in shown]))
    return element("div", [element("h4", "Documents at both ends"), found], {"class": "scores"}) if found else Markup()


def _ends(score: str, side: str, shown: Any) -> list[Child]:
    values = [float(sample["value"]) for sample in shown]
    span = number(values[0]) if values[0] == values[-1] else f"{number(values[0])} to {number(values[-1])}"
    return [element("b", score), f", {side}: {span}"]
