"""`python -m tests.benchmarks.dedup_peers [--work FOLDER] [--write]`: near-duplicates: our quality and speed beside the peers'.

Quality: the sets `../shared/data/neardup_*` (see `dedup_truth.py`), all contenders with 112 permutations and 5-grams of words. Speed:
see `dedup_speed.py`. A peer without its environment (`peers/make_env.py`) is left out by name.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tests.benchmarks import dedup, dedup_speed, dedup_truth, fidelity_corpus, readme
from tests.benchmarks.dedup_truth import SETS, Ints, Truth
from tests.benchmarks.peers import make_env

HERE = Path(__file__).parent
MB = 1_000_000
TARGETS = (0.9, 0.8, 0.7)
PERMUTATIONS = 112
PEER_TIMEOUT_S = 90
OURS: dict[str, dict[str, Any]] = {
    "curate": {"permutations": PERMUTATIONS},
    "curate 14 × 8": {"bands": 14, "rows": 8},
    "curate, `mode: component`": {"bands": 14, "rows": 8, "mode": "component"},
}
PEERS = {"datatrove": "datatrove 0.10.1", "datasketch": "datasketch 2.0.0", "rensa": "rensa 0.5.0", "text_dedup": "text-dedup 0.4.1"}
HEAD = ["similarity", "", "bands × rows", "pair recall", "pair precision", "ARI", "ARI, greedy", "macro-F1", "removed", "below", "left"]


@dataclass(frozen=True)
class Answer:
    """What a contender says about a set at one target."""

    bands: str
    cluster: Ints


Answers = dict[tuple[str, str, float], Answer]


def write_sets(work: Path, truths: dict[str, Truth]) -> None:
    """Write the sets as JSON lines for the peers and as Parquet for us."""
    for name, truth in truths.items():
        (work / name).mkdir(parents=True)
        (work / name / "docs.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in truth.docs))
        pq.write_table(pa.Table.from_pylist(truth.docs, dedup.SCHEMA), work / name / "0.parquet", compression="zstd")


def ask_us(work: Path, truths: dict[str, Truth]) -> Iterator[tuple[tuple[str, str, float], Answer]]:
    """Yield our answers."""
    from curate_operators.minhash_dedup import MinhashDedup

    for name, truth in truths.items():
        numbers = {doc["id"]: i for i, doc in enumerate(truth.docs)}
        for target in TARGETS:
            for label, params in OURS.items():
                chosen = params | {"similarity": target, "planted": None}  # planted copies change no mark
                *_, marks = dedup.dedup(work / name, chosen, workers=1)
                curve = MinhashDedup(**chosen).curve()
                kept = (numbers[row["kept_id"] or row["id"]] for row in marks.to_pylist())
                yield (label, name, target), Answer(f"{curve.bands} × {curve.rows}", np.fromiter(kept, np.int64))


def ask(peer: str, interpreter: Path, folder: Path) -> dict[float, Answer]:
    """Return a peer's answers about a set: those that it gave before its time was over."""
    script = [str(interpreter), str(HERE / "peers" / "near_cluster.py"), peer, str(folder / "docs.jsonl"), str(folder / peer)]
    (folder / peer).mkdir()
    with open(folder / f"{peer}.out", "w+b") as out:
        running = subprocess.Popen(
            [*script, str(PERMUTATIONS), *map(str, TARGETS)], stdout=out, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            status = running.wait(PEER_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            status = running.wait()
        if status > 0:
            raise subprocess.CalledProcessError(status, script)
        out.seek(0)
        said = [json.loads(line) for line in out.read().splitlines()]
    return {one["threshold"]: Answer(one["bands"], np.array(one["cluster"], np.int64)) for one in said}


def ask_peers(work: Path, folder: Path, truths: dict[str, Truth]) -> Answers:
    """Ask every peer that is here about every set, two at a time, the slowest first."""
    asked = [(peer, name) for peer in reversed(PEERS) if peer in make_env.present(work) for name in truths]
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda one: ask(one[0], make_env.python(work, one[0]), folder / one[1]), asked)
        return {
            (PEERS[peer], name, target): answer for (peer, name), said in zip(asked, found, strict=True) for target, answer in said.items()
        }


def quality(truths: dict[str, Truth], answers: Answers, absent: list[str]) -> Iterator[str]:
    """Yield a table for each set."""
    for name, truth in truths.items():
        rows = []
        for target in reversed(TARGETS):
            for label in [*OURS, *PEERS.values()]:
                answer = answers.get((label, name, target))
                if answer is None:
                    said = "its environment is not there" if label in absent else f"no answer within {PEER_TIMEOUT_S} s"
                    rows.append([f"{target}", label, said, *[""] * (len(HEAD) - 3)])
                    continue
                got = dedup_truth.scores(truth, target, answer.cluster)
                parts = [got.pair_recall, got.pair_precision, got.ari, got.ari_greedy, got.macro_f1]
                below = f"{got.below / max(got.removed, 1):.2%}"
                rows.append(
                    [f"{target}", label, answer.bands, *(f"{part:.4f}" for part in parts), f"{got.removed:,}", below, f"{got.left:,}"]
                )
        pairs = ", ".join(f"{len(truth.similar(target)[0]):,} of {target}" for target in reversed(TARGETS))
        yield f"`{name}`: {len(truth.docs):,} documents; pairs: {pairs} or more.\n\n{dedup.table(HEAD, rows)}"


def measured(work: Path, mb: float, runs: int) -> Iterator[str]:
    """Yield the tables of speed."""
    folder = dedup_speed.write_docs(work, int(2 * MB), 0.5, "near-sign")
    found = dedup_speed.rounds(work, folder, "sign", runs)
    head = ["", "from text, MB/s/core", "we are faster", "from hashes, MB/s/core", "we are faster", "RMSE (theory)", "bias", "peak RSS"]
    size = found["ours"][0]["bytes"] / MB
    told = f"Signatures of {dedup_speed.PERMUTATIONS} permutations, {size:.1f} MB of text; median of {runs} runs in turn, CPU time."
    yield f"{told}\n\n{dedup.table(head, dedup_speed.sign_rows(folder, found))}"
    folder = dedup_speed.write_docs(work, int(mb * MB), 0.25, "near-job")
    jobs = dedup_speed.job_rows(folder, dedup_speed.rounds(work, folder, "job", runs))
    head = ["Parquet → corpus without near-duplicates", "MB/s/core", "faster than datatrove", "removed", "peak RSS"]
    texts = pq.read_table(folder / "docs.parquet")["text"]
    told = f"The whole job, {len(texts):,} documents, {pc.sum(pc.binary_length(texts)).as_py() / MB:.0f} MB of text, 14 × 8"
    yield f"{told}; median of {runs} runs in turn, CPU time.\n\n{dedup.table(head, jobs)}"


def main() -> None:
    """Measure, print, and on request write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=make_env.WORK)
    parser.add_argument("--mb", type=float, default=40, help="text of the whole job, as far as there is so much")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--only", choices=["quality", "speed"])
    parser.add_argument("--write", action="store_true", help="put the tables into README.md")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        print(json.dumps(dedup_speed.worker(chosen.worker, chosen.folder)))
        return
    sections: list[str] = []
    if chosen.only != "quality" and ((chosen.work / "corpus.parquet").exists() or not fidelity_corpus.missing()):
        sections += measured(chosen.work, chosen.mb, chosen.runs)
    truths = {name: dedup_truth.load(name) for name in SETS if (dedup_truth.DATA / name).is_dir()}
    if chosen.only != "speed" and truths:
        with tempfile.TemporaryDirectory(prefix="curate-dedup-") as folder:
            write_sets(Path(folder), truths)
            answers = dict(ask_us(Path(folder), truths)) | ask_peers(chosen.work, Path(folder), truths)
        absent = [label for peer, label in PEERS.items() if peer not in make_env.present(chosen.work)]
        sections += quality(truths, answers, absent)
    if not sections:
        print("skipped: ../shared/data is not there", file=sys.stderr)
        return
    told = "\n\n".join(sections)
    print(told)
    if chosen.write:
        readme.write("near-duplicates", told)


if __name__ == "__main__":
    main()
