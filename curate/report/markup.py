"""HTML from trees in which plain strings are always escaped; only `Markup` passes as it is."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from curate.report.units import printable


class Markup(str):
    """HTML that this package made; a plain `str` is data and gets escaped."""

    __slots__ = ()

    def __html__(self) -> Self:
        """Tell templates, which escape what they are given, that this is HTML already."""
        return self


Child = str | Sequence["Child"] | None
Attributes = Mapping[str, str | int | float | None]

_EMPTY = frozenset({"meta", "rect", "path", "line"})


def join(children: Child) -> Markup:
    """Return the children one after another, data escaped; None is nothing."""
    if children is None:
        return Markup()
    if isinstance(children, Markup):
        return children
    if isinstance(children, str):
        return Markup(html.escape(printable(children, keep="\n\t")))
    return Markup("".join(join(child) for child in children))


def element(name: str, children: Child = None, attributes: Attributes | None = None) -> Markup:
    """Return `<name attributes>children</name>`; attributes that are None are left out."""
    opening = name + "".join(f' {key}="{_attribute(value)}"' for key, value in (attributes or {}).items() if value is not None)
    return Markup(f"<{opening}/>") if name in _EMPTY and children is None else Markup(f"<{opening}>{join(children)}</{name}>")


def _attribute(value: str | float) -> str:
    return html.escape(printable(value)) if isinstance(value, str) else f"{value:.4g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Column:
    """A table's column: numbers are set right, `wide` takes the space that is left, `minor` hides on a narrow screen."""

    title: str
    numeric: bool = False
    wide: bool = False
    minor: bool = False

    @property
    def css(self) -> str | None:
        """The classes of the column's cells."""
        return " ".join(name for name, on in (("n", self.numeric), ("wide", self.wide), ("minor", self.minor)) if on) or None


Row = Sequence[Child]


def table(caption: str, columns: Sequence[Column], rows: Sequence[Row | Markup], css: str = "") -> Markup:
    """Return a table whose first column is row headers; a row that is `Markup` is a finished `<tr>`."""
    if not rows:
        return Markup()
    head = element("thead", element("tr", [element("th", c.title, {"scope": "col", "class": c.css}) for c in columns]))
    body = element("tbody", [row if isinstance(row, Markup) else _row(columns, row) for row in rows])
    inner = element("table", [element("caption", caption), head, body], {"class": css or None})
    return element("div", inner, {"class": "scroll", "tabindex": 0, "role": "region", "aria-label": caption})


def _row(columns: Sequence[Column], row: Row) -> Markup:
    head = element("th", row[0], {"scope": "row", "class": columns[0].css})
    return element("tr", [head, *(element("td", cell, {"class": c.css}) for c, cell in zip(columns[1:], row[1:], strict=True))])


def details(summary: Child, body: Child, attributes: Attributes | None = None) -> Markup:
    """Return a block that opens on a click, without any script."""
    return element("details", [element("summary", summary), body], attributes)


def code(text: str) -> Markup:
    """Return a path, name or id in the fixed-width face, apart from the direction of the text around it."""
    return element("code", element("bdi", text))
