"""Spans of time as people type them: `90s`, `5m`, `6h`, `2d`."""

from __future__ import annotations

import re

from curate.errors import PipelineError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"(\d+(?:\.\d+)?) ?([smhd]?)")


def seconds_of(text: str) -> float:
    """Return the seconds of a span, which without a unit is in seconds; raise `PipelineError` for what is none."""
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise PipelineError(f"not a span of time: {text[:40]!r}", "such as 90s, 5m, 6h or 2d")
    return float(found[1]) * _UNITS[found[2] or "s"]


def span(seconds: float) -> str:
    """Return seconds in the largest unit of which they are a whole number."""
    unit = next((unit for unit in "dhm" if seconds and seconds % _UNITS[unit] == 0), "s")
    return f"{seconds / _UNITS[unit]:.10g}{unit}"
