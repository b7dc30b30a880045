"""What the page of a dataset says: why documents went, distributions, columns, and where its rows can be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from curate.report import charts, clusters, evidence, groups, notes, scores
from curate.report import stage as parts
from curate.report.evidence import DETAILS
from curate.report.funnel import Stage, by_size, counts_of, steps_of
from curate.report.markup import Child, Column, Markup, Row, code, element, table
from curate.report.units import count, number, share
from curate.service.pages.hostile import visible
from curate.service.views.limits import Limit, Limits

_DETAIL = DETAILS[0]
_DROP_COLUMNS = (
    Column("Reason"),
    Column("", wide=True),
    Column("Documents", numeric=True),
    Column("Share", numeric=True),
)


def stage_part(stage: Stage, columns: Mapping[str, str], limits: Limits, base: str) -> dict[str, Any]:
    """Return what the template `stage.html` shows; `base` is the address of the page."""
    return {
        "stage": stage["name"],
        "counts": counts_of(stage),
        "conservation": parts.conservation(stage),
        "facts": parts.facts(stage),
        "notes": notes.noted(stage),
        "clusters": clusters.clusters(stage, _DETAIL),
        "drops": drop_table(stage, limits, base),
        "quarantined": evidence.quarantined(stage, _DETAIL),
        "steps_title": "Phases" if parts.in_phases(stage) else "Steps",
        "steps": parts.steps(stage),
        "distributions_title": "Distributions" if parts.measures_only(stage) else "Kept and dropped",
        "distributions": parts.distributions(stage, _DETAIL),
        "scores": Markup(scores.by_group(stage) + scores.tails(stage, _DETAIL)),
        "groups": groups.by_column(stage, parts.measures_only(stage)),
        "columns": table("Columns", (Column("Column"), Column("Type", wide=True)), [(name, code(kind)) for name, kind in columns.items()]),
    }


def drop_table(stage: Stage, limits: Limits, base: str) -> Markup:
    """Return the drops by step and reason, each with the limit that was broken and a link to its documents."""
    counts = counts_of(stage)
    entered = counts.rows_in + counts.rows_added
    rows: list[Row | Markup] = []
    for step in steps_of(stage):
        reasons = counts.dropped.get(step) or {}
        if reasons:
            rows.append(_step_row(step, sum(reasons.values()), entered, base))
        for reason, dropped in by_size(reasons).items():
            address = f"{base}/drops?{urlencode({'step': step, 'reason': reason})}"
            picture = charts.bar(dropped, entered, "dropped")
            told = [element("a", reason, {"href": address}), limit_below(limits.of(str(stage["name"]), step, reason))]
            rows.append((told, picture, count(dropped), share(dropped, entered)))
    return table(f"Dropped in {stage['name']}, by step and reason", _DROP_COLUMNS, rows, css="drops")


def _step_row(step: str, dropped: int, entered: int, base: str) -> Markup:
    link = element("a", step, {"href": f"{base}/drops?{urlencode({'step': step})}"})
    cells = [
        element("th", link, {"scope": "rowgroup", "colspan": 2}),
        element("td", count(dropped), {"class": "n"}),
        element("td", share(dropped, entered), {"class": "n"}),
    ]
    return element("tr", cells, {"class": "group"})


def limit_in_words(limit: Limit | None) -> Child:
    """Return a limit as it stands in the pipeline; nothing where a reason has none."""
    if limit is None or limit.value is None:
        return None
    return [code(limit.parameter), " is ", element("b", told(limit.value))]


def limit_below(limit: Limit | None) -> Child:
    """Return a limit for the line below what it belongs to."""
    words = limit_in_words(limit)
    return element("span", words, {"class": "below quiet"}) if words else None


def told(value: object) -> Child:
    """Return a value of a row or a parameter as people read it, whatever it holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return visible(str(value)[:500])
    return number(value)


def flat(row: Mapping[str, Any], leave_out: frozenset[str]) -> list[tuple[str, Child]]:
    """Return the columns of a row that say something, those of structs by their path."""
    pairs: list[tuple[str, Child]] = []
    for name, value in row.items():
        if name in leave_out or value is None or value == "":
            continue
        if isinstance(value, Mapping):
            pairs += [(f"{name}.{key}", told(inner)) for key, inner in value.items() if inner is not None]
        else:
            pairs.append((name, told(value)))
    return pairs
