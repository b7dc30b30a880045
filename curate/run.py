"""Carries out a plan: stage after stage, shard after shard, each committed on its own; a rerun does what is missing.

A failed stage blocks those that read it and nothing else. Everything that happens is an event, and every run leaves
`runs/<run-id>/` with its pipeline, plan, events and report.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from curate.attempts import attempt_all
from curate.commit import sweep
from curate.errors import CurateError, DatasetError, OperatorError, WorkspaceError
from curate.executors.base import Executor
from curate.fence import Fence, remove_fence
from curate.ledger import TALLIES, fold_groups, merge_samples
from curate.manifest import MANIFEST, Manifest, Receipt, add_nested, total
from curate.pipeline_graph import references
from curate.plan import Plan, PlannedStage, chain_steps, operator_of
from curate.protocols import DatasetOperator, Scorer
from curate.publish import publish
from curate.scored import fold_scores
from curate.shard import ShardTask, run_shard
from curate.storage import join
from curate.units import finished, shard_tasks
from curate.version import VERSION
from curate.work import SCRATCH, Verdict, Work, noted

OnEvent = Callable[[Mapping[str, Any]], None]


@dataclass
class StageResult:
    """How a stage ended: `done`, `reused`, `failed`, `blocked` or `interrupted`.

    `asked` counts what the shards that this run made asked of language models, by step and parameter.
    """

    name: str
    status: str
    manifest: Manifest | None = None
    seconds: float = 0.0
    retries: int = 0
    error: CurateError | None = None
    new_shards: int = 0
    notes: list[dict[str, Any]] = field(default_factory=list)
    asked: dict[str, Any] = field(default_factory=dict)


@dataclass
class RunResult:
    """How a run ended: `done`, `failed`, `gated` (a check said no) or `interrupted`."""

    run_id: str
    status: str = "done"
    seconds: float = 0.0
    stages: dict[str, StageResult] = field(default_factory=dict)
    checks: dict[str, Verdict] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    error: CurateError | None = None


class Run:
    """One run of a plan on an executor."""

    def __init__(self, plan: Plan, executor: Executor, run_id: str, on_event: OnEvent) -> None:
        self.plan = plan
        self.executor = executor
        self.run_id = run_id
        self.result = RunResult(run_id)
        self._on_event = on_event

    def execute(self, only: Sequence[str] | None = None) -> RunResult:
        """Run every stage that is not done (or only those named and what they need), then checks, then outputs."""
        begun = time.perf_counter()
        names = [name for name in self.plan.stages if only is None or name in only]
        self._on_event({"event": "run_started", "run_id": self.run_id, "stages": names})
        try:
            for name in names:
                self._stage(self.plan.stages[name])
            self._judge_and_publish(only)
        except KeyboardInterrupt:
            self.result.status = "interrupted"
        except CurateError as error:
            self.result.status, self.result.error = "failed", error
        self.result.seconds = time.perf_counter() - begun
        self._on_event({"event": "run_done", "status": self.result.status, "seconds": self.result.seconds})
        return self.result

    def _stage(self, planned: PlannedStage) -> None:
        failed = [s for s in self.needs(planned) if s in self.result.stages and self.result.stages[s].status in ("failed", "blocked")]
        result = self.result.stages[planned.name] = StageResult(planned.name, "blocked")
        if failed:
            self._on_event({"event": "stage_failed", "stage": planned.name, "error": f"blocked: stage {failed[0]} failed"})
            return
        begun = time.perf_counter()
        try:
            self._run_or_reuse(planned, result)
        except KeyboardInterrupt:
            result.status = "interrupted"
            raise
        except CurateError as error:
            self._failed(result, error)
            if isinstance(error, WorkspaceError):
                raise
        finally:
            result.seconds = time.perf_counter() - begun

    @staticmethod
    def needs(planned: PlannedStage) -> list[str]:
        """Return what a stage reads: inputs, stages, and stages named in parameters."""
        return [*planned.documents, *planned.attributes, *sorted(references(planned.stage))]

    def _failed(self, result: StageResult, error: CurateError) -> None:
        result.status, result.error = "failed", error
        self.result.status = "failed"
        self.result.error = self.result.error or error
        self._on_event({"event": "stage_failed", "stage": result.name, "error": error.message})

    def _run_or_reuse(self, planned: PlannedStage, result: StageResult) -> None:
        begun = time.perf_counter()
        if self._reused(planned, result):
            return
        with Fence(self.plan.storage, planned.folder, self.run_id) as fence:
            if self._reused(planned, result):  # another run finished it just before the fence was free
                fence.retire()
                return
            work = self._dataset_operator(planned, fence, result) if planned.operator else None
            shards = work.receipts if work else self._chain(planned, fence, result)
            fence.verify()
            result.manifest = self._finish(planned, shards, work)
            result.notes = result.manifest.notes
            fence.retire()
        result.status = "done"
        counts = result.manifest.counts
        self._on_event(
            {
                "event": "stage_done",
                "stage": planned.name,
                "seconds": time.perf_counter() - begun,
                "rows_in": counts.rows_in,
                "rows_out": counts.rows_out,
            }
        )

    def _reused(self, planned: PlannedStage, result: StageResult) -> bool:
        """Take a finished dataset as the stage's result, unless more rows were quarantined in it than are allowed now."""
        if self.plan.status(planned.name) != "done":
            return False
        manifest = self.plan.dataset(planned.name).manifest
        _verify_budget(planned, manifest.counts.errored, [manifest.samples])
        remove_fence(self.plan.storage, planned.folder)  # of a run that was killed once the manifest stood
        result.status, result.manifest, result.notes = "reused", manifest, manifest.notes
        self._on_event({"event": "stage_reused", "stage": planned.name, "rows_out": manifest.counts.rows_out})
        return True

    def _chain(self, planned: PlannedStage, fence: Fence, result: StageResult) -> list[Receipt]:
        """Make the shards that have no receipt yet and no twin in an earlier dataset of this stage."""
        tasks = shard_tasks(self.plan, planned, fence.epoch)
        done = finished(self.plan, planned, tasks)
        waiting = [task for task in tasks if task.shard not in done]
        result.new_shards = len(waiting)
        errored = sum(receipt.counts.errored for receipt in done.values())
        _verify_budget(planned, errored, _samples(done))
        for receipt in self._map(planned, waiting, len(tasks), result):
            done[receipt.shard] = receipt
            add_nested(result.asked, receipt.measured.models)
            errored += receipt.counts.errored
            _verify_budget(planned, errored, _samples(done))
        return [done[task.shard] for task in tasks]

    def _map(self, planned: PlannedStage, tasks: list[ShardTask], shards: int, result: StageResult) -> Any:
        name = planned.name
        size = sum(task.size for task in tasks)
        self._on_event(
            {"event": "stage_started", "stage": name, "shards": shards, "done": shards - len(tasks), "bytes_in": size, "phase": None}
        )

        def on_retry(task: ShardTask, cause: str) -> None:
            result.retries += 1
            self._on_event({"event": "retry", "stage": name, "shard": task.shard, "cause": cause, "attempt": task.attempt})

        with contextlib.closing(attempt_all(self.executor, run_shard, tasks, planned.stage.resources, on_retry)) as outcomes:
            for outcome in outcomes:
                if outcome.error is not None:
                    raise _located(outcome.error, planned, outcome.item)
                receipt: Receipt = outcome.result
                self._on_event(_shard_done(name, receipt))
                yield receipt

    def _dataset_operator(self, planned: PlannedStage, fence: Fence, result: StageResult) -> Work:
        operator = operator_of(planned, self.plan)
        assert isinstance(operator, DatasetOperator) and planned.operator is not None
        work = Work(self.plan.storage, planned.folder, self.executor, planned.schema, self._on_event)
        work.epoch, work.unit = fence.epoch, planned.fingerprint
        work.code, work.resources = planned.operator.code, planned.stage.resources
        result.notes = work.notes
        sources = [self.plan.dataset(name) for name in (*planned.documents, *planned.attributes)]
        try:
            operator.run(sources, work)
        finally:
            result.retries += work.retries
        result.new_shards = len(work.receipts)
        _verify_conserved(planned, sources[0].rows, work.receipts)
        return work

    def _finish(self, planned: PlannedStage, shards: list[Receipt], work: Work | None) -> Manifest:
        """Fold the receipts into a manifest, tidy up, and write it: from then on the dataset exists."""
        counts, measured = total(shards)
        if work is not None:
            work.measured.add(measured)
            measured = work.measured
        counts.verify(f"stage {planned.name}")
        statistics: dict[str, Any] = {}
        samples: dict[str, Any] = {}
        for shard in shards:
            add_nested(statistics, shard.statistics)
            fold_scores(statistics)
            merge_samples(samples, shard.samples)
        manifest = Manifest(
            kind=planned.kind,
            stage=planned.name,
            fingerprint=planned.fingerprint,
            chain=planned.chain,
            columns={f.name: str(f.type) for f in planned.schema},
            shards=[dataclasses.replace(shard, statistics={}, samples={}) for shard in shards],
            counts=counts,
            aligned_to=planned.aligned_to,
            statistics=fold_groups(statistics),
            samples=samples,
            notes=work.notes if work else list(self._remarks(planned, statistics.get(TALLIES, {}))),
            measured=measured,
            curate_version=VERSION,
            about=work.about if work else {},
            files=work.files if work else [],
        )
        storage = self.plan.storage
        storage.delete_tree(join(planned.folder, SCRATCH))
        sweep(storage, planned.folder, shards)
        storage.write(join(planned.folder, MANIFEST), manifest.to_json())
        return manifest

    def _remarks(self, planned: PlannedStage, tallies: Mapping[str, Mapping[str, int]]) -> Iterator[dict[str, Any]]:
        """Yield what the Scorers of a chain have to say of their values, as notes."""
        operators = self.plan.built.operators.get(planned.name, ())  # readers have none
        labelled = {step.label: operator for step, operator in chain_steps(planned.stage, operators)}
        for label, tally in tallies.items():
            operator = labelled[label]
            verdict = operator.remark(tally) if isinstance(operator, Scorer) else None
            if verdict is not None:
                note = noted(f"{label} found", dataclasses.replace(verdict, message=f"{label}: {verdict.message}"))
                told = {"note": note["name"], "passed": note["passed"], "message": note["message"]}
                self._on_event({"event": "note", "stage": planned.name} | told)
                yield note

    def _judge_and_publish(self, only: Sequence[str] | None) -> None:
        if any(stage.status in ("failed", "blocked") for stage in self.result.stages.values()) or only is not None:
            return
        for name, check in self.plan.pipeline.checks.items():
            datasets = [self.plan.dataset(source) for source in check.sources]
            work = Work(self.plan.storage, f"runs/{self.run_id}/checks/{name}", self.executor, datasets[0].schema, self._on_event)
            verdict = self.plan.built.checks[name].judge(datasets, work)
            self.result.checks[name] = verdict
            self._on_event({"event": "check", "check": name, "passed": verdict.passed, "message": verdict.message})
        if not all(verdict.passed for verdict in self.result.checks.values()):
            self.result.status = "gated"
            return
        for name, output in self.plan.pipeline.outputs.items():
            dataset = self.plan.dataset(output.stage or name)
            self.result.outputs[name] = publish(self.plan.pipeline, output, dataset, self.executor)
            self._on_event({"event": "output", "output": name, "path": self.result.outputs[name].path})


