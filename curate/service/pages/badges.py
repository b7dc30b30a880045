"""States of runs, stages and ticks as a word with a mark, never by colour alone."""

from __future__ import annotations

from curate.report.markup import Markup, element

_MARKS = {
    "succeeded": ("✓", "done"),
    "done": ("✓", "done"),
    "passed": ("✓", "done"),
    "reused": ("↺", "reused"),
    "queued": ("○", "waiting"),
    "waiting": ("○", "waiting"),
    "blocked": ("○", "waiting"),
    "starting": ("▸", "running"),
    "running": ("▸", "running"),
    "failed": ("✗", "failed"),
    "gated": ("✗", "failed"),
    "lost": ("✗", "failed"),
    "cancelled": ("‖", "interrupted"),
    "interrupted": ("‖", "interrupted"),
    "paused": ("‖", "interrupted"),
    "skipped": ("↷", "waiting"),
    "missed": ("!", "interrupted"),
}


def state(status: str) -> Markup:
    """Return a state with its mark; one that is not known has a dot."""
    mark, css = _MARKS.get(status, ("·", "other"))
    return element("span", f"{mark} {status}", {"class": f"badge {css}", "data-state": status})
