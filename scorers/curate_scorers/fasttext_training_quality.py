"""Says how good a trained classifier is on documents that it has not seen, and which words decide."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels, shuffle
from curate.dataset import join_url, read_shard
from curate.document import ID, TEXT
from curate.files import local_file
from curate.report.units import plural
from curate.shuffle import Range
from curate.work import Curve, Place, Verdict
from curate_scorers.fasttext_training_text import PREFIX, ROWS, Item, in_order

Floats = np.ndarray[Any, np.dtype[np.float64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]

SCORED = {TEXT: pa.large_string(), "label": pa.string(), "likeliest": pa.string(), "score": pa.float32()}
BINS = 10
SHOWN = 15  # words for and against
RESAMPLES, RESAMPLED = 1000, 100_000_000  # fewer resamples of so many documents that all together would be more rows than this
CHUNK_ROWS = 4096


def score_shard(item: Item, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield the held-out documents of a partition with their label, the likeliest one, and the probability of the wanted one."""
    rows = in_order(list(shuffle.read(place.storage, [Range(**part) for part in item["parts"]], ROWS)))
    model = kernels.read_model(local_file(join_url(place.storage.url, item["model"])), PREFIX)
    names = pa.array(model.labels, pa.string())
    for batch in rows.to_batches(max_chunksize=CHUNK_ROWS):
        found, words = model.probabilities(batch.column(TEXT))
        likeliest = names.take(pa.array(found.argmax(axis=1)))
        score = pa.array(found[:, model.labels.index(item["positive"])], pa.float32(), mask=words == 0)
        columns = [batch.column(ID), batch.column(TEXT), batch.column("label"), likeliest, score]
        yield pa.RecordBatch.from_arrays(columns, [ID, *SCORED])


def evaluate(item: Item, place: Place) -> Item:
    """Return the measures of all held-out documents, and the words that decide."""
    labels, likeliest, scores = [np.zeros(0, object)], [np.zeros(0, object)], [np.zeros(0)]
    for shard in item["shards"]:
        for batch in read_shard(place.storage, shard, ["label", "likeliest", "score"]):
            labels.append(batch.column("label").to_numpy(zero_copy_only=False))
            likeliest.append(batch.column("likeliest").to_numpy(zero_copy_only=False))
            scores.append(pc.fill_null(batch.column("score"), 0.0).to_numpy().astype(np.float64))
    label, score = np.concatenate(labels), np.concatenate(scores)
    wanted = label == item["positive"]
    model = kernels.read_model(local_file(join_url(place.storage.url, item["model"])), PREFIX)
    measured = {"accuracy": float((label == np.concatenate(likeliest)).mean())} if len(label) else {}
    if wanted.any() and not wanted.all():
        low, high = interval(wanted, score)
        measured |= {"auc": auc(wanted, score), "low": low, "high": high}
    return {"measured": measured, "bins": reliability(wanted, score), "words": deciding_words(model, item["positive"])}


def auc(wanted: Bools, scores: Floats) -> float:
    """Return the share of pairs of a wanted and another document of which the wanted one scores higher; equal scores count half."""
    kinds, levels = _by_level(wanted, scores)
    return _auc(*(np.bincount(kind, minlength=levels) for kind in kinds))


def interval(wanted: Bools, scores: Floats, level: float = 0.95, seed: int = 1) -> tuple[float, float]:
    """Return the bootstrap interval of the AUC: quantiles over resamples of the documents, those of either kind by themselves."""
    draw = np.random.default_rng(seed)
    kinds, levels = _by_level(wanted, scores)
    found = []
    for _ in range(max(100, min(RESAMPLES, RESAMPLED // len(scores)))):
        found.append(_auc(*(np.bincount(kind[draw.integers(0, len(kind), len(kind))], minlength=levels) for kind in kinds)))
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return low, high


def _by_level(wanted: Bools, scores: Floats) -> tuple[list[Any], int]:
    """Return the rank of each wanted document's score and of each other one's, equal scores having one, and how many there are."""
    values, ranks = np.unique(scores, return_inverse=True)
    return [ranks[wanted], ranks[~wanted]], len(values)


def _auc(wanted: Any, others: Any) -> float:
    """Return the AUC of two counts per level of the score, the lowest first."""
    below = np.cumsum(others) - others / 2
    return float((wanted * below).sum() / (wanted.sum() * others.sum()))


def reliability(wanted: Bools, scores: Floats) -> list[Item]:
    """Return for each tenth of the probabilities how many documents have one, its mean, and the share that is wanted."""
    tenth = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    found = []
    for number in np.unique(tenth):
        own = tenth == number
        mean, share = float(scores[own].mean()), float(wanted[own].mean())
        found.append({"from": number / BINS, "documents": int(own.sum()), "mean": mean, "share": share})
    return found


def deciding_words(model: kernels.FastTextModel, positive: str) -> list[tuple[str, float]]:
    """Return the words that speak most for and most against a label, and what each adds to it beside the mean of the others.

    None for a tree of labels (`hs`), which has no row per label, and for a model of parts of words.
    """
    names = model.vocabulary.names[: model.vocabulary.words]
    if model.loss == "hs" or model.vocabulary.max_chars > 0 or not names:
        return []
    place = model.labels.index(positive)
    others = np.delete(model.output, place, axis=0).mean(axis=0)
    weights = model.matrix[: len(names)] @ (model.output[place] - others)
    order = np.argsort(-weights, kind="stable")
    chosen = order if len(order) <= 2 * SHOWN else np.concatenate([order[:SHOWN], order[-SHOWN:]])
    return [(names[word].decode(errors="replace"), float(weights[word])) for word in chosen]


def verdicts(found: Item, positive: str) -> Iterator[tuple[str, Verdict]]:
    """Yield what the measures say, as notes."""
    measured, bins = found["measured"], found["bins"]
    documents = sum(one["documents"] for one in bins)
    if "auc" in measured:
        numbers = {name: round(value, 4) for name, value in measured.items()}
        message = f"AUC {measured['auc']:.3f} (95 %: {measured['low']:.3f} to {measured['high']:.3f}) on {plural(documents, 'document')}"
        yield "held-out", Verdict(measured["low"] > 0.5, f"{message} never trained on", numbers | {"documents": documents})
        yield "calibration", _calibration(bins, positive, documents)
    else:
        yield "held-out", Verdict(False, "not judged: no held-out documents of both kinds; raise `held_out` or give more documents")
    if words := found["words"]:
        shown = {word: {"adds": round(weight, 4)} for word, weight in words}
        some = [f"`{word}`" for word, weight in words if weight > 0][:5]
        yield "words", Verdict(True, f"words that speak most for `{positive}`: {', '.join(some) or 'none'}", shown)


def _calibration(bins: list[Item], positive: str, documents: int) -> Verdict:
    """Return how far probabilities are from shares, by the documents' mean."""
    off = sum(one["documents"] * abs(one["mean"] - one["share"]) for one in bins) / documents
    rows = {f"{one['from']:.1f}": {name: round(one[name], 4) for name in ("documents", "mean", "share")} for one in bins}
    dots = [(one["mean"], one["share"]) for one in bins]
    picture = Curve(f"probability of {positive}", f"share that is {positive}", {"equal": [(0.0, 0.0), (1.0, 1.0)]}, {"held-out": dots})
    return Verdict(True, f"probabilities are off by {off:.3f} on average; of the mix of labels that was trained on", rows, picture)
