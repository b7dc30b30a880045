"""Artifacts as inputs: what an earlier run left is opened where it lies, and asked whether it fits before anything runs.

An artifact is named by its folder in a workspace (`<workspace>/datasets/<stage>@<fingerprint>`) or by a published output. Of one in
this very workspace, shards that go on unchanged are named and not copied; those from elsewhere are copied.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curate.dataset import Dataset, load
from curate.errors import CurateError, DatasetError, PipelineError
from curate.files import local_file, local_folder
from curate.fingerprint import digest
from curate.pipeline import Pipeline
from curate.pipeline_graph import REFERENCE
from curate.pipeline_mistakes import InWords, Mistakes, Positions
from curate.pipeline_validate import Built, named_steps
from curate.protocols import DatasetOperator
from curate.storage import Storage, is_remote, join

DATASETS = "datasets"


def open_artifacts(pipeline: Pipeline, positions: Positions | None = None, workspace: Storage | None = None) -> dict[str, Dataset]:
    """Return the inputs that are artifacts; those that are not there yet (an empty text) are left out.

    Raises `PipelineError` for a folder that holds none.
    """
    mistakes, found = Mistakes(positions or InWords(pipeline)), {}
    for name, spec in pipeline.inputs.items():
        if spec.artifact:
            try:
                found[name] = _opened(place_of(spec.artifact, pipeline.folder), workspace)
            except (DatasetError, PipelineError) as error:
                mistakes.add(("inputs", name, "artifact"), f"input `{name}`: {error.message}", error.hint)
    mistakes.raise_any()
    return found


def verify_artifacts(pipeline: Pipeline, built: Built, artifacts: Mapping[str, Dataset], positions: Positions | None = None) -> None:
    """Raise one `PipelineError` with what every operator says of artifacts, and of files in them, that it cannot work with."""
    mistakes = Mistakes(positions or InWords(pipeline))
    for name, stage in pipeline.stages.items():
        given = [artifacts[source] for source in stage.sources if source in artifacts]
        operator = built.operators[name][0] if given else None
        if isinstance(operator, DatasetOperator):
            try:
                operator.verify_artifacts(given)
            except PipelineError as error:
                mistakes.add_error(("stages", name), error)
    _verify_files(pipeline, built, artifacts, mistakes)
    mistakes.raise_any()


def _verify_files(pipeline: Pipeline, built: Built, artifacts: Mapping[str, Dataset], mistakes: Mistakes) -> None:
    """Note files of artifacts on this machine that parameters name and that their operators cannot work with."""
    for place, step, operator in named_steps(pipeline, built):
        named = {key: str(step.params.get(key)) for key in operator.files}
        for key, value in named.items():
            name, slash, file = value.removeprefix(REFERENCE).partition("/")
            if not value.startswith(REFERENCE) or name not in artifacts or is_remote(artifacts[name].url):
                continue
            try:
                operator.verify_file(key, _kept(f"{artifacts[name].url}{slash}{file}", key in operator.folders))
            except CurateError as error:
                mistakes.add_said((*place, "params", key), step.use, error)


def _kept(place: str, may_be_folder: bool) -> Path:
    """Return the file of an artifact that a place means, or the folder where one will do."""
    if not may_be_folder:
        return local_file(place)
    try:
        return local_folder(place)
    except DatasetError:
        with contextlib.suppress(DatasetError):
            return local_file(place)
        raise


def place_of(path: str, folder: Path) -> str:
    """Return the URL or the absolute path that a path of a pipeline in `folder` means."""
    return path.rstrip("/") if is_remote(path) else os.path.abspath(folder / Path(path).expanduser())


def identity(artifact: Dataset) -> str:
    """Return what an artifact is made of and how it is cut into shards, wherever it lies."""
    manifest = artifact.manifest
    files = {"files": [[file.name, file.sha256] for file in manifest.files]} if manifest.files else {}
    return digest({"artifact": manifest.fingerprint, "shards": [shard.data.sha256 for shard in manifest.shards]} | files)


def described(artifact: Dataset, workspace: Storage) -> dict[str, Any]:
    """Return an artifact as JSON data; `dataset` is its folder when it lies in this workspace."""
    manifest = artifact.manifest
    return {
        "url": artifact.url,
        "stage": manifest.stage,
        "dataset": artifact.path if artifact.storage.url == workspace.url else None,
        "shards": len(manifest.shards),
        "rows": artifact.rows,
        "bytes": sum(shard.data.bytes for shard in manifest.shards),
        "fingerprint": identity(artifact),
    }


def _opened(url: str, workspace: Storage | None) -> Dataset:
    try:
        artifact = load(url)
    except DatasetError as error:
        hint = "name the folder of an artifact, `<workspace>/datasets/<stage>@<fingerprint>`, or that of a published one"
        raise PipelineError(error.message, hint) from error
    manifest = artifact.manifest
    if manifest.kind != "artifact":
        hint = "read it with `path`" if manifest.kind == "documents" else "attributes fit the documents that they were made from"
        raise PipelineError(f"{url} holds {manifest.kind}, not an artifact", hint)
    if any(not shard.data.path.endswith(".parquet") for shard in manifest.shards):
        raise PipelineError(f"{url} was published as JSONL, which is for others to read", "publish it with `format: parquet`")
    if workspace is not None and _same(artifact.storage.url, f"{workspace.url}/{DATASETS}"):
        return Dataset(workspace, join(DATASETS, artifact.path), manifest)
    return artifact


def _same(one: str, other: str) -> bool:
    return one == other if is_remote(one) or is_remote(other) else os.path.realpath(one) == os.path.realpath(other)
