"""Draws what the gate was asked: the loss of each dose with its interval, and all the intervals of nothing; readable on light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.gate_table import Found

FILE = Path(__file__).with_name("gate_decisions.svg")
LEFT, PANEL, GAP, TOP, HEIGHT, BOTTOM = 56, 150, 18, 30, 190, 58
_STYLE = """
text { font: 12px "Helvetica Neue", Helvetica, Arial, sans-serif; fill: #62625c; }
.name { fill: #1d1d1b; font-weight: 600; } .rule { stroke: #dcdad2; } .zero { stroke: #62625c; }
.range { stroke: #8d8a7f; stroke-width: 1.5; } .mean { fill: #8d8a7f; }
.told .range { stroke: #b0482f; stroke-width: 2; } .told .mean { fill: #b0482f; }
@media (prefers-color-scheme: dark) {
  text { fill: #a09e96; } .name { fill: #e4e2dc; } .rule { stroke: #383a3c; } .zero { stroke: #a09e96; }
  .told .range { stroke: #e07f63; } .told .mean { fill: #e07f63; }
}
"""
LEGEND = "Bits per byte worse than the clean corpus, 95 % intervals; red: told apart."


def draw(spoilt: Sequence[Found], nothing: Sequence[Found]) -> str:
    """Return the figure as SVG: a panel for each kind, and one for the halves of the clean corpus."""
    kinds = list(dict.fromkeys(each.kind for each in spoilt))
    groups = {kind: [each for each in spoilt if each.kind == kind] for kind in kinds}
    high, low = max(each.high for each in [*spoilt, *nothing]), min(0.0, *(each.low for each in [*spoilt, *nothing]))
    scale = _Scale(low, high)
    width, height = LEFT + (len(kinds) + 1) * (PANEL + GAP), TOP + HEIGHT + BOTTOM
    parts = [_axis(scale, width)]
    for number, (kind, group) in enumerate(groups.items()):
        parts.append(_panel(kind, [f"{each.dose:.0%}" for each in group], group, number, scale))
    ordered = sorted(nothing, key=lambda each: each.difference)
    parts.append(_panel("nothing", [""] * len(ordered), ordered, len(kinds), scale))
    parts.append(f'<text x="{LEFT}" y="{height - 10}">{LEGEND}</text>')
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
    return f"{opening}\n<title>{LEGEND}</title>\n<style>{_STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"


class _Scale:
    """Bits per byte as heights, linear, with about four marks."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        step = next(step for step in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 10.0) if (high - low) / step <= 6)
        self.marks = [k * step for k in range(int(low / step), int(high / step) + 1)]

    def __call__(self, value: float) -> float:
        return TOP + HEIGHT * (self.high - value) / (self.high - self.low)


def _axis(scale: _Scale, width: float) -> str:
    lines = [
        f'<line class="{"rule" if mark else "zero"}" x1="{LEFT}" x2="{width - GAP / 2:g}" y1="{scale(mark):.1f}" y2="{scale(mark):.1f}"/>'
        for mark in scale.marks
    ]
    marks = [f'<text x="{LEFT - 8}" y="{scale(mark) + 4:.1f}" text-anchor="end">{mark:+.3g}</text>' for mark in scale.marks]
    return "\n".join([*lines, *marks])


def _panel(name: str, labels: Sequence[str], group: Sequence[Found], number: int, scale: _Scale) -> str:
    left = LEFT + number * (PANEL + GAP) + GAP / 2
    parts = [f'<text class="name" x="{left + PANEL / 2:.1f}" y="{TOP - 12}" text-anchor="middle">{name}</text>']
    for i, (label, each) in enumerate(zip(labels, group, strict=True)):
        x = left + PANEL * (i + 0.5) / len(group)
        told = "told" if each.answer != "cannot tell" else ""
        line = f'<line class="range" x1="{x:.1f}" x2="{x:.1f}" y1="{scale(each.low):.1f}" y2="{scale(each.high):.1f}"/>'
        parts.append(f'<g class="{told}">{line}<circle class="mean" cx="{x:.1f}" cy="{scale(each.difference):.1f}" r="3"/></g>')
        parts.append(f'<text x="{x:.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{label}</text>' if label else "")
    return "\n".join(part for part in parts if part)
