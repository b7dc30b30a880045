"""Decisions about clusters: by a person, by a model, by a rule, in this order.

A model is anything that takes a card and says keep or drop:

    def judge(card: Card) -> Opinion:
        answer = ask(described(card))                       # your model's
        return Opinion("drop", "navigation bars")

    write_opinions(cards, judge, "verdicts.jsonl")          # goes on where it was stopped

The file has a JSON object per line: `{"clustering", "cluster", "decision": "keep" | "drop", "reason"}`; of several lines of one
cluster the last one counts. `drop_clusters` and `curate clusters review` read it, whoever wrote it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import orjson

from curate.clusters_cards import Card, Cards, headline, told
from curate.errors import PipelineError
from curate.pipeline_mistakes import found
from curate.registry import suggest

KEEP, DROP = "keep", "drop"
VERBS = (KEEP, DROP)
REASON_CHARS = 150  # with the cluster's number it is what ledgers count by
By = Literal["review", "verdicts", "rule"]


@dataclass(frozen=True)
class Opinion:
    """What a model says of one cluster."""

    decision: Literal["keep", "drop"]
    reason: str | None = None


class Judge(Protocol):
    """Says of a card, which is as `curate.clusters_cards` describes it, whether its cluster stays."""

    def __call__(self, card: Card) -> Opinion:
        """Return keep or drop, and why."""


@dataclass(frozen=True)
class Decision:
    """What becomes of a cluster, why, and who said so; nobody of one that stays because nothing speaks against it."""

    keep: bool
    reason: str | None
    by: By | None


def described(card: Card) -> str:
    """Return a card as a text for a model: size, measures, words, and the openings of its documents."""
    return "\n".join([headline(card), *told(card, chars=None)])


def write_opinions(cards: Cards, judge: Judge, path: str | Path) -> int:
    """Ask of every cluster that the file does not have yet, and append each answer; return how many were asked."""
    known = read_opinions(path, cards) if Path(path).exists() else {}
    asked = [card for card in cards.clusters if card["cluster"] not in known]
    with open(path, "ab") as out:
        for card in asked:
            opinion = judge(card)
            line = {"clustering": cards.clustering, "cluster": card["cluster"], "decision": opinion.decision, "reason": opinion.reason}
            out.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
            out.flush()
    return len(asked)


def read_opinions(path: str | Path, cards: Cards | None, named: str | None = None) -> dict[int, Opinion]:
    """Read a file of verdicts; raise `PipelineError` with the line of the first that does not fit these cards.

    Without cards only its form is looked at. `named` is what errors call the file.
    """
    known, opinions = set(cards.numbers) if cards is not None else set(), {}
    for number, line in enumerate(Path(path).read_bytes().split(b"\n"), 1):
        if line.strip():
            where = f"{named or path}:{number}"
            data = _object(line, where)
            cluster = data.get("cluster")
            check_clustering(where, data.get("clustering"), cards)
            if not isinstance(cluster, int) or isinstance(cluster, bool) or (cards is not None and cluster not in known):
                hint = cards.range if cards is not None else "clusters have numbers"
                raise PipelineError(f"{where}: `cluster` is {found(cluster)}, and no cluster has that number", hint)
            opinions[cluster] = Opinion(verb(where, data.get("decision")), reason_of(where, data.get("reason")))
    return opinions


def _object(line: bytes, where: str) -> Mapping[str, Any]:
    try:
        data = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise PipelineError(f"{where}: not JSON: {error}", "one object per line") from error
    if not isinstance(data, dict):
        raise PipelineError(f"{where}: {found(data)} instead of an object", 'write {"clustering": …, "cluster": 0, "decision": "keep"}')
    return data


def check_clustering(where: str, value: object, cards: Cards | None) -> None:
    """Raise `PipelineError` when a decision is about other clusters than these cards are of; without cards, when it names none."""
    if not isinstance(value, str):
        these = f"; these cards are of {cards.clustering}" if cards is not None else ""
        hint = "each decision names the `clustering` of its cards, as their `cards.json` does: numbers mean something else in another one"
        raise PipelineError(f"{where}: decisions of no clustering{these}", hint)
    if cards is not None and value != cards.clustering:
        hint = "numbers mean something else after clustering anew: decide anew, in another file"
        raise PipelineError(f"{where}: decisions of the clustering {value}; these cards are of {cards.clustering}", hint)


def verb(where: str, value: object) -> Literal["keep", "drop"]:
    """Return a verb; raise `PipelineError` that guesses what was meant."""
    if value == KEEP:
        return "keep"
    if value == DROP:
        return "drop"
    hint = suggest(value, list(VERBS)) if isinstance(value, str) else None
    raise PipelineError(f"{where}: a decision is `keep` or `drop`, not {found(value)}", hint or "write `keep` or `drop`")


def reason_of(where: str, value: object) -> str | None:
    """Return a reason on one line, None when it is empty."""
    if value is not None and not isinstance(value, str):
        raise PipelineError(f"{where}: a reason is a text, not {found(value)}", "put it in quotes")
    return " ".join((value or "").split())[:REASON_CHARS] or None


def decide(
    cards: Cards,
    reviewed: Mapping[int, Decision],
    opinions: Mapping[int, Opinion],
    ruled: Mapping[int, str],
) -> dict[int, Decision]:
    """Return what becomes of every cluster.

    A person's decision counts before a model's, that before the rule's; clusters of which nobody says anything stay.
    """
    return {cluster: _of(cluster, reviewed, opinions, ruled) for cluster in cards.numbers}


def _of(
    cluster: int,
    reviewed: Mapping[int, Decision],
    opinions: Mapping[int, Opinion],
    ruled: Mapping[int, str],
) -> Decision:
    if cluster in reviewed:
        return reviewed[cluster]
    if (opinion := opinions.get(cluster)) is not None:
        return Decision(opinion.decision == KEEP, opinion.reason, "verdicts")
    if cluster in ruled:
        return Decision(False, ruled[cluster], "rule")
    return Decision(True, None, None)
