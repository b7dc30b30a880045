"""What is true about the sets `../shared/data/neardup_*`, and how well an answer agrees with it.

A set names every pair of its documents whose word 5-grams (of lower-case `\\w+`) have a Jaccard similarity of 0.3 or more, or of which
one contains the other; pairs that it does not name count as 0. An answer says for each document which one its cluster keeps, itself
if it stays. Documents are numbers here, in the set's order.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

DATA = Path(os.environ.get("CURATE_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
SETS = ("neardup_doc_versions", "neardup_kernel_docs", "neardup_licenses", "neardup_minhash")
Ints = NDArray[np.int64]
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Truth:
    """Documents of a set and the similarity of each pair; `left` < `right`, sorted by both."""

    docs: Rows
    left: Ints
    right: Ints
    similarity: NDArray[np.float64]

    def similar(self, target: float) -> tuple[Ints, Ints]:
        """Return the pairs that are at least so similar."""
        above = self.similarity >= target
        return self.left[above], self.right[above]

    def of(self, one: Ints, other: Ints) -> NDArray[np.float64]:
        """Return the similarities of some pairs."""
        keys = self.left * len(self.docs) + self.right
        wanted = np.minimum(one, other) * len(self.docs) + np.maximum(one, other)
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(one == other, 1.0, np.where(keys[place] == wanted, self.similarity[place], 0.0))


@dataclass(frozen=True)
class Scores:
    """How an answer agrees with the truth at one target."""

    pair_recall: float
    pair_precision: float
    ari: float
    ari_greedy: float
    macro_f1: float
    removed: int
    below: int
    left: int


def load(name: str) -> Truth:
    """Read a set."""
    docs = [{"id": doc["id"], "text": doc["text"]} for doc in _lines(DATA / name / "docs.jsonl.zst")]
    number = {doc["id"]: i for i, doc in enumerate(docs)}
    pairs = _lines(DATA / name / "pairs.jsonl.zst")
    ends = np.sort(np.array([[number[pair["a"]], number[pair["b"]]] for pair in pairs], np.int64).reshape(-1, 2), axis=1)
    order = np.lexsort((ends[:, 1], ends[:, 0]))
    similarity = np.array([pair["jaccard"] for pair in pairs], np.float64)
    return Truth(docs, ends[order, 0], ends[order, 1], similarity[order])


def components(count: int, left: Ints, right: Ints) -> Ints:
    """Return for each document the first one that pairs connect it with."""
    parents = list(range(count))
    for pair in zip(left.tolist(), right.tolist(), strict=True):
        one, other = sorted(_root(parents, node) for node in pair)
        parents[other] = one
    return np.array([_root(parents, node) for node in range(count)], np.int64)


def greedy(truth: Truth, target: float) -> Ints:
    """Return for each document the most similar kept one before it, itself when there is none that is similar enough."""
    above = truth.similarity >= target
    near: list[list[tuple[float, int]]] = [[] for _ in truth.docs]
    for one, other, value in zip(truth.left[above].tolist(), truth.right[above].tolist(), truth.similarity[above].tolist(), strict=True):
        near[other].append((value, -one))
    kept = list(range(len(truth.docs)))
    for number, pairs in enumerate(near):
        stay = [(value, other) for value, other in pairs if kept[-other] == -other]
        kept[number] = -max(stay)[1] if stay else number
    return np.array(kept, np.int64)


def scores(truth: Truth, target: float, answer: Ints) -> Scores:
    """Compare an answer with the truth."""
    count, own = len(truth.docs), np.arange(len(answer))
    left, right = truth.similar(target)
    joined = components(count, left, right)
    cluster = np.where(answer < 0, own.max() + 1, answer)  # clusters that keep nothing are one
    together = int((cluster[left] == cluster[right]).sum())
    found = int(_choose_two(np.unique(cluster, return_counts=True)[1]).sum())
    gone = np.flatnonzero(answer != own)
    similarity = np.where(answer[gone] < 0, 0.0, truth.of(gone, np.maximum(answer[gone], 0)))
    stay = answer == own
    return Scores(
        pair_recall=together / max(len(left), 1),
        pair_precision=together / found if found else 1.0,
        ari=ari(joined, cluster),
        ari_greedy=ari(greedy(truth, target), cluster),
        macro_f1=macro_f1(_shared(joined), _shared(cluster)),
        removed=len(gone),
        below=int((similarity < target).sum()),
        left=len(np.unique(right[stay[left] & stay[right]])),
    )


def ari(one: Ints, other: Ints) -> float:
    """Return the adjusted Rand index of two clusterings (Hubert and Arabie, 1985)."""
    both = np.unique(np.stack([one, other]), axis=1, return_counts=True)[1]
    agree, first, second = (
        float(_choose_two(counts).sum()) for counts in (both, *(np.unique(side, return_counts=True)[1] for side in (one, other)))
    )
    expected = first * second / (len(one) * (len(one) - 1) / 2)
    return 1.0 if first == second == agree else (agree - expected) / ((first + second) / 2 - expected)


def macro_f1(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    """Return the mean of the F1 of documents with and of those without a duplicate."""
    return float(sum(2 * (a & b).sum() / max(a.sum() + b.sum(), 1) for a, b in ((truth, found), (~truth, ~found)))) / 2


def _choose_two(counts: Ints) -> Ints:
    return counts * (counts - 1) // 2


def _shared(cluster: Ints) -> NDArray[np.bool_]:
    _, inverse, counts = np.unique(cluster, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse] > 1)


def _root(parents: list[int], node: int) -> int:
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


def _lines(path: Path) -> Rows:
    with pa.input_stream(path, compression="zstd") as stream:
        return [orjson.loads(line) for line in stream.read().splitlines()]
