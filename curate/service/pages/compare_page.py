"""What the page that compares two runs says: their stages, drops and costs side by side, and how their pipelines differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from curate.report.markup import Child, Column, Markup, Row, element, table
from curate.report.units import count, duration, size
from curate.service.views.compare import Pair, StagePair

_MOST_DROPS = 12
_COLUMNS = (
    Column("Stage"),
    Column("In, before", numeric=True, minor=True),
    Column("After", numeric=True, minor=True),
    Column("Out, before", numeric=True),
    Column("After", numeric=True),
    Column("Change", numeric=True),
    Column("Time, before", numeric=True, minor=True),
    Column("After", numeric=True, minor=True),
    Column("Memory, before", numeric=True, minor=True),
    Column("After", numeric=True, minor=True),
)
_DROP_COLUMNS = (Column("Reason"), Column("Before", numeric=True), Column("After", numeric=True), Column("Change", numeric=True))


def stage_rows(pairs: Sequence[StagePair]) -> Markup:
    """Return the stages of both runs in one table."""
    return table("Stages of both runs", _COLUMNS, [_stage(pair) for pair in pairs], css="compared")


def _stage(pair: StagePair) -> Row:
    name: Child = [pair.name, element("span", " the same dataset", {"class": "quiet"})] if pair.same else pair.name
    numbers = [*_sides(pair.rows_in, count), *_sides(pair.rows_out, count), change(pair.rows_out)]
    return (name, *numbers, *_sides(pair.seconds, duration), *_sides(pair.peak_rss, size))


def _sides(pair: Pair, told: Callable[[float], str]) -> list[str]:
    return ["–" if side is None else told(side) for side in (pair.before, pair.after)]


def drop_tables(pairs: Sequence[StagePair]) -> Markup:
    """Return for each stage the reasons whose numbers changed, the most changed first."""
    return Markup("".join(_drops(pair) for pair in pairs))


def _drops(pair: StagePair) -> Markup:
    moved = [drop for drop in pair.drops if drop.moved]
    rows: list[Row] = [(drop.name, *_sides(drop, count), change(drop)) for drop in moved[:_MOST_DROPS]]
    rest = element("p", f"{count(len(moved) - len(rows))} more reasons changed", {"class": "quiet"}) if len(moved) > len(rows) else ""
    return Markup(element("h3", pair.name) + table(f"Drops of {pair.name} that changed", _DROP_COLUMNS, rows) + rest) if rows else Markup()


def change(pair: Pair) -> str:
    """Return a difference with its sign."""
    if pair.moved is None:
        return "–"
    return "0" if not pair.moved else f"{'+' if pair.moved > 0 else '−'}{count(abs(pair.moved))}"
