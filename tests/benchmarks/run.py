"""`make bench`: measures what the README of this folder claims, prints the table, and with `--write` puts it there.

Every command runs as a whole process pinned to one core; commands that are compared run in turn, and the median counts.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import orjson
import pyarrow as pa

from curate import Input, Pipeline, Stage, Step, load, registry, run_pipeline
from curate.kernels import text_view
from tests.benchmarks import corpus, readme

HERE = Path(__file__).parent
MB = 1_000_000
COPIES = 5  # of the sample's texts make a batch of the size that the engine reads
LISTED_WORDS, LISTED_SITES = 400, 1_000_000
READ = {"extract_html": "html", "url_blocklist": "url"}  # the others read texts
NOTES = {
    "extract_html": "of HTML",
    "word_blocklist": f"of text; {LISTED_WORDS} words listed",
    "url_blocklist": f"of addresses; {LISTED_SITES:,} sites and {LISTED_WORDS} words listed",
}


def seconds(command: list[str]) -> float:
    """Return the wall time of a command on one core."""
    begun = time.perf_counter()
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, {0})
    )
    return time.perf_counter() - begun


def curate(*args: str) -> list[str]:
    """Return a command line of `curate`."""
    return [str(Path(sys.executable).with_name("curate")), *args]


def pipeline(path: Path, source: str) -> Path:
    """Write a pass-through pipeline."""
    path.write_text(f"name: copy\ninputs: {{raw: {{path: '{source}'}}}}\nstages: {{copy: {{from: raw}}}}\n")
    return path


def overhead(folder: Path, texts: list[str], runs: int) -> list[tuple[str, str, str]]:
    """Compare a pass-through with the bare loop over 240 MB of Parquet."""
    source = folder / "parquet"
    source.mkdir()
    for part in range(6):
        corpus.write_parquet(source / f"part-{part}.parquet", texts, 40 * MB, seed=part)
    yaml = pipeline(folder / "copy.yaml", f"{source}/*.parquet")
    bare, ours = [], []
    for _ in range(runs):
        bare.append(seconds([sys.executable, str(HERE / "bare.py"), str(source), str(folder / "bare")]))
        shutil.rmtree(folder / "ws", ignore_errors=True)
        ours.append(seconds(curate("run", str(yaml), "-w", str(folder / "ws"), "--workers", "1", "-q")))
    ratio = statistics.median(b / a for a, b in zip(bare, ours, strict=True))
    size = sum(path.stat().st_size for path in source.glob("*")) / MB
    return [
        (f"bare pyarrow loop over {size:,.0f} MB of Parquet", f"{statistics.median(bare):.2f} s", ""),
        ("pass-through pipeline, whole process from start to report", f"{statistics.median(ours):.2f} s", f"{ratio:.2f} × (limit 1.3)"),
    ]


def startup(folder: Path, runs: int) -> list[tuple[str, str, str]]:
    """Time the commands that people wait for."""
    quickstart = corpus.SAMPLE.parent / "quickstart.yaml"
    asked = {
        "`curate --version`": (curate("--version"), "limit 0.3 s"),
        "`curate check pipelines/quickstart.yaml`": (curate("check", str(quickstart)), "limit 1 s"),
        "`curate plan pipelines/quickstart.yaml`": (curate("plan", str(quickstart), "-w", str(folder / "none")), ""),
    }
    return [(name, f"{statistics.median(seconds(command) for _ in range(runs)):.2f} s", limit) for name, (command, limit) in asked.items()]


def operators(folder: Path) -> list[tuple[str, str, str]]:
    """Measure the batch operators on the sample's pages, in this process on one core."""
    os.sched_setaffinity(0, {0})
    html = pa.concat_tables(_pages(folder, ()))
    texts = pa.concat_tables(_pages(folder, (Step("extract_html"), Step("normalize"))) * COPIES)
    rows = []
    for step in steps(texts["text"].to_pylist()):
        column = READ.get(step.use, "text")
        docs = (html if column == "html" else texts).combine_chunks().to_batches()[0]
        speed = docs.column(column).nbytes / MB / _best(step, docs)
        rows.append((f"`{step.use}`, MB/s on one core", f"{speed:,.0f}", NOTES.get(step.use, "of text")))
    return rows


