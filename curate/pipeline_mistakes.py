"""Collects every mistake of a pipeline with its place, and reports them together in one error.

A place is the path of a key from the top of the pipeline: `("stages", "clean", "operators", 1, "params", "min_chars")`.
In a file it has a line; in a pipeline built in Python it is told in words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from curate.errors import CurateError, PipelineError
from curate.pipeline import Pipeline

Place = tuple[str | int, ...]
MAX_SHOWN = 50
_SECTIONS = {"inputs": "input", "stages": "stage", "outputs": "output", "checks": "check"}


@dataclass(frozen=True)
class Mark:
    """A position in the file, both counted from 1."""

    line: int
    column: int


class Locator(Protocol):
    """Says where a place is: in a file, or in words."""

    def where(self, place: Place) -> str:
        """Return the text that a message begins with."""

    def order(self, place: Place) -> int:
        """Return a number that sorts mistakes as their reader meets them."""


@dataclass
class Positions:
    """Where every key and list item of a pipeline file stands; `sets` holds the places that `--set` gave a value."""

    file: str
    marks: dict[Place, Mark] = field(default_factory=dict)
    sets: dict[Place, str] = field(default_factory=dict)

    def mark(self, place: Place) -> Mark:
        """Return the mark of the place, or of the nearest one around it that has one."""
        return next((self.marks[p] for p in _upwards(place) if p in self.marks), Mark(1, 1))

    def where(self, place: Place) -> str:
        """Return `file:line`, or the `--set` that put the value there."""
        override = self._override(place)
        return f"--set {override}" if override is not None else f"{self.file}:{self.mark(place).line}"

    def order(self, place: Place) -> int:
        """Sort by line, what came from the command line first."""
        return 0 if self._override(place) is not None else self.mark(place).line

    def _override(self, place: Place) -> str | None:
        for p in _upwards(place):
            if p in self.sets:
                return self.sets[p]
            if p in self.marks:
                return None
        return None


@dataclass(frozen=True)
class InWords:
    """Places of a pipeline built in Python: `stage clean, step 2 (length)`."""

    pipeline: Pipeline

    def where(self, place: Place) -> str:
        """Return the nearest thing with a name."""
        match place:
            case ("stages", name, "operators", int(index), *_):
                return f"stage {name}, step {index + 1} ({self._label(name, index)})"
            case (str(section), name, *_) if section in _SECTIONS:
                return f"{_SECTIONS[section]} {name}"
        return f"pipeline {self.pipeline.name}"

    def order(self, place: Place) -> int:
        """Keep the order in which mistakes were found."""
        return 0

    def _label(self, name: Any, index: int) -> str:
        try:
            return str(self.pipeline.stages[name].operators[index].label)
        except (AttributeError, IndexError, KeyError, TypeError):  # the pipeline is wrong, and that is being reported
            return "?"


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong, and what to do about it."""

    place: Place
    what: str
    hint: str | None = None


class Mistakes:
    """The mistakes found so far."""

    def __init__(self, locator: Locator) -> None:
        self.locator = locator
        self._found: list[Mistake] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(self, place: Place, what: str, hint: str | None = None) -> None:
        """Note one mistake; the same one twice counts once."""
        mistake = Mistake(place, what, hint)
        if mistake not in self._found:
            self._found.append(mistake)

    def add_error(self, place: Place, error: PipelineError) -> None:
        """Note a mistake that somebody else found, at its place."""
        self.add(place, error.message, error.hint)

    def add_said(self, place: Place, use: str, error: CurateError) -> None:
        """Note what an operator says; its name stands before it once."""
        self.add(place, f"`{use}`: {error.message.removeprefix(f'{use}: ')}", error.hint)

    def raise_any(self) -> None:
        """Raise one `PipelineError` with a line per mistake, or return when there is none."""
        if not self._found:
            return
        found = sorted(self._found, key=lambda m: self.locator.order(m.place))
        if len(found) == 1:
            raise PipelineError(self._line(found[0]), found[0].hint)
        lines = [self._line(m) + (f" ({m.hint})" if m.hint else "") for m in found[:MAX_SHOWN]]
        if len(found) > MAX_SHOWN:
            lines.append(f"… and {len(found) - MAX_SHOWN} more mistakes")
        raise PipelineError("\n".join(lines))

    def _line(self, mistake: Mistake) -> str:
        return f"{self.locator.where(mistake.place)}: {mistake.what}"


def found(value: object) -> str:
    """Say what stands where something else was expected."""
    match value:
        case None:
            return "nothing (null)"
        case bool():
            return "true" if value else "false"
        case str():
            return f"the string `{value if len(value) <= 40 else value[:39] + '…'}`"
        case int() if value.bit_length() > 128:  # Python itself refuses to write thousands of digits
            return "a very long number"
        case int() | float():
            return f"the number {value}"
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
    return f"a {type(value).__name__}"


def _upwards(place: Place) -> Iterator[Place]:
    for length in range(len(place), -1, -1):
        yield place[:length]
