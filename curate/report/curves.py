"""Curves of shares over a measure, as SVG without script: lines, dots beside them, and upright marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curate.report.markup import Markup, element
from curate.report.units import number

WIDTH, HEIGHT, LEFT, BELOW = 360.0, 170.0, 30.0, 30.0
_KINDS = ("kept", "added", "errored")  # the colours that lines and dots take, in order
_LINES = (*_KINDS, *(f"{kind} dashed" for kind in _KINDS))
_MAX_POINTS = 400

Points = Sequence[Sequence[float]]


def curve(title: str, data: Mapping[str, Any]) -> Markup:
    """Return a figure of a `curate.work.Curve`; the measure's axis runs over what is drawn, the share's from 0 to 1."""
    lines, dots, marks = (data.get(key) or {} for key in ("lines", "dots", "marks"))
    spread = [point[0] for points in (*lines.values(), *dots.values()) for point in points] + list(marks.values())
    if not spread:
        return Markup()
    low, high = min(spread), max(spread)
    axis = _Axis(low, high if high > low else low + 1)
    drawn = [
        *_grid(axis),
        *(_mark(axis, name, place) for name, place in marks.items()),
        *(_line(axis, points[:_MAX_POINTS], kind) for points, kind in zip(lines.values(), _LINES, strict=False)),
        *(dot for points, kind in zip(dots.values(), _KINDS[::-1], strict=False) for dot in _dots(axis, points[:_MAX_POINTS], kind)),
        element("text", str(data.get("measure")), {"x": (LEFT + WIDTH) / 2, "y": HEIGHT + BELOW, "text-anchor": "middle"}),
    ]
    attributes = {"viewBox": f"0 -14 {WIDTH + 8:.0f} {HEIGHT + BELOW + 18:.0f}", "role": "img", "class": "curve"}
    svg = element("svg", drawn, attributes | {"aria-label": f"{title}: {data.get('share')} over {data.get('measure')}."})
    return element("figure", [_caption(data, lines, dots), svg])


class _Axis:
    """Where values stand in the picture."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def x(self, value: float) -> float:
        return round(LEFT + (WIDTH - LEFT) * (value - self.low) / (self.high - self.low), 1)

    @staticmethod
    def y(share: float) -> float:
        return round(HEIGHT * (1 - min(max(share, 0.0), 1.0)), 1)


def _caption(data: Mapping[str, Any], lines: Mapping[str, Points], dots: Mapping[str, Points]) -> Markup:
    keys = [(name, kind, "line") for name, kind in zip(lines, _LINES, strict=False)]
    keys += [(name, kind, "dot") for name, kind in zip(dots, _KINDS[::-1], strict=False)]
    legend = [element("span", [element("i", None, {"class": f"key {kind} {shape}"}), str(name)]) for name, kind, shape in keys]
    return element("figcaption", [element("b", str(data.get("share"))), element("span", legend, {"class": "legend"})])


def _grid(axis: _Axis) -> list[Markup]:
    drawn = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = axis.y(share)
        drawn.append(element("line", None, {"class": "axis" if share == 0 else "grid", "x1": LEFT, "x2": WIDTH, "y1": y, "y2": y}))
        drawn.append(element("text", f"{share:g}", {"x": LEFT - 5, "y": y + 4, "text-anchor": "end"}))
    for k in range(6):
        value = axis.low + (axis.high - axis.low) * k / 5
        anchor = "end" if k == 5 else "middle"
        drawn.append(element("text", number(value), {"x": axis.x(value), "y": HEIGHT + 15, "text-anchor": anchor}))
    return drawn


def _mark(axis: _Axis, name: str, place: float) -> Markup:
    x = axis.x(place)
    anchor = "end" if x > WIDTH * 0.6 else "start"
    label = element("text", f"{name} {number(place)}", {"x": x - 4 if anchor == "end" else x + 4, "y": -4, "text-anchor": anchor})
    return Markup(element("line", None, {"class": "mark", "x1": x, "x2": x, "y1": -12, "y2": HEIGHT}) + label)


def _line(axis: _Axis, points: Points, kind: str) -> Markup:
    path = "M" + "L".join(f"{axis.x(x)} {axis.y(y)}" for x, y in points)
    return element("path", None, {"class": f"curved {kind}", "d": path})


def _dots(axis: _Axis, points: Points, kind: str) -> list[Markup]:
    return [
        element("circle", element("title", f"{number(x)}: {number(y)}"), {"cx": axis.x(x), "cy": axis.y(y), "r": 4, "class": kind})
        for x, y in points
    ]
