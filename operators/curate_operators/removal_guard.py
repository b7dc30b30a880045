"""A guard for deduplication: which sources lose more of their documents than is believable.

The default only warns, and looks at the column `source`. `0.5` sets another ratio, null turns the guard off, and a mapping sets
all of it: `{ratio: 0.5, column: url, min_documents: 100, otherwise: fail}`. Addresses count by their host, without `www.`.

Two phases after the marks are written: `removed` counts each shard's sources, `sources` adds them up, so that no task and no
driver holds more than a partition of them, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import shuffle
from curate.dataset import Dataset, read_shard, resolve
from curate.document import SOURCE, leaf
from curate.errors import OperatorError, PipelineError
from curate.hashing import hash64
from curate.report.units import plural, share
from curate.shuffle import Range, ShuffleFile
from curate.work import Place, Verdict, Work
from curate_operators.site_lines import sites_of

COUNTS = pa.schema({"source": pa.string(), "documents": pa.int64(), "removed": pa.int64()})
SHOWN = 20
NAME_CHARS = 100
HINT = "a ratio such as 0.5, or `{ratio: 0.5, column: source, min_documents: 100, otherwise: warn}` (or `fail`), or null"


@dataclass(frozen=True)
class Guard:
    """The largest share of a source's documents that may go, and what happens otherwise."""

    ratio: float = 0.5
    column: str = SOURCE
    min_documents: int = 100
    otherwise: Literal["warn", "fail"] = "warn"


def parse(given: float | Mapping[str, Any] | None) -> Guard | None:
    """Return the guard that `max_removed_ratio_per_source` stands for; raise `PipelineError` when it stands for none."""
    if given is None:
        return None
    values = dict(given) if isinstance(given, Mapping) else {"ratio": given}
    odd = [name for name in values if name not in Guard.__dataclass_fields__]
    guard = Guard() if odd else Guard(**values)
    is_ratio = isinstance(guard.ratio, int | float) and not isinstance(guard.ratio, bool) and 0 <= guard.ratio <= 1
    is_rest = isinstance(guard.column, str) and isinstance(guard.min_documents, int) and guard.otherwise in ("warn", "fail")
    if odd or not is_ratio or not is_rest or guard.min_documents < 1:
        raise PipelineError(f"max_removed_ratio_per_source: {given!r} is no guard", HINT)
    return guard


