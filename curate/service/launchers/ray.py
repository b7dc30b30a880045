"""Runs as jobs of a Ray cluster, by the REST interface of its job server; the service itself needs no Ray.

A job has the attempt's name, so submitting twice makes one job. What it runs travels through the workspace, which the cluster must
see. A head that has lost its memory does not know its jobs any more: they are gone, and the retry policy goes on with the runs.
"""

from __future__ import annotations

import json
import os
import shlex
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

from curate.errors import CurateError, PipelineError, TransientError
from curate.service.launchers.base import Sight, Task
from curate.storage import is_remote, join, open_storage

ANSWER_S = 10.0
_ALIVE = ("PENDING", "RUNNING")


class RayLauncher:
    """Jobs of the server at `http://head:8265`; any replica of the service can look after them."""

    host: str | None = None

    def __init__(self, address: str) -> None:
        if not address.startswith(("http://", "https://")):
            raise PipelineError(f"`cluster` is no address of a job server: {address}", "such as http://head:8265")
        self._jobs = address.rstrip("/") + "/api/jobs/"

    def start(self, task: Task) -> None:
        storage = open_storage(task.workspace)
        file = join("runs", task.id, "pipeline.yaml")
        storage.write(file, task.text.encode())
        try:
            self._call(
                "POST",
                "",
                {"submission_id": task.id, "entrypoint": _command(task, f"{storage.url}/{file}"), "metadata": {"curate": task.id}},
            )
        except _Refused as error:
            if self.look(task.id).state == "absent":
                raise CurateError(f"the cluster does not take the run: {error}", "its job server's log says more") from None

    def look(self, task_id: str) -> Sight:
        try:
            job = self._call("GET", quote(task_id))
        except _Refused as error:
            if error.code == 404:
                return Sight("absent")
            raise TransientError(f"the cluster's job server refuses to answer: {error}") from None
        if job["status"] in _ALIVE:
            return Sight("alive")
        code = job.get("driver_exit_code")
        code = 0 if code is None and job["status"] == "SUCCEEDED" else code
        return Sight("gone" if code is None else "ended", code, job.get("message"))

    def stop(self, task_id: str, force: bool) -> None:
        """Ray itself ends a job by force that does not follow within seconds."""
        try:
            self._call("POST", f"{quote(task_id)}/stop")
        except _Refused as error:
            if error.code != 404:
                raise TransientError(f"the cluster does not stop the run: {error}") from None

    def log(self, task_id: str, last_bytes: int) -> str:
        try:
            text = str(self._call("GET", f"{quote(task_id)}/logs")["logs"])
        except (_Refused, TransientError):
            return ""
        return text.encode()[-last_bytes:].decode("utf-8", "replace")

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Content-Type": "application/json"}
        if token := _token():
            headers["Authorization"] = f"Bearer {token}"
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self._jobs + path, data, headers, method=method)  # noqa: S310 - http or https, see above
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise _Refused(error.code, error.read().decode("utf-8", "replace")) from None
        except (OSError, ValueError) as error:
            raise TransientError(f"the cluster's job server does not answer: {error}") from None


def _token() -> str | None:
    """Return what Ray's own clients would show: the token of the environment, or of the file that it names."""
    if "RAY_AUTH_TOKEN" in os.environ:
        return os.environ["RAY_AUTH_TOKEN"]
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")).expanduser()
    return file.read_text(encoding="utf-8").strip() if file.is_file() else None


class _Refused(Exception):
    """The job server answered, and said no."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(f"{code} {said.strip().splitlines()[-1][:300] if said.strip() else ''}")
        self.code = code


def _command(task: Task, file: str) -> str:
    local_only = [option for option in task.options if not option.startswith("--workers=")]
    return shlex.join(
        ["python", "-m", "curate", "run", file, f"--workspace={_seen(task.workspace)}", "--on=ray", f"--run-id={task.id}", *local_only]
    )


def _seen(workspace: str) -> str:
    return workspace if is_remote(workspace) else open_storage(workspace).url
