"""Small pictures of numbers over time: a line of throughput or memory in a table's cell, and intervals of effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from curate.report.markup import Markup, element
from curate.report.units import number


def trace(values: Sequence[float], label: str, css: str) -> Markup:
    """Return an area over time, scaled to its own peak; nothing when there is nothing to see."""
    peak = max(values, default=0)
    if not peak:
        return Markup()
    tall = [22 - 20 * value / peak for value in values]
    step = 100 / len(tall)
    steps = "".join(f"L{i * step:.2f} {y:.1f}L{(i + 1) * step:.2f} {y:.1f}" for i, y in enumerate(tall))
    area = element("path", None, {"d": f"M0 24{steps}L100 24Z", "class": css})
    attributes = {"viewBox": "0 0 100 24", "preserveAspectRatio": "none", "class": "trace", "role": "img", "aria-label": label}
    return element("svg", area, attributes)


@dataclass(frozen=True)
class Effect:
    """A difference with its interval. `name` and `told` stand beside it; `answer` is `better`, `worse` or `cannot tell`."""

    name: str
    told: str
    value: float
    low: float
    high: float
    answer: str
    href: str


_LEFT, _ROW, _SPAN, _TOP = 150.0, 30.0, 470.0, 28.0
_CSS = {"better": "kept", "worse": "dropped"}


def intervals(title: str, effects: Sequence[Effect], measure: str) -> Markup:
    """Return effects one below the other on one axis with zero, oldest first."""
    if not effects:
        return Markup()
    reach = max(max(abs(effect.low), abs(effect.high)) for effect in effects) * 1.08 or 1.0
    bottom = _TOP + _ROW * len(effects)
    middle = _x(0, reach)
    drawn = [
        element("line", None, {"class": "axis", "x1": middle, "x2": middle, "y1": _TOP - 6, "y2": bottom}),
        *(_tick(value, reach) for value in (-reach / 1.08, 0.0, reach / 1.08)),
        element("text", measure, {"x": middle, "y": bottom + 16, "text-anchor": "middle"}),
        *(_effect(effect, _TOP + _ROW * (row + 0.5), reach) for row, effect in enumerate(effects)),
    ]
    size = {"viewBox": f"0 0 {_LEFT + _SPAN:.0f} {bottom + 22:.0f}", "class": "intervals", "role": "group"}
    return element("svg", drawn, {**size, "aria-label": title})


def _x(value: float, reach: float) -> float:
    return _LEFT + _SPAN * (value + reach) / (2 * reach)


def _tick(value: float, reach: float) -> Markup:
    anchor = "middle" if value == 0 else "start" if value < 0 else "end"
    return element("text", f"{value:+.3g}" if value else "0", {"x": _x(value, reach), "y": 15, "text-anchor": anchor})


def _effect(effect: Effect, y: float, reach: float) -> Markup:
    css = _CSS.get(effect.answer, "merged")
    told = f"{effect.name}, {effect.told}: {number(effect.value)}, from {number(effect.low)} to {number(effect.high)}, {effect.answer}"
    drawn = [
        element("title", told),
        element("text", effect.name, {"x": 0, "y": y + 4, "class": "name"}),
        element("line", None, {"class": f"whisker {css}", "x1": _x(effect.low, reach), "x2": _x(effect.high, reach), "y1": y, "y2": y}),
        element("circle", "", {"class": css, "cx": _x(effect.value, reach), "cy": y, "r": 4.5}),
    ]
    return element("a", drawn, {"href": effect.href})
