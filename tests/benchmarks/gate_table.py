"""What the gate said, as a table: by how much each dose is worse, whether larger doses are more so, and how often nothing was something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import orjson
from scipy.stats import binomtest

LEVEL = 0.05
FILE = Path(__file__).with_name("gate_decisions.json")


@dataclass(frozen=True)
class Found:
    """One comparison: bits per byte by which the candidate is worse, its interval, p, and the gate's answer."""

    name: str
    difference: float
    low: float
    high: float
    p: float
    answer: str
    kind: str = ""
    dose: float = 0.0

    @classmethod
    def of(cls, name: str, check: Mapping[str, Any]) -> Self:
        """Read a comparison from a report's check, whose first row is over all sets."""
        first = next(iter(check["measures"].values()))
        return cls(name, *(first[key] for key in ("difference", "low", "high", "p", "answer")))

    def with_dose(self, kind: str, dose: float) -> Found:
        """Return it with what was done to the candidate."""
        return replace(self, kind=kind, dose=dose)


@dataclass
class Record:
    """What was found with models of one kind, `how`, in a file that a benchmark goes on from."""

    how: str
    spoilt: list[Found] = field(default_factory=list)
    nothing: list[Found] = field(default_factory=list)

    @classmethod
    def read(cls, how: str, path: Path = FILE) -> Self:
        """Return what is written down, an empty record if that is of other models."""
        there = orjson.loads(path.read_bytes()) if path.exists() else {}
        if there.get("how") != how:
            return cls(how)
        return cls(how, *([Found(**each) for each in there[name]] for name in ("spoilt", "nothing")))

    def write(self, path: Path = FILE) -> None:
        """Write it all down."""
        path.write_bytes(orjson.dumps(self, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def text_of(spoilt: Sequence[Found], nothing: Sequence[Found], how: str) -> str:
    """Return the tables and what they come to."""
    kinds = list(dict.fromkeys(each.kind for each in spoilt))
    head = ["spoilt", "documents", "bits per byte", "95 % interval", "p", "the gate says of it"]
    rows = [
        [each.kind, f"{each.dose:.0%}", f"{each.difference:+.4f}", f"{each.low:+.4f} to {each.high:+.4f}", f"{each.p:.2g}", each.answer]
        for each in spoilt
    ]
    ordered = [kind for kind in kinds if _rises([each.difference for each in spoilt if each.kind == kind])]
    seen = sum(each.answer == "worse" for each in spoilt)
    called = sum(each.answer != "cannot tell" for each in nothing)
    low, high = binomtest(called, len(nothing)).proportion_ci(method="exact")
    width = sum(each.high - each.low for each in nothing) / len(nothing) / 2
    return "\n\n".join(
        [
            f"Models of {how}, each comparison.",
            _table(head, rows),
            f"Of {len(spoilt)} spoilt corpora {seen} are called worse and {sum(each.answer == 'better' for each in spoilt)} better. "
            f"Larger doses are worse than smaller ones throughout for {len(ordered)} of {len(kinds)} kinds"
            + (f" ({', '.join(ordered)})." if ordered else "."),
            f"Halves of the clean corpus, neither of them better, are told apart in {called} of {len(nothing)} repetitions: "
            f"{called / len(nothing):.0%}, 95 % interval {low:.0%} to {high:.0%}, where {LEVEL:.0%} are due. "
            f"Their intervals reach ±{width:.4f} bits per byte, mean.",
        ]
    )


def _rises(values: Sequence[float]) -> bool:
    return all(a < b for a, b in pairwise(values))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])
