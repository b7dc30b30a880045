"""`python -m tests.benchmarks.speed_filters [--work FOLDER] [--write]`: our filter chain beside the peers', and our kernels beside floors.

The same English documents of the fidelity corpus for everyone, each contender a process of its own on one core with one thread,
in turn, medians of the runs. Seconds are CPU time, so that other work on the machine disturbs less; loading, compiling and a warm-up
are not counted. A peer without its environment (`peers/make_env.py`) is left out by name.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import Step, kernels, registry
from curate.chain import Chain, ChainStep
from curate.ledger import Ledger
from tests.benchmarks import fidelity_corpus, fidelity_oracle, readme
from tests.benchmarks.peers import make_env

HERE = Path(__file__).parent
MB = 1_000_000
BATCH_BYTES = 8 * MB
MIN_SECONDS = 1.0
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ARROW_NUM_THREADS"), "1")
CHAIN = (
    Step("gopher_repetition"),
    Step("gopher_quality"),
    Step("c4_lines", {"terminal_punctuation": False}),
    Step("c4_page"),
    Step("fineweb_quality"),
)
DESCRIBED = {
    "ours": "curate: Gopher repetition and quality, C4, FineWeb",
    "datatrove": "datatrove 0.10.1: the same filters",
    "data_juicer": "data-juicer 1.6.1: eight text filters, without its word lists",
    "dolma": "dolma 1.2.1: taggers `gopher_v2`, `c4_v2`",
    "nemo_curator": "NeMo Curator 1.4.0: 21 heuristic filters for Gopher's rules",
}
TOKENISED = "floor: tokenising, kernel `words`"
Result = dict[str, Any]


def docs(work: Path, size: int) -> Path:
    """Write English documents of the corpus, evenly spread over its sets, and return the path of the JSON lines."""
    table = pq.read_table(fidelity_oracle.corpus(work), columns=["lang", "text"])
    texts = table.filter(pc.equal(table["lang"], fidelity_corpus.ENGLISH))["text"].to_pylist()
    step = max(1, sum(len(text.encode()) for text in texts) // size)
    path = work / "speed.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts[::step]))
    return path


def load(path: Path) -> list[pa.RecordBatch]:
    """Return the documents as batches of the size that the engine reads."""
    texts = [json.loads(line)["text"] for line in path.read_text().splitlines()]
    table = pa.table({"id": list(map(str, range(len(texts)))), "text": pa.array(texts, pa.large_string())})
    rows = max(1, len(texts) * BATCH_BYTES // max(table.nbytes, 1))
    return list(table.to_batches(max_chunksize=rows))


def peak_rss() -> int:
    """Return this process's peak memory; `getrusage` would give the parent's where that is larger."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def timed(work: Callable[[], object]) -> float:
    """Return the CPU seconds of one call, after one that warms up, averaged over calls that take a second together."""
    work()
    calls, begun = 0, time.process_time()
    while time.process_time() - begun < MIN_SECONDS:
        work()
        calls += 1
    return (time.process_time() - begun) / calls


def chain(batches: list[pa.RecordBatch]) -> Result:
    """Run our chain in the engine's own class, with the ledger of every drop."""
    steps = [ChainStep(registry.build(registry.OperatorSpec(step.use, step.params)), step.use, step.use) for step in CHAIN]

    def run() -> int:
        applied = Chain(steps, Ledger([], [], lambda name, table: None), max_errors=0, trace=False)
        return sum(applied.apply(batch)[0].num_rows for batch in batches)

    seconds = timed(run)
    return {"bytes": _size(batches), "seconds": seconds, "peak_rss_bytes": peak_rss(), "kept": run()}


def primitives(batches: list[pa.RecordBatch]) -> Result:
    """Time the floors, every kernel by itself, and every operator on all documents."""
    columns = [batch.column("text") for batch in batches]
    fresh = [kernels.Texts.of(column) for column in columns]
    words, lines = [kernels.words(texts) for texts in fresh], [kernels.lines(texts) for texts in fresh]
    runs = [kernels.lines(texts, "runs") for texts in fresh]

    def each(kernel: Callable[..., object], *inputs: list[Any]) -> float:
        return timed(lambda: [kernel(*parts) for parts in zip(*inputs, strict=True)])

    def anew(kernel: Callable[[kernels.Texts], object]) -> float:
        return timed(lambda: [kernel(kernels.Texts.of(column)) for column in columns])

    seconds = {
        "floor: copy of the bytes": each(lambda texts: np.array(texts.data), fresh),
        "floor: `pc.utf8_length`": each(pc.utf8_length, columns),
        "floor: Python's `str.split`": timed(lambda: [text.split() for column in columns for text in column.to_pylist()]),
        TOKENISED: anew(kernels.words),
        "kernel `lines`": anew(kernels.lines),
        "kernel `characters`": anew(kernels.characters),
        'kernel `occurrences` of "#"': anew(lambda texts: kernels.occurrences(texts, "#")),
        "kernel `repeated_lines`, lines given": each(kernels.repeated_lines, runs),
        "kernel `repeated_grams`, n = 2 to 10, words given": each(kernels.repeated_grams, words),
        "kernel `sentences`, words and lines given": each(kernels.sentences, words, lines),
    }
    for step in CHAIN:
        operator: Any = registry.build(registry.OperatorSpec(step.use, step.params))
        verb = operator.drop if hasattr(operator, "drop") else operator.map
        seconds[f"operator `{step.use}` alone"] = timed(lambda verb=verb: [_alone(verb, batch) for batch in batches])  # type: ignore[misc]
    return {"bytes": _size(batches), "seconds": seconds}


