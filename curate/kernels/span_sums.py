"""Sums over the words or lines of each text."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.kernels.text_view import Int64s


def sums(values: NDArray[Any], first: Int64s) -> Int64s:
    """Return for every text the sum of the values of its spans `first[i]:first[i + 1]`; booleans count."""
    total = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    return total[first[1:]] - total[first[:-1]]
