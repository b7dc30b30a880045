"""Rules on cards: which clusters to drop, as a condition in the language of `where` on the numbers of a card.

    parse("pairwise_similarity > 0.9 or line_repetition > 0.5").reasons(cards)     # {17: "line_repetition > 0.5", …}

A rule reads `cluster`, the numbers of `curate.clusters_cards.NUMBERS`, and the means of scores by their names. The reason is the first
part of the top-level `or` that is true. A number that was not measured makes no part true. `where` is found by its name, like any
operator of a pipeline, so that there is one language for conditions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from curate.clusters_cards import NUMBERS, Cards, numbers_of
from curate.errors import PipelineError
from curate.protocols import Filter
from curate.registry import OperatorSpec, build, suggest

_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\w+|[()]|.", re.DOTALL)


@dataclass(frozen=True)
class Rule:
    """A condition that was read: as a whole, and as the parts of its top-level `or`."""

    text: str
    whole: Filter
    parts: tuple[tuple[str, Filter], ...]

    def reasons(self, cards: Cards) -> dict[int, str]:
        """Return why each cluster is to go that the rule is true of; raise `PipelineError` for names that cards do not have."""
        numbers = numbers_of(cards.clusters, cards.scores)
        self.check_names(numbers.schema)
        wanted = _true(self.whole, numbers)
        found: dict[int, str] = {}
        for text, part in (*self.parts, (self.text, self.whole)):
            for cluster, holds, in_all in zip(cards.numbers, _true(part, numbers), wanted, strict=True):
                if holds and in_all:
                    found.setdefault(cluster, text)
        return found

    def check_names(self, schema: pa.Schema) -> None:
        """Raise `PipelineError` for a name that cards with these columns do not have, or of which the rule asks what it is not."""
        known = [name for name in schema.names if name != "id"]
        for name in self.whole.reads():
            if name not in known:
                place = self.text.find(name.rpartition(".")[2]) + 1
                hint = suggest(name, known) or f"cards have: {', '.join(known)}"
                raise PipelineError(f"rule `{self.text}`, character {place}: cards have no number `{name}`", hint)
        self.whole.verify(schema)


def parse(text: str) -> Rule:
    """Read a rule; raise `PipelineError` that names the place of what cannot be read."""
    try:
        whole = _where(text)
    except PipelineError as error:
        raise _located(text, error) from error
    try:
        parts = tuple((" ".join(part.split()), _where(part)) for _, part in split(text, "or"))
    except PipelineError:  # a part that reads no number, such as `true`
        parts = ()
    return Rule(" ".join(text.split()), whole, parts)


def names() -> list[str]:
    """Return what every card has for rules to compare."""
    return ["cluster", *NUMBERS]


def split(text: str, word: str) -> Iterator[tuple[int, str]]:
    """Yield the places and texts between the `or` or `and` of a condition's top level."""
    start, depth, between = 0, 0, 0
    for token in _TOKEN.finditer(text):
        found = token.group().lower()
        depth += (found in ("(", "case")) - (found in (")", "end"))
        between += not depth and found == "between"
        if depth or found != word:
            continue
        if word == "and" and between:
            between -= 1
            continue
        yield start, text[start : token.start()]
        start = token.end()
    yield start, text[start:]


def _where(text: str) -> Filter:
    return cast(Filter, build(OperatorSpec("where", {"keep": text})))


def _true(condition: Filter, numbers: pa.RecordBatch) -> list[bool]:
    """Return of which rows a condition is true; `where` has a reason for all others."""
    reasons: Any = condition.drop(numbers)
    return cast(list[bool], pc.is_null(reasons).to_pylist())


def _located(text: str, error: PipelineError) -> PipelineError:
    """Return the error of the first part that cannot be read by itself, with its place."""
    for place, part in split(text, "or"):
        for inner, smallest in split(part, "and"):
            begun = place + inner + len(smallest) - len(smallest.lstrip()) + 1
            if not smallest.strip():
                return PipelineError(f"rule `{text}`, character {min(begun, len(text))}: a condition is missing here", "take out the `or`")
            try:
                _where(smallest)
            except PipelineError as found:
                return PipelineError(f"rule `{text}`, character {begun}: {found.message.removeprefix('where: ')}", found.hint)
    return PipelineError(f"rule: {error.message.removeprefix('where: ')}", error.hint)
