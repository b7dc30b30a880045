"""A guard for deduplication: which sources lose more of their documents than is believable.

The default only warns, and looks at the column `source`. `0.5` sets another ratio, null turns the guard off, and a mapping sets
all of it: `{ratio: 0.5, column: url, min_documents: 100, otherwise: fail}`. Addresses count by their host, without `www.`.

Where lines or spans go, the documents that go are not all that is lost: the table then also has what each source loses of its text,
and a note before it tells what goes from all documents. The ratio that warns or fails is that of documents.

Two phases after the marks are written: `removed` counts each shard's sources (and cuts its texts, where lines or spans go), `sources`
adds them up, so that no task and no driver holds more than a partition of them, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import shuffle
from curate.dataset import Dataset, RowStream, read_shard, resolve
from curate.document import SOURCE, TEXT, leaf
from curate.errors import OperatorError, PipelineError
from curate.hashing import hash64
from curate.report.units import plural, share
from curate.shuffle import Range, ShuffleFile
from curate.work import Place, Verdict, Work
from curate_operators import removed_text
from curate_operators.removed_text import LISTS, Piece
from curate_operators.site_lines import sites_of

NUMBERS = ("documents", "removed", "bytes", "removed_bytes")
COUNTS = pa.schema([pa.field("source", pa.string()), *(pa.field(name, pa.int64()) for name in NUMBERS)])
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


def judge(given: float | Mapping[str, Any] | None, name: str, documents: Dataset, work: Work, piece: Piece | None = None) -> None:
    """Note what goes by the marks that `work` has just written, and what each source loses.

    `piece` is what the marks take out of documents that stay: lines, spans, or nothing. Raises `OperatorError` when the guard says so.
    """
    guard = parse(given)
    judged = guard is not None and guard.column.partition(".")[0] in documents.manifest.columns
    counted = _counted(guard if judged else None, documents, work, piece) if judged or piece else []
    if piece:
        work.note("removed", removed_text.note(removed_text.added(one["totals"] for one in counted), piece))
    if guard is None:
        return
    if not judged:
        work.note("sources", Verdict(True, f"not judged what each source loses: there is no column `{guard.column}`"))
        return
    parts = shuffle.ranges(work.storage, [ShuffleFile(**one["sources"]) for one in counted])
    tasks = [{"parts": [asdict(part) for part in group], "guard": asdict(guard)} for group in parts]
    verdict = _verdict(guard, work.map("sources", sum_partition, tasks), piece)
    work.note("sources", verdict)
    if not verdict.passed and guard.otherwise == "fail":
        raise OperatorError(
            f"{name}: {verdict.message}",
            "to see what would go, run with `otherwise: warn` and `curate show` the marks; to allow it, give a higher ratio",
        )


def _counted(guard: Guard | None, documents: Dataset, work: Work, piece: Piece | None) -> list[dict[str, Any]]:
    """Return of each shard what goes from its texts, and the file with what its sources lose where there is a guard."""
    common = {"column": guard and guard.column, "piece": piece, "partitions": shuffle.partitions_for(documents.rows, row_bytes=64)}
    items = [
        common | {"documents": documents.shard_path(shard), "marks": resolve(work.folder, receipt.data)}
        for shard, receipt in enumerate(work.receipts)
    ]
    return work.map("removed", count_shard, items, [shard.data.bytes for shard in documents.manifest.shards])


def count_shard(item: dict[str, Any], place: Place) -> dict[str, Any]:
    """Count the documents of each source of a shard, those that do not stay, and the bytes that all of them lose."""
    piece, column = item["piece"], item["column"]
    marks = RowStream(read_shard(place.storage, item["marks"], ["keep", *(LISTS[piece] if piece else ())]), item["marks"])
    read = [*([column.partition(".")[0]] if column else []), *([TEXT] if piece else [])]
    found, sums = [COUNTS.empty_table()], removed_text.added([])
    for batch in read_shard(place.storage, item["documents"], list(dict.fromkeys(read))):
        own = marks.take(batch.num_rows)
        none = np.zeros(batch.num_rows, np.int64)
        text = removed_text.lost(batch.column(TEXT), own, piece) if piece else (none, none, none)
        sums = removed_text.added([sums, removed_text.totals(own.column("keep"), text)])
        if column:
            source = pc.fill_null(sites_of(leaf(batch, column)), "")
            removed = pc.cast(pc.invert(own.column("keep")), pa.int64())
            rows = [source, pa.repeat(1, batch.num_rows), removed, pa.array(text[0]), pa.array(text[1])]
            found.append(_summed(pa.table(rows, COUNTS.names)))
    marks.finish()
    counts = _summed(pa.concat_tables(found))
    file = place.write_shuffle(item["partitions"], COUNTS, _spread(counts, item["partitions"])) if column else None
    return {"totals": sums, "sources": file and asdict(file)}


def _summed(counts: pa.Table) -> pa.Table:
    """Return one row per source, in the order of their names."""
    sums = counts.group_by("source", use_threads=False).aggregate([(name, "sum") for name in NUMBERS])
    return sums.rename_columns(COUNTS.names).sort_by("source").cast(COUNTS)


def _spread(counts: pa.Table, partitions: int) -> Iterator[tuple[Any, pa.RecordBatch]]:
    for batch in counts.to_batches():
        yield hash64(batch.column("source")) % np.uint64(partitions), batch


def sum_partition(item: dict[str, Any], place: Place) -> dict[str, Any]:
    """Return how many sources are judged, how many lost too much, and those that lost most documents, and most of either."""
    guard = Guard(**item["guard"])
    rows = shuffle.read(place.storage, [Range(**part) for part in item["parts"]], COUNTS)
    counts = _summed(pa.Table.from_batches(rows, COUNTS))
    judged = counts.filter(pc.greater_equal(counts.column("documents"), guard.min_documents))
    ratio = pc.divide(pc.cast(judged.column("removed"), pa.float64()), judged.column("documents"))
    of_text = pc.divide(pc.cast(judged.column("removed_bytes"), pa.float64()), pc.max_element_wise(judged.column("bytes"), 1))
    judged = judged.append_column("ratio", ratio).append_column("text_ratio", of_text)
    judged = judged.append_column("most", pc.max_element_wise(ratio, of_text))
    worst = {
        name: judged.sort_by([(name, "descending"), ("documents", "descending"), ("source", "ascending")]).slice(0, SHOWN).to_pylist()
        for name in ("ratio", "most")
    }
    above = pc.sum(pc.greater(ratio, guard.ratio)).as_py() or 0
    small = [pc.sum(column).as_py() or 0 for column in (counts.column("documents"), judged.column("documents"))]
    return {"judged": judged.num_rows, "above": above, "worst": worst, "small": small[0] - small[1]}


def _verdict(guard: Guard, found: list[dict[str, Any]], piece: Piece | None) -> Verdict:
    judged, above, small = (sum(one[key] for one in found) for key in ("judged", "above", "small"))
    worst = _worst(found, "ratio")
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
    return Verdict(not above, message, {_name(row): _told(row, piece) for row in _worst(found, "most")[:SHOWN]})


def _worst(found: list[dict[str, Any]], by: str) -> list[dict[str, Any]]:
    return sorted((row for one in found for row in one["worst"][by]), key=lambda row: (-row[by], -row["documents"], row["source"]))


def _told(row: Mapping[str, Any], piece: Piece | None) -> dict[str, Any]:
    """Return the numbers of a source; where lines or spans go, those of its text too (bytes)."""
    told = {"documents": row["documents"], "removed": row["removed"], "ratio": round(row["ratio"], 4)}
    text = {"text bytes": row["bytes"], "text removed": row["removed_bytes"], "text ratio": round(row["text_ratio"], 4)}
    return told | text if piece else told


def _name(row: Mapping[str, Any]) -> str:
    name = str(row["source"])
    return f"`{name}`" if len(name) <= NAME_CHARS else f"`{name[: NAME_CHARS - 1]}…`"
