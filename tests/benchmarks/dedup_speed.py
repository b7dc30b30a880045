"""Speed of near-deduplication beside the peers: signatures, their error, and the whole job; called by `dedup_peers.py`.

The documents are English ones of the fidelity corpus, long ones in pieces, and copies of them with words exchanged. Every contender is a process of its own
on one core with one thread, in turn; seconds are CPU time of this core, loading and compiling are not counted.
"""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import kernels
from tests.benchmarks import dedup, fidelity_corpus, fidelity_oracle
from tests.benchmarks.peers import make_env
from tests.benchmarks.speed_filters import MB, THREADS, peak_rss, timed

HERE = Path(__file__).parent
PERMUTATIONS, ROWS = 128, 8
MIN_CHARS, MAX_CHARS = 200, 6000
MAX_EDITED = 0.12
FEW = 100  # documents of the first job, so many that some are alike and every kernel is loaded
HOW: dict[str, dict[str, Any]] = {
    "verified": {},
    "bare": {"planted": None},
    "component": {"planted": None, "mode": "component"},
}
Result = dict[str, Any]
Runs = dict[str, list[Result]]
SIGNERS = {
    "ours": "curate",
    "ours folded": "curate, `fold`",
    "datatrove": "datatrove 0.10.1",
    "datasketch": "datasketch 2.0.0, `bulk`",
    "datasketch xxh32": "datasketch 2.0.0, `bulk`, with xxh32 for its SHA-1",
    "rensa": "rensa 0.5.0, R-MinHash matrix",
}
JOBS = {
    "ours": "curate: every pair verified",
    "ours bare": "curate: the same without planted near-duplicates",
    "ours component": "curate: `mode: component`, nothing planted",
    "datatrove": "datatrove 0.10.1: four stages",
}


def write_docs(work: Path, size: int, copies: float, name: str) -> Path:
    """Write documents as JSON lines and as Parquet, `copies` of them edited copies of earlier ones; return the folder."""
    table = pq.read_table(fidelity_oracle.corpus(work), columns=["lang", "text"])
    texts = table.filter(pc.equal(table["lang"], fidelity_corpus.ENGLISH))["text"].to_pylist()
    texts = [text[at : at + MAX_CHARS] for text in texts for at in range(0, len(text), MAX_CHARS)]
    texts = [text for text in texts if len(text) >= MIN_CHARS]  # datatrove signs no text of fewer than five words
    rows: list[dict[str, str]] = []
    draw, total = random.Random(1), 0
    draw.shuffle(texts)
    for number, text in enumerate(texts):
        rows.append({"id": f"d{number}", "text": text})
        if draw.random() < copies / (1 - copies):
            rows.append({"id": f"d{number}-copy", "text": edited(text, draw)})
        total += sum(len(row["text"].encode()) for row in rows[-2:] if row["id"].startswith(f"d{number}"))
        if total >= size:
            break
    folder = work / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows, dedup.SCHEMA), folder / "docs.parquet", compression="zstd")
    return folder


def edited(text: str, draw: random.Random) -> str:
    """Return a text of which up to an eighth of the words are others of it."""
    words = text.split(" ")
    for _ in range(int(len(words) * draw.random() * MAX_EDITED)):
        words[draw.randrange(len(words))] = draw.choice(words)
    return " ".join(words)


def one_core(command: list[str]) -> Result:
    """Run a command in a process of its own on one core with one thread, and return the JSON of its last line."""
    done = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **THREADS, "RAYON_NUM_THREADS": "1"},
        preexec_fn=lambda: os.sched_setaffinity(0, {max(os.sched_getaffinity(0))}),
    )
    found: Result = json.loads(done.stdout.splitlines()[-1])
    return found


def sign(path: Path, fold: bool, target: Path) -> Result:
    """Measure our signatures, the shingles given and not."""
    texts = pq.read_table(path)["text"].combine_chunks()
    found = kernels.shingles(kernels.Texts.of(texts), fold=fold)
    result = {
        "bytes": pc.sum(pc.binary_length(texts)).as_py(),
        "text": timed(lambda: kernels.signatures(kernels.shingles(kernels.Texts.of(texts), fold=fold), PERMUTATIONS)),
        "hashes": timed(lambda: kernels.signatures(found, PERMUTATIONS)),
        "peak_rss_bytes": peak_rss(),
    }
    np.save(target, kernels.signatures(found, PERMUTATIONS))
    return result


def job(folder: Path, how: str) -> Result:
    """Measure our whole job, after a first one that loads what it needs: FineWeb's normalisation, bands and rows."""
    params = {"bands": 14, "rows": ROWS, "fold": True} | HOW[how]
    few = folder.with_name(f"{folder.name}-few")
    few.mkdir(exist_ok=True)
    pq.write_table(pq.read_table(folder / "docs.parquet").slice(0, FEW), few / "docs.parquet")
    dedup.dedup(few, params, workers=1)
    _, seconds, marks = dedup.dedup(folder, params, workers=1)
    return {"seconds": seconds, "peak_rss_bytes": peak_rss(), "kept": pc.sum(marks.column("keep")).as_py()}


