"""The phases of `perplexity_correlations`: what each shard holds of each unit, how much of the budget is full, and the marks.

    measure   per shard: estimates of its documents, or its part of each group's bits and tokens, into the shuffle
    units     per partition of groups: their estimates; every shard is told of its own
    project   per part of the units, round by round: how much of the budget is full at some points
    (write)   per shard: the marks

A unit's row is 16 bytes. Losses are added up as whole numbers (bits, and 2^-30 bits), so that no layout of shards changes any bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import beside, shuffle
from curate.dataset import read_shard
from curate.document import ID, TEXT, leaf
from curate.errors import DatasetError
from curate.hashing import chances, hash64
from curate.shuffle import Range
from curate.work import Place
from curate_scorers.correlations import Floats, estimate
from curate_scorers.correlations_projection import Edge, Integers, Units, sums, use

Item = dict[str, Any]
LOCAL = pa.schema({"unit": pa.string(), "estimate": pa.float64(), "tokens": pa.int64()})
UNITS = pa.schema({"estimate": pa.float64(), "tokens": pa.int64()})
ANSWER = pa.schema({"unit": pa.string(), "estimate": pa.float64(), "tokens": pa.int64()})
NO_TOKENS, NO_UNIT, NO_LOSS, LOW, NOT_SAMPLED = "no_tokens", "no_unit", "no_loss", "low_estimate", "not_sampled"
_FRACTION = float(2**30)


def measure_shard(item: Item, place: Place) -> Item:
    """Keep each document's tokens with its estimate or group, and send the shard's part of each group into the shuffle."""
    local, parts = [LOCAL.empty_table()], [_sent(item).empty_table()]
    for docs in beside.read(item, place, item["reads"]):
        losses, tokens = _losses(docs, item["losses"]), _tokens(docs, item["tokens"])
        grouped = item["by"] is not None
        unit = leaf(docs, item["by"]).cast(pa.string()) if grouped else pa.nulls(docs.num_rows, pa.string())
        found = np.full(len(tokens), np.nan) if grouped else estimate(item["estimator"], losses, _errors(item))
        local.append(pa.table([unit, pa.array(found), pa.array(tokens)], schema=LOCAL))
        if grouped:
            parts.append(_added(pa.concat_tables([parts.pop(), _parts(unit, losses, tokens)])))
    table = pa.concat_tables(local)
    result: Item = {"local": place.write_table("local", table), "tokens": pc.sum(table.column("tokens")).as_py() or 0}
    if item["by"] is None:
        return result | _described(table.select(UNITS.names), place)
    rows = parts[-1].append_column("shard", pa.repeat(pa.scalar(item["shard"], pa.uint32()), parts[-1].num_rows)).combine_chunks()
    spread = ((hash64(batch.column("unit")) % np.uint64(item["partitions"]), batch) for batch in rows.to_batches())
    return result | {"shuffle": asdict(place.write_shuffle(item["partitions"], rows.schema, spread))}


def join_units(item: Item, place: Place) -> Item:
    """Estimate the groups of a partition, and tell every shard of those that it has."""
    schema = _sent(item).append(pa.field("shard", pa.uint32()))
    rows = pa.Table.from_batches(shuffle.read(place.storage, [Range(**part) for part in item["parts"]], schema), schema).combine_chunks()
    whole = _added(rows.drop_columns(["shard"]))
    size = whole.column("size").to_numpy()
    bits = [whole.column(f"bits{m}").to_numpy() + whole.column(f"rest{m}").to_numpy() / _FRACTION for m in range(len(item["losses"]))]
    losses = np.divide(np.stack(bits, axis=1), size[:, None], out=np.full((len(size), len(bits)), np.nan), where=size[:, None] > 0)
    units = whole.select(["unit", "tokens"]).append_column("estimate", pa.array(estimate(item["estimator"], losses, _errors(item))))
    at = pc.index_in(rows.column("unit"), units.column("unit").combine_chunks())
    [told] = units.select(ANSWER.names).take(at).combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], ANSWER)]
    answers = place.write_shuffle(item["shards"], ANSWER, iter([(rows.column("shard").to_numpy().astype(np.int64), told)]))
    return {"answers": asdict(answers)} | _described(units.select(UNITS.names), place)


def fill_part(item: Item, place: Place) -> list[int]:
    """Return how much of the budget the units of one part fill at each point."""
    return sums(_units(place.read_table(item["units"])), item["projection"], item["budget"], item["points"])


def mark_shard(item: Item, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield one row of attributes per document of a shard, in its order."""
    local = place.read_table(item["local"])
    ids = pa.concat_arrays([b.column(ID) for b in read_shard(place.storage, item["documents"], [ID])] or [pa.array([], pa.string())])
    if len(ids) != local.num_rows:
        raise DatasetError(f"{item['path']} changed: {len(ids)} rows, {local.num_rows} were measured", "run again")
    tokens = local.column("tokens").to_numpy()
    units = _units_of(local, item, place)
    used = use(Units(np.nan_to_num(units.estimates), units.tokens), Edge(**item["edge"]), item["projection"], item["budget"])
    used = np.where(np.isfinite(units.estimates) & (tokens > 0), used, 0.0)
    keep = chances(ids, item["seed"]) < used
    reason = _reasons(units.estimates, tokens, used, pc.is_null(local.column("unit")).to_numpy() & (item["by"] is not None))
    known = ~np.isfinite(units.estimates)
    yield pa.RecordBatch.from_pydict(
        {
            ID: ids,
            "keep": pa.array(keep),
            "estimate": pa.array(units.estimates, mask=known),
            "weight": pa.array(used * tokens / item["budget"]),
            "reason": pc.if_else(pa.array(keep), pa.scalar(None, pa.string()), pa.array(reason, pa.string())),
            "value": pa.array(units.estimates, mask=known | keep),
        }
    )


