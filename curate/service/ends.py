"""Says how an attempt at a run ended: by the report that it wrote, else by its exit code, else by its being gone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import orjson

from curate.errors import DatasetError
from curate.report.build import summary
from curate.service.launchers.base import Sight
from curate.service.state import tables
from curate.storage import join, open_storage

DEADLINE: Final = "its deadline"  # who cancelled a run that took too long
_KILLED = {
    "message": "the run was killed, its machine went down, or the disk of the service's folder is full",
    "hint": "run it again: it goes on where it stopped",
}
_STATUS = {"done": "succeeded", "interrupted": "lost"}


@dataclass(frozen=True)
class End:
    """The status that an attempt leaves, with what `curate run` would print: a summary, a message and a hint."""

    status: str
    exit_code: int | None = None
    summary: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


LATE: Final = End("failed", error={"message": "the run was not done by its deadline", "hint": "give it more time, or more workers"})


def end_of(run: tables.Run, sight: Sight, log: str) -> End:
    """Return how an attempt ended that goes on no longer; `log` is what it printed last."""
    report = read_report(run)
    told = {"summary": summary(report), "error": report["error"]} if report is not None else {}
    if run.cancelled_by is not None and (report is None or report["status"] == "interrupted"):
        return LATE if run.cancelled_by == DEADLINE else End("cancelled", sight.exit_code, **told)
    if report is not None:
        return End(_STATUS.get(report["status"], report["status"]), sight.exit_code, **told)
    if sight.state == "ended":
        return End("failed", sight.exit_code, error=_printed(run, sight, log))
    return End("lost", error={**_KILLED, "said": sight.said})


def read_report(run: tables.Run) -> dict[str, Any] | None:
    """Return the report of a run's last attempt, None where it wrote none."""
    try:
        return dict(orjson.loads(open_storage(run.workspace).read(join("runs", run.attempt_id, "report.json"))))
    except DatasetError:
        return None


def _printed(run: tables.Run, sight: Sight, log: str) -> dict[str, Any]:
    """Return the message and hint that a run printed before it ended without a report.

    It speaks of lines of the file that was written for the attempt, which nobody has seen: the pipeline's name stands in their place.
    """
    _, found, told = log.rpartition("error: ")
    if not found:
        return {"message": f"`curate run` ended with code {sight.exit_code} and no report", "hint": "its log says why"}
    message, _, hint = told.strip().partition("\nhint: ")
    written = rf"\S*runs/{re.escape(run.attempt_id)}/pipeline\.yaml:(\d+:)?"
    return {"message": re.sub(written, f"pipeline `{run.pipeline}`:", message), "hint": hint or None}
