"""What a run's page shows: the plan, how far it is, and a report that is whole at the end and grows until then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from curate.dataset import Dataset, join_url, open_dataset
from curate.errors import CurateError, DatasetError
from curate.manifest import MANIFEST
from curate.pipeline import Pipeline
from curate.pipeline_yaml import parse_pipeline
from curate.report.build import told_by
from curate.report.funnel import Report
from curate.service.views.follow import Follower
from curate.service.views.progress import Progress, StageProgress
from curate.storage import Storage, join

_OPEN_DATASETS = 64


@dataclass(frozen=True)
class Run:
    """One run as the workspace tells it. `report` has the fields of report.json; `ended` says whether it is that file.

    `pipeline` is None while it is not kept yet, and where this version cannot read it.
    """

    run_id: str
    plan: Mapping[str, Any]
    pipeline: Pipeline | None
    progress: Progress
    report: Report
    ended: bool

    @property
    def stages(self) -> dict[str, Any]:
        """The planned stages by name, in order."""
        return dict(self.plan.get("stages") or {})

    def stage(self, name: str) -> Mapping[str, Any]:
        """Return what the report says of a stage; raise `DatasetError` when the run has no such stage."""
        found = next((stage for stage in self.report.get("stages") or () if stage["name"] == name), None)
        if found is None:
            raise DatasetError(f"run {self.run_id} has no stage `{name}`", f"its stages: {', '.join(self.stages) or 'none yet'}")
        return dict(found)


def open_run(storage: Storage, run_id: str, follower: Follower) -> Run:
    """Read a run. One that has not planned yet, or whose workspace was tidied up, has no stages."""
    folder = join("runs", run_id)
    plan = _json(storage, join(folder, "plan.json"))
    report = _json(storage, join(folder, "report.json"))
    progress = follower.progress(storage, run_id)
    told = report or dict(_so_far(storage, run_id, plan or {}, progress))
    return Run(run_id, plan or {}, kept_pipeline(storage, run_id), progress, told, report is not None)


def kept_pipeline(storage: Storage, run_id: str) -> Pipeline | None:
    """Return the pipeline that a run keeps a copy of; operators of users are not loaded for it."""
    path = join("runs", run_id, "pipeline.yaml")
    if storage.info(path) is None:
        return None
    try:
        return parse_pipeline(storage.read(path).decode(), "pipeline.yaml", Path()).pipeline
    except CurateError:
        return None


def _json(storage: Storage, path: str) -> dict[str, Any] | None:
    if storage.info(path) is None:
        return None
    try:
        return dict(orjson.loads(storage.read(path)))
    except (orjson.JSONDecodeError, TypeError, ValueError) as error:
        raise DatasetError(f"{join_url(storage.url, path)}: damaged: {error}") from error


def _so_far(storage: Storage, run_id: str, plan: Mapping[str, Any], progress: Progress) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a report of a run that has not ended: finished stages are told by their manifests."""
    yield "format", 1
    yield "run_id", run_id
    yield "pipeline", plan.get("pipeline", "")
    yield "status", progress.status or "running"
    yield "workspace", storage.url
    yield "seconds", progress.elapsed
    yield "outputs", []
    yield "checks", progress.checks
    yield "stages", [_stage(storage, name, planned, progress) for name, planned in (plan.get("stages") or {}).items()]


def _stage(storage: Storage, name: str, planned: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    going = progress.stages.get(name) or StageProgress(name)
    entry: dict[str, Any] = {
        "name": name,
        "kind": planned["kind"],
        "status": going.state,
        "fingerprint": planned["fingerprint"],
        "dataset": join_url(storage.url, planned["dataset"]),
        "inputs": planned["from"],
        "steps": planned["steps"],
        "seconds": going.seconds or 0.0,
        "retries": going.retries,
        "notes": progress.notes.get(name, []),
        "peak_rss_bytes": going.peak_rss,
        "shards": going.shards,
    }
    dataset = open_stage(storage, planned) if going.state in ("done", "reused") else None
    return entry | told_by(dataset.manifest) | {"notes": dataset.manifest.notes} if dataset is not None else entry


def open_stage(storage: Storage, planned: Mapping[str, Any]) -> Dataset | None:
    """Open the finished dataset of a planned stage; None while it is not there. Manifests never change, so that they are read once."""
    if storage.info(join(planned["dataset"], MANIFEST)) is None:
        return None
    return _opened(storage, str(planned["dataset"]))


def finished(run: Run, storage: Storage) -> list[Dataset]:
    """Return the finished datasets that a run made or used, in the order of its stages."""
    opened = [open_stage(storage, planned) for planned in run.stages.values()]
    return [dataset for dataset in opened if dataset is not None]


class _ByUrl:
    """A storage that equals another at the same place, so that what was opened there is found again."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def __hash__(self) -> int:
        return hash(self.storage.url)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByUrl) and other.storage.url == self.storage.url


def _opened(storage: Storage, folder: str) -> Dataset:
    return _open_once(_ByUrl(storage), folder)


@lru_cache(maxsize=_OPEN_DATASETS)
def _open_once(where: _ByUrl, folder: str) -> Dataset:
    return open_dataset(where.storage, folder)
