"""A file in which a person decides which clusters go; it is written, edited, and written again without losing an edit.

    format: 1
    clustering: 0123456789abcdef
    clusters:

      #| cluster 17: 532 documents, 3.1%, 1,234,567 characters
      #| suggested: drop, pairwise_similarity > 0.9
      #| similarity of pairs 0.93, mean distance 0.04, …
      #| words: login, menu, cart
      #| nearest: 0.01 crawl/17: Home | Login | Register …
      17:
        decision: keep          # mine: these are poems
        reason:

`decision`, `reason` and `note` are the person's. An empty decision leaves a cluster to verdicts and the rule of `drop_clusters`. Writing
again replaces lines that begin with `#|` and leaves every other line as it stands.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from curate.clusters_cards import Card, Cards, headline, told
from curate.clusters_decisions import DROP, KEEP, Decision, check_clustering, reason_of, verb
from curate.errors import PipelineError
from curate.pipeline_mistakes import Mistakes, Place, Positions, found
from curate.registry import suggest
from curate.report.units import plural, printable
from curate.yaml_tree import read_tree

FORMAT, MARK = 1, "#|"
TOP, FIELDS = ("format", "clustering", "clusters"), ("decision", "reason", "note")
_HEAD = """\
# Review of {what}. Write `keep` or `drop` behind `decision:`, and behind `reason:` what the ledger shall say of its documents.
# An empty decision leaves a cluster to the rule. When this is written again, lines that begin with `#|` change, and nothing else.
format: 1
clustering: {clustering}
clusters:
"""


@dataclass(frozen=True)
class Review:
    """A review file that was read: decisions by cluster, all that its entries say, and where its lines stand."""

    decisions: Mapping[int, Decision]
    entries: Mapping[str, Any]
    lines: tuple[str, ...]
    positions: Positions


def read_review(path: str | Path, cards: Cards | None, where: str | None = None) -> Review:
    """Read a review; raise one `PipelineError` for all that is wrong, each with its line.

    Without cards only its form is looked at, and not whether it is of these clusters. `where` is what errors call the file.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PipelineError(f"{where or path}: cannot be read: {error}") from error
    return _review(text, where or str(path), cards)


def _review(text: str, file: str, cards: Cards | None) -> Review:
    data, positions = read_tree(text, file)
    if not isinstance(data, dict) or not isinstance(data.get("clusters") or {}, dict):
        raise PipelineError(f"{file}:1: {found(data)} instead of a review", "`curate clusters review` writes one")
    mistakes = Mistakes(positions)
    _names(data, TOP, (), mistakes)
    if data.get("format") != FORMAT:
        mistakes.add(("format",), f"format {found(data.get('format'))}, not {FORMAT}", "`curate clusters review` writes reviews")
    mistakes.raise_any()
    check_clustering(positions.where(("clustering",)), data.get("clustering"), cards)
    decisions, known = {}, set(map(str, cards.numbers)) if cards is not None else None
    for name, entry in (data.get("clusters") or {}).items():
        place: Place = ("clusters", name)
        if not name.isdecimal() or (known is not None and name not in known):
            mistakes.add(place, f"no cluster `{name}`", cards.range if cards is not None else "clusters have numbers")
        elif (decision := _decision(entry, place, mistakes)) is not None:
            decisions[int(name)] = decision
    mistakes.raise_any()
    return Review(decisions, data.get("clusters") or {}, tuple(text.split("\n")), positions)


def _decision(entry: Any, place: Place, mistakes: Mistakes) -> Decision | None:
    """Return what an entry says, None when it says nothing."""
    if not isinstance(entry, dict | None):
        mistakes.add(place, f"cluster {place[1]}: {found(entry)} instead of `decision` and `reason`", "write `decision: drop` below it")
        return None
    entry = entry or {}
    _names(entry, FIELDS, place, mistakes)
    for name, read in (("decision", verb), ("reason", reason_of)):
        try:
            if entry.get(name) is not None:
                read(f"cluster {place[1]}", entry[name])
        except PipelineError as error:
            mistakes.add((*place, name), error.message, error.hint)
    if entry.get("decision") is None and entry.get("reason"):
        hint = "write `keep` or `drop` behind `decision:`; what is only for people goes behind `note:`"
        mistakes.add((*place, "reason"), f"cluster {place[1]}: a reason, and no decision", hint)
    if entry.get("decision") not in (KEEP, DROP):
        return None
    reason = entry.get("reason")
    return Decision(entry["decision"] == KEEP, reason_of("", reason) if isinstance(reason, str) else None, "review")


def _names(data: Mapping[str, Any], known: tuple[str, ...], place: Place, mistakes: Mistakes) -> None:
    for name in data:
        if name not in known:
            mistakes.add((*place, name), f"unknown key `{name}`", suggest(name, list(known)) or f"keys are: {', '.join(known)}")


def write_review(path: str | Path, cards: Cards, suggested: Mapping[int, Decision]) -> int:
    """Write a review of these cards, or bring one up to date; return how many of its clusters a person has decided.

    Raises `PipelineError`, with the old file as it was, when that is of other clusters, cannot be read, or would lose a decision.
    """
    target = Path(path)
    old = read_review(target, cards) if target.exists() else None
    lines = list(_renewed(old, cards, suggested)) if old else _head(cards)
    for card in _ordered(cards):
        if old is None or _entry(card) not in old.positions.marks:
            lines += ["", *_comments(card, suggested), f"  {card['cluster']}:", "    decision:", "    reason:"]
    text = "\n".join(lines).rstrip("\n") + "\n"
    new = _review(text, str(path), cards)
    if old and {name: new.entries.get(name) for name in old.entries} != old.entries:
        raise PipelineError(f"{path}: cannot be brought up to date without a change to what it says", "write to another file with `--to`")
    _replace(target, text)
    return len(new.decisions)


def _head(cards: Cards) -> list[str]:
    what = f"{plural(len(cards.clusters), 'cluster')} of {plural(cards.documents, 'document')}"
    return _HEAD.format(what=what, clustering=orjson.dumps(cards.clustering).decode()).splitlines()


def _ordered(cards: Cards) -> list[Card]:
    return sorted(cards.clusters, key=lambda card: (-card["documents"], card["cluster"]))


def _renewed(old: Review, cards: Cards, suggested: Mapping[int, Decision]) -> Iterator[str]:
    """Yield the lines of a review with other comments; everything else stays as it was written."""
    begun = {old.positions.marks[_entry(card)].line: card for card in cards.clusters if _entry(card) in old.positions.marks}
    for number, line in enumerate(old.lines, 1):
        if number in begun:
            yield from _comments(begun[number], suggested)
        if not line.lstrip().startswith(MARK):
            yield line


def _entry(card: Card) -> Place:
    return ("clusters", str(card["cluster"]))


def _comments(card: Card, suggested: Mapping[int, Decision]) -> list[str]:
    first, *rest = told(card)
    decision = suggested.get(card["cluster"])
    why = f", {printable(decision.reason)}" if decision is not None and decision.reason else ""
    what = [f"suggested: {KEEP if decision.keep else DROP}{why}"] if decision is not None else []
    return [f"  {MARK} {line}" for line in (headline(card), *what, first, *rest)]


def _replace(target: Path, text: str) -> None:
    """Put a file in the place of another one at once."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise PipelineError(f"{target}: cannot be written: {error.strerror or error}", "name another file with `--to`") from error
    try:
        with open(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        Path(name).chmod(target.stat().st_mode & 0o777 if target.exists() else 0o644)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
