"""The schedules of a service: what `curate.Client(url, token).schedules` is, and what its methods take and give.

client.schedules.add({"name": "nightly", "pipeline": "web_english", "trigger": {"kind": "cron", "expression": "30 2 * * *"}})
print(client.schedules.show("nightly")["next_due"])
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, cast
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from curate.client import Client


class NewSchedule(TypedDict):
    """What is said about a schedule; the API's page tells of triggers and policies."""

    name: str
    pipeline: str
    trigger: Mapping[str, Any]
    policies: NotRequired[Mapping[str, Any]]
    version: NotRequired[int | None]
    workspace: NotRequired[str | None]
    sets: NotRequired[list[str]]
    until: NotRequired[str | None]
    workers: NotRequired[int | None]


class Tick(TypedDict):
    """One moment at which a schedule was due, and what came of it; `inputs` tells what was new."""

    due: str
    fired_at: str
    outcome: str
    note: str | None
    run_id: str | None
    inputs: dict[str, Any] | None


class Schedule(TypedDict):
    """A schedule and how it stands: `paused` says why it rests, `failures` counts ticks that failed in a row."""

    name: str
    pipeline: str
    version: int | None
    trigger: dict[str, Any]
    policies: dict[str, Any]
    workspace: str | None
    sets: list[str]
    until: str | None
    workers: int | None
    paused: str | None
    failures: int
    next_due: str | None
    next_fires: str | None
    last: Tick | None
    upcoming: list[str]
    problem: str | None
    created_at: str
    created_by: str


class Exported(TypedDict):
    """A schedule as files for another scheduler, by their names, and what that one cannot do."""

    files: dict[str, str]
    lost: list[str]


class Schedules:
    """Calls of one client; a name that the service does not know raises, as every refusal does."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def add(self, schedule: NewSchedule, replace: bool = False) -> Schedule:
        """Add a schedule; one of its name is in the way unless it is to be replaced, and its history goes on then."""
        if replace:
            return self._called("PUT", _path(schedule["name"]), schedule)
        return self._called("POST", "/schedules", schedule)

    def listed(self, pipeline: str | None = None) -> Iterator[Schedule]:
        """Yield schedules by name, all or those of one pipeline."""
        yield from cast("Iterator[Schedule]", self._client.listed("/schedules", [("pipeline", pipeline)] if pipeline else []))

    def show(self, name: str) -> Schedule:
        """Return one schedule with the times to come."""
        return self._called("GET", _path(name))

    def history(self, name: str) -> Iterator[Tick]:
        """Yield the ticks of a schedule, newest first."""
        yield from cast("Iterator[Tick]", self._client.listed(_path(name, "history")))

    def run(self, name: str) -> Tick:
        """Fire at once, paused or not; the tick has no run while it waits for the one before it."""
        tick: Tick = self._client.call("POST", _path(name, "run"))
        return tick

    def pause(self, name: str, reason: str | None = None) -> Schedule:
        """Let a schedule rest."""
        return self._called("POST", _path(name, "pause"), {"reason": reason})

    def resume(self, name: str) -> Schedule:
        """Let a schedule fire again, from now on."""
        return self._called("POST", _path(name, "resume"))

    def remove(self, name: str) -> Schedule:
        """Take a schedule away; return it as it was."""
        return self._called("DELETE", _path(name))

    def export(self, name: str, target: str, pipeline_file: str | None = None, image: str | None = None) -> Exported:
        """Return a schedule as files for `cron`, `systemd`, `k8s-cronjob` or `airflow`."""
        asked = {"as": target, "pipeline_file": pipeline_file, "image": image}
        query = urlencode({key: value for key, value in asked.items() if value is not None})
        found: Exported = self._client.call("GET", f"{_path(name, 'export')}?{query}")
        return found

    def _called(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Schedule:
        found: Schedule = self._client.call(method, path, body)
        return found


def _path(name: str, *rest: str) -> str:
    return "/".join(["/schedules", quote(name, safe=""), *rest])
