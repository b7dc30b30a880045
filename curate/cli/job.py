"""Sends a whole run to a Ray cluster as a job: `curate run … --on http://head:8265`.

What travels is the pipeline (with its overrides applied and its local paths made absolute) and the user's operator files,
all through the workspace, which the cluster must see as well. Code comes from the cluster's own image or wheel.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import click

from curate.executors.ray import submit_job
from curate.launch import new_run_id
from curate.pipeline import Input, Pipeline, Stage
from curate.pipeline_validate import Built, validate
from curate.pipeline_yaml import load_pipeline, to_yaml
from curate.plan import named_file
from curate.protocols import Operator
from curate.storage import Storage, is_remote, join, open_storage


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


def absolute(pipeline: Pipeline) -> Pipeline:
    """Return the pipeline with paths that mean the same from any folder."""

    def whole(path: str) -> str:
        return path if is_remote(path) else os.path.abspath(pipeline.folder / path)

    def whole_input(spec: Input) -> Input:
        if spec.artifact is not None:
            return replace(spec, artifact=spec.artifact and whole(spec.artifact))
        return replace(spec, path=tuple(whole(path) for path in spec.paths))

    inputs = {name: whole_input(spec) for name, spec in pipeline.inputs.items()}
    outputs = {name: replace(output, path=whole(output.path)) for name, output in pipeline.outputs.items()}
    return replace(pipeline, inputs=inputs, outputs=outputs)


def with_files(pipeline: Pipeline, built: Built, storage: Storage, folder: str) -> Pipeline:
    """Put the user's operator files beside the pipeline and name them from there; name parameters' files by their whole paths."""

    def moved(use: str, code: str | None) -> str:
        if code is None:
            return use
        file, _, name = use.rpartition(":")
        local = f"operators/{hashlib.sha256(code.encode()).hexdigest()[:16]}/{os.path.basename(file)}"
        storage.write(join(folder, local), code.encode())
        return f"{local}:{name}"

    def located(params: Mapping[str, Any], operator: Operator) -> dict[str, Any]:
        files = {key: named_file(key, value, operator, pipeline.folder) for key, value in params.items()}
        return {**params, **{key: os.path.abspath(path) for key, path in files.items() if path}}

    def stage(name: str, spec: Stage) -> Stage:
        made = built.operators[name]
        if spec.use:
            return replace(spec, use=moved(spec.use, built.codes.get((name, 0))), params=located(spec.params, made[0]))
        steps = [
            replace(step, use=moved(step.use, built.codes.get((name, i))), params=located(step.params, made[i]))
            for i, step in enumerate(spec.operators)
        ]
        return replace(spec, operators=steps)

    stages = {name: stage(name, spec) for name, spec in pipeline.stages.items()}
    checks = {name: replace(check, use=moved(check.use, built.codes.get((f"checks.{name}", 0)))) for name, check in pipeline.checks.items()}
    return replace(pipeline, stages=stages, checks=checks)