def columns(given: float | Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the column that the documents must have for it: one that is named; without `source` nothing is judged."""
    guard = parse(given)
    return (guard.column,) if guard and isinstance(given, Mapping) and "column" in given else ()


def judge(given: float | Mapping[str, Any] | None, name: str, documents: Dataset, work: Work) -> None:
    """Note what each source loses by the marks that `work` has just written; raise `OperatorError` when the guard says so."""
    guard = parse(given)
    if guard is None:
        return
    if guard.column.partition(".")[0] not in documents.manifest.columns:
        work.note("sources", Verdict(True, f"not judged what each source loses: there is no column `{guard.column}`"))
        return
    partitions = shuffle.partitions_for(documents.rows, row_bytes=64)
    items = [
        {
            "documents": documents.shard_path(shard),
            "marks": resolve(work.folder, receipt.data),
            "column": guard.column,
            "partitions": partitions,
        }
        for shard, receipt in enumerate(work.receipts)
    ]
    parts = shuffle.ranges(work.storage, [ShuffleFile(**file) for file in work.map("removed", count_shard, items)])
    tasks = [{"parts": [asdict(part) for part in group], "guard": asdict(guard)} for group in parts]
    verdict = _verdict(guard, work.map("sources", sum_partition, tasks))
    work.note("sources", verdict)
    if not verdict.passed and guard.otherwise == "fail":
        raise OperatorError(
            f"{name}: {verdict.message}",
            "to see what would go, run with `otherwise: warn` and `curate show` the marks; to allow it, give a higher ratio",
        )


def count_shard(item: dict[str, Any], place: Place) -> dict[str, Any]:
    """Count the documents of each source of a shard, and those that do not stay."""
    keep = [batch.column("keep") for batch in read_shard(place.storage, item["marks"], ["keep"])]
    removed = pc.cast(pc.invert(pa.concat_arrays(keep or [pa.array([], pa.bool_())])), pa.int64())
    found, begun = [COUNTS.empty_table()], 0
    for batch in read_shard(place.storage, item["documents"], [item["column"].partition(".")[0]]):
        source = pc.fill_null(sites_of(leaf(batch, item["column"])), "")
        rows = pa.table([source, pa.repeat(1, batch.num_rows), removed.slice(begun, batch.num_rows)], COUNTS.names)
        found.append(_summed(rows))
        begun += batch.num_rows
    counts = _summed(pa.concat_tables(found))
    return asdict(place.write_shuffle(item["partitions"], COUNTS, _spread(counts, item["partitions"])))


def _summed(counts: pa.Table) -> pa.Table:
    """Return one row per source, in the order of their names."""
    sums = counts.group_by("source", use_threads=False).aggregate([("documents", "sum"), ("removed", "sum")])
    return sums.rename_columns(COUNTS.names).sort_by("source").cast(COUNTS)


def _spread(counts: pa.Table, partitions: int) -> Iterator[tuple[Any, pa.RecordBatch]]:
    for batch in counts.to_batches():
        yield hash64(batch.column("source")) % np.uint64(partitions), batch


def sum_partition(item: dict[str, Any], place: Place) -> dict[str, Any]:
    """Return how many sources are judged, how many lost too much, and those that lost most."""
    guard = Guard(**item["guard"])
    rows = shuffle.read(place.storage, [Range(**part) for part in item["parts"]], COUNTS)
    counts = _summed(pa.Table.from_batches(rows, COUNTS))
    judged = counts.filter(pc.greater_equal(counts.column("documents"), guard.min_documents))
    ratio = pc.divide(pc.cast(judged.column("removed"), pa.float64()), judged.column("documents"))
    order = [("ratio", "descending"), ("documents", "descending"), ("source", "ascending")]
    worst = judged.append_column("ratio", ratio).sort_by(order)
    above = pc.sum(pc.greater(ratio, guard.ratio)).as_py() or 0
    small = [pc.sum(column).as_py() or 0 for column in (counts.column("documents"), judged.column("documents"))]
    return {"judged": judged.num_rows, "above": above, "worst": worst.slice(0, SHOWN).to_pylist(), "small": small[0] - small[1]}


def _verdict(guard: Guard, found: list[dict[str, Any]]) -> Verdict:
    judged, above, small = (sum(one[key] for one in found) for key in ("judged", "above", "small"))
    worst = sorted((row for one in found for row in one["worst"]), key=lambda row: (-row["ratio"], -row["documents"], row["source"]))
    named = [f"{_name(row)} {share(row['removed'], row['documents'])} of {row['documents']:,}" for row in worst[: min(3, above) or 1]]
    limit = f"more than {round(100 * guard.ratio, 6):g}%"
    if above:
        more = f", and {above - len(named):,} more" if above > len(named) else ""
        message = f"{above:,} of {plural(judged, 'source')} (`{guard.column}`) lost {limit}: {', '.join(named)}{more}"
    elif judged and worst[0]["removed"]:
        message = f"no `{guard.column}` lost {limit}; most lost {named[0]}"
    elif judged:
        which = f"of {guard.min_documents:,} documents or more lost any" if small else "lost any document"
        message = f"no `{guard.column}` {which}"
    else:
        message = f"not judged what each source loses: no `{guard.column}` has {guard.min_documents:,} documents"
    if small and judged:
        message += f"; {plural(small, 'document')} of smaller ones not judged"
    table = {
        _name(row): {"documents": row["documents"], "removed": row["removed"], "ratio": round(row["ratio"], 4)} for row in worst[:SHOWN]
    }
    return Verdict(not above, message, table)


def _name(row: Mapping[str, Any]) -> str:
    name = str(row["source"])
    return f"`{name}`" if len(name) <= NAME_CHARS else f"`{name[: NAME_CHARS - 1]}…`"
