"""`python -m tests.benchmarks.pii [--work FOLDER]`: what `redact` finds, and how fast, beside datatrove and two recognisers.

Gold: the 1,500 synthetic texts of presidio-research, whose spans have types. Speed and counts: real mail, code and web text. Peers
run in environments of their own (`peers/make_env.py`), one core and processor time for all; a missing one is left out with a line.
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
from tests.benchmarks.peers import make_env

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
PEERS = {"datatrove": "datatrove", "presidio": "recognisers", "scrubadub": "recognisers"}  # and their environments
COLUMNS = {"datatrove": "datatrove, email + ip", "presidio": "presidio's patterns", "scrubadub": "scrubadub"}
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


def peer(python: str, name: str, texts: Sequence[str]) -> dict[str, Any]:
    """Ask a peer in its own interpreter."""
    command = [python, str(HERE / "pii_peer.py"), name]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} failed: {done.stderr.strip()[-500:]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def scores(data: Path, pythons: dict[str, str]) -> str:
    """Return the table of precision and recall of everyone, a line per kind."""
    texts = [row["text"] for row in read(data, "pii_presidio")]
    columns = {"curate": score(data)}
    for name, python in pythons.items():
        answer = peer(python, name, texts)["places"]
        columns[name] = score(data, {kind: [(row, start, end) for row, start, end in spans] for kind, spans in answer.items()})
    names = " | ".join(f"{name}: precision | recall" for name in columns)
    lines = [f"| kind | gold | found | exact | {names} |", "|---" * (4 + 2 * len(columns)) + "|"]
    for i, row in enumerate(columns["curate"]):
        cells = " | ".join(_cells(found[i]) for found in columns.values())
        lines.append(f"| `{row.kind}` | {row.gold} | {row.found} | {row.exact} | {cells} |")
    return "\n".join(lines)


def _cells(row: Score) -> str:
    return f"{row.precision:.3f} | {row.recall:.3f}" if row.found else "– | –"


def speeds(data: Path, pythons: dict[str, str]) -> str:
    """Return the table of MB of text a second of one core, a line per set."""
    names = " | ".join(COLUMNS[name] for name in pythons)
    head = ["MB of text/s/core", "curate, all kinds", "curate, email + ip", *([names] if names else []), "found"]
    lines = [f"| {' | '.join(head)} |", "|---" * (4 + len(pythons)) + "|"]
    return "\n".join([*lines, *(_speeds(name, [row["text"] for row in read(data, name)], pythons) for name in REAL)])


def _speeds(name: str, texts: list[str], pythons: dict[str, str]) -> str:
    seconds, counts = speed(texts, DEFAULT_KINDS)
    size = _megabytes(texts)
    cells = [f"{size / seconds:.0f}", f"{size / speed(texts, ('email', 'ip'))[0]:.0f}"]
    for other, python in pythons.items():
        some = texts if other == "datatrove" else texts[:PEER_DOCS]
        cells.append(f"{_megabytes(some) / peer(python, other, some)['seconds']:.2f}")
    found = ", ".join(f"{kind} {count:,}" for kind, count in counts.items() if count)
    return f"| {name} ({size:.1f} MB) | {' | '.join(cells)} | {found} |"


def _megabytes(texts: Sequence[str]) -> float:
    return sum(len(text.encode()) for text in texts) / 1e6


def report(data: Path, work: Path) -> str:
    """Return both tables, with the peers whose environments are there."""
    pythons = {name: python for name, place in PEERS.items() if (python := make_env.interpreter(work, place))}
    absent = [name for name in PEERS if name not in pythons]
    left_out = [f"Left out, as their environments are not there: {', '.join(absent)}."] if absent else []
    return "\n\n".join([*left_out, scores(data, pythons), speeds(data, pythons)])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=make_env.WORK)
    work = parser.parse_args().work
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(report(DATA, work))


if __name__ == "__main__":
    main()
