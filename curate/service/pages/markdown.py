"""The little of Markdown that docstrings of operators use in a sentence: names in backticks."""

from __future__ import annotations

from curate.report.markup import Markup, element, join


def ticked(text: str) -> Markup:
    """Return a sentence with what stands in backticks as code."""
    parts = text.split("`")
    return join([element("code", part) if number % 2 and number < len(parts) - 1 else part for number, part in enumerate(parts)])
