"""Runs a pipeline from start to report: what the command line, the Python API and scheduled jobs all call.

import curate

report = curate.run_pipeline("pipelines/quickstart.yaml", workspace="workspace", workers=2)
print(report["status"], report["outputs"])
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from curate.dataset import Dataset, open_dataset
from curate.errors import DatasetError, PipelineError
from curate.events import EventLog
from curate.executors import open_executor
from curate.manifest import MANIFEST
from curate.pipeline import Pipeline
from curate.pipeline_mistakes import Positions
from curate.pipeline_validate import validate
from curate.pipeline_yaml import load_pipeline, to_yaml
from curate.plan import Plan, make_plan
from curate.publish import check_destinations
from curate.registry import suggest
from curate.report.build import build_report
from curate.report.html import render
from curate.run import Run
from curate.storage import Storage, join, open_storage

OnEvent = Callable[[Mapping[str, Any]], None]
DEFAULT_WORKSPACE = "workspace"
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Request:
    """What to run and how; nothing here but `limit` and `sets` is part of identity."""

    workspace: str = DEFAULT_WORKSPACE
    on: str = "auto"
    workers: int | None = None
    limit: int | None = None
    until: str | None = None
    run_id: str | None = None
    command: str = "Python API"


def run_pipeline(
    pipeline: Pipeline | str | Path,
    workspace: str = DEFAULT_WORKSPACE,
    on: str = "auto",
    workers: int | None = None,
    sets: Sequence[str] = (),
) -> dict[str, Any]:
    """Run a pipeline (a file or a `Pipeline`) and return its report as JSON data.

    A pipeline that is wrong raises `PipelineError`; a run that fails returns a report whose `status` says so.
    """
    positions = None
    if not isinstance(pipeline, Pipeline):
        loaded = load_pipeline(pipeline, sets)
        pipeline, positions = loaded.pipeline, loaded.positions
    return launch(pipeline, positions, Request(workspace, on, workers), lambda event: None)


def launch(pipeline: Pipeline, positions: Positions | None, request: Request, on_event: OnEvent) -> dict[str, Any]:
    """Plan and run, telling events as they happen; write and return the report."""
    started = datetime.now(UTC)
    _check_request(request)
    storage = open_storage(request.workspace)
    plan = plan_for(pipeline, positions, storage, request.limit)
    run_id = request.run_id or new_run_id(started)
    folder = join("runs", run_id)
    partial = request.limit is not None or request.until is not None
    if not partial:
        check_destinations(plan.pipeline)
    _record(storage, folder, plan, partial)
    with EventLog(storage, folder) as log, open_executor(request.on, request.workers) as executor:

        def tell(event: Mapping[str, Any]) -> None:
            log.on_event(event)
            on_event(event)

        run = Run(plan, executor, run_id, tell)
        result = run.execute(needed_for(plan, request.until))
        context = {"command": request.command, "executor": f"{executor.name}, {executor.slots} slots", "started_at": started}
    report = build_report(plan, result, context)
    storage.write(join(folder, "report.json"), orjson.dumps(report, option=orjson.OPT_INDENT_2))
    storage.write(join(folder, "report.html"), render(report).encode())
    return report


def plan_for(pipeline: Pipeline, positions: Positions | None, storage: Storage, limit: int | None = None) -> Plan:
    """Validate a pipeline and plan it in a workspace; `limit` reads only so many documents of each input and publishes nothing."""
    if limit is not None:
        inputs = {name: spec if spec.artifact is not None else replace(spec, limit=limit) for name, spec in pipeline.inputs.items()}
        pipeline = replace(pipeline, inputs=inputs, outputs={}, checks={})  # a part of the corpus is not the corpus
    return make_plan(pipeline, validate(pipeline, positions), storage, positions)


def new_run_id(now: datetime) -> str:
    """Return an id that sorts by time."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def run_ids(storage: Storage) -> list[str]:
    """Return the runs of a workspace, oldest first."""
    names = {info.path.split("/")[1] for info in storage.list("runs") if info.path.count("/") >= 2}
    return sorted(names)


def find_run(storage: Storage, run_id: str) -> str:
    """Return the full id of a run: an id, its beginning, or `last`."""
    known = run_ids(storage)
    if not known:
        raise DatasetError(f"no runs in the workspace {storage.url}", "name another with --workspace")
    if run_id == "last":
        return known[-1]
    matching = [name for name in known if name.startswith(run_id)]
    if len(matching) != 1:
        raise DatasetError(
            f"{'no' if not matching else 'more than one'} run `{run_id}` in {storage.url}",
            suggest(run_id, known) or f"the last is {known[-1]}",
        )
    return matching[0]


def read_report(storage: Storage, run_id: str) -> dict[str, Any]:
    """Return the report of a run; raise `DatasetError` when it was killed before it wrote one."""
    path = join("runs", find_run(storage, run_id), "report.json")
    if storage.info(path) is None:
        raise DatasetError(f"run {run_id} wrote no report: it was killed", "run the same command again: it goes on where it stopped")
    return dict(orjson.loads(storage.read(path)))


def needed_for(plan: Plan, until: str | None) -> list[str] | None:
    """Return the stages that `until` needs, itself included, or None for all."""
    if until is None:
        return None
    if until not in plan.stages:
        raise PipelineError(f"no stage `{until}`", suggest(until, list(plan.stages)))
    wanted, queue = set(), [until]
    while queue:
        name = queue.pop()
        if name in plan.stages and name not in wanted:
            wanted.add(name)
            queue += Run.needs(plan.stages[name])
    return [name for name in plan.stages if name in wanted]


def _check_request(request: Request) -> None:
    if not request.workspace.strip():
        raise PipelineError("the workspace has no name", "name a folder or a URL with --workspace")
    if request.run_id is not None and not _RUN_ID.fullmatch(request.run_id):
        raise PipelineError(f"not a run id: {request.run_id!r}", "letters, digits, `.`, `_` and `-`, beginning with a letter or digit")


def _record(storage: Storage, folder: str, plan: Plan, partial: bool) -> None:
    """Write the pipeline, the plan and the users' code, so that the run can be understood from its folder."""
    storage.write(join(folder, "pipeline.yaml"), to_yaml(plan.pipeline).encode())
    storage.write(join(folder, "plan.json"), orjson.dumps(plan.to_dict() | {"partial": partial}, option=orjson.OPT_INDENT_2))
    for stage in plan.stages.values():
        for spec in [step.operator for step in stage.steps] + ([stage.operator] if stage.operator else []):
            if spec.code is not None and spec.code_sha is not None:
                storage.write(join(folder, "code", spec.code_sha, spec.use.rpartition(":")[0].rpartition("/")[2]), spec.code.encode())


def run_datasets(storage: Storage, run_id: str) -> Iterator[Dataset]:
    """Yield the finished datasets that a run made or used, in the order of its stages."""
    plan = orjson.loads(storage.read(join("runs", run_id, "plan.json")))
    for stage in plan["stages"].values():
        if storage.info(join(stage["dataset"], MANIFEST)) is not None:
            yield open_dataset(storage, stage["dataset"])


def stage_dataset(storage: Storage, name: str) -> Dataset:
    """Return the dataset of a stage of the last run."""
    run_id = find_run(storage, "last")
    datasets = {dataset.name: dataset for dataset in run_datasets(storage, run_id)}
    if name not in datasets:
        raise DatasetError(
            f"run {run_id} has no finished stage `{name}`", suggest(name, list(datasets)) or f"finished: {', '.join(datasets) or 'none'}"
        )
    return datasets[name]
