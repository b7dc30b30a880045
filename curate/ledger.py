"""What happened to the rows of one shard: counts, drops, errors, edits, statistics and samples.

The ledger's tables are written beside the data:

| table    | columns                                                        | one row for                        |
|----------|----------------------------------------------------------------|------------------------------------|
| `drops`  | id, step, reason, value, kept_id, similarity                   | each dropped document              |
| `errors` | id, step, error                                                | each quarantined document          |
| `trace`  | id, step, before, after                                        | each edit, with `trace: documents` |

Their order is that of the input rows, so that the bytes do not depend on the batch size.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.document import ID, TEXT, leaf_as, text_bytes
from curate.hashing import hash64
from curate.histogram import length_histogram, score_histogram
from curate.manifest import Counts, add_nested
from curate.scored import TAILS, Scored, merge_tails

DROPS = pa.schema(
    {
        "id": pa.string(),
        "step": pa.string(),
        "reason": pa.string(),
        "value": pa.float64(),
        "kept_id": pa.string(),
        "similarity": pa.float64(),
    }
)
VERDICT = pa.struct([field for field in DROPS if field.name not in ("id", "step")])
"""A Filter's decision with all evidence that it may give: reason (null = keep), value, kept_id, similarity."""

ERRORS = pa.schema({"id": pa.string(), "step": pa.string(), "error": pa.string()})
TRACE = pa.schema({"id": pa.string(), "step": pa.string(), "before": pa.large_string(), "after": pa.large_string()})
TABLES = {"drops": DROPS, "errors": ERRORS, "trace": TRACE}

SAMPLES = 3  # documents kept per step and reason, for the report
EXCERPT_CHARS = 1000
GROUP_LIMIT = 1000  # values per `report_by` column; the rest is counted as `OTHER`
OTHER = "other"
TALLIES = "tallies"

Rows = np.ndarray[Any, np.dtype[np.int64]]
Emit = Callable[[str, pa.RecordBatch], None]


class Record(Protocol):
    """What a chain tells of rows."""

    counts: Counts

    def dropped(self, step: str, docs: pa.RecordBatch, verdict: pa.StructArray, rows: Rows) -> None:
        """Record dropped rows: `verdict` holds reason and evidence (`VERDICT`), `rows` their places in the batch that was read."""

    def errored(self, step: str, ids: Sequence[str], errors: Sequence[str], rows: Rows) -> None:
        """Record quarantined rows."""

    def edited(self, step: str, before: pa.Array, docs: pa.RecordBatch, rows: Rows, trace: bool) -> None:
        """Record changes of the text."""

    def expanded(self, added: int) -> None:
        """Count the rows that a FlatMapper made beyond one for each parent that it made any of."""

    def scored(self, step: str, tally: Mapping[str, int]) -> None:
        """Add up what a Scorer counted of its values."""

    def asked(self, step: str, spent: Mapping[str, Any]) -> None:
        """Count what the language models of a step were asked, by parameter, and what that took."""


