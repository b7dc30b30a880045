"""Puts cards together of what was summed and counted, places them on a map, and says what stands out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from curate.clusters_cards import FORMAT, numbers_of
from curate.report.units import count, plural
from curate.work import Place, Verdict
from curate_scorers import card_counts as counts
from curate_scorers.card_inputs import Floats, Item
from curate_scorers.card_sums import FARTHEST, NEAREST, UNIT, vector_sums

IN_REPORT = 1000
REPORT_WORDS, REPORT_EXAMPLES, REPORT_CHARS = 10, 2, 240
SIDES = ("nearest", "farthest")
DIGITS = 9  # of a measure; what is beyond them could depend on the order of sums


def make_cards(item: Item, place: Place) -> Item:
    """Write `cards.json`; return where it is and what the report shows."""
    sums = place.read_table(item["sums"])
    vectors = vector_sums(sums)
    numbers = sums.column("cluster").to_pylist()
    measured = _measured(sums, vectors, item, place)
    words = counts.merged_words([place.read_table(one["words"]) for one in item["counted"]], item["words"])
    examples = _examples(place.read_table(item["examples"]), item["count"])
    cards = [
        {"cluster": number}
        | {name: values[row] for name, values in measured.items()}
        | {"words": words.get(number, []), **examples.get(number, {"nearest": [], "farthest": []})}
        for row, number in enumerate(numbers)
    ]
    whole = {"format": FORMAT, "clustering": _identity(sums, vectors), "documents": sum(sums.column("documents").to_pylist())}
    whole |= {"without_cluster": item["without_cluster"], "scores": item["scores"], "clusters": cards}
    path = f"{place.prefix}.file.json"
    with place.storage.open_output(path) as out:
        out.write(orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    told = {name: whole[name] for name in ("clustering", "documents", "without_cluster")}
    return told | {"path": path, "clusters": len(cards), "last": max(numbers, default=-1), "cards": _brief(cards)}


def rows(place: Place, path: str, scores: Sequence[str]) -> pa.RecordBatch:
    """Return the numbers of each card that was written."""
    return numbers_of(orjson.loads(place.storage.read(path))["clusters"], scores)


def _measured(sums: pa.Table, vectors: Any, item: Item, place: Place) -> dict[str, list[Any]]:
    """Return every measure by name, a value per cluster; what is unknown is None."""
    documents, chars, line_chars = (sums.column(name).to_numpy() for name in ("documents", "characters", "line_characters"))
    there = sums.column("cluster").to_numpy()
    found = {name: values[there] for name, values in _counted(item, place).items()}
    units = vectors / UNIT
    squares, pairs = (units**2).sum(axis=1), documents * (documents - 1.0)
    measures: dict[str, Any] = {
        "documents": documents.tolist(),
        "characters": chars.tolist(),
        "share": _rounded(documents / max(1, documents.sum())),
        "mean_distance": _rounded(sums.column("distance").to_numpy() / UNIT / np.maximum(documents, 1)),
        "pairwise_similarity": _rounded(np.clip(_ratio(squares - documents, pairs), -1, 1)),
        "line_repetition": _rounded(_ratio(found["repeated"], line_chars)),
    }
    for name, asked in (("site", item["site"]), ("language", item["language"])):
        measures |= _entropy(name, found[f"{name}s"], found[f"with_{name}"] if asked else 0 * documents, found[f"{name}_bits"])
    means = {name: _rounded(_ratio(*(sums.column(f"{name}.{part}").to_numpy() for part in ("sum", "count")))) for name in item["scores"]}
    measures["scores"] = [{name: values[row] for name, values in means.items()} for row in range(len(documents))]
    return measures | {"place": _places(units).tolist()}


def _counted(item: Item, place: Place) -> dict[str, Floats]:
    return counts.merged_measures([place.read_table(one["measures"]) for one in item["counted"]])


def _entropy(name: str, different: Floats, labelled: Floats, bits: Floats) -> dict[str, list[Any]]:
    """Return how many labels there are, their entropy in bits, and as a share of that of as many even ones."""
    entropy = np.maximum(np.log2(np.maximum(labelled, 1)) - bits / np.maximum(labelled, 1), 0.0).round(DIGITS)
    even = np.where(different > 1, entropy / np.log2(np.maximum(different, 2)), 0.0)
    known = labelled > 0
    return {
        f"{name}s": [int(value) if there else None for value, there in zip(different, known, strict=True)],
        f"{name}_entropy": _rounded(np.where(known, entropy, np.nan)),
        f"{name}_evenness": _rounded(np.where(known, np.minimum(even, 1.0), np.nan)),
    }


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Return a quotient, NaN where nothing is divided."""
    return np.asarray(np.divide(part, whole, out=np.full(len(whole), np.nan), where=np.asarray(whole) > 0), np.float64)


