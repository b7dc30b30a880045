"""What a person reads to judge a decision: drops by reason with sample documents, quarantined rows, kept samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curate.report import charts
from curate.report.funnel import Stage, by_size, counts_of, steps_of
from curate.report.markup import Child, Column, Markup, Row, code, details, element, table
from curate.report.units import clip, count, number, plural, share

_ID_CHARS = 200
_ERROR_CHARS = 500


@dataclass(frozen=True)
class Detail:
    """How much evidence the page carries: samples per reason, characters per excerpt, reasons per step, hover numbers."""

    samples: int
    excerpt_chars: int
    reasons: int
    hover: bool


DETAILS = (Detail(8, 700, 2000, True), Detail(5, 360, 2000, False), Detail(2, 160, 2000, False), Detail(0, 0, 200, False))
"""From the fullest page to the smallest; a report too big for one level is drawn with the next."""

_COLUMNS = (Column("Reason"), Column("", wide=True), Column("Documents", numeric=True), Column("Share", numeric=True))


def drops(stage: Stage, detail: Detail) -> Markup:
    """Return the drops of a stage by step and reason, each with its share of the documents that entered."""
    counts = counts_of(stage)
    rows: list[Row | Markup] = []
    for step in steps_of(stage):
        if counts.dropped.get(step):
            rows += _step_rows(step, counts.dropped[step], counts.rows_in + counts.rows_added, stage, detail)
    return table(f"Dropped in {stage['name']}, by step and reason", _COLUMNS, rows, css="drops")


def _step_rows(step: str, reasons: Mapping[str, int], entered: int, stage: Stage, detail: Detail) -> list[Row | Markup]:
    whole = sum(reasons.values())
    samples = _samples(stage).get(step) or {}
    rows: list[Row | Markup] = [_group(step, whole, entered)]
    shown = list(by_size(reasons).items())
    for reason, dropped in shown[: detail.reasons]:
        rows.append((reason, charts.bar(dropped, entered, "dropped"), count(dropped), share(dropped, entered)))
        evidence = _evidence(samples.get(reason) or (), detail)
        if evidence:
            rows.append(element("tr", element("td", evidence, {"colspan": len(_COLUMNS)}), {"class": "evidence"}))
    rest = shown[detail.reasons :]
    if rest:
        rows.append((f"{count(len(rest))} further reasons", None, count(sum(n for _, n in rest)), share(sum(n for _, n in rest), entered)))
    return rows


def _group(step: str, whole: int, entered: int) -> Markup:
    cells = [
        element("th", step, {"scope": "rowgroup", "colspan": 2}),
        element("td", count(whole), {"class": "n"}),
        element("td", share(whole, entered), {"class": "n"}),
    ]
    return element("tr", cells, {"class": "group"})


def _samples(stage: Stage) -> Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]:
    return (stage.get("samples") or {}).get("dropped") or {}


def _evidence(samples: Sequence[Mapping[str, Any]], detail: Detail) -> Markup:
    shown = samples[: detail.samples]
    if not shown:
        return Markup()
    return details(plural(len(shown), "sample document"), [document(sample, detail) for sample in shown])


def document(sample: Mapping[str, Any], detail: Detail) -> Markup:
    """Return a sample document: what is known of it, and the beginning of its text."""
    facts: list[Child] = [code(clip(str(sample.get("id")), _ID_CHARS))]
    if sample.get("url"):
        facts.append(element("bdi", clip(str(sample["url"]), _ID_CHARS)))
    if sample.get("value") is not None:
        facts.append(element("span", ["value ", element("b", _value(sample["value"]))]))
    if sample.get("kept_id") is not None:
        facts.append(element("span", ["kept ", code(clip(str(sample["kept_id"]), _ID_CHARS))]))
    if sample.get("similarity") is not None:
        facts.append(element("span", ["similarity ", element("b", _value(sample["similarity"]))]))
    return element("article", [element("p", facts), _excerpt(sample, detail)])


def _excerpt(sample: Mapping[str, Any], detail: Detail) -> Markup:
    """Return the beginning of a document's text; nothing where there was no text to read: in attributes, and before extraction."""
    if "excerpt" not in sample:
        return Markup()
    excerpt = clip(str(sample["excerpt"] or ""), detail.excerpt_chars)
    return element("pre", excerpt, {"dir": "auto", "tabindex": 0}) if excerpt else element("p", "empty text", {"class": "quiet"})


def _value(value: object) -> str:
    return number(value) if isinstance(value, int | float) else clip(str(value), _ID_CHARS)


def kept(stage: Stage, detail: Detail) -> Markup:
    """Return sample documents that stayed, behind a click; of a stage that only measures there is nothing to read."""
    samples = [sample for sample in (stage.get("samples") or {}).get("kept") or () if "excerpt" in sample][: detail.samples]
    if not samples:
        return Markup()
    return details(
        f"{plural(len(samples), 'document')} that stayed", [document(sample, detail) for sample in samples], {"class": "kept-samples"}
    )


def quarantined(stage: Stage, detail: Detail) -> Markup:
    """Return the rows that broke an operator, with their errors."""
    errored = counts_of(stage).errored
    errors = ((stage.get("samples") or {}).get("errors") or ())[: max(detail.samples * 4, 10)]
    if not errored and not errors:
        return Markup()
    title = element("h4", f"{plural(errored, 'row')} quarantined")
    columns = (Column("Document"), Column("Step"), Column("Error", wide=True))
    rows = [
        (
            code(clip(str(error.get("id")), _ID_CHARS)),
            str(error.get("step") or "–"),
            element("pre", clip(str(error.get("error")), _ERROR_CHARS)),
        )
        for error in errors
    ]
    return element("div", [title, table(f"Quarantined rows of {stage['name']}", columns, rows)], {"class": "errors"})
