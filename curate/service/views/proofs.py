"""What was judged of corpora by models, as histories: the effects of one pipeline's check over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from curate import proofs as ledger
from curate.storage import Storage


@dataclass(frozen=True)
class Judgement:
    """One comparison of a proof: `candidate` against one other corpus."""

    proof: Mapping[str, Any]
    against: str
    value: float
    low: float
    high: float
    answer: str


@dataclass(frozen=True)
class History:
    """The comparisons of one candidate with one other corpus by one check of one pipeline, oldest first."""

    pipeline: str
    check: str
    candidate: str
    against: str
    judgements: list[Judgement] = field(default_factory=list)


def histories(storage: Storage, pipeline: str = "") -> list[History]:
    """Return the histories of a workspace, the one that was added to last first."""
    found: dict[tuple[str, ...], History] = {}
    for proof in ledger.read(storage):
        if pipeline and proof["pipeline"] != pipeline:
            continue
        for judgement in _judgements(proof):
            key = (str(proof["pipeline"]), str(proof["check"]), str(proof["candidate"]), judgement.against)
            found.setdefault(key, History(*key)).judgements.append(judgement)
    return sorted(found.values(), key=lambda history: str(history.judgements[-1].proof["time"]), reverse=True)


def _judgements(proof: Mapping[str, Any]) -> Sequence[Judgement]:
    return [
        Judgement(proof, str(other), float(told["difference"]), float(told["low"]), float(told["high"]), str(told["answer"]))
        for other, told in proof["against"].items()
    ]