def _reasons(estimates: Floats, tokens: Integers, used: Floats, without_unit: Any) -> list[str]:
    """Return why each document would go."""
    conditions = [tokens == 0, without_unit, ~np.isfinite(estimates), used > 0]
    return list(np.select(conditions, [NO_TOKENS, NO_UNIT, NO_LOSS, NOT_SAMPLED], LOW).tolist())


def _units_of(local: pa.Table, item: Item, place: Place) -> Units:
    """Return the estimate and the tokens of each document's unit."""
    if item["by"] is None:
        return Units(local.column("estimate").to_numpy(), local.column("tokens").to_numpy())
    told = shuffle.read(place.storage, [Range(**part) for part in item["parts"]], ANSWER)
    answers = pa.Table.from_batches(told, ANSWER).combine_chunks()
    at = pc.index_in(local.column("unit").combine_chunks(), answers.column("unit").combine_chunks())
    found = answers.take(at)
    estimates = pc.fill_null(found.column("estimate"), np.nan).to_numpy()
    return Units(estimates, pc.fill_null(found.column("tokens"), 0).to_numpy())


def _losses(docs: pa.RecordBatch, paths: Sequence[str]) -> Floats:
    """Return documents × models, NaN where there is no loss."""
    columns = [pc.fill_null(leaf(docs, path).cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False) for path in paths]
    return np.stack(columns, axis=1)


def _tokens(docs: pa.RecordBatch, path: str | None) -> Integers:
    counts = pc.binary_length(docs.column(TEXT)) if path is None else leaf(docs, path)
    tokens = pc.fill_null(counts.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    if len(tokens) and tokens.min() < 0:
        raise DatasetError(f"perplexity_correlations: column `{path}` has {tokens.min()} tokens", "give a column of counts")
    return np.asarray(tokens, np.int64)


def _errors(item: Item) -> Floats:
    """Return how much worse than the mean each model is."""
    scores = np.array(item["scores"], np.float64)
    return np.asarray(scores.mean() - scores, np.float64)


def _sent(item: Item) -> pa.Schema:
    """Return what a shard knows of each group: all tokens, tokens of documents with losses, and each model's bits on them."""
    names = ["tokens", "size", *(f"{name}{m}" for m in range(len(item["losses"])) for name in ("bits", "rest"))]
    return pa.schema([pa.field("unit", pa.string()), *(pa.field(name, pa.int64()) for name in names)])


def _parts(unit: pa.Array, losses: Floats, tokens: Integers) -> pa.Table:
    size = np.where(np.isfinite(losses).all(axis=1), tokens, 0)
    columns: dict[str, Any] = {"unit": unit, "tokens": tokens, "size": size}
    for model in range(losses.shape[1]):
        bits = np.where(size > 0, losses[:, model], 0.0) * size
        floors = np.floor(bits)
        columns |= {f"bits{model}": floors.astype(np.int64), f"rest{model}": np.rint((bits - floors) * _FRACTION).astype(np.int64)}
    return pa.table(columns).filter(pc.is_valid(unit))


def _added(parts: pa.Table) -> pa.Table:
    """Return one row per group, in the order of their names."""
    numbers = parts.column_names[1:]
    added = parts.group_by("unit", use_threads=False).aggregate([(name, "sum") for name in numbers])
    return added.rename_columns(parts.column_names).sort_by("unit").cast(parts.schema)


def _units(table: pa.Table) -> Units:
    return Units(table.column("estimate").to_numpy(), table.column("tokens").to_numpy())


def _described(units: pa.Table, place: Place) -> Item:
    """Write down the units that can be chosen, and return between which numbers they lie."""
    estimates, tokens = units.column("estimate").to_numpy(), units.column("tokens").to_numpy()
    chosen = units.filter(pa.array(np.isfinite(estimates) & (tokens > 0))).cast(UNITS)
    found: Item = {"units": place.write_table("units", chosen), "count": chosen.num_rows, "of": units.num_rows, "available": 0}
    if chosen.num_rows:
        part = _units(chosen)
        bounds = {"lowest": part.estimates.min(), "highest": part.estimates.max(), "most": part.tokens.max()}
        found |= {"available": int(part.tokens.sum())} | {name: value.item() for name, value in bounds.items()}
    return found
