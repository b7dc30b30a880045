"""Groups and greedy choices over edges between numbered nodes, in compact arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.kernels.compiled import kernel
from curate.kernels.text_view import Int64s

Bools = NDArray[np.bool_]
UInt32s = NDArray[np.uint32]


def joined(parents: Int64s, left: Int64s, right: Int64s) -> None:
    """Join nodes in place: `parents` starts as `arange`; afterwards `roots` gives the least node of each group."""
    _joined(parents, left, right)


def roots(parents: Int64s) -> Int64s:
    """Return the least node of the group that each node is in."""
    return _roots(parents)


def settle(gone: Bools, later: UInt32s, first: Int64s, earlier: UInt32s) -> None:
    """Mark in place which nodes go: those that an edge joins with an earlier one that stays.

    Node `later[k]` has the earlier nodes `earlier[first[k]:first[k + 1]]`. Nodes come in order; of earlier ones `gone` is final.
    """
    _settle(gone, later, first, earlier)


def heaviest(gone: Bools, first: Int64s, earlier: UInt32s, weight: NDArray[np.float64]) -> Int64s:
    """Return for each node with edges the heaviest edge to a node that stays, the first of those, or -1."""
    return _heaviest(gone, first, earlier, weight)


def packed(groups: Int64s, sizes: Int64s, limit: int) -> tuple[Int64s, Int64s]:
    """Return the block of each node and the unit of each block, both counted from 0.

    Nodes come sorted by group. A block holds whole groups of at most `limit` together; a group that is larger by itself
    has several blocks, which are one unit; every other block is a unit of its own.
    """
    return _packed(groups, sizes, limit)


@kernel
def _joined(parents: Any, left: Any, right: Any) -> None:
    for edge in range(len(left)):
        one, other = left[edge], right[edge]
        while parents[one] != one:
            parents[one] = parents[parents[one]]
            one = parents[one]
        while parents[other] != other:
            parents[other] = parents[parents[other]]
            other = parents[other]
        if one < other:
            parents[other] = one
        else:
            parents[one] = other


@kernel
def _roots(parents: Any) -> Any:
    found = np.empty(len(parents), np.int64)
    for node in range(len(parents)):
        parent = parents[node]
        found[node] = node if parent == node else found[parent]  # a parent is never greater than its child
    return found


@kernel
def _settle(gone: Any, later: Any, first: Any, earlier: Any) -> None:
    for k in range(len(later)):
        for edge in range(first[k], first[k + 1]):
            if not gone[earlier[edge]]:
                gone[later[k]] = True
                break


@kernel
def _heaviest(gone: Any, first: Any, earlier: Any, weight: Any) -> Any:
    found = np.full(len(first) - 1, -1, np.int64)
    for k in range(len(found)):
        for edge in range(first[k], first[k + 1]):
            if not gone[earlier[edge]] and (found[k] < 0 or weight[edge] > weight[found[k]]):
                found[k] = edge
    return found


@kernel
def _packed(groups: Any, sizes: Any, limit: int) -> tuple[Any, Any]:
    count = len(groups)
    block, unit = np.zeros(count, np.int64), np.zeros(count + 1, np.int64)
    blocks, units, held = 0, 0, 0  # blocks and units that were begun, bytes of the latest block
    begun, alone = 0, False  # where the group begins; whether the latest block may take no other group
    while begun < count:
        end, total = begun, 0
        while end < count and groups[end] == groups[begun]:
            total += sizes[end]
            end += 1
        if blocks == 0 or alone or held + total > limit:
            units += 1
            unit[blocks] = units - 1
            blocks, held = blocks + 1, 0
        alone = total > limit
        for k in range(begun, end):
            if held > 0 and held + sizes[k] > limit:
                unit[blocks] = units - 1
                blocks, held = blocks + 1, 0
            held += sizes[k]
            block[k] = blocks - 1
        begun = end
    return block, unit[:blocks].copy()
