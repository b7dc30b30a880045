"""Fills the templates, which escape whatever they are given, and answers with a policy that lets nothing else load or run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from curate import report
from curate.report import units
from curate.service.pages.badges import state
from curate.service.pages.hostile import visible

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
}


def page(template: str, context: Mapping[str, Any], status: int = 200) -> HTMLResponse:
    """Return a filled template as an answer."""
    return HTMLResponse(fill(template, context), status, HEADERS)


def fill(template: str, context: Mapping[str, Any]) -> str:
    """Return a filled template."""
    return templates().get_template(template).render(context)


@cache
def templates() -> Environment:
    """The templates, with the words and numbers of the report."""
    found = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    filters = {name: getattr(units, name) for name in ("count", "size", "number", "duration", "clip", "printable")}
    found.filters |= filters | {"visible": visible, "moment": moment, "ago": ago, "day": day}
    found.globals |= {"state": state, "plural": units.plural, "share": units.share, "assets": assets()}
    return found


@cache
def style() -> bytes:
    """The one style sheet: that of the report, and what the service's pages have beyond it."""
    return b"\n".join(path.read_bytes() for path in (Path(report.__file__).with_name("page.css"), STATIC / "service.css"))


@cache
def assets() -> str:
    """A word that changes when a style or a script does, so that browsers may keep them for ever."""
    scripts = sorted(STATIC.glob("*.js"))
    return hashlib.sha256(b"\0".join([style(), *(path.read_bytes() for path in scripts)])).hexdigest()[:12]


def moment(when: datetime | str | None) -> str:
    """Return a moment as people read it, in UTC."""
    if when is None or when == "":
        return "–"
    read = datetime.fromisoformat(when) if isinstance(when, str) else when
    return read.astimezone(UTC).strftime("%-d %B %Y, %H:%M:%S UTC")


def day(when: datetime | str | None) -> str:
    """Return a moment in short: `29 Nov, 02:45`."""
    if when is None or when == "":
        return "–"
    read = datetime.fromisoformat(when) if isinstance(when, str) else when
    return read.astimezone(UTC).strftime("%-d %b, %H:%M" if read.year == datetime.now(UTC).year else "%-d %b %Y, %H:%M")


def ago(when: datetime | str | None) -> str:
    """Return how long a moment lies back or ahead: `3 min 05 s ago`, `in 2 h 03 min`."""
    if when is None or when == "":
        return "–"
    read = datetime.fromisoformat(when) if isinstance(when, str) else when
    seconds = (datetime.now(UTC) - read.astimezone(UTC)).total_seconds()
    return f"{units.duration(round(seconds))} ago" if seconds >= 0 else f"in {units.duration(round(-seconds))}"
