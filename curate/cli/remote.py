"""`curate run … --service URL`: the same run, in the service's hands; what is shown and the exit code are the same.

What other commands need to talk to a service is here as well.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import click

from curate.client import Client, ServiceRun
from curate.errors import CurateError, PipelineError
from curate.launch import DEFAULT_WORKSPACE
from curate.pipeline_yaml import read_text
from curate.progress import Progress
from curate.storage import is_remote

TOKEN = "CURATE_TOKEN"  # noqa: S105 - the variable's name
_TAKEN = ("workers", "limit", "until")
_TEXT = re.compile(r"^pipeline\.yaml:(?=\d)", re.MULTILINE)  # what a service calls a text that it was sent


def run(url: str, path: str, sets: Sequence[str], chosen: Mapping[str, Any], quiet: bool) -> dict[str, Any]:
    """Submit the pipeline, show how it goes, and return its report; Ctrl-C cancels the run."""
    if chosen["run_id"] is not None or chosen["on"] != "auto":
        raise PipelineError(
            "`--service` goes without `--on` and `--run-id`",
            "the service decides where its runs go on, and names them; without CURATE_SERVICE it runs here",
        )
    text, folder = sent(path)
    client = connected(url)
    workspace = None if chosen["workspace"] == DEFAULT_WORKSPACE else seen_by_service(chosen["workspace"])
    options = {name: chosen[name] for name in _TAKEN} | {"workspace": workspace}
    with named(path):
        run = client.submit(text, folder, uuid4().hex, sets=list(sets), **options)
    if not quiet:
        click.echo(f"run {run.id} is with {url}", err=True)
    return followed(client, run.id, quiet)


def connected(url: str) -> Client:
    """Return a client that shows the service the token of the environment."""
    return Client(url, os.environ.get(TOKEN))


def followed(client: Client, run_id: str, quiet: bool) -> dict[str, Any]:
    """Show how a run goes, and return its report; Ctrl-C cancels the run."""
    try:
        with Progress(sys.stderr, quiet=quiet) as progress:
            for event in client.events(run_id):
                progress.on_event(event)
    except KeyboardInterrupt:
        client.cancel(run_id)
        raise
    return _report(client, client.run(run_id))


def sent(path: str) -> tuple[str, str]:
    """Return the text of a pipeline file, and the folder where its relative paths start; raise `PipelineError` without one."""
    if is_remote(path):
        raise PipelineError(f"{path}: a service is given a local pipeline file", "or run it with `curate run --on`")
    file = Path(path)
    return read_text(file), str(file.absolute().parent)


@contextmanager
def named(path: str) -> Iterator[None]:
    """Let mistakes in a text be told with the name of its file, which a service does not know."""
    try:
        yield
    except PipelineError as error:
        raise PipelineError(_TEXT.sub(lambda found: f"{path}:", error.message), error.hint) from None


def seen_by_service(workspace: str) -> str:
    """Return a workspace as a service must name it, which does not know the folder that we are in."""
    return workspace if is_remote(workspace) else os.path.abspath(workspace)


def _report(client: Client, run: ServiceRun) -> dict[str, Any]:
    """Return the report; a run that ended without one raises what it said."""
    if run.summary is not None:
        return client.report(run.id)
    told = run.error or {"message": f"the run was {run.status}", "hint": None}
    kind = PipelineError if run.status == "failed" and run.exit_code == 2 else CurateError
    raise kind(told["message"], told["hint"])
