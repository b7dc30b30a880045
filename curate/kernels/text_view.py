"""A column of texts as numpy arrays, and a memory of what has been computed about it.

`texts(column)` costs nothing but a view: the bytes are Arrow's own. What kernels compute about a column (its words, its
lines) is kept for as long as the column is the thread's current one, so that the operators of a chain share it. When a
filter drops rows or a mapper leaves out lines, `select` and `leave` remember where the texts that are left come from, and
what is asked of them is carried over instead of being computed again.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Int64s = NDArray[np.int64]
Bytes = NDArray[np.uint8]
T = TypeVar("T")


class Selectable(Protocol):
    """What has been computed about each text of a column."""

    def select(self, kept: NDArray[np.bool_], before: Texts, after: Texts) -> Self:
        """Return the same for the rows that are kept."""
        ...


class Origin(Protocol):
    """Where texts come from."""

    @property
    def before(self) -> Texts:
        """Return the texts that they were made of."""
        ...

    def carry(self, found: Any, after: Texts, compute: Callable[[Texts], Any]) -> Any:
        """Return what was found of the earlier texts for the later ones, None if it does not follow."""
        ...


@dataclass(frozen=True)
class Selected:
    """Texts that are some rows of others."""

    before: Texts
    kept: NDArray[np.bool_]

    def carry(self, found: Selectable, after: Texts, compute: Callable[[Texts], Any]) -> Any:
        return found.select(self.kept, self.before, after)


@dataclass(frozen=True)
class Left:
    """Texts that are some spans of others, joined by line feeds; those that were `edited` besides have nothing to inherit.

    Text `i` is the spans `first[i]:first[i + 1]`, each between white space (whole lines, trimmed ones): words stay what they are.
    """

    before: Texts
    first: Int64s
    start: Int64s
    end: Int64s
    edited: NDArray[np.bool_]

    def carry(self, found: Any, after: Texts, compute: Callable[[Texts], Any]) -> Any:
        return found.left(self, after, compute) if hasattr(found, "left") else None


@dataclass(frozen=True)
class Texts:
    """UTF-8 texts: text `i` is `data[offsets[i]:offsets[i + 1]]`; a null is empty and not `valid`."""

    data: Bytes
    offsets: Int64s
    valid: NDArray[np.bool_]
    known: dict[object, Any] = field(default_factory=dict, repr=False, compare=False)
    origin: Origin | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of(cls, column: pa.Array) -> Texts:
        """Return a column as texts without making it the current one."""
        return _view(column)

    @property
    def sizes(self) -> Int64s:
        """Return the bytes of each text."""
        return np.diff(self.offsets)

    @functools.cached_property
    def is_utf8(self) -> bool:
        """Say whether all bytes are valid UTF-8; kernels may count characters faster then."""
        try:
            pa.LargeStringArray.from_buffers(len(self), pa.py_buffer(self.offsets), pa.py_buffer(self.data)).validate(full=True)
        except pa.ArrowInvalid:
            return False
        return True

    def take(self, rows: NDArray[np.bool_]) -> Texts:
        """Return some of the texts, as texts of their own."""
        column = pa.LargeStringArray.from_buffers(len(self), pa.py_buffer(self.offsets), pa.py_buffer(self.data))
        return _view(column.filter(pa.array(rows)))

    def remember(self, key: object, compute: Callable[[Texts], T]) -> T:
        """Return what `compute` gives, computed once for these texts."""
        if key not in self.known:
            inherited = self._inherited(key, compute)
            self.known[key] = compute(self) if inherited is None else inherited
        found: T = self.known[key]
        return found

    def _inherited(self, key: object, compute: Callable[[Texts], Any]) -> Any:
        """Return what follows from what is known of the texts that these were made of."""
        if self.origin is None:
            return None
        before = self.origin.before
        found = before.known[key] if key in before.known else before._inherited(key, compute)
        return self.origin.carry(found, self, compute) if found is not None else None


class _Current(threading.local):
    column: pa.Array | None = None
    texts: Texts | None = None


_current = _Current()


def texts(column: pa.Array | pa.ChunkedArray) -> Texts:
    """Return a string or large_string column as `Texts`, the same object as long as it is the thread's latest."""
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays([chunk.cast(pa.large_string()) for chunk in column.chunks] or [pa.array([], pa.large_string())])
    if _current.column is not None and _current.texts is not None and _same(_current.column, column):
        return _current.texts
    made = _view(column)
    _current.column, _current.texts = column, made
    return made


def select(before: pa.Array, after: pa.Array, kept: NDArray[np.bool_]) -> None:
    """Say that `after` is `before` with only the rows that are `kept`: what is known of them need not be computed again."""
    known = _current.texts
    if known is None or _current.column is None or not _same(_current.column, before):
        return
    _current.column, _current.texts = after, dataclasses.replace(_view(after), origin=Selected(known, kept))


def leave(after: pa.Array, origin: Left) -> None:
    """Say that `after` is made of spans of other texts: their words need not be found again."""
    _current.column, _current.texts = after, dataclasses.replace(_view(after), origin=origin)


def forget() -> None:
    """Free what is known of the thread's latest column."""
    _current.column = _current.texts = None


def _same(one: pa.Array, other: pa.Array) -> bool:
    return one is other or (
        one.offset == other.offset and len(one) == len(other) and one.type == other.type and _addresses(one) == _addresses(other)
    )


def _addresses(column: pa.Array) -> list[int | None]:
    return [None if buffer is None else buffer.address for buffer in column.buffers()]


def _view(column: pa.Array) -> Texts:
    if pa.types.is_null(column.type):
        column = column.cast(pa.large_string())
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise TypeError(f"kernels work on string columns, not on {column.type}")
    _, ends, content = column.buffers()
    rows = len(column)
    kind = np.int32 if pa.types.is_string(column.type) else np.int64
    if ends is None or not rows:
        offsets = np.zeros(rows + 1, np.int64)
    else:
        offsets = np.frombuffer(ends, kind)[column.offset : column.offset + rows + 1].astype(np.int64)
    data = np.frombuffer(content, np.uint8) if content is not None and content.size else np.zeros(0, np.uint8)
    data.flags.writeable = False
    valid = np.ones(rows, np.bool_)
    if column.null_count:
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        data, offsets = _without_nulls(data, offsets, valid)
    return Texts(data, offsets, valid)


def _without_nulls(data: Bytes, offsets: Int64s, valid: NDArray[np.bool_]) -> tuple[Bytes, Int64s]:
    """Return texts whose nulls are empty: Arrow lets a null have any bytes."""
    sizes = np.diff(offsets)
    if not sizes[~valid].any():
        return data, offsets
    rows = pa.LargeStringArray.from_buffers(len(valid), pa.py_buffer(offsets), pa.py_buffer(data))
    kept = _view(pc.if_else(pa.array(valid), rows, ""))
    return kept.data, kept.offsets
