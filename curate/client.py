"""Talks to a service from Python; needs nothing beyond the standard library.

client = curate.Client("https://curate.example.org", token)
run = client.submit(text, workspace="s3://bucket/workspace")
for event in client.events(run.id):
    print(event)
print(client.run(run.id).status)
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from http.client import HTTPException
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

from curate.client_schedules import Schedules
from curate.errors import CurateError, PipelineError, TransientError

ENDED = ("succeeded", "failed", "gated", "cancelled", "lost")
TIMEOUT_S = 60.0
PATIENCE_S = 300.0
_PAUSE_S = 2.0


@dataclass(frozen=True)
class ServiceRun:
    """A run as the service knows it; `summary` is what `curate run --json` prints, `error` its message and hint."""

    id: str
    attempt_id: str
    pipeline: str
    version: int
    workspace: str
    status: str
    attempt: int
    created_at: str
    created_by: str
    started_at: str | None
    ended_at: str | None
    exit_code: int | None
    summary: Mapping[str, Any] | None
    error: Mapping[str, Any] | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in ENDED


class Client:
    """One service at an address such as `http://127.0.0.1:8300`; every refusal raises with the message and hint of the service."""

    def __init__(self, url: str, token: str | None = None) -> None:
        if not url.startswith(("http://", "https://")):
            raise PipelineError(f"not the address of a service: {url}", "such as http://127.0.0.1:8300")
        self._url = url.rstrip("/") + "/api/v1"
        self._token = token
        self.schedules = Schedules(self)

    def submit(self, text: str, folder: str | None = None, key: str | None = None, **options: Any) -> ServiceRun:
        """Run a pipeline's text; its relative paths start at `folder`, and `options` are those of `POST /api/v1/runs`.

        The same `key` gives the same run, however often it is sent.
        """
        chosen = {name: value for name, value in options.items() if value is not None}
        return self._run("POST", "/runs", {"text": text, "folder": folder, **chosen}, {"Idempotency-Key": key} if key else {})

    def submit_named(self, pipeline: str, version: int | None = None, key: str | None = None, **options: Any) -> ServiceRun:
        """Run a pipeline that the service keeps, its newest version unless a number says which."""
        chosen = {name: value for name, value in options.items() if value is not None}
        return self._run("POST", "/runs", {"pipeline": pipeline, "version": version, **chosen}, {"Idempotency-Key": key} if key else {})

    def run(self, run_id: str) -> ServiceRun:
        """Return a run as it is now."""
        return self._run("GET", f"/runs/{quote(run_id, safe='')}")

    def runs(self, status: Sequence[str] = (), pipeline: str | None = None) -> Iterator[ServiceRun]:
        """Yield runs, newest first."""
        wanted = [("status", name) for name in status] + ([("pipeline", pipeline)] if pipeline else [])
        for item in self.listed("/runs", wanted):
            yield _made(item)

    def cancel(self, run_id: str) -> ServiceRun:
        """Ask for the end of a run."""
        return self._run("POST", f"/runs/{quote(run_id, safe='')}/cancel")

    def report(self, run_id: str) -> dict[str, Any]:
        """Return the report of a run that has ended."""
        return dict(self.call("GET", f"/runs/{quote(run_id, safe='')}/report"))

    def check(self, text: str, folder: str | None = None, sets: Sequence[str] = ()) -> dict[str, Any]:
        """Return what the checker says of a pipeline's text."""
        return dict(self.call("POST", "/pipelines/check", {"text": text, "folder": folder, "sets": list(sets)}))

    def save(self, text: str, folder: str | None = None) -> dict[str, Any]:
        """Keep a text as the newest version of the pipeline that it names."""
        return dict(self.call("POST", "/pipelines", {"text": text, "folder": folder}))

    def wait(self, run_id: str) -> ServiceRun:
        """Return a run once it has ended."""
        for _ in self.events(run_id):
            pass
        return self.run(run_id)

    def events(self, run_id: str) -> Iterator[dict[str, Any]]:
        """Yield the lines of a run's event log as they come, until the run has ended.

        A connection that breaks is made again, and nothing is told twice; a service that stays away for five minutes raises.
        """
        last, silent_since = "", time.monotonic()
        while last != "end":
            try:
                with self._open("GET", f"/runs/{quote(run_id, safe='')}/events", None, {"Last-Event-ID": last} if last else {}) as answer:
                    for kind, id, data in _messages(answer):
                        last, silent_since = id or last, time.monotonic()
                        if kind == "progress":
                            yield json.loads(data)
            except (TransientError, HTTPException, OSError) as error:
                if time.monotonic() - silent_since > PATIENCE_S:
                    raise TransientError(f"the service has been silent for {PATIENCE_S:.0f} seconds: {error}") from error
                time.sleep(_PAUSE_S)

    def listed(self, path: str, wanted: Sequence[tuple[str, str]] = ()) -> Iterator[dict[str, Any]]:
        """Yield the items of a list, page after page."""
        cursor: str | None = None
        while True:
            query = urlencode([*wanted, *([("cursor", cursor)] if cursor else [])])
            page = self.call("GET", f"{path}?{query}" if query else path)
            yield from page["items"]
            cursor = page["next"]
            if cursor is None:
                return

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """Call a route below `/api/v1` and return its JSON."""
        with self._open(method, path, body, headers or {}) as answer:
            return json.loads(answer.read() or b"null")

    def _run(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> ServiceRun:
        return _made(self.call(method, path, body, headers))

    def _open(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Any:
        sent = {"Accept": "application/json, text/event-stream", **headers}
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            sent["Content-Type"] = "application/json"
        request = urllib.request.Request(self._url + path, data, sent, method=method)  # noqa: S310 - http or https, see above
        try:
            return urllib.request.urlopen(request, timeout=TIMEOUT_S)  # noqa: S310
        except urllib.error.HTTPError as error:
            raise _refusal(error) from None
        except urllib.error.URLError as error:
            raise TransientError(
                f"the service at {self._url} does not answer: {error.reason}", "is `curate serve` running there?"
            ) from None


def _made(data: Mapping[str, Any]) -> ServiceRun:
    return ServiceRun(**{field.name: data[field.name] for field in fields(ServiceRun)})


def _refusal(error: urllib.error.HTTPError) -> CurateError:
    """Return a refusal of the service as the error that it is."""
    try:
        problem = json.loads(error.read())
        message, hint = str(problem["detail"]), problem.get("hint")
    except (ValueError, KeyError, TypeError):
        message, hint = f"the service answered {error.code} {error.reason}", "is this the address of a curate service?"
    if error.code in (502, 503, 504):
        return TransientError(message, hint)
    return (PipelineError if error.code == 422 else CurateError)(message, hint)


def _messages(stream: BinaryIO) -> Iterator[tuple[str, str | None, str]]:
    """Yield kind, id and data of server-sent events."""
    kind, id, data = "message", None, ""
    for raw in stream:
        line = raw.decode().rstrip("\n")
        name, _, value = line.partition(": ")
        if not line:
            if data:
                yield kind, id, data
            kind, id, data = "message", None, ""
        elif name == "event":
            kind = value
        elif name == "id":
            id = value
        elif name == "data":
            data += value
