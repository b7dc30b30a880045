"""Draws what the methods selected: a dot for each seed, the mean, its interval and the pool's own share; readable on light and dark."""

from __future__ import annotations

import html
import statistics
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.preselect_small_table import METHODS, OURS, POOL, Found, interval, of

FILE = Path(__file__).with_name("preselect_small.svg")
LABELS, PANEL, GAP, ROW, TOP, BOTTOM = 132, 182, 28, 24, 34, 40
_STYLE = """
text { font: 12px "Helvetica Neue", Helvetica, Arial, sans-serif; fill: #62625c; }
.name { fill: #1d1d1b; } .ours { font-weight: 600; } .rule { stroke: #dcdad2; } .pool { stroke: #62625c; stroke-dasharray: 3 3; }
.range { stroke: #8d8a7f; stroke-width: 1.5; } .seed { fill: #8d8a7f; fill-opacity: .55; } .mean { fill: #8d8a7f; }
.us .range { stroke: #2a6f9e; } .us .seed, .us .mean { fill: #2a6f9e; }
@media (prefers-color-scheme: dark) {
  text { fill: #a09e96; } .name { fill: #e4e2dc; } .rule { stroke: #383a3c; } .pool { stroke: #a09e96; }
  .us .range { stroke: #5fa3d0; } .us .seed, .us .mean { fill: #5fa3d0; }
}
"""


def draw(rows: Sequence[Found]) -> str:
    """Return the figure as SVG: a panel for each target, a row for each method."""
    targets = list(dict.fromkeys(row.target for row in rows))
    seeds = len({row.seed for row in rows})
    width, height = LABELS + len(targets) * (PANEL + GAP), TOP + ROW * len(METHODS) + BOTTOM
    names = [_text(LABELS - 10, _middle(i) + 4, method, _css(method), "end") for i, method in enumerate(METHODS)]
    panels = [_panel(rows, target, LABELS + i * (PANEL + GAP)) for i, target in enumerate(targets)]
    legend = (
        f"Share of useful characters in the selected tenth. Small dots: {seeds} seeds; large: mean; line: 95 % t-interval; dashed: pool."
    )
    parts = [*names, *panels, _text(LABELS, height - 6, legend)]
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
    return f"{opening}\n<title>{legend}</title>\n<style>{_STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"


def _panel(rows: Sequence[Found], target: str, left: float) -> str:
    bottom = TOP + ROW * len(METHODS)
    parts = [_text(left, TOP - 16, target, "name ours")]
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = _at(share, left)
        parts += [_line(x, TOP - 6, x, bottom, "rule"), _text(x, bottom + 14, f"{share:g}", "", "middle")]
    x = _at(statistics.fmean(of(rows, target, POOL)), left)
    parts.append(_line(x, TOP - 6, x, bottom, "pool"))
    parts += [_row(of(rows, target, method), left, i, method) for i, method in enumerate(METHODS)]
    return "\n".join(parts)


def _row(values: Sequence[float], left: float, number: int, method: str) -> str:
    y = _middle(number)
    mean, low, high = interval(values)
    parts = [_line(_at(max(low, 0), left), y, _at(min(high, 1), left), y, "range")] if len(values) > 1 else []
    parts += [f'<circle class="seed" cx="{_at(value, left):.1f}" cy="{y:g}" r="2.2"/>' for value in values]
    parts.append(f'<circle class="mean" cx="{_at(mean, left):.1f}" cy="{y:g}" r="4"/>')
    return f'<g class="{"us" if method == OURS else "them"}">{"".join(parts)}</g>'


def _css(method: str) -> str:
    return "name ours" if method == OURS else "name"


def _middle(number: int) -> float:
    return TOP + ROW * (number + 0.5)


def _at(share: float, left: float) -> float:
    return left + PANEL * share


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    return f'<line class="{css}" x1="{x1:.1f}" y1="{y1:g}" x2="{x2:.1f}" y2="{y2:g}"/>'


def _text(x: float, y: float, words: str, css: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:g}" class="{css}" text-anchor="{anchor}">{html.escape(words)}</text>'
