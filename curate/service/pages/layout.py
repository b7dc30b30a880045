"""Lays a graph of stages out in layers: a node stands after everything that it reads, and lines bend around what is between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

Edge = tuple[str, str]
_JOINT = 0.25  # of the place of a node, for a line that passes a layer; sums of quarters are exact
_SWEEPS = 4  # passes that straighten the lines; more change nothing on graphs of some dozen stages


@dataclass(frozen=True)
class Layout:
    """Where everything stands: `spots` are (layer, place within the layer), `paths` the spots that each line passes."""

    spots: Mapping[str, tuple[int, float]]
    paths: Mapping[Edge, Sequence[tuple[int, float]]]
    layers: int
    breadth: float


def lay_out(names: Sequence[str], edges: Sequence[Edge]) -> Layout:
    """Return the layout of a graph without cycles; edges between names that are not there are left out."""
    known = [edge for edge in dict.fromkeys(edges) if edge[0] in names and edge[1] in names]
    layer = _layers(names, known)
    chains = {edge: _chain(edge, layer) for edge in known}
    rows: list[list[str]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for name in [*names, *(joint for chain in chains.values() for joint in chain[1:-1])]:
        rows[_layer(name, layer)].append(name)
    steps = [step for chain in chains.values() for step in zip(chain, chain[1:], strict=False)]
    place = _places(rows, steps)
    spots = {name: (_layer(name, layer), place[name]) for row in rows for name in row}
    breadth = max((_room(row) for row in rows), default=1.0)
    return Layout({name: spots[name] for name in names}, {e: [spots[n] for n in c] for e, c in chains.items()}, len(rows), breadth)


def _layers(names: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """Return each node's layer: one more than the last of those that it reads."""
    reads: dict[str, list[str]] = {name: [] for name in names}
    for source, target in edges:
        reads[target].append(source)
    layer = dict.fromkeys(names, 0)
    for _ in names:  # as many rounds as the longest way can have
        moved = {name: max((layer[source] + 1 for source in reads[name]), default=0) for name in names}
        if moved == layer:
            break
        layer = moved
    return layer


def _chain(edge: Edge, layer: Mapping[str, int]) -> list[str]:
    """Return an edge as a chain with a joint in every layer that it passes."""
    source, target = edge
    between = range(layer[source] + 1, layer[target])
    return [source, *(f"{source}\0{target}\0{number}" for number in between), target]


def _layer(name: str, layer: Mapping[str, int]) -> int:
    return layer[name] if name in layer else int(name.rpartition("\0")[2])


def _places(rows: list[list[str]], steps: Sequence[Edge]) -> dict[str, float]:
    """Order every layer by where its neighbours stand, forth and back, then centre the layers on one another."""
    near: dict[str, list[str]] = {name: [] for row in rows for name in row}
    for source, target in steps:
        near[source].append(target)
        near[target].append(source)
    place = {name: at for row in rows for name, at in _spread(row)}
    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            mean = {name: sum(place[n] for n in near[name]) / len(near[name]) if near[name] else place[name] for name in row}
            row.sort(key=lambda name: mean[name])
            place |= dict(_spread(row))
    widest = max((_room(row) for row in rows), default=0.0)
    return {name: at + (widest - _room(row)) / 2 for row in rows for name, at in _spread(row)}


def _spread(row: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Yield where each of a layer stands: a joint is a line in the middle of a narrower place."""
    for number, name in enumerate(row):
        yield name, _room(row[:number]) + (_room([name]) - 1) / 2


def _room(names: Sequence[str]) -> float:
    return sum(_JOINT if "\0" in name else 1.0 for name in names)
