"""Small SVG charts without script or outside resources: bars, the funnel's band and back-to-back histograms."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from curate import histogram
from curate.report.markup import Child, Markup, element, join
from curate.report.units import count, number, plural

WIDTH, HEIGHT, TICKS = 360.0, 116.0, 18.0
_MIN_BINS = 12  # a histogram with fewer bins is padded, so that a constant is not drawn as a wall
_MAX_EQUAL_SCALE = 12  # beyond this ratio of peaks the smaller side is enlarged, and says so

Histogram = Mapping[str, int]


def band(before: int, left: int, most: int, kind: str) -> Markup:
    """Return one row of the funnel: what is left, and beside it what this step took away or added."""
    scale = 100 / most if most else 0
    kept, moved = min(before, left) * scale, abs(before - left) * scale
    drawn = [_box(0, kept, 0, 20, "kept"), _box(kept, max(moved, 0.3), 3, 14, kind) if moved else None]
    return _stretched(drawn, 20)


def bar(part: int, whole: int, kind: str) -> Markup:
    """Return a bar for a share of a whole."""
    width = 100 * part / whole if whole else 0
    return _stretched(_box(0, max(width, 0.4) if part else 0, 0, 10, kind), 10)


def split_bar(kept: int, dropped: int) -> Markup:
    """Return a bar that shows the kept and the dropped part of a group."""
    whole = kept + dropped
    width = 100 * kept / whole if whole else 0
    return _stretched([_box(0, width, 0, 10, "kept"), _box(width, 100 - width if whole else 0, 0, 10, "dropped")], 10)


def pair_bar(before: float, after: float, most: float) -> Markup:
    """Return two bars on one scale, that of before above that of after."""
    scale = 100 / most if most else 0
    drawn = [_box(0, max(part * scale, 0.4) if part else 0, y, 4.5, css) for part, y, css in ((before, 0, "time"), (after, 5.5, "kept"))]
    return _stretched(drawn, 10)


def strip(values: Sequence[int], between: Sequence[float]) -> Markup:
    """Return a small histogram for a row of a table; its scale is its own."""
    peak, step = max(values, default=0) or 1, 100 / max(len(values), 1)
    bars = [
        f"M{index * step:.2f} 24v{-max(24 * value / peak, 0.6):.1f}h{step * 0.9:.2f}V24z" for index, value in enumerate(values) if value
    ]
    title = element("title", f"from {number(between[0])} to {number(between[-1])}") if between else None
    attributes = {"viewBox": "0 0 100 24", "preserveAspectRatio": "none", "class": "strip"}
    return element("svg", [title, element("path", None, {"class": "kept", "d": "".join(bars)})], attributes)


def signed_bar(value: float, most: float) -> Markup:
    """Return a bar to the right of the middle for what is above zero, to the left for what is below."""
    width = 50 * abs(value) / most if most else 0
    bar = _box(50 if value > 0 else 50 - width, max(width, 0.4), 0, 10, "kept" if value > 0 else "dropped") if value else None
    return _stretched([bar, _box(49.9, 0.2, 0, 10, "time")], 10)


def _stretched(children: Child, height: int) -> Markup:
    attributes = {"viewBox": f"0 0 100 {height}", "preserveAspectRatio": "none", "aria-hidden": "true"}
    return element("svg", children, attributes)


def _box(x: float, width: float, y: float, height: float, css: str) -> Markup:
    return element("rect", None, {"x": x, "y": y, "width": width, "height": height, "class": css})


@dataclass(frozen=True)
class Plot:
    """Kept and dropped counts over the same bins, and the names that the chart uses."""

    title: str
    unit: str
    noun: str
    between: Sequence[float]
    kept: Sequence[int]
    dropped: Sequence[int]
    medians: tuple[float | None, float | None]
    without: int = 0
    fates: tuple[str, str] = ("kept", "dropped")


def plot(
    title: str, unit: str, pair: Mapping[str, Histogram], known: Sequence[float], fates: tuple[str, str] = ("kept", "dropped")
) -> Plot | None:
    """Prepare a pair of histograms made with the edges `known`; None when both are empty. `fates` is what the sides are called."""
    kept, dropped = pair.get("kept") or {}, pair.get("dropped") or {}
    between = span([kept, dropped], known)
    without = histogram.without_value(kept) + histogram.without_value(dropped)
    if not between:
        return None
    sides = histogram.counts(kept, between), histogram.counts(dropped, between)
    medians = histogram.median(kept, known), histogram.median(dropped, known)
    return Plot(title, unit, "document", between, *sides, medians, without, fates)


# Bins of 0.02 next to log bins of 0.15 and more would draw a cliff at 1: a range that goes beyond 1 is drawn in tenths.
_COARSE_EDGES = tuple(edge for edge in histogram.SCORE_EDGES if abs(edge) > 1 or round(edge * 50) % 5 == 0)


def span(pair: Sequence[Histogram], known: Sequence[float]) -> list[float]:
    """Return the edges to draw: all of [0, 1] for scores within it, else what is occupied, widened to `_MIN_BINS`."""
    between = histogram.edges(pair, known)
    if not between:
        return between
    if known is histogram.SCORE_EDGES:
        if between[0] >= 0 and between[-1] <= 1:
            return list(known[bisect_left(known, 0.0) : bisect_right(known, 1.0)])
        if between[0] < -1 or between[-1] > 1:
            known = _COARSE_EDGES
            between = histogram.edges(pair, known)
    first, last = (bisect_right(known, between[0]) - 1, min(bisect_right(known, between[-1]), len(known)) - 1)
    missing = max(_MIN_BINS - (last - first), 0)
    return list(known[max(first - missing // 2, 0) : last + 1 + (missing + 1) // 2])


def chart(drawn: Plot, hover: bool) -> Markup:
    """Return a figure: kept upwards, dropped downwards on the same scale unless one side would vanish."""
    peaks = max(drawn.kept, default=0), max(drawn.dropped, default=0)
    scales, factor = _scales(*peaks)
    axis = peaks[0] * scales[0]
    bars = [
        element("path", None, {"class": "kept", "d": _path(drawn.kept, axis, -scales[0])}),
        element("path", None, {"class": "dropped", "d": _path(drawn.dropped, axis + 1, scales[1])}),
        element("line", None, {"class": "axis", "x1": 0, "x2": WIDTH, "y1": axis + 0.5, "y2": axis + 0.5}),
        *_tick_marks(drawn.between),
        _hover(drawn) if hover else None,
    ]
    label = f"Histogram of {drawn.title}. {_words(drawn, 0)}; {_words(drawn, 1)}."
    size = f"0 0 {WIDTH:.0f} {HEIGHT + TICKS + 1:.0f}"
    svg = element("svg", bars, {"viewBox": size, "role": "img", "aria-label": label, "class": "histogram"})
    return element("figure", [_caption(drawn, factor), svg])


def _scales(kept: int, dropped: int) -> tuple[tuple[float, float], float]:
    """Return the heights per document of both sides, and how much larger the second is drawn."""
    low, high = sorted((kept, dropped))
    if not low or high <= low * _MAX_EQUAL_SCALE:
        scale = HEIGHT / ((kept + dropped) or 1)
        return (scale, scale), 1.0
    upper = 0.72 if kept > dropped else 0.28
    scales = upper * HEIGHT / kept, (1 - upper) * HEIGHT / dropped
    return scales, scales[1] / scales[0]


def _words(drawn: Plot, side: int) -> str:
    name = drawn.fates[side]
    rows, median = sum((drawn.kept, drawn.dropped)[side]), drawn.medians[side]
    return f"{plural(rows, drawn.noun)} {name}, median {number(median)}" if median is not None else f"no {drawn.noun} {name}"


def _caption(drawn: Plot, factor: float) -> Markup:
    unit = f", {drawn.unit}" if drawn.unit else ""
    legend: list[Child] = []
    for css, name, median in zip(("kept", "dropped"), drawn.fates, drawn.medians, strict=True):
        if median is not None:
            legend.append(element("span", [element("i", None, {"class": f"key {css}"}), f"{name}, median {number(median)}"]))
    if factor != 1:
        side, times = ("dropped", factor) if factor > 1 else ("kept", 1 / factor)
        legend.append(element("span", f"{side} drawn at {number(float(f'{times:.2g}'))} times the scale"))
    if drawn.without:
        legend.append(element("span", f"{count(drawn.without)} without a value"))
    return element("figcaption", [element("b", drawn.title), unit, element("span", legend, {"class": "legend"})])


def _path(values: Sequence[int], base: float, scale: float) -> str:
    """Return a path of bars from `base`; a bin that holds anything is at least a hair high."""
    step = WIDTH / max(len(values), 1)
    gap = min(1.0, step * 0.15)
    bars = []
    for index, value in enumerate(values):
        if value:
            height = math.copysign(max(abs(value * scale), 0.6), scale)
            bars.append(f"M{index * step:.1f} {base:.1f}v{height:.1f}h{step - gap:.1f}v{-height:.1f}z")
    return "".join(bars)


def _hover(drawn: Plot) -> Markup:
    """Return invisible columns that name their numbers under the pointer."""
    step = WIDTH / len(drawn.kept)
    columns = []
    for index, (kept, dropped) in enumerate(zip(drawn.kept, drawn.dropped, strict=True)):
        if kept or dropped:
            lower, upper = drawn.between[index : index + 2]
            words = f"{number(lower)} to {number(upper)}: {count(kept)} {drawn.fates[0]}"
            words += f", {count(dropped)} {drawn.fates[1]}" if sum(drawn.dropped) else ""
            box: dict[str, float | str] = {"x": round(index * step, 1), "width": round(step, 1), "height": HEIGHT, "class": "hover"}
            columns.append(element("rect", element("title", words), box))
    return join(columns)


def _tick_marks(between: Sequence[float]) -> list[Markup]:
    marks, last, y = [], -math.inf, HEIGHT + TICKS - 4
    for value in _ticks(between):
        x = _position(value, between) * WIDTH
        if x - last < 44:
            continue
        anchor = "start" if x < 12 else "end" if x > WIDTH - 12 else "middle"
        marks.append(element("text", _short(value), {"x": round(x, 1), "y": y, "text-anchor": anchor}))
        last = x
    return marks


def _ticks(between: Sequence[float]) -> list[float]:
    """Return round values within the range: quarters between 0 and 1, else zero and powers of ten, with 2 and 5 when few."""
    low, high = between[0], between[-1]
    if low >= 0 and high <= 1:
        return [0, 0.25, 0.5, 0.75, 1]
    powers = [10.0**k for k in range(-1, 17)]
    tens = sorted({0.0, *powers[1:], *(-power for power in powers[1:])})
    fine = sorted({0.0, *(sign * m * power for power in powers for m in (1, 2, 5) for sign in (1, -1))})
    within = [value for value in tens if low <= value <= high]
    return within if len(within) > 3 else [value for value in fine if low <= value <= high]


def _position(value: float, between: Sequence[float]) -> float:
    index = min(max(bisect_right(between, value) - 1, 0), len(between) - 2)
    inside = (value - between[index]) / (between[index + 1] - between[index])
    return (index + min(max(inside, 0.0), 1.0)) / (len(between) - 1)


def _short(value: float) -> str:
    for power, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= power:
            return f"{value / power:g}{name}"
    return f"{value:g}".replace("-", "−")
