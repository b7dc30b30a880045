"""Numbers as people read them: grouped counts, decimal byte units, durations and shares."""

from __future__ import annotations

import math
import re

_SIZES = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
# Control characters, line separators, surrogates and what turns the direction of writing; joiners are part of words.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def count(number: float) -> str:
    """Return a whole number with grouped thousands: `1,234,567`."""
    return f"{number:,.0f}"


def size(number: float) -> str:
    """Return bytes in decimal units with three significant digits: `1.23 GB`."""
    sign, rest, unit = ("-" if number < 0 else ""), abs(number), 0
    while rest >= 999.5 and unit < len(_SIZES) - 1:
        rest, unit = rest / 1000, unit + 1
    return f"{sign}{_three_digits(rest) if unit else f'{rest:.0f}'} {_SIZES[unit]}"


def _three_digits(number: float) -> str:
    if number < 9.995:
        return f"{number:.2f}"
    return f"{number:.1f}" if number < 99.95 else f"{number:,.0f}"


def number(value: float) -> str:
    """Return a measured value with three or four significant digits: `0.123`, `12.3`, `12,345`."""
    if not math.isfinite(value):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e15:
        return count(value)
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Return a duration in the two largest units that matter: `42 ms`, `0.42 s`, `3 min 05 s`, `2 h 03 min`."""
    if 0 < seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.995:
        return f"{seconds:.2f} s" if seconds else "0 s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24:02d} h"


def share(part: float, whole: float) -> str:
    """Return a percentage that never rounds something to nothing, nor nearly all to all: `33.3%`, `<0.1%`, `>99.9%`."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 0.05:
        return "<0.1%"
    if 99.95 <= percent < 100:
        return ">99.9%"
    return "0%" if percent == 0 else "100%" if percent == 100 else f"{percent:.1f}%"


def rate(number_of_bytes: float, seconds: float) -> str:
    """Return megabytes per second: `12.3 MB/s`; an en dash when nothing was timed."""
    return f"{_three_digits(number_of_bytes / seconds / 1e6)} MB/s" if seconds > 0 and number_of_bytes else "–"


def plural(number: int, noun: str) -> str:
    """Return a count with its noun: `1 document`, `2 documents`."""
    return f"{count(number)} {noun if number == 1 else noun + 's'}"


def printable(text: str, keep: str = "") -> str:
    """Replace characters that would move the cursor or reorder the text around them, except those to `keep`."""
    return _UNPRINTABLE.sub(lambda found: found[0] if found[0] in keep else "\ufffd", text)


def clip(text: str, length: int) -> str:
    """Cut a text to `length` characters, the last of which is then an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"
