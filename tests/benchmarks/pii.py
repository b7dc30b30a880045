"""`python -m tests.benchmarks.pii`: what `redact` finds, and how fast, beside datatrove's formatter and two recognisers.

Gold: the 1,500 synthetic texts of presidio-research, whose spans have types. Speed and counts: real mail, code and web text. Peers
run under interpreters of their own, one core and processor time for all: `--datatrove PYTHON` (or `CURATE_DATATROVE`) and
`--recognisers PYTHON` (or `CURATE_RECOGNISERS`, with presidio-analyzer and scrubadub); a missing one is left out with a line.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate_operators.redact import DEFAULT_KINDS, Redact
from curate_operators.redact_spans import KINDS, find

HERE = Path(__file__).parent
DATA = Path(os.environ.get("CURATE_TEST_DATA", HERE.parents[2] / "shared" / "data"))
GOLD = {
    "EMAIL_ADDRESS": "email",
    "IP_ADDRESS": "ip",
    "PHONE_NUMBER": "phone",
    "CREDIT_CARD": "credit_card",
    "IBAN_CODE": "iban",
    "US_SSN": "us_ssn",
}
REAL = ("spam_email_sa", "code_samples", "pile_slices", "web_c4_demo")
PEER_DOCS = 200  # per set: the slowest peer reads less than 1 MB in a minute
RUNS = 3

Place = tuple[int, int, int]  # row, first and last + 1 character


@dataclass(frozen=True)
class Score:
    """How well one kind is found: a find is right when it touches a gold span, a gold span is found when a find touches it."""

    kind: str
    gold: int
    found: int
    exact: int
    right: int
    met: int

    @property
    def precision(self) -> float:
        """Share of the finds that are right."""
        return self.right / max(self.found, 1)

    @property
    def recall(self) -> float:
        """Share of the gold spans that were found."""
        return self.met / max(self.gold, 1)


def read(data: Path, name: str) -> list[dict[str, Any]]:
    """Return the rows of a set."""
    with pa.input_stream(data / name / "docs.jsonl.zst", compression="zstd") as stream:
        return [json.loads(line) for line in stream.read().splitlines() if line.strip()]


def ours(texts: Sequence[str]) -> dict[str, list[Place]]:
    """Return what `redact` finds by default, in characters."""
    places: dict[str, list[Place]] = {kind: [] for kind in DEFAULT_KINDS}
    for row, spans in find(pa.array(texts, pa.large_string()), DEFAULT_KINDS, True).items():
        raw = texts[row].encode()
        for span in spans:
            places[KINDS[span.kind]].append((row, len(raw[: span.start].decode()), len(raw[: span.end].decode())))
    return places


def score(data: Path, places: dict[str, list[Place]] | None = None) -> list[Score]:
    """Return the scores of finds in the synthetic texts, ours when none are given."""
    rows = read(data, "pii_presidio")
    found = ours([row["text"] for row in rows]) if places is None else places
    scores = []
    for name, kind in GOLD.items():
        gold = {(i, start, end) for i, row in enumerate(rows) for start, end, label, _ in row["spans"] if label == name}
        finds = found.get(kind, [])
        right, met = _touching(finds, gold), _touching(gold, finds)
        scores.append(Score(kind, len(gold), len(finds), len(gold & set(finds)), right, met))
    return scores


def _touching(places: Iterable[Place], others: Iterable[Place]) -> int:
    by_row: dict[int, list[Place]] = {}
    for other in others:
        by_row.setdefault(other[0], []).append(other)
    return sum(any(p[1] < o[2] and o[1] < p[2] for o in by_row.get(p[0], ())) for p in places)


def speed(texts: Sequence[str], kinds: tuple[str, ...]) -> tuple[float, dict[str, int]]:
    """Return the processor seconds of masking the texts in batches of 1,024, best of some, and how often each kind occurs."""
    operator = Redact(kinds=kinds)
    batches = [_batch(texts[i : i + 1024]) for i in range(0, len(texts), 1024)]
    operator.map(batches[0])
    best = float("inf")
    for _ in range(RUNS):
        begun = time.process_time()
        counts = [operator.map(batch).column("pii") for batch in batches]
        best = min(best, time.process_time() - begun)
    total: Counter[str] = Counter()
    for column in counts:
        total.update({kind: sum(column.field(kind).to_pylist()) for kind in kinds})
    return best, dict(total)


def _batch(texts: Sequence[str]) -> pa.RecordBatch:
    return pa.record_batch({"id": [str(i) for i in range(len(texts))], "text": pa.array(texts, pa.large_string())})


def peer(python: str | None, name: str, texts: Sequence[str]) -> dict[str, Any] | None:
    """Ask a peer in its own interpreter; None when it is not there."""
    if not python or not Path(python).exists():
        return None
    command = [python, str(HERE / "pii_peer.py"), name]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name} left out: {done.stderr.strip().splitlines()[-1:]}")
        return None
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def print_scores(name: str, scores: Iterable[Score]) -> None:
    """Print one finder's table."""
    print(f"\n{name}: 1,500 synthetic texts\n\n| kind | gold | found | exact | precision | recall |\n|---|---|---|---|---|---|")
    for row in scores:
        if row.found:
            print(f"| {row.kind} | {row.gold} | {row.found} | {row.exact} | {row.precision:.3f} | {row.recall:.3f} |")


def print_speed(name: str, texts: list[str], pythons: dict[str, str | None]) -> None:
    """Print how fast a set is masked by us and by the peers, MB of text per second of one core."""
    size = sum(len(text.encode()) for text in texts) / 1e6
    head = texts[:PEER_DOCS]
    part = sum(len(text.encode()) for text in head) / 1e6
    two, _ = speed(texts, ("email", "ip"))
    seconds, counts = speed(texts, DEFAULT_KINDS)
    found = ", ".join(f"{kind} {count}" for kind, count in counts.items() if count)
    cells = [f"{size / seconds:.0f}", f"{size / two:.0f}"]
    for other, python in pythons.items():
        answer = peer(python, other, texts if other == "datatrove" else head)
        cells.append("–" if answer is None else f"{(size if other == 'datatrove' else part) / answer['seconds']:.2f}")
    print(f"| {name} ({size:.1f} MB) | {' | '.join(cells)} | {found} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datatrove", default=os.environ.get("CURATE_DATATROVE"), metavar="PYTHON")
    parser.add_argument("--recognisers", default=os.environ.get("CURATE_RECOGNISERS"), metavar="PYTHON")
    args = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    pythons = {"datatrove": args.datatrove, "presidio": args.recognisers, "scrubadub": args.recognisers}
    for name, python in pythons.items():
        if not python or not Path(python).exists():
            print(f"{name} left out: no interpreter given that has it")
    print_scores("curate", score(DATA))
    texts = [row["text"] for row in read(DATA, "pii_presidio")]
    for name, python in pythons.items():
        answer = peer(python, name, texts)
        if answer is not None:
            places = {kind: [(row, start, end) for row, start, end in spans] for kind, spans in answer["places"].items()}
            print_scores(name, score(DATA, places))
    print(
        "\n| MB of text/s/core | curate, all kinds | curate, email + ip | datatrove, email + ip | presidio's patterns | scrubadub | found |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in REAL:
        print_speed(name, [row["text"] for row in read(DATA, name)], pythons)


if __name__ == "__main__":
    main()
