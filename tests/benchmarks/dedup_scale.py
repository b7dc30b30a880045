"""`python -m tests.benchmarks.dedup_scale [--docs N …] [--shape S] [OPTIONS]`: near-duplicates at scale.

Makes corpora (see `dedup_shapes.py`), runs the whole job on each – read, mark, filter – and prints time and memory, of the job and of
its largest tasks, with the exponents with which they grow. `--memory` is the most that a task may hold: a task that held more ends
the run with an error. `--at-once` is how many documents are grouped in one task at most, to see what happens beyond. `--tasks` prints
every phase's tasks. The tasks of a job are the same each time, so that `--rounds` takes the median of each. A phase's longest task is set beside its median without the first one in each process, which also loads the
phase's kernels, for a second or two. Disk: about 2.5 kB for each document, given back afterwards.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from curate.executors.base import Resources
from curate.executors.local import LocalExecutor
from curate.launch import plan_for
from curate.pipeline import DEFAULT_SHARD_BYTES, Input, Pipeline, Stage
from curate.run import Run
from curate.storage import LocalStorage
from curate_operators import minhash_groups
from tests.benchmarks import dedup_shapes, readme
from tests.benchmarks.task_costs import MeasuringExecutor, Took

MB, MIB = 1_000_000, 1 << 20
STRAGGLER, FEW = 3.0, 8  # the most that a task may take, in medians of its phase; phases with fewer tasks have no median
LONG_S = 1.0  # tasks longer than this stand beside the job's median too
Cells = list[str]


@dataclass(frozen=True)
class Job:
    """How one corpus went."""

    docs: int
    bytes: int
    removed: int
    made_s: float
    seconds: float
    cpu_seconds: float
    took: list[Took]

    @property
    def peak(self) -> Took:
        return max(self.took, key=lambda task: task.peak_bytes)

    def phases(self) -> Mapping[str, list[Took]]:
        """Return the tasks of every phase, in the order of the phases."""
        found: dict[str, list[Took]] = {}
        for task in self.took:
            found.setdefault(task.phase, []).append(task)
        return found


def run(
    folder: Path, params: Mapping[str, Any], workers: int, memory: int, shard_bytes: int = DEFAULT_SHARD_BYTES
) -> tuple[float, int, list[Took]]:
    """Run the whole job on Parquet files; return its seconds, the number of documents that went, and the tasks."""
    need = Resources(memory=memory)
    stages = {
        "dedup": Stage("crawl", use="minhash_dedup", params=dict(params), resources=need),
        "corpus": Stage(["crawl", "dedup"], apply=["dedup"], resources=need),
    }
    pipe = Pipeline("dedup", {"crawl": Input(str(folder))}, stages, shard_bytes=shard_bytes, folder=folder)
    with tempfile.TemporaryDirectory(dir=folder.parent) as workspace, MeasuringExecutor(LocalExecutor(workers)) as executor:
        plan = plan_for(pipe, None, LocalStorage(Path(workspace)))
        begun = time.perf_counter()
        result = Run(plan, executor, "run", lambda event: None).execute()
        if result.error is not None:
            raise result.error
        return time.perf_counter() - begun, plan.dataset("crawl").rows - plan.dataset("corpus").rows, executor.took


def job(work: Path, shape: str, share: float, docs: int, options: argparse.Namespace) -> Job:
    """Make a corpus, deduplicate it, and remove it."""
    folder = work / f"{shape}{docs}"
    begun = time.perf_counter()
    size = dedup_shapes.write(folder, dedup_shapes.Corpus(shape, share), docs)
    made_s = time.perf_counter() - begun
    how = {"bands": 14, "rows": 8}, options.workers, options.memory, options.shard_bytes
    rounds = [run(folder, *how) for _ in range(options.rounds)]
    shutil.rmtree(folder)
    took = typical([took for _, _, took in rounds])
    seconds = statistics.median(seconds for seconds, _, _ in rounds)
    return Job(docs, size, rounds[0][1], made_s, seconds, sum(task.cpu_seconds for task in took), took)


def typical(rounds: list[list[Took]]) -> list[Took]:
    """Return every task with the median of its CPU seconds over rounds in which it was not the first of its process, if there are any."""
    of: dict[tuple[str, int], list[Took]] = {}
    for task in itertools.chain.from_iterable(rounds):
        of.setdefault((task.phase, task.number), []).append(task)
    found = []
    for same in of.values():
        later = [task for task in same if not task.first] or same
        seconds = statistics.median(task.cpu_seconds for task in later)
        found.append(replace(later[0], cpu_seconds=seconds, peak_bytes=max(task.peak_bytes for task in same)))
    return found


def job_row(done: Job) -> Cells:
    speeds = [f"{done.seconds:.0f}", f"{done.bytes / MB / done.seconds:.1f}", f"{done.bytes / MB / done.cpu_seconds:.1f}"]
    peak = f"{done.peak.peak_bytes / MIB:.0f} (`{done.peak.phase}`)"
    group = max((task.peak_bytes - task.base_bytes for task in done.took if task.phase == "group"), default=0)
    return [f"{done.docs:,}", f"{done.bytes / MB:,.0f}", f"{done.removed:,}", *speeds, peak, f"{group / MIB:.0f}", f"{done.made_s:.0f}"]


def longest(tasks: list[Took]) -> float | None:
    """Return the longest task of a phase in medians of it, or None for a phase of few tasks."""
    times = [task.cpu_seconds for task in tasks if not task.first]
    return max(times) / statistics.median(times) if len(times) >= FEW else None


def phase_rows(done: Job) -> Iterator[Cells]:
    """Yield for every phase its tasks, their CPU seconds, the slowest beside the median, and the largest."""
    for phase, tasks in done.phases().items():
        times = [task.cpu_seconds for task in tasks]
        peak = max(task.peak_bytes for task in tasks) / MIB
        ratio = longest(tasks)
        told = f"{ratio:.1f}" if ratio is not None else "–"
        yield [phase, f"{len(tasks)}", f"{sum(times):.1f}", f"{statistics.median(times):.2f}", f"{max(times):.2f}", told, f"{peak:.0f}"]


def stragglers(done: Job) -> list[str]:
    """Return the phases of many tasks in which one took much longer than the median."""
    return [phase for phase, tasks in done.phases().items() if (longest(tasks) or 0) > STRAGGLER]


def long_phases(done: Job) -> str:
    """Tell of every phase with a long task, however few tasks it has, what that takes beside the median task of the job."""
    median = statistics.median(task.cpu_seconds for task in done.took)
    most_of = {phase: max(task.cpu_seconds for task in tasks) for phase, tasks in done.phases().items()}
    late = sorted(((most, phase) for phase, most in most_of.items() if most > LONG_S), reverse=True)
    told = ", ".join(f"`{phase}` {most:.1f} s ({most / median:.0f} ×)" for most, phase in late)
    return f"The longest task beside the median of all {len(done.took):,} tasks, {median:.2f} s, where it took more than {LONG_S:g} s: {told or 'none'}."


def exponents(jobs: list[Job]) -> str:
    """Return the exponents of growth, from a line through the logarithms."""
    size = np.log([done.docs for done in jobs])
    time_slope = np.polyfit(size, np.log([done.seconds for done in jobs]), 1)[0]
    memory_slope = np.polyfit(size, np.log([done.peak.peak_bytes for done in jobs]), 1)[0]
    return f"Growth: time ~ documents^{time_slope:.2f}, peak memory of a task ~ documents^{memory_slope:.2f}."


def table(head: Cells, rows: Iterable[Cells]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def size_of(text: str) -> int:
    """Return bytes of a size such as 2GiB or 500MB."""
    for unit, factor in {"GiB": 1 << 30, "MiB": 1 << 20, "GB": 10**9, "MB": 10**6}.items():
        if text.endswith(unit):
            return int(float(text.removesuffix(unit)) * factor)
    return int(text)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--docs", type=int, nargs="*", default=[100_000, 1_000_000])
    options.add_argument("--shape", choices=dedup_shapes.SHAPES, default="copies")
    options.add_argument("--share", type=float, default=0.25, help="of the documents, in the group of a star or a chain")
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--rounds", type=int, default=1, help="how often each job runs")
    options.add_argument("--memory", type=size_of, default=size_of("2GiB"), help="the most that a task may hold")
    options.add_argument("--shard-bytes", type=size_of, default=DEFAULT_SHARD_BYTES, help="the size that units of work aim at")
    options.add_argument("--at-once", type=int, default=minhash_groups.GROUPED_AT_ONCE, help="documents that are grouped in one task")
    options.add_argument("--tasks", action="store_true", help="print the tasks of every phase")
    options.add_argument("--work", type=Path, help="a folder on a disk with room")
    options.add_argument(
        "--write", action="store_true", help="put the tables into README.md: growth of copies, or skew of the other shapes"
    )
    chosen = options.parse_args()
    minhash_groups.GROUPED_AT_ONCE = chosen.at_once
    head = ["documents", "MB", "removed", "seconds", "MB/s", "MB/s of CPU time", "largest task, MiB", "`group` alone, MiB", "making, s"]
    jobs: list[Job] = []
    if chosen.work is not None:
        chosen.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="curate-scale-", dir=chosen.work) as folder:
        for docs in chosen.docs:
            jobs.append(job(Path(folder), chosen.shape, chosen.share, docs, chosen))
            print(table(head, [job_row(jobs[-1])]), flush=True)
    often = f"; medians of {chosen.rounds} rounds" if chosen.rounds > 1 else ""
    told = [f"Shape `{chosen.shape}`, {chosen.workers} workers, at most {chosen.memory / MIB:,.0f} MiB a task{often}."]
    told.append(table(head, [job_row(done) for done in jobs]))
    if len(jobs) > 1:
        told.append(exponents(jobs))
    late = [f"{', '.join(phases)} at {done.docs:,}" for done in jobs if (phases := stragglers(done))]
    told.append(f"Phases with a task of more than {STRAGGLER:g} × the median: {'; '.join(late) or 'none'}.")
    told.append(long_phases(jobs[-1]))
    if chosen.tasks:
        told.append(table(["phase", "tasks", "CPU s", "median", "most", "most / median", "peak, MiB"], phase_rows(jobs[-1])))
    print("\n" + "\n\n".join(told))
    if chosen.write:
        readme.write("growth" if chosen.shape == "copies" else "skew", "\n\n".join(told))
    over = [task for done in jobs for task in done.took if task.peak_bytes > chosen.memory]
    if over:
        raise SystemExit(f"{len(over)} tasks held more than {chosen.memory / MIB:.0f} MiB, in {sorted({task.phase for task in over})}")


if __name__ == "__main__":
    main()
