"""Which keys are equal, without sorting them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.kernels.compiled import kernel, mix
from curate.kernels.text_view import Int64s


def firsts(low: NDArray[np.uint64], high: NDArray[np.uint64]) -> Int64s:
    """Return for each key of two numbers where the first equal one stands."""
    return _firsts(low, high, 1 << max(4, (2 * len(low)).bit_length()))


@kernel
def _firsts(low: Any, high: Any, size: int) -> Any:
    table, mask = np.full(size, -1, np.int64), np.uint64(size - 1)
    found = np.empty(len(low), np.int64)
    for key in range(len(low)):
        slot = mix(high[key] + low[key]) & mask
        while table[slot] >= 0 and (low[table[slot]] != low[key] or high[table[slot]] != high[key]):
            slot = (slot + np.uint64(1)) & mask
        if table[slot] < 0:
            table[slot] = key
        found[key] = table[slot]
    return found
