"""The middle of `minhash_dedup` on the driver: from signed shards to what was decided about their documents, phase after phase."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from curate import shuffle
from curate.work import Verdict, Work
from curate_operators import minhash_decide as decide
from curate_operators import minhash_groups as groups
from curate_operators import minhash_known as known
from curate_operators import minhash_pairs as pairs
from curate_operators import minhash_recall as recall
from curate_operators import minhash_sign as sign
from curate_operators import minhash_verify as verify
from curate_operators.minhash_curve import Bands
from curate_operators.minhash_sign import Item, ranges

PIECE_BYTES, BLOCK_BYTES = shuffle.PARTITION_BYTES, 64 << 20
AT_ONCE = 8  # blocks of a unit that one task decides: each takes much less time than its pairs did to be compared


def search(work: Work, shared: Item, items: list[Item], sizes: list[int]) -> tuple[list[list[Item]], dict[str, Verdict]]:
    """Return for each shard the verdicts that keep one of its documents, and what the run found out about itself.

    `items` are the shards of the index, then those of the documents; `sizes` their bytes.
    """
    spread, planted = _filled(work, shared, items)
    paired = _paired(work, shared, spread)
    group = groups.find(work, shared, paired, BLOCK_BYTES)
    compared: list[Item] = []
    decided: list[Item] = []
    if shared["mode"] == "verified" and group["documents"]:
        texts = [*items, *(shared | {"texts": shard["texts"], "shard": len(items)} for shard in planted)]
        routed, sets = _gathered(work, group, paired, texts, [*sizes, *(0 for _ in planted)])
        compared = work.map("compare", verify.compare_block, list(_blocks(shared, group, routed, sets)))
        decided = _decided(work, shared, group, compared)
    counts = {f"pairs {name}": sum(result[name] for result in compared) for name in ("compared", "similar")}
    notes = _notes(work, shared, (planted, paired, compared), counts | {"largest group": group["largest"]})
    told = group["verdicts"] if shared["mode"] == "component" else decided
    return ranges(work.storage, told) or [[] for _ in items], notes


def _filled(work: Work, shared: Item, items: list[Item]) -> tuple[list[list[Item]], list[Item]]:
    """Fill the buckets; return the ranges of each partition of them, and the shard of planted copies if there is one."""
    first = shared["first"]
    laid = work.map("refill", known.refill_shard, items[:first]) if first else []
    filled = work.map("spread", sign.spread_shard, items[first:])
    planted: list[Item] = []
    if shared["planted"]:
        task = shared | {"samples": _paths(filled, "drawn"), "shard": len(items)}
        planted = work.map("plant", recall.plant_copies, [task])
    return ranges(work.storage, [*laid, *(result["shuffle"] for result in (*filled, *planted))]), planted


def _paired(work: Work, shared: Item, spread: list[list[Item]]) -> list[Item]:
    """Make pairs of the documents of each bucket; a partition that is too large is read in pieces, after its heads."""
    cut = [_cut(parts) for parts in spread]
    told = {name: shared[name] for name in ("max_heads", "rules", "copies", "first")}
    hot = [told | {"parts": spread[p]} for p, parts in enumerate(cut) if len(parts) > 1]
    heads = iter(work.map("heads", pairs.find_heads, hot))
    tasks = []
    for parts in cut:
        path = next(heads) if len(parts) > 1 else None
        tasks += [told | {"parts": piece, "heads": path} for piece in parts]
    return work.map("pair", pairs.pair_piece, tasks)


def _cut(parts: list[Item]) -> list[list[Item]]:
    """Return a partition in one piece or, when it is too large, in small ones: each row of a hot bucket makes many pairs."""
    whole = pairs.pieces(parts, PIECE_BYTES)
    return whole if len(whole) == 1 else pairs.pieces(parts, PIECE_BYTES // 4)


def _gathered(
    work: Work, group: Item, paired: list[Item], texts: list[Item], sizes: list[int]
) -> tuple[list[list[Item]], list[list[Item]]]:
    """Send the pairs, and the shingles of their documents, to the blocks; return the ranges of each block."""
    told = {"edges": group["starts"], "blocks": len(group["starts"]) - 1}
    files = [pairs.pieces(ranges(work.storage, [result["pairs"]])[0], PIECE_BYTES // 4) for result in paired]
    routes = [told | {"nodes": nodes, "parts": parts} for nodes, file in zip(group["asked"], files, strict=True) for parts in file]
    routed = ranges(work.storage, work.map("route", verify.route_pairs, routes))
    gathers = [item | told | {"nodes": group["told"][item["shard"]]} for item in texts]
    return routed, ranges(work.storage, work.map("gather", verify.gather_shard, gathers, sizes))


def _blocks(shared: Item, group: Item, routed: list[list[Item]], sets: list[list[Item]]) -> Iterator[Item]:
    """Yield for each block its pairs, its sets, and those of the blocks of its unit before it."""
    for first, stop in pairwise(group["units"]):
        for block in range(first, stop):
            yield {
                "parts": routed[block],
                "sets": sets[block],
                "others": [*sets[first:block], None],
                "edges": group["starts"][first : block + 2],
                "similarity": shared["similarity"],
                "copies": shared["copies"],
            }


def _decided(work: Work, shared: Item, group: Item, compared: list[Item]) -> list[Item]:
    """Find who goes, for units of many blocks in a phase before the one that shares out their blocks; return the verdicts."""
    told, spans = {name: shared[name] for name in ("shards", "copies")}, list(pairwise(group["units"]))
    links, edges = [result["links"] for result in compared], [result["edges"] for result in compared]
    units = [{"links": links[a:b], "documents": group["starts"][b] - group["starts"][a]} for a, b in spans]
    settled = iter(work.map("settle", decide.settle_unit, [unit for unit in units if len(unit["links"]) > AT_ONCE]))
    tasks: list[Item] = []
    for (a, b), unit in zip(spans, units, strict=True):
        known = told | unit | {"gone": next(settled) if b - a > AT_ONCE else None}
        for k in range(a, b, AT_ONCE):
            own = slice(k, min(k + AT_ONCE, b))
            tasks.append(known | {"links": links[own], "edges": edges[own]})
    return work.map("decide", decide.decide_blocks, tasks)


def _notes(work: Work, shared: Item, results: tuple[list[Item], ...], counts: dict[str, int]) -> dict[str, Verdict]:
    """Return the S-curve, what was compared, and how many of the planted copies were found."""
    planted, paired, compared = results
    item = shared | {"truth": planted[0]["truth"] if planted else None, "cut": _paths(paired, "cut")}
    found = work.map("count", recall.count_found, [item | {"pairs": _paths(paired, "copies"), "edges": _paths(compared, "copies")}])[0]
    counts["pairs compared"] -= found["pairs"] if shared["mode"] == "verified" else 0
    counts["pairs similar"] -= found["edges"]
    counts["documents not compared with all of a bucket"] = found["cut"]
    notes = {"curve": recall.curve_note(Bands(shared["bands"], shared["rows"]), shared["similarity"], found["levels"])}
    notes["pairs"] = recall.pairs_note(counts, shared["max_heads"], shared["mode"])
    return notes | ({"canary": recall.canary_note(found, shared)} if planted else {})


def _paths(results: list[Item], name: str) -> list[str]:
    return [result[name] for result in results if result[name] is not None]