def steps(texts: list[str]) -> list[Step]:
    """Return what is measured; the block lists have words that the texts have once, and made sites."""
    often = Counter(word for text in texts for word in text.split() if word.isalpha())
    rare = tuple(sorted(word for word, times in often.items() if times == COPIES)[:LISTED_WORDS])
    sites = tuple(f"{rare[i % len(rare)]}-{i}.example" for i in range(LISTED_SITES))
    plain = ("gopher_quality", "gopher_repetition", "c4_lines", "c4_page", "fineweb_quality", "dclm_lines", "measure", "maths_quality")
    return [
        *(Step("extract_html"), Step("normalize"), Step("language"), Step("length", {"min_words": 50})),
        *map(Step, plain),
        *(Step("code_quality", {"by": None}), Step("redact")),
        Step("word_blocklist", {"words": rare, "language": None}),
        Step("url_blocklist", {"domains": sites, "hard_words": rare, "soft_words": rare, "substrings": rare}),
    ]


def _pages(folder: Path, steps: tuple[Step, ...]) -> list[pa.Table]:
    pipeline = Pipeline("pages", {"crawl": Input(str(corpus.SAMPLE / "*.warc.gz"))}, {"pages": Stage("crawl", list(steps))})
    report = run_pipeline(pipeline, workspace=str(folder / "pages"), on="local", workers=1)
    return [pa.Table.from_batches(list(load(report["stages"][0]["dataset"]).batches()))]


def _best(step: Step, docs: pa.RecordBatch) -> float:
    """Return the CPU seconds of the fastest of five calls that know nothing of the text yet."""
    operator = registry.build(registry.OperatorSpec(step.use, step.params))
    verb = next(getattr(operator, name) for name in ("drop", "map", "score") if hasattr(operator, name))
    times = []
    for _ in range(6):
        text_view.forget()
        begun = time.process_time()
        verb(docs)
        times.append(time.process_time() - begun)
    return min(times[1:])


def memory(folder: Path, texts: list[str]) -> list[tuple[str, str, str]]:
    """Compare a task's peak memory over a 50 MB and a 1 GB file, read as one shard."""
    rows = []
    for kind, write in (("parquet", corpus.write_parquet), ("jsonl", corpus.write_jsonl)):
        peaks = [_peak(folder, kind, write, texts, size) for size in (50 * MB, 1000 * MB)]
        rows.append(
            (
                f"peak RSS of a task, {kind}, 50 MB → 1 GB file",
                " → ".join(f"{p / MB:.0f} MB" for p in peaks),
                f"{peaks[1] / peaks[0] - 1:+.0%} (limit ±20 %)",
            )
        )
    return rows


def _peak(folder: Path, kind: str, write: Callable[[Path, list[str], int], None], texts: list[str], size: int) -> int:
    path = folder / f"input.{kind}"
    write(path, texts, size)
    yaml = pipeline(folder / "memory.yaml", str(path))
    yaml.write_text(yaml.read_text() + "shard_bytes: 4GB\n")
    workspace = folder / "memory"
    shutil.rmtree(workspace, ignore_errors=True)
    done = subprocess.run(curate("run", str(yaml), "-w", str(workspace), "--workers", "1", "-q", "--json"), check=True, capture_output=True)
    path.unlink()
    shutil.rmtree(workspace)
    return int(orjson.loads(done.stdout)["stages"]["copy"]["peak_rss_bytes"])


def machine() -> str:
    """Say where the numbers come from."""
    return (
        f"{readme.processor()}, {os.cpu_count()} cores; Python {platform.python_version()}, pyarrow {pa.__version__}; one core per command."
    )


def main() -> None:
    """Measure, print, and on request write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as name:
        folder = Path(name)
        texts = corpus.sample_texts(folder / "sample")
        rows = [*startup(folder, chosen.runs), *overhead(folder, texts, chosen.runs), *memory(folder, texts), *operators(folder)]
    table = "\n".join(["| what | median | |", "|---|---|---|", *(f"| {what} | {value} | {note} |" for what, value, note in rows)])
    told = f"{machine()}\n\n{table}"
    print(told)
    if chosen.write:
        readme.write("measured", told)


if __name__ == "__main__":
    main()
