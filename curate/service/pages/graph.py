"""Draws the stages of a run as SVG without script: boxes with their state, what they read, and how far they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from curate.report.markup import Markup, element
from curate.report.units import clip
from curate.service.pages.layout import Edge, Layout, lay_out

_WIDE, _HIGH = 138.0, 46.0  # of a box
_BETWEEN, _BESIDE = 34.0, 14.0  # from layer to layer, and within one
_LABEL_CHARS, _TOLD_CHARS = 17, 23
_FITTING_LAYERS, _FITTING_BREADTH = 8, 3  # larger graphs are not made smaller to fit the page, or a phone, but scrolled
_MARKS = {"done": "✓", "reused": "↺", "failed": "✗", "blocked": "○", "interrupted": "‖", "running": "▸"}


@dataclass(frozen=True)
class Node:
    """A box: its name, a line below it, its state (a stage's, `input` or `output`), how much is done (0 to 1), and where it leads."""

    name: str
    told: str
    state: str
    share: float = 0.0
    href: str | None = None


def graph(title: str, nodes: Sequence[Node], edges: Sequence[Edge]) -> Markup:
    """Return the graph twice: from left to right, and from top to bottom for narrow screens; the style shows one."""
    layout = lay_out([node.name for node in nodes], edges)
    across, down = _drawn(title, nodes, layout, False), _drawn(title, nodes, layout, True)
    fits = layout.layers <= _FITTING_LAYERS, layout.breadth <= _FITTING_BREADTH
    return Markup(_scrolled(title, across, "across", fits[0]) + _scrolled(title, down, "down", fits[1]))


def _scrolled(title: str, drawn: Markup, css: str, fits: bool) -> Markup:
    css = f"scroll {css}{' fits' if fits else ''}"
    return element("div", drawn, {"class": css, "tabindex": 0, "role": "region", "aria-label": title})


def _drawn(title: str, nodes: Sequence[Node], layout: Layout, down: bool) -> Markup:
    along, beside = (_HIGH, _WIDE) if down else (_WIDE, _HIGH)
    long = layout.layers * (along + _BETWEEN) - _BETWEEN
    broad = layout.breadth * (beside + _BESIDE) - _BESIDE
    width, height = (broad, long) if down else (long, broad)
    lines = [_line(path, down) for path in layout.paths.values()]
    boxes = [_box(node, _corner(layout.spots[node.name], down)) for node in nodes]
    size = {"viewBox": f"-1 -1 {width + 2:.0f} {height + 2:.0f}", "width": f"{width + 2:.0f}", "height": f"{height + 2:.0f}"}
    drawn = [element("g", lines, {"aria-hidden": "true"}), *boxes]
    return element("svg", drawn, {**size, "class": "graph", "role": "group", "aria-label": title})


def _corner(spot: tuple[int, float], down: bool) -> tuple[float, float]:
    layer, place = spot
    if down:
        return place * (_WIDE + _BESIDE), layer * (_HIGH + _BETWEEN)
    return layer * (_WIDE + _BETWEEN), place * (_HIGH + _BESIDE)


def _line(path: Sequence[tuple[int, float]], down: bool) -> Markup:
    """Return a line from box to box, straight through the layers that it passes."""
    corners = [_corner(spot, down) for spot in path]
    enter = [(x + _WIDE / 2, y) if down else (x, y + _HIGH / 2) for x, y in corners]
    leave = [(x, y + _HIGH) if down else (x + _WIDE, y) for x, y in enter]
    drawn = "M{:.1f} {:.1f}".format(*leave[0])
    for number in range(1, len(path)):
        drawn += _bend(leave[number - 1], enter[number], down)
        if number < len(path) - 1:
            drawn += "L{:.1f} {:.1f}".format(*leave[number])
    return element("path", None, {"d": drawn, "class": "edge"})


def _bend(start: tuple[float, float], end: tuple[float, float], down: bool) -> str:
    half = ((end[1] - start[1]) if down else (end[0] - start[0])) / 2
    first = (start[0], start[1] + half) if down else (start[0] + half, start[1])
    second = (end[0], end[1] - half) if down else (end[0] - half, end[1])
    return "C" + " ".join(f"{x:.1f} {y:.1f}" for x, y in (first, second, end))


def _box(node: Node, corner: tuple[float, float]) -> Markup:
    x, y = corner
    mark = _MARKS.get(node.state, "")
    drawn = [
        element("title", f"{node.name}: {node.state}, {node.told}" if node.told else f"{node.name}: {node.state}"),
        element("rect", None, {"x": x, "y": y, "width": _WIDE, "height": _HIGH, "rx": 3, "class": "box"}),
        element("rect", None, {"x": x, "y": y + _HIGH - 3, "width": _WIDE * node.share, "height": 3, "class": "share"}),
        element("text", clip(node.name, _LABEL_CHARS), {"x": x + 10, "y": y + 18, "class": "name"}),
        element("text", clip(node.told, _TOLD_CHARS), {"x": x + 10, "y": y + 34}),
        element("text", mark, {"x": x + _WIDE - 9, "y": y + 18, "text-anchor": "end", "class": "mark-of-state"}) if mark else None,
    ]
    attributes: Mapping[str, str] = {"class": f"node {node.state}"}
    return element("a", drawn, {"href": node.href, **attributes}) if node.href else element("g", drawn, attributes)
