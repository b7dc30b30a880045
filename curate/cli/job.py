"""Sends a whole run to a Ray cluster as a job: `curate run … --on http://head:8265`.

What travels is the pipeline (with its overrides applied and its local paths made absolute) and the user's operator files,
all through the workspace, which the cluster must see as well. Code comes from the cluster's own image or wheel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from curate.executors.ray import submit_job
from curate.launch import new_run_id
from curate.pipeline_validate import validate
from curate.pipeline_yaml import load_pipeline, to_yaml
from curate.portable import absolute, with_files
from curate.storage import is_remote, join, open_storage


def submit(path: str, sets: Sequence[str], chosen: Mapping[str, Any]) -> int:
    """Validate the pipeline here, put it into the workspace, run it there, and return the run's exit code."""
    loaded = load_pipeline(path, sets)
    built = validate(loaded.pipeline, loaded.positions)
    storage = open_storage(chosen["workspace"])
    run_id = chosen["run_id"] or new_run_id(datetime.now(UTC))
    folder = join("runs", run_id)
    pipeline = absolute(with_files(loaded.pipeline, built, storage, folder))
    storage.write(join(folder, "pipeline.yaml"), to_yaml(pipeline).encode())
    if not is_remote(storage.url):
        click.echo(f"workspace {storage.url}: the cluster must see this folder under the same path", err=True)
    click.echo(f"run {run_id} is sent to {chosen['on']}", err=True)
    options = [f"--{name}={chosen[name]}" for name in ("limit", "until") if chosen[name] is not None]
    command = ["python", "-m", "curate", "run", f"{storage.url}/{folder}/pipeline.yaml", f"--workspace={storage.url}"]
    return submit_job(chosen["on"], [*command, "--on=ray", f"--run-id={run_id}", *options], {})
