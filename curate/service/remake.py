"""Makes stages be done again: what a stage and those after it have left is removed, so that the next run makes it anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from curate.cleaning import lent, remove_datasets
from curate.errors import PipelineError
from curate.pipeline_graph import references
from curate.registry import suggest
from curate.service.views.runs import kept_pipeline
from curate.storage import Storage, join


def forget(storage: Storage, run_id: str, stage: str) -> list[str]:
    """Remove the datasets of a run from one stage on, and return their folders; raise `PipelineError` when others are built on them."""
    plan = orjson.loads(storage.read(join("runs", run_id, "plan.json")))
    stages: Mapping[str, Any] = plan["stages"]
    if stage not in stages:
        raise PipelineError(f"run {run_id} has no stage `{stage}`", suggest(stage, list(stages)) or f"its stages: {', '.join(stages)}")
    folders = [str(stages[name]["dataset"]) for name in _from_on(storage, run_id, stages, stage)]
    borrower = lent(storage, folders)
    if borrower is not None:
        raise PipelineError(
            f"{borrower} takes shards over from what would be removed", "a later run has more of the same input: make that one's stage anew"
        )
    remove_datasets(storage, folders)
    return folders


def _from_on(storage: Storage, run_id: str, stages: Mapping[str, Any], stage: str) -> list[str]:
    """Return a stage and all that read it, directly or not, in the order of the plan."""
    pipeline = kept_pipeline(storage, run_id)
    read = {name: set(planned["from"]) for name, planned in stages.items()}
    for name, planned in (pipeline.stages if pipeline else {}).items():
        read[name] = read.get(name, set()) | references(planned)
    found = {stage}
    for name in stages:  # in order, so that each comes after all that it reads
        if read[name] & found:
            found.add(name)
    return [name for name in stages if name in found]
