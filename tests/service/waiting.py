"""Waiting for what comes true in the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")
_PAUSE_S = 0.05


def until(what: Callable[[], Found], patience_s: float = 90.0) -> Found:
    """Return what is found once it is true."""
    ends = time.monotonic() + patience_s
    while not (found := what()):
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(_PAUSE_S)
    return found