class Ledger:
    """Collects what happens to a shard's rows; `flush` hands on the tables of one batch in row order."""

    def __init__(self, scores: Sequence[str], report_by: Sequence[str], emit: Emit) -> None:
        self.counts = Counts()
        self.models: dict[str, dict[str, dict[str, Any]]] = {}
        self._statistics: dict[str, Any] = {}
        self._groups_of: dict[tuple[str, str], dict[str, Any]] = {}
        self._scores = scores
        self._scored = Scored(scores, report_by)
        self._report_by = report_by
        self._emit = emit
        self._tables: dict[str, list[tuple[Rows, pa.RecordBatch]]] = {name: [] for name in TABLES}
        self._samples: dict[tuple[str, ...], list[tuple[int, int, dict[str, Any]]]] = {}
        self._sampled = 0
        self._first_errors: list[dict[str, str]] = []

    def came_in(self, docs: pa.RecordBatch) -> None:
        """Count rows that were read."""
        self.counts.rows_in += docs.num_rows
        self.counts.text_bytes_in += text_bytes(docs)
        self._groups(docs, "in")

    def dropped(self, step: str, docs: pa.RecordBatch, verdict: pa.StructArray, rows: Rows) -> None:
        """Record dropped rows: `verdict` holds reason and evidence (`VERDICT`), `rows` their places in the batch that was read."""
        columns = [docs.column(ID), pa.repeat(pa.scalar(step), docs.num_rows), *verdict.flatten()]
        table = pa.RecordBatch.from_arrays(columns, schema=DROPS)
        self._tables["drops"].append((rows, table))
        for entry in pc.value_counts(table.column("reason")).to_pylist():
            self.counts.add_drops(step, entry["values"], entry["counts"])
        self._describe(docs, "dropped")
        for reason in pc.unique(table.column("reason")).to_pylist():
            mask = pc.equal(table.column("reason"), reason)
            self._sample(("dropped", step, reason), docs.filter(mask), table.filter(mask))

    def dropped_unread(self, drops: Iterable[tuple[str, str, float | None]], row: int) -> None:
        """Record records that a reader refused by rule: they came in and went out at once."""
        ids, reasons, values = zip(*drops, strict=True)
        docs = pa.RecordBatch.from_pydict({ID: pa.array(ids, pa.string())})
        self.counts.rows_in += docs.num_rows
        evidence = [
            pa.array(reasons, pa.string()),
            pa.array(values, pa.float64()),
            *(pa.nulls(docs.num_rows, f.type) for f in list(VERDICT)[2:]),
        ]
        verdict = pa.StructArray.from_arrays(evidence, fields=list(VERDICT))
        self.dropped("read", docs, verdict, np.full(docs.num_rows, row, dtype=np.int64))

    def errored(self, step: str, ids: Sequence[str], errors: Sequence[str], rows: Rows) -> None:
        """Record quarantined rows."""
        table = pa.RecordBatch.from_pydict({"id": list(ids), "step": [step] * len(ids), "error": list(errors)}, ERRORS)
        self._tables["errors"].append((rows, table))
        self.counts.errored += len(ids)

    def expanded(self, added: int) -> None:
        """Count the rows that a FlatMapper made beyond one for each parent that it made any of."""
        self.counts.rows_added += added

    def scored(self, step: str, tally: Mapping[str, int]) -> None:
        """Add up what a Scorer counted of its values."""
        if tally:
            add_nested(self._statistics, {TALLIES: {step: tally}})

    def asked(self, step: str, spent: Mapping[str, Any]) -> None:
        """Count what the language models of a step were asked, by parameter, and what that took."""
        add_nested(self.models, {step: spent})

    def edited(self, step: str, before: pa.Array, docs: pa.RecordBatch, rows: Rows, trace: bool) -> None:
        """Count edits of the text, and keep both versions when they are traced."""
        after = docs.column(TEXT)
        changed = pc.fill_null(pc.not_equal(before, after), pc.xor(pc.is_null(before), pc.is_null(after)))
        rows_changed = pc.sum(changed).as_py() or 0
        if not rows_changed:
            return
        old, new = before.filter(changed), after.filter(changed)
        growth = _numbers(_lengths(new)).astype(np.int64) - _numbers(_lengths(old))
        edit = {"rows": rows_changed, "bytes_removed": int(-growth[growth < 0].sum()), "bytes_added": int(growth[growth > 0].sum())}
        add_nested(self.counts.edited, {step: edit})
        if trace:
            ids = docs.column(ID).filter(changed)
            columns = {"id": ids, "step": pa.repeat(pa.scalar(step), rows_changed), "before": old, "after": new}
            self._tables["trace"].append((rows[_numbers(changed)], pa.RecordBatch.from_pydict(columns, TRACE)))

    def went_out(self, docs: pa.RecordBatch) -> None:
        """Count rows that the chain leaves."""
        self.counts.rows_out += docs.num_rows
        self.counts.text_bytes_out += text_bytes(docs)
        self._groups(docs, "out")
        self._describe(docs, "kept")
        self._sample(("kept",), docs, None)

    def flush(self) -> None:
        """Emit the tables of one read batch, in the order of its rows."""
        for name, parts in self._tables.items():
            if parts:
                table = pa.Table.from_batches([batch for _, batch in parts]).combine_chunks()
                order = np.argsort(np.concatenate([rows for rows, _ in parts]), kind="stable")
                sorted_rows = table.take(pa.array(order)).combine_chunks().to_batches()[0]
                if name == "errors":
                    self._first_errors += sorted_rows.slice(0, SAMPLES - len(self._first_errors)).to_pylist()
                self._emit(name, sorted_rows)
                parts.clear()

    def statistics(self) -> dict[str, Any]:
        """Return what was counted:

        {"length": …, "scores": …, "tallies": {step: {name: n}}, "groups": {column: {value: {"rows_in", "text_bytes_in", …}}}}.
        """
        groups: dict[str, Any] = {}
        for (name, _), sums in sorted(self._groups_of.items()):
            add_nested(groups.setdefault(name, {}), sums)
        return self._statistics | self._scored.statistics() | fold_groups({"groups": groups} if groups else {})

    def samples(self) -> dict[str, Any]:
        """Return the sample documents, lowest hash of id first: {"kept": [...], "dropped": {step: {reason: [...]}}}."""
        tree: dict[str, Any] = self._scored.samples()
        for path, heap in sorted(self._samples.items()):
            node = tree
            for part in path[:-1]:
                node = node.setdefault(part, {})
            node[path[-1]] = [entry for *_, entry in sorted(heap, key=lambda item: item[:2], reverse=True)]
        if self._first_errors:
            tree["errors"] = self._first_errors
        return tree

    def _describe(self, docs: pa.RecordBatch, fate: str) -> None:
        self._scored.add(docs)
        if TEXT in docs.schema.names:
            lengths = _numbers(_lengths(docs.column(TEXT)))
            add_nested(self._statistics, {"length": {fate: length_histogram(lengths)}})
        for score in self._scores:
            values = leaf_as(docs, score, pa.float64())
            if values is not None:
                histogram = score_histogram(_numbers(pc.drop_null(values)))
                add_nested(self._statistics, {"scores": {score: {fate: histogram}}})

    def _groups(self, docs: pa.RecordBatch, side: str) -> None:
        for name in self._report_by:
            values = leaf_as(docs, name, pa.string())
            if values is None:
                continue
            sizes = _lengths(docs.column(TEXT)) if TEXT in docs.schema.names else pa.repeat(0, docs.num_rows)
            table = pa.table({"value": pc.fill_null(values, ""), "bytes": sizes})
            sums = self._groups_of.setdefault((name, side), {})
            for row in table.group_by("value", use_threads=False).aggregate([("bytes", "sum"), ("bytes", "count")]).to_pylist():
                value = row["value"] if row["value"] in sums or len(sums) < GROUP_LIMIT else OTHER
                add_nested(sums, {value: {f"rows_{side}": row["bytes_count"], f"text_bytes_{side}": row["bytes_sum"]}})

    def _sample(self, path: tuple[str, ...], docs: pa.RecordBatch, drops: pa.RecordBatch | None) -> None:
        """Keep the documents with the lowest hashes of their ids: the same for any batch size."""
        heap = self._samples.setdefault(path, [])
        hashes = hash64(docs.column(ID))
        for index in np.argsort(hashes, kind="stable")[:SAMPLES].tolist():
            rank = -int(hashes[index])
            if len(heap) == SAMPLES and rank <= heap[0][0]:
                break
            self._sampled += 1  # breaks ties: ids may repeat until the whole shard is read and refused
            entry = _excerpt(docs, index)
            if drops is not None:
                evidence = drops.slice(index, 1).to_pylist()[0]
                entry |= {key: evidence[key] for key in ("value", "kept_id", "similarity") if evidence[key] is not None}
            (heapq.heappushpop if len(heap) == SAMPLES else heapq.heappush)(heap, (rank, -self._sampled, entry))


