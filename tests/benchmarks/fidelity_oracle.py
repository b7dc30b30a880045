"""Keeps the peers' answers about the corpus in a work folder and asks again only when the corpus or the question changes.

`corpus.parquet` (see `fidelity_corpus.py`), `datatrove.parquet`, `datatrove_english.parquet` and `datatrove_stats.parquet` (see `peers/datatrove_oracle.py`).
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks import fidelity_corpus
from tests.benchmarks.peers import make_env

PEERS = Path(__file__).parent / "peers"
ANSWERS = ("datatrove", "datatrove_english", "datatrove_stats")
PROCESSES = 2
NICE = 10


def corpus(work: Path) -> Path:
    """Return the path of the corpus, made when it is absent."""
    path = work / "corpus.parquet"
    if not path.exists():
        work.mkdir(parents=True, exist_ok=True)
        fidelity_corpus.make(path)
    return path


def held_out(work: Path) -> Path:
    """Return a work folder with documents that the first corpus has not, made when it is absent."""
    folder = work / "held_out"
    if not (folder / "corpus.parquet").exists():
        folder.mkdir(exist_ok=True)
        (folder / "peers").symlink_to(Path("..") / "peers")
        fidelity_corpus.make(folder / "corpus.parquet", beside=corpus(work))
    return folder


def missing(work: Path) -> str | None:
    """Say why the comparison cannot run, or None."""
    if "datatrove" not in make_env.present(work):
        return f"no environment of datatrove in {work} (python tests/benchmarks/peers/make_env.py --work {work} datatrove)"
    return None if (work / "corpus.parquet").exists() else fidelity_corpus.missing()


def answers(work: Path) -> list[pa.Table]:
    """Return datatrove's answers, those by its default tokeniser, and the statistics; asked when they are not there."""
    stamp = work / "datatrove.stamp"
    asked = _digest(corpus(work), PEERS / "datatrove_oracle.py")
    if not stamp.exists() or stamp.read_text() != asked:
        _ask(work)
        stamp.write_text(asked)
    return [pq.read_table(work / f"{name}.parquet") for name in ANSWERS]


def words(work: Path, rows: list[int]) -> dict[int, dict[str, Any]]:
    """Return how datatrove reads some documents, see `peers/datatrove_words.py`."""
    path = work / "words.parquet"
    pq.write_table(pa.table({"row": pa.array(rows, pa.int32())}), path)
    command = [make_env.python(work, "datatrove"), PEERS / "datatrove_words.py", work / "corpus.parquet", path]
    subprocess.run(list(map(str, command)), check=True, stderr=subprocess.DEVNULL)
    return {row["row"]: row for row in pq.read_table(path).to_pylist()}


def _digest(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def _ask(work: Path) -> None:
    script = [
        str(make_env.python(work, "datatrove")),
        str(PEERS / "datatrove_oracle.py"),
        str(work / "corpus.parquet"),
        str(work / "parts"),
    ]
    running = [
        subprocess.Popen(["nice", "-n", str(NICE), *script, "--part", f"{part}/{PROCESSES}"], stderr=subprocess.DEVNULL)
        for part in range(PROCESSES)
    ]
    codes = [process.wait() for process in running]
    if any(codes):
        raise RuntimeError(f"datatrove's oracle failed; run it by hand to see why: {' '.join(script)}")
    merge(work)


def merge(work: Path) -> None:
    """Join the processes' parts, sorted by row."""
    for name in ANSWERS:
        parts = pa.concat_tables(pq.read_table(work / "parts" / f"{name}-{part}.parquet") for part in range(PROCESSES))
        pq.write_table(parts.sort_by("row"), work / f"{name}.parquet", compression="zstd")
