"""Probabilities of labels from averaged rows, by each of fastText's losses."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from curate.kernels.bag_of_rows import Floats, Int32s
from curate.kernels.compiled import kernel

Loss = Literal["softmax", "ova", "ns", "hs"]
EXTRA = np.float32(1e-5)  # fastText adds it to each probability before it takes the logarithm
STEPS, FARTHEST = 512, 8  # its table of the logistic function


def label_scores(averages: Floats, output: Floats, loss: Loss, tree: Int32s | None = None) -> Floats:
    """Return the probability of every label, shape (texts, labels); the official library reports 1e-5 more.

    Along a tree it adds 1e-5 at each step, which cannot be taken off again: those are as it reports them, at most 1.
    `tree`, for hierarchical softmax, has for each label the inner nodes to it from the root, and -1 behind them; odd numbers
    go right: shape (labels, deepest), values 2 · node + right.
    """
    if loss == "hs":
        if tree is None:
            raise ValueError("hierarchical softmax needs its tree")
        return _along_tree(averages, output, tree)
    return _flat(averages, output, loss == "softmax", _logistic_table())


def huffman_tree(counts: list[int]) -> Int32s:
    """Return the paths of fastText's Huffman tree over labels, whose counts do not ascend."""
    labels = len(counts)
    weights = [*counts, *([10**15] * (labels - 1))]
    parent, right = [-1] * (2 * labels - 1), [False] * (2 * labels - 1)
    leaf, node = labels - 1, labels
    for made in range(labels, 2 * labels - 1):
        least = []
        for _ in range(2):
            if leaf >= 0 and weights[leaf] < weights[node]:
                least.append(leaf)
                leaf -= 1
            else:
                least.append(node)
                node += 1
        weights[made] = weights[least[0]] + weights[least[1]]
        parent[least[0]] = parent[least[1]] = made
        right[least[1]] = True
    paths = []
    for label in range(labels):
        path, place = [], label
        while parent[place] >= 0:
            path.append(2 * (parent[place] - labels) + right[place])
            place = parent[place]
        paths.append(path[::-1])
    deepest = max((len(path) for path in paths), default=0)
    return np.array([path + [-1] * (deepest - len(path)) for path in paths], np.int32).reshape(labels, deepest)


def _logistic_table() -> Floats:
    x = np.arange(STEPS + 1, dtype=np.float32) * np.float32(2 * FARTHEST) / np.float32(STEPS) - np.float32(FARTHEST)
    return (1.0 / (1.0 + np.exp(-x.astype(np.float64)))).astype(np.float32)


@kernel
def _dot(output: Any, row: int, averages: Any, text: int) -> Any:
    total = np.float32(0)
    for d in range(output.shape[1]):
        total += output[row, d] * averages[text, d]
    return total


@kernel
def _flat(averages: Any, output: Any, softmax: bool, table: Any) -> Any:
    texts, labels = averages.shape[0], output.shape[0]
    scores = np.empty((texts, labels), np.float32)
    for text in range(texts):
        most = np.float32(-np.inf)
        for label in range(labels):
            scores[text, label] = _dot(output, label, averages, text)
            most = max(most, scores[text, label])
        if softmax:
            total = np.float32(0)
            for label in range(labels):
                scores[text, label] = np.exp(scores[text, label] - most)
                total += scores[text, label]
            for label in range(labels):
                scores[text, label] /= total
            continue
        for label in range(labels):
            x = scores[text, label]
            if x < -FARTHEST:
                x = np.float32(0)
            elif x > FARTHEST:
                x = np.float32(1)
            else:
                x = table[np.int64((x + np.float32(FARTHEST)) * np.float32(STEPS) / np.float32(FARTHEST) / np.float32(2))]
            scores[text, label] = x
    return scores


@kernel
def _along_tree(averages: Any, output: Any, tree: Any) -> Any:
    texts, labels = averages.shape[0], tree.shape[0]
    scores, right = np.empty((texts, labels), np.float32), np.empty(max(1, labels - 1), np.float32)
    for text in range(texts):
        for node in range(labels - 1):
            right[node] = np.float32(1) / (np.float32(1) + np.exp(-_dot(output, node, averages, text)))
        for label in range(labels):
            score = np.float32(0)
            for k in range(tree.shape[1]):
                step = tree[label, k]
                if step < 0:
                    break
                share = right[step >> 1]
                score += np.float32(np.log((share if step & 1 else np.float32(1) - share) + EXTRA))
            scores[text, label] = min(np.float32(1), np.exp(score))
    return scores
