"""Draws `report.html` from `report.json`: one file that needs no network and no script.

The report is a mapping of plain JSON values:

    {"format": 1, "run_id", "pipeline", "status": "done" | "failed" | "gated" | "interrupted", "curate_version", "command",
     "started_at": ISO 8601, "seconds", "executor", "workspace", "page": path of report.html,
     "error": {"message", "hint", "stage"} | null,
     "stages": [{"name", "kind": "documents" | "attributes" | "artifact",
         "status": "done" | "reused" | "failed" | "blocked" | "interrupted", "fingerprint", "dataset": path,
         "inputs": [names], "seconds", "cpu_seconds", "peak_rss_bytes", "retries", "shards", "new_shards" (made by this run),
         "counts": {"rows_in", "rows_added", "rows_out", "merged", "errored", "dropped": {step: {reason: n}},
             "edited": {step: {"rows", "bytes_removed", "bytes_added"}}, "bytes_in", "bytes_out", "text_bytes_in", "text_bytes_out"},
         "statistics": {"length": {"kept": {bin: n}, "dropped": {bin: n}}, "scores": {column: {"kept": {bin: n}, "dropped": {bin: n}}},
             "scores_by": {column: {score: {value of the column: {bin: n}}}},
             "groups": {column: {value: {"rows_in", "rows_out", "text_bytes_in", "text_bytes_out"}}}},
         "samples": {"kept": [{"id", "url", "excerpt"}],
             "dropped": {step: {reason: [{"id", "url", "value", "kept_id", "similarity", "excerpt"}]}},
             "errors": [{"id", "step", "error"}],
             "tails": {score: {"lowest": [{"id", "url", "value", "excerpt"}], "highest": […]}}},
         "clusters": [cards as `curate.clusters_cards`, the largest first, with words as strings and fewer documents],
         "steps": [names in order], "step_seconds": {step: s},
         "notes": [{"name", "passed", "message", "measures", "curve": as `curate.work.Curve` | null}]}],
     "outputs": [{"name", "stage" (when it is not the name), "path", "format", "rows", "bytes"}],
     "checks": [{"name", "passed", "message", "measures": {}}]}   (and a note of a stage that did not pass is a warning)

Bins are those of `curate.histogram`; lengths are UTF-8 bytes of text. Whatever is missing or null is left out of
the page. Everything that comes from data is escaped (`curate.report.markup`), and the page forbids itself to load
anything (Content-Security-Policy), so that a hostile document stays text.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from curate.report import notes, overview
from curate.report.evidence import DETAILS, Detail
from curate.report.funnel import Report
from curate.report.markup import Markup, element
from curate.report.stage import section

MAX_BYTES = 2_000_000
_OPEN_STAGES = 6  # more stages than these are closed until a click
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def render(report: Report) -> str:
    """Return the page, with as much evidence as fits `MAX_BYTES`."""
    page = ""
    for detail in DETAILS:
        page = _page(report, detail)
        if len(page.encode()) <= MAX_BYTES:
            break
    return page


def _page(report: Report, detail: Detail) -> str:
    stages = report.get("stages") or ()
    parts = [
        overview.masthead(report),
        notes.warnings(report),
        overview.funnel(report),
        overview.outputs(report),
        overview.checks(report),
        overview.glance(report),
        element("section", [element("h2", "Stage by stage"), [section(s, detail, len(stages) <= _OPEN_STAGES) for s in stages]])
        if stages
        else None,
        _footer(report),
    ]
    return f"<!doctype html>\n{element('html', [_head(report), element('body', element('main', parts))], {'lang': 'en'})}\n"


def _head(report: Report) -> Markup:
    metas = [
        {"charset": "utf-8"},
        {"http-equiv": "Content-Security-Policy", "content": _POLICY},
        {"name": "viewport", "content": "width=device-width, initial-scale=1"},
        {"name": "color-scheme", "content": "light dark"},
    ]
    title = element("title", f"{report.get('pipeline')}: run {report.get('run_id')}")
    return element("head", [[element("meta", None, meta) for meta in metas], title, element("style", Markup(_css()))])


@cache
def _css() -> str:
    return Path(__file__).with_name("page.css").read_text(encoding="utf-8")


def _footer(report: Report) -> Markup:
    wrong = overview.unbalanced(report)
    verdict = f"Documents do not add up in: {', '.join(wrong)}." if wrong else "In every finished stage all documents are accounted for."
    version = f"Made by curate {report.get('curate_version')} from report.json, format {report.get('format')}."
    return element("footer", element("p", [verdict, " ", version, " Sizes are decimal: 1 MB is 1,000,000 bytes."]))