def _rounded(values: Floats) -> list[float | None]:
    return [float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in values]


def _places(units: Floats) -> Floats:
    """Return where centroids lie on their two main axes, from -1 to 1; of each axis, the cluster farthest out lies on the positive side."""
    norms = np.linalg.norm(units, axis=1, keepdims=True)
    centroids = np.divide(units, norms, out=np.zeros_like(units), where=norms > 0)
    left, scale, _ = np.linalg.svd(centroids - centroids.mean(axis=0, keepdims=True) if len(units) else centroids, full_matrices=False)
    axes = np.zeros((len(units), 2))
    axes[:, : min(2, left.shape[1])] = (left * scale)[:, :2]
    most = np.abs(axes).max(initial=0.0)
    if most < 1e-9:
        return np.zeros_like(axes)
    for axis in axes.T:
        axis *= -1 if axis[np.argmax(np.abs(axis).round(6))] < 0 else 1
    return np.asarray((axes / most).round(4) + 0.0)


def _examples(table: pa.Table, count: int) -> dict[int, dict[str, list[dict[str, Any]]]]:
    """Return the nearest and the farthest documents of each cluster; none is both."""
    found: dict[int, dict[str, list[dict[str, Any]]]] = {}
    for row in table.to_pylist():
        sides = found.setdefault(row["cluster"], {"nearest": [], "farthest": []})
        shown = {name: row[name] for name in ("id", "distance", "url", "opening")} | {"distance": round(row["distance"], 7)}
        near = {entry["id"] for entry in sides["nearest"]}
        if row["side"] == NEAREST:
            sides["nearest"].append(shown)
        elif row["side"] == FARTHEST and row["id"] not in near:
            sides["farthest"].append(shown)
    return found


def _identity(sums: pa.Table, vectors: Any) -> str:
    """Return which clusters these are: a hash of their numbers, sizes and sums of vectors."""
    sha = hashlib.sha256()
    for column in (sums.column("cluster").to_numpy(), sums.column("documents").to_numpy(), vectors):
        sha.update(np.ascontiguousarray(column, "<i8").tobytes())
    return sha.hexdigest()[:16]


def _brief(cards: Sequence[Item]) -> list[Item]:
    """Return what the report shows of the largest clusters."""
    largest = sorted(cards, key=lambda card: (-card["documents"], card["cluster"]))[:IN_REPORT]
    return [
        card | {"words": [word["word"] for word in card["words"][:REPORT_WORDS]]} | {side: _openings(card[side]) for side in SIDES}
        for card in largest
    ]


def _openings(examples: Sequence[Item]) -> list[Item]:
    return [one | {"opening": one["opening"][:REPORT_CHARS]} for one in examples[:REPORT_EXAMPLES]]


def verdict(found: Mapping[str, Any]) -> Verdict:
    """Return how many clusters there are; numbers without documents are told. The report shows the cards themselves."""
    message = f"{plural(found['clusters'], 'cluster')} of {plural(found['documents'], 'document')}"
    if found["without_cluster"]:
        message += f"; {count(found['without_cluster'])} without a cluster are left out"
    if (missing := found["last"] + 1 - found["clusters"]) > 0:
        message += f"; {count(missing)} of the numbers up to {count(found['last'])} have no document"
    return Verdict(True, message)