def worker(kind: str, folder: Path) -> Result:
    """Do one of our parts in this process."""
    name, _, how = kind.partition(" ")
    if name == "job":
        return job(folder, how)
    return sign(folder / "docs.parquet", how == "folded", folder / f"ours{' folded' * (how == 'folded')}.npy")


def commands(work: Path, folder: Path, part: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each contender that is here and how it is started."""
    ours = [sys.executable, "-m", "tests.benchmarks.dedup_peers", "--folder", str(folder), "--worker"]
    present = make_env.present(work)
    if part == "sign":
        yield from (("ours", [*ours, "sign exact"]), ("ours folded", [*ours, "sign folded"]))
        for name in (name for name in SIGNERS if name.split()[0] in present):
            script = [str(make_env.python(work, name.split()[0])), str(HERE / "peers" / "near_sign.py"), name]
            yield name, [*script, str(folder / "docs.jsonl"), str(PERMUTATIONS), str(folder / f"{name}.npy")]
    else:
        for name, how in zip(("ours", "ours bare", "ours component"), HOW, strict=True):
            yield name, [*ours, f"job {how}"]
        if "datatrove" in present:
            script = [str(make_env.python(work, "datatrove")), str(HERE / "peers" / "datatrove_minhash.py")]
            yield "datatrove", [*script, str(folder / "docs.parquet"), str(folder / "theirs")]


def rounds(work: Path, folder: Path, part: str, runs: int) -> Runs:
    """Run the contenders in turn."""
    found: Runs = {}
    for _ in range(runs):
        for name, command in commands(work, folder, part):
            found.setdefault(name, []).append(one_core(command))
    return found


def median(runs: list[Result], key: str) -> float:
    """Return the median of one number."""
    return float(np.median([run[key] for run in runs]))


def ratio(value: float) -> str:
    """Return how many times faster we are, rounded down; below 1 we are slower."""
    return f"{math.floor(value):,} ×" if value >= 100 else f"{math.floor(value * 10) / 10} ×"


def error(folder: Path, name: str) -> tuple[float, float, float]:
    """Return the root mean square error and the mean error of a contender's estimates for copies, and what theory says of the first."""
    rows = pq.read_table(folder / "docs.parquet").to_pylist()
    numbers = {row["id"]: i for i, row in enumerate(rows)}
    copies = np.array([[numbers[key.removesuffix("-copy")], i] for key, i in numbers.items() if key.endswith("-copy")])
    texts = kernels.Texts.of(pa.array([row["text"] for row in rows], pa.large_string()))
    sets = kernels.shingle_sets(kernels.shingles(texts, fold=name in ("ours folded", "datatrove")))
    exact = kernels.jaccard(sets, sets, copies[:, 0], copies[:, 1])
    signed = np.load(folder / f"{name}.npy")
    wrong = (signed[copies[:, 0]] == signed[copies[:, 1]]).mean(1) - exact
    return float((wrong**2).mean() ** 0.5), float(wrong.mean()), float((exact * (1 - exact) / PERMUTATIONS).mean() ** 0.5)


def sign_rows(folder: Path, runs: Runs) -> list[list[str]]:
    """Return the table of signatures."""
    rows = []
    for name, label in SIGNERS.items():
        if name not in runs:
            rows.append([label, "its environment is not there", *[""] * 6])
            continue
        size = runs[name][0]["bytes"] / MB
        speeds = [size / median(runs[name], key) for key in ("text", "hashes")]
        ours = [size / median(runs["ours folded" if name == "datatrove" else "ours"], key) for key in ("text", "hashes")]
        times = ["", ""] if name.startswith("ours") else [ratio(own / speed) for own, speed in zip(ours, speeds, strict=True)]
        wrong, bias, theory = error(folder, name)
        rss = f"{median(runs[name], 'peak_rss_bytes') / MB:,.0f} MB"
        rows.append(
            [label, f"{speeds[0]:,.2f}", times[0], f"{speeds[1]:,.1f}", times[1], f"{wrong:.4f} ({theory:.4f})", f"{bias:+.4f}", rss]
        )
    return rows


def job_rows(folder: Path, runs: Runs) -> list[list[str]]:
    """Return the table of the whole job."""
    table = pq.read_table(folder / "docs.parquet")
    size, rows = pc.sum(pc.binary_length(table["text"])).as_py() / MB, []
    for name, label in JOBS.items():
        if name not in runs:
            rows.append([label, "its environment is not there", "", "", ""])
            continue
        speed = size / median(runs[name], "seconds")
        times = ratio(median(runs["datatrove"], "seconds") * speed / size) if name.startswith("ours") and "datatrove" in runs else ""
        rss = f"{median(runs[name], 'peak_rss_bytes') / MB:,.0f} MB"
        rows.append([label, f"{speed:,.2f}", times, f"{table.num_rows - runs[name][0]['kept']:,}", rss])
    return rows
