"""Makes a pipeline mean the same from any folder and on any node: whole paths, and the user's operator files beside it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from curate.pipeline import Input, Pipeline, Stage
from curate.pipeline_validate import Built
from curate.plan import named_file
from curate.protocols import Operator
from curate.storage import Storage, is_remote, join


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