def _shard_done(stage: str, receipt: Receipt) -> dict[str, Any]:
    counts = receipt.counts
    return {
        "event": "shard_done",
        "stage": stage,
        "shard": receipt.shard,
        "rows_in": counts.rows_in,
        "rows_out": counts.rows_out,
        "text_bytes_in": counts.text_bytes_in,
        "bytes_in": counts.bytes_in,
        "seconds": receipt.measured.seconds,
        "peak_rss_bytes": receipt.measured.peak_rss_bytes,
        "phase": None,
    }


def _located(error: BaseException, planned: PlannedStage, task: ShardTask) -> BaseException:
    """Say in which stage and shard an expected error happened; anything else keeps its traceback."""
    where = f"stage {planned.name}, shard {task.shard}"
    if isinstance(error, CurateError):
        error.message = f"{where}: {error.message}"
        error.args = (error.message,)
    return error


def _samples(done: Mapping[int, Receipt]) -> Iterator[Mapping[str, Any]]:
    return (done[shard].samples for shard in sorted(done))


def _verify_budget(planned: PlannedStage, errored: int, samples: Iterable[Mapping[str, Any]]) -> None:
    """Raise `DatasetError` when more rows were quarantined than the stage allows; `samples`, in shard order, hold the first of them."""
    if errored <= planned.stage.max_errors:
        return
    first = next(error for found in samples for error in found.get("errors", []))
    raise DatasetError(
        f"stage {planned.name}: {errored} rows could not be processed, {planned.stage.max_errors} are allowed;"
        f" the first: `{first['id']}` at step `{first['step']}`: {first['error']}",
        "mend the data, or set `max_errors` on the stage; finished shards are kept",
    )


def _verify_conserved(planned: PlannedStage, rows: int, shards: list[Receipt]) -> None:
    if not shards:
        raise OperatorError(f"stage {planned.name}: `{planned.stage.use}` wrote no shard", "an operator ends with `work.write_shards(…)`")
    counts, _ = total(shards)
    if planned.kind != "artifact" and counts.rows_in != rows:
        raise OperatorError(
            f"stage {planned.name}: `{planned.stage.use}` accounts for {counts.rows_in} of {rows} documents",
            "this is a bug in the operator: every row of its input must be in a shard that it writes, or in the drops",
        )
