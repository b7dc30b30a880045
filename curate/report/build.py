"""Builds the report of a run from manifests: it adds up what receipts hold and reads no document."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from curate.dataset import join_url
from curate.errors import CurateError
from curate.llm.usage import Usage, note
from curate.manifest import Manifest
from curate.plan import Plan, PlannedStage
from curate.run import RunResult, StageResult
from curate.version import VERSION


def build_report(plan: Plan, result: RunResult, context: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report as JSON data; `context` says `command`, `executor` and `started_at` (a datetime)."""
    started: datetime = context["started_at"]
    return {
        "format": 1,
        "run_id": result.run_id,
        "pipeline": plan.pipeline.name,
        "status": result.status,
        "curate_version": VERSION,
        "command": context["command"],
        "executor": context["executor"],
        "started_at": started.isoformat(timespec="seconds"),
        "seconds": round(result.seconds, 3),
        "workspace": plan.storage.url,
        "page": join_url(plan.storage.url, f"runs/{result.run_id}/report.html"),
        "error": _error(result),
        "stages": [_stage(plan, plan.stages[name], stage) for name, stage in result.stages.items()],
        "outputs": [{"name": name, **dataclasses.asdict(published)} for name, published in result.outputs.items()],
        "checks": [
            {"name": name, "passed": verdict.passed, "message": verdict.message, "measures": dict(verdict.measures)}
            for name, verdict in result.checks.items()
        ],
    }


def summary(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `curate run --json` prints."""
    return {
        "run_id": report["run_id"],
        "status": report["status"],
        "seconds": report["seconds"],
        "stages": {stage["name"]: _stage_summary(stage) for stage in report["stages"]},
        "outputs": {output["name"]: output["path"] for output in report["outputs"]},
    }


def _stage_summary(stage: Mapping[str, Any]) -> dict[str, Any]:
    counts = stage["counts"] or {}
    names = ("rows_in", "rows_out", "rows_added", "dropped", "merged", "errored", "bytes_in", "bytes_out")
    return {
        "status": stage["status"],
        **{name: counts.get(name, {} if name == "dropped" else 0) for name in names},
        "seconds": stage["seconds"],
        "peak_rss_bytes": stage["peak_rss_bytes"],
        "notes": {note["name"]: {"passed": note["passed"], "message": note["message"]} for note in stage["notes"]},
        "dataset": stage["dataset"],
    }


def _error(result: RunResult) -> dict[str, Any] | None:
    if result.error is None:
        return None
    stage = next((name for name, stage in result.stages.items() if stage.error is result.error), None)
    return {"message": result.error.message, "hint": result.error.hint, "stage": stage}


def _stage(plan: Plan, planned: PlannedStage, result: StageResult) -> dict[str, Any]:
    manifest = result.manifest
    entry: dict[str, Any] = {
        "name": planned.name,
        "kind": planned.kind,
        "status": result.status,
        "fingerprint": planned.fingerprint,
        "dataset": join_url(plan.storage.url, planned.folder),
        "inputs": [*planned.documents, *planned.attributes],
        "steps": [step.label for step in planned.steps] or ([planned.stage.use] if planned.stage.use else []),
        "seconds": round(result.seconds, 3),
        "retries": result.retries,
        "error": _told(result.error),
        "notes": [*result.notes, *_asked(plan, planned, result)],
        "counts": None,
        "statistics": {},
        "samples": {},
        "clusters": [],
        "step_seconds": {},
        "cpu_seconds": 0.0,
        "peak_rss_bytes": 0,
        "shards": 0,
        "new_shards": result.new_shards,
    }
    return entry if manifest is None else entry | told_by(manifest)


def told_by(manifest: Manifest) -> dict[str, Any]:
    """Return what the report says of a stage's finished dataset."""
    return {
        "counts": dataclasses.asdict(manifest.counts),
        "statistics": manifest.statistics,
        "samples": manifest.samples,
        "clusters": manifest.about.get("cards", []),
        "step_seconds": {step: round(seconds, 4) for step, seconds in manifest.measured.steps.items()},
        "cpu_seconds": round(manifest.measured.cpu_seconds, 3),
        "task_seconds": round(manifest.measured.seconds, 3),
        "peak_rss_bytes": manifest.measured.peak_rss_bytes,
        "shards": len(manifest.shards),
    }


def _asked(plan: Plan, planned: PlannedStage, result: StageResult) -> Iterator[dict[str, Any]]:
    """Yield what the stage asked of language models, as notes."""
    if result.status == "reused":
        return
    operators = plan.built.operators.get(planned.name, [])
    steps = {step.label: operator for step, operator in zip(planned.stage.operators, operators, strict=False)}
    dataset = result.manifest.measured.models if result.manifest else None
    for step, models in (result.asked if dataset is None else dataset).items():
        for parameter in models:
            run = Usage(**result.asked.get(step, {}).get(parameter, {}))
            whole = None if dataset is None else Usage(**models[parameter])
            yield note(step, run, whole, steps[step].models()[parameter].settings, result.seconds)


def _told(error: CurateError | None) -> dict[str, Any] | None:
    return {"message": error.message, "hint": error.hint} if error is not None else None
