"""What the pages of drops and of quarantined rows say: a table of a page of rows, each leading to its document's story."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from curate.manifest import Counts
from curate.report.funnel import by_size
from curate.report.markup import Child, Column, Markup, Row, element, table
from curate.report.units import number
from curate.service.pages.hostile import visible
from curate.service.pages.stage_page import limit_below
from curate.service.pages.story_page import story_address
from curate.service.views.limits import Limits

_DROPS = (
    Column("Document"),
    Column("Step", minor=True),
    Column("Reason"),
    Column("Measured", numeric=True),
    Column("Kept in its place"),
)
_ERRORS = (Column("Document"), Column("Step"), Column("Error", wide=True))

Rows = Sequence[Mapping[str, Any]]


def drop_rows(stage: str, rows: Rows, limits: Limits, run_page: str) -> Markup:
    """Return a page of drops; the last column is there where something took a document's place."""
    columns = _DROPS if any(row.get("kept_id") is not None for row in rows) else _DROPS[:-1]
    told = [_drop(stage, row, limits, run_page)[: len(columns)] for row in rows]
    return table(f"Documents dropped in {stage}", columns, told, css="ledger")


def _drop(stage: str, row: Mapping[str, Any], limits: Limits, run_page: str) -> Row:
    step, reason = str(row["step"]), str(row["reason"])
    value = "–" if row.get("value") is None else number(float(row["value"]))
    measured = [value, limit_below(limits.of(stage, step, reason))]
    return (_link(row["id"], run_page), visible(step), visible(reason), measured, _kept(row, run_page))


def _kept(row: Mapping[str, Any], run_page: str) -> Child:
    if row.get("kept_id") is None:
        return None
    alike = f", similarity {number(float(row['similarity']))}" if row.get("similarity") is not None else None
    return [_link(row["kept_id"], run_page), alike]


def error_rows(stage: str, rows: Rows, run_page: str) -> Markup:
    """Return a page of quarantined rows."""
    told: list[Row] = [
        (_link(row["id"], run_page), visible(str(row["step"])), element("pre", visible(str(row["error"])[:4000]))) for row in rows
    ]
    return table(f"Rows quarantined in {stage}", _ERRORS, told, css="ledger")


def _link(doc_id: object, run_page: str) -> Markup:
    return element("a", _code(str(doc_id)), {"href": story_address(run_page, str(doc_id))})


def _code(text: str) -> Markup:
    """Return an id in the fixed-width face, with what cannot be seen named."""
    return element("code", element("bdi", visible(text[:500])))


def choices(counts: Counts, step: str, reason: str) -> list[dict[str, Any]]:
    """Return what the drops of a stage can be narrowed to: each step, and each reason of it."""
    found: list[dict[str, Any]] = []
    for name, reasons in counts.dropped.items():
        if len(reasons) > 1:
            found.append(_offer(name, "", sum(reasons.values()), step == name and not reason))
        for each, rows in by_size(reasons).items():
            found.append(_offer(name, each, rows, (step, reason) == (name, each)))
    return found


def _offer(step: str, reason: str, rows: int, taken: bool) -> dict[str, Any]:
    label = f"{step}: {reason}" if reason else f"{step}, all"
    return {"value": _choice(step, reason), "label": label, "rows": rows, "chosen": taken}


def _choice(step: str, reason: str) -> str:
    return urlencode({"step": step, "reason": reason})


def chosen(choice: str) -> tuple[str, str]:
    """Return the step and the reason of a choice, as `choices` names them."""
    found = dict(parse_qsl(choice, max_num_fields=2))
    return found.get("step", ""), found.get("reason", "")