def fold_groups(statistics: dict[str, Any]) -> dict[str, Any]:
    """Return statistics whose `groups` keep the `GROUP_LIMIT` values with most rows; what the others had is under `OTHER`."""
    folded: dict[str, Any] = {}
    for name, values in statistics.get("groups", {}).items():
        named = sorted((v for v in values if v != OTHER), key=lambda v: (-values[v].get("rows_in", 0), -values[v].get("rows_out", 0), v))
        folded[name] = {value: values[value] for value in named[:GROUP_LIMIT]}
        for value in [*named[GROUP_LIMIT:], *([OTHER] if OTHER in values else [])]:
            add_nested(folded[name], {OTHER: values[value]})
    return statistics | ({"groups": folded} if folded else {})


def merge_samples(into: dict[str, Any], other: Mapping[str, Any], keep: int = 5) -> None:
    """Add the samples of another shard, keeping the first few of each list."""
    for key, value in other.items():
        if key == TAILS:
            merge_tails(into.setdefault(key, {}), value)
        elif isinstance(value, Mapping):
            merge_samples(into.setdefault(key, {}), value, keep)
        else:
            into[key] = (into.get(key, []) + list(value))[:keep]


def _excerpt(docs: pa.RecordBatch, index: int) -> dict[str, Any]:
    entry: dict[str, Any] = {"id": docs.column(ID)[index].as_py()}
    if "url" in docs.schema.names:
        entry["url"] = docs.column("url")[index].as_py()
    if TEXT in docs.schema.names:
        text = docs.column(TEXT).slice(index, 1)
        entry["excerpt"] = pc.utf8_slice_codeunits(text, 0, EXCERPT_CHARS)[0].as_py()
    return entry


def _lengths(texts: pa.Array) -> pa.Array:
    """Return UTF-8 bytes, 0 for null."""
    return pc.fill_null(pc.binary_length(texts), 0)


def _numbers(values: pa.Array) -> Any:
    return values.to_numpy(zero_copy_only=False)
