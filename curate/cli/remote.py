"""`curate run … --service URL`: the same run, in the service's hands; what is shown and the exit code are the same."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import click

from curate.client import Client, ServiceRun
from curate.errors import CurateError, PipelineError
from curate.launch import DEFAULT_WORKSPACE
from curate.progress import Progress
from curate.storage import is_remote

TOKEN = "CURATE_TOKEN"  # noqa: S105 - the variable's name
_TAKEN = ("workers", "limit", "until")


def run(url: str, path: str, sets: Sequence[str], chosen: Mapping[str, Any], quiet: bool) -> dict[str, Any]:
    """Submit the pipeline, show how it goes, and return its report; Ctrl-C cancels the run."""
    if chosen["run_id"] is not None or chosen["on"] != "auto":
        raise PipelineError("`--service` goes without `--on` and `--run-id`", "the service decides where its runs go on, and names them")
    file = _local_file(path)
    client = Client(url, os.environ.get(TOKEN))
    options = {name: chosen[name] for name in _TAKEN} | {"workspace": _workspace(chosen["workspace"])}
    run = client.submit(file.read_text(encoding="utf-8-sig"), str(file.absolute().parent), uuid4().hex, sets=list(sets), **options)
    if not quiet:
        click.echo(f"run {run.id} is with {url}", err=True)
    try:
        with Progress(sys.stderr, quiet=quiet) as progress:
            for event in client.events(run.id):
                progress.on_event(event)
    except KeyboardInterrupt:
        client.cancel(run.id)
        raise
    return _report(client, client.run(run.id))


def _local_file(path: str) -> Path:
    if is_remote(path):
        raise PipelineError(f"{path}: a service is given a local pipeline file", "or run it with `--on`")
    if not Path(path).is_file():
        raise PipelineError(f"pipeline file not found: {path}")
    return Path(path)


def _workspace(chosen: str) -> str | None:
    """Return the workspace as the service must name it, None where the service chooses."""
    if chosen == DEFAULT_WORKSPACE:
        return None
    return chosen if is_remote(chosen) else os.path.abspath(chosen)


def _report(client: Client, run: ServiceRun) -> dict[str, Any]:
    """Return the report; a run that ended without one raises what it said."""
    if run.summary is not None:
        return client.report(run.id)
    told = run.error or {"message": f"the run was {run.status}", "hint": None}
    kind = PipelineError if run.status == "failed" and run.exit_code == 2 else CurateError
    raise kind(told["message"], told["hint"])