def _alone(verb: Callable[[pa.RecordBatch], object], batch: pa.RecordBatch) -> object:
    from curate.kernels import text_view

    text_view.forget()
    return verb(batch)


def _size(batches: list[pa.RecordBatch]) -> int:
    return sum(pc.sum(pc.binary_length(batch.column("text"))).as_py() for batch in batches)


def contend(name: str, work: Path, path: Path) -> Result:
    """Run one contender in a process of its own on one core."""
    script = [str(make_env.python(work, name)), str(HERE / "peers" / "speed.py"), name, str(path)]
    ours = [sys.executable, "-m", "tests.benchmarks.speed_filters", "--worker", name, "--docs", str(path)]
    done = subprocess.run(
        script if name in make_env.PEERS else ours,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **THREADS},
        preexec_fn=lambda: os.sched_setaffinity(0, {max(os.sched_getaffinity(0))}),
    )
    found: Result = json.loads(done.stdout.splitlines()[-1])
    return found


def rounds(names: list[str], work: Path, path: Path, runs: int) -> dict[str, list[Result]]:
    """Run the contenders in turn and return each one's runs."""
    results: dict[str, list[Result]] = {name: [] for name in names}
    for _ in range(runs):
        for name in names:
            results[name].append(contend(name, work, path))
    return results


def median(runs: list[Result]) -> Result:
    """Return the run of median seconds."""
    return sorted(runs, key=lambda result: float(result["seconds"]))[len(runs) // 2]


def speed(result: Result) -> float:
    """Return MB of text per CPU second."""
    return float(result["bytes"] / MB / result["seconds"])


def contenders(results: dict[str, Result], absent: list[str]) -> str:
    """Return the table of contenders."""
    lines = ["| | MB of text/s/core | peak RSS | we are faster |", "|---|---|---|---|"]
    for name, result in results.items():
        times = "" if name == "ours" else f"{speed(results['ours']) / speed(result):,.0f} ×"
        lines.append(f"| {DESCRIBED[name]} | {speed(result):,.2f} | {result['peak_rss_bytes'] / MB:,.0f} MB | {times} |")
    lines += [f"| {DESCRIBED[name]} | its environment is not there | | |" for name in absent]
    return "\n".join(lines)


def floors(found: list[Result], chained: Result) -> str:
    """Return the table of floors, kernels and operators: medians over the runs."""
    size = found[0]["bytes"] / MB
    seconds = {name: statistics.median(result["seconds"][name] for result in found) for name in found[0]["seconds"]}
    lines = ["| | MB of text/s/core |", "|---|---|"]
    lines += [f"| {name} | {size / taken:,.0f} |" for name, taken in seconds.items()]
    whole = chained["seconds"] / chained["bytes"] * found[0]["bytes"]
    return "\n".join(lines) + f"\n\nThe whole chain takes {whole / seconds[TOKENISED]:.1f} × what tokenising takes (limit 3)."


def main() -> None:
    """Measure, print, and on request write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=make_env.WORK)
    parser.add_argument("--mb", type=float, default=3)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the tables into README.md")
    parser.add_argument("--worker", choices=["ours", "primitives"], help=argparse.SUPPRESS)
    parser.add_argument("--docs", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        print(json.dumps((chain if chosen.worker == "ours" else primitives)(load(chosen.docs))))
        return
    if not (chosen.work / "corpus.parquet").exists() and (reason := fidelity_corpus.missing()):
        print(f"skipped: {reason}", file=sys.stderr)
        return
    path = docs(chosen.work, int(chosen.mb * MB))
    present = [name for name in make_env.present(chosen.work) if name in DESCRIBED]
    found = rounds(["ours", "primitives", *present], chosen.work, path, chosen.runs)
    alone = found.pop("primitives")
    results = {name: median(runs) for name, runs in found.items()}
    size, number = results["ours"]["bytes"] / MB, len(path.read_text().splitlines())
    told = f"{number:,} English documents, {size:.1f} MB of text; median of {chosen.runs} runs in turn, CPU time."
    absent = [name for name in DESCRIBED if name not in ("ours", *present)]
    told = f"{told}\n\n{contenders(results, absent)}\n\n{floors(alone, results['ours'])}"
    print(told)
    if chosen.write:
        readme.write("speed of filters", told)


if __name__ == "__main__":
    main()
