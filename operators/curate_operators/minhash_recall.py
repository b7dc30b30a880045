"""What a run of `minhash_dedup` tells about itself: its S-curve, how many of the planted copies it found, what it compared.

Copies (`minhash_canary.py`) are one more shard, behind all others by every rule of `keep`. They go into the same buckets, are
paired, grouped, compared and decided with everything else, and are taken out before any document hears of a verdict: a document
can be the reason why a copy goes, and never the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from curate.document import TEXT
from curate.report.units import plural
from curate.work import Curve, Place, Verdict
from curate_operators import minhash_canary as canary
from curate_operators import minhash_sign as sign
from curate_operators.minhash_curve import Bands
from curate_operators.minhash_pairs import distinct
from curate_operators.minhash_sign import Item

NOTHING = "nothing"  # a column without values: by every rule of `keep` copies come last
COPIES = pa.schema({TEXT: pa.large_string(), NOTHING: pa.float64()})
NO_TRUTH = pa.table({"origin": pa.array([], pa.uint64()), "level": pa.array([], pa.float64()), "similarity": pa.array([], pa.float64())})
UNLIKELY = 0.00135  # what lies more than three standard deviations below the mean, were it normal
SHOWN = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def plant_copies(item: Item, place: Place) -> Item:
    """Make a shard of edited copies of drawn documents, sign it, and send it into the buckets."""
    sample = canary.first_drawn(item["samples"], 2 * len(canary.LEVELS) * item["planted"], place)
    made = canary.copies(sample, item)
    rows = pa.record_batch([pa.array(made.texts, pa.large_string()), pa.nulls(len(made.texts), pa.float64())], COPIES)
    truth = pa.table([sample.column("document").to_numpy()[made.origin], made.level, made.similarity], ["origin", "level", "similarity"])
    signed = sign.sign(rows, item | {"keep": [{"highest": NOTHING}] * item["rules"] or "first", "dump": None})
    keys = [column.to_numpy() for column in signed.columns[: 2 + item["rules"]]]
    first = np.zeros(len(rows), np.bool_)
    first[sign.leaders([*keys, sign.numbers(item["shard"], len(rows))], signed.column("size").to_numpy() > 0)[1]] = True
    file = place.write_shuffle(item["spread"], sign.buckets_schema(item["rules"]), sign.in_buckets(iter([signed]), first, item))
    texts = place.write_table("texts", pa.Table.from_batches([rows.select([TEXT])]))
    return {"texts": texts, "shuffle": asdict(file), "truth": place.write_table("truth", truth)}


def count_found(item: Item, place: Place) -> Item:
    """Count the copies that were compared with their documents, those that were found similar, and what is to be left out of counts."""
    truth = place.read_table(item["truth"]) if item["truth"] else NO_TRUTH
    origin, level, similarity = (column.to_numpy() for column in truth.columns)
    compared, pairs = _hits(place, item["pairs"], origin)
    found, edges = _hits(place, item["edges"], origin)
    cut = _union(place.read_table(path).column("document").to_numpy() for path in item["cut"])
    bands = Bands(item["bands"], item["rows"])
    promised = np.array([bands.probability(value) for value in similarity.tolist()])
    verified = (compared > 0) & (similarity >= item["similarity"])
    rows = {}
    for one in canary.LEVELS:
        mine = level == one
        rows[f"{one:g}"] = {
            "planted": int(mine.sum()),
            "similarity": round(float(similarity[mine].mean()), 4) if mine.any() else None,
            "promised": round(float(promised[mine].sum()), 2),
            "compared": int((compared[mine] > 0).sum()),
        } | ({"found": int((found[mine] > 0).sum())} if item["mode"] == "verified" else {})
    wrong = verified != (found > 0)
    wrong |= (found > 0) & (np.abs(found - similarity) > 1e-9)
    return {
        "levels": {one: row for one, row in rows.items() if row["planted"]},
        "chance": _tail(promised.tolist(), int((compared > 0).sum())),
        "wrong": int(wrong.sum()) if item["mode"] == "verified" else 0,
        "pairs": pairs,
        "edges": edges,
        "cut": len(cut),
    }


def _union(parts: Iterable[Any]) -> Any:
    """Return what any part has, each once, in order; so that the work grows with the values, not with parts times values."""
    known, waiting, held = np.zeros(0, np.uint64), [], 0
    for part in parts:
        waiting.append(part)
        held += len(part)
        if held > len(known):
            known, waiting, held = distinct(np.concatenate([known, *waiting])), [], 0
    return distinct(np.concatenate([known, *waiting]))


def _hits(place: Place, paths: list[str], origin: Any) -> tuple[Any, int]:
    """Return for each copy what was measured between it and its document (1 where only a pair is known), and how many pairs there are."""
    measured = np.zeros(len(origin))
    known: list[Any] = [np.zeros((0, 2), np.uint64)]
    for path in paths:
        columns = [column.to_numpy() for column in place.read_table(path).columns]
        earlier, later = columns[:2]
        row = (later & sign.ROW).astype(np.int64)
        own = earlier == origin[row]
        measured[row[own]] = columns[2][own] if len(columns) > 2 else 1.0
        known.append(np.stack([earlier, later], axis=1))
    return measured, len(np.unique(np.concatenate(known), axis=0))


def _tail(chances: list[float], reached: int) -> float:
    """Return how probable it is that so few, or fewer, of independent events happen."""
    exactly = np.zeros(len(chances) + 1)
    exactly[0] = 1.0
    for chance in chances:
        exactly[1:] = exactly[1:] * (1 - chance) + exactly[:-1] * chance
        exactly[0] *= 1 - chance
    return float(exactly[: reached + 1].sum())


def curve_note(bands: Bands, similarity: float, levels: Mapping[str, Item]) -> Verdict:
    """Return the S-curve in numbers, and as a picture with the similarity from which documents go and the copies that were compared."""
    chances = {one: bands.probability(one) for one in SHOWN}
    told = ", ".join(f"{100 * bands.probability(one):.4g}% at {one:g}" for one in sorted({0.5, similarity, 0.9}))
    lines = {"promised": [(k / 50, bands.probability(k / 50)) for k in range(51)]}
    dots = [(row["similarity"], row["compared"] / row["planted"]) for row in levels.values()]
    picture = Curve("Jaccard similarity", "share compared", lines, {"planted copies": dots} if dots else {}, {"goes from": similarity})
    message = f"{plural(bands.bands, 'band')} of {plural(bands.rows, 'row')}: the share of pairs that is compared is {told}"
    return Verdict(True, message, {f"compared at {one:g}": round(chance, 4) for one, chance in chances.items()}, picture)


def canary_note(found: Item, item: Item) -> Verdict:
    """Return how many of the planted copies were found, a warning when the S-curve promises more or a comparison was wrong."""
    levels: Mapping[str, Item] = found["levels"]
    message = _found(levels, item)
    if found["wrong"]:
        were = "was" if found["wrong"] == 1 else "were"
        return Verdict(False, f"{message}; {found['wrong']:,} {were} compared with another result than theirs", levels)
    if levels and found["chance"] < UNLIKELY:
        why = f"; so few are compared by chance with probability {found['chance']:.1g}"
        if found["cut"]:
            why += f": {_behind(found['cut'], item['max_heads'])}; a higher `max_heads` finds more"
        return Verdict(False, message + why, levels)
    return Verdict(True, message, levels)


def _found(levels: Mapping[str, Item], item: Item) -> str:
    """Say how many planted copies were found, or why there were none that had to be."""
    few = "too few documents differ from those before them and are neither too short nor too long"
    if not levels:
        return f"no near-duplicates were planted: {few}"
    due = [row for one, row in levels.items() if float(one) >= item["similarity"]]
    if not due:
        highest = max(canary.LEVELS)
        why = few if item["similarity"] <= highest else f"those that are planted have {highest:g} at most"
        return f"no near-duplicates of {item['similarity']:g} and above were planted: {why}"
    key = "found" if item["mode"] == "verified" else "compared"
    planted, promised = sum(row["planted"] for row in due), sum(row["promised"] for row in due)
    told = f"{sum(row[key] for row in due):,} of {plural(planted, 'planted near-duplicate')} of {item['similarity']:g} and above"
    return f"found {told}, {promised:,.1f} {'was' if planted == 1 else 'were'} to be expected"


def pairs_note(counts: Mapping[str, int], max_heads: int, mode: str) -> Verdict:
    """Return what was compared, and what was not."""
    cut, largest = counts["documents not compared with all of a bucket"], plural(counts["largest group"], "document")
    compared, similar = counts["pairs compared"], counts["pairs similar"]
    if counts["largest group"] < 2 or (mode == "verified" and not compared):  # planted copies may link two documents
        message = "no pair was compared: no two documents share a bucket, but for those with the same shingles"
    elif mode == "component":
        message = f"no pair was compared; the largest group has {largest}"
    else:
        refuted = f" ({1 - similar / compared:.1%} refuted)"
        message = f"{plural(compared, 'pair')} compared, {similar:,} similar{refuted}; the largest group has {largest}"
    if cut:
        message += f"; {_behind(cut, max_heads)}"
    return Verdict(True, message, counts)


def _behind(cut: int, max_heads: int) -> str:
    are, were = ("is", "was") if cut == 1 else ("are", "were")
    those = "that one" if max_heads == 1 else "those"
    first = f"{max_heads:,} documents" if max_heads > 1 else "document"
    return f"{plural(cut, 'document')} {are} in a bucket behind its first {first}, and {were} paired there with {those} only"
