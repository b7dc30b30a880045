"""Keeps what later dumps must know of this one: an index for `minhash_dedup`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import shuffle
from curate.dataset import Dataset, RowStream, read_shard
from curate.document import ID, TEXT
from curate.errors import DatasetError, PipelineError
from curate.manifest import Kind
from curate.protocols import DatasetOperator
from curate.work import Place, Work
from curate_operators import minhash_known as known
from curate_operators import minhash_sign as sign
from curate_operators.copy_order import parse
from curate_operators.minhash_sign import CLASS_BYTES, Item, ranges

MARKED_BY = "minhash_dedup"
HINT = "write `from: [DOCUMENTS, DEDUP]`, and the index that DEDUP was given behind them"


@dataclass(frozen=True)
class MinhashIndex(DatasetOperator):
    """Makes the index against which the next dump is deduplicated, or adds a dump to it.

    ## What it does
    Reads documents and what `minhash_dedup` said of them, and keeps of every different document its kind, its buckets, what
    became of it and, if it stays, its text. Given to `minhash_dedup` beside a new dump, documents of the index come before all new
    ones: the marks of the new dump are those that one deduplication of all dumps together gives, with older dumps preferred, and
    no earlier decision changes. An index that was given to `minhash_dedup` must be given here too; its shards go on as they are
    when it lies in the same workspace, else they are copied.

    ## Why
    Crawls come in dumps, and most of a new one is in the old ones. Documents of the index are neither signed nor decided again
    (what that saves: "dump after dump" in `tests/benchmarks/README.md`).

    ## Example
        inputs:
          last: {artifact: indexes/2026-35}
        stages:
          dedup: {from: [clean, last], use: minhash_dedup}
          index: {from: [clean, dedup, last], use: minhash_index}

    ## Parameters
    None: they are those of `minhash_dedup`.

    ## Source
    Broder (1997); architecture §16.12 of this project: incremental equals one run whose order ranks earlier dumps first.
    """

    version: ClassVar[int] = 1
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "artifact"

    def adds(self) -> Mapping[str, pa.DataType]:
        return {field.name: field.type for field in known.INDEX if field.name != ID}

    def verify_sources(self, sources: Mapping[str, Kind]) -> None:
        _check_kinds(list(sources.values()))

    def verify_lineage(self, sources: Mapping[str, Kind], made_of: Mapping[str, Mapping[str, Kind]]) -> None:
        mine = _named(sources, "artifact")
        for marks in _named(sources, "attributes"):
            theirs = _named(made_of.get(marks, sources), "artifact")
            if bool(theirs) != bool(mine):
                given, here = ([f"the index `{name}`" for name in names] or ["none"] for names in (theirs, mine))
                raise PipelineError(f"minhash_index: `{marks}` is deduplicated against {given[0]}, and the index here is {here[0]}", HINT)

    def verify_artifacts(self, artifacts: Sequence[Dataset]) -> None:
        known.check_indexes("minhash_index", artifacts)

    def run(self, inputs: list[Dataset], work: Work) -> None:
        documents, marks, old = _sorted(inputs)
        about = marks.manifest.about
        settings = known.settings_of(about, f"{marks.name}", MARKED_BY)
        _check(marks, old, settings)
        known.check_new(old, documents)
        dumps = old.manifest.about["dumps"] if old else 0
        held = [*(old.manifest.about["documents"] if old else []), documents.manifest.fingerprint]
        work.about = {"operator": known.MADE_BY, "settings": settings, "dumps": dumps + 1, "documents": held}
        shared = _shared(settings, documents, old)
        earlier = [shared | item for item in known.items_of(old)]
        first, count = len(earlier), len(documents.manifest.shards)
        items = [shared | {"path": documents.shard_path(i), "shard": first + i, "marks": marks.shard_path(i)} for i in range(count)]
        sizes = [shard.data.bytes for shard in documents.manifest.shards]
        signed = work.map("sign", sign.sign_shard, items, sizes)
        remembered = work.map("remember", known.remember_shard, earlier) if earlier else []
        kinds = [shared | {"parts": parts} for parts in ranges(work.storage, [*remembered, *(result["shuffle"] for result in signed)])]
        same = ranges(work.storage, work.map("classes", sign.join_classes, kinds))
        made = [
            item | {"local": result["local"], "parts": same[first + i], "number": dumps}
            for i, (item, result) in enumerate(zip(items, signed, strict=True))
        ]
        beside = old if old and old.storage.url == work.storage.url else None
        copies = [] if beside else [{"copied": item["path"], "storage": item["storage"]} for item in earlier]
        work.write_shards(index_shard, [*copies, *made], before=beside)


def _named(sources: Mapping[str, Kind], kind: Kind) -> list[str]:
    return [name for name, holds in sources.items() if holds == kind]


def _check_kinds(kinds: Sequence[Kind]) -> None:
    """Raise `PipelineError` unless sources of these kinds are documents, marks and perhaps an index."""
    if sorted(kinds) not in (["attributes", "documents"], ["artifact", "attributes", "documents"]):
        raise PipelineError("minhash_index: it reads documents, what `minhash_dedup` said of them, and perhaps an index", HINT)


def _sorted(inputs: list[Dataset]) -> tuple[Dataset, Dataset, Dataset | None]:
    """Return documents, marks and the index from before."""
    _check_kinds([dataset.manifest.kind for dataset in inputs])
    found = {dataset.manifest.kind: dataset for dataset in inputs}
    return found["documents"], found["attributes"], found.get("artifact")


def _check(marks: Dataset, old: Dataset | None, settings: Mapping[str, Any]) -> None:
    """Raise `PipelineError` unless the marks were made against this very index and can be indexed."""
    if old is not None:
        known.check_settings(old, settings)
    if marks.manifest.about["index"] != (old.manifest.fingerprint if old else None):
        given = "none" if marks.manifest.about["index"] is None else "another one"
        raise PipelineError(
            f"minhash_index: `{marks.name}` was deduplicated against {given}, and the index here is {old.url if old else 'none'}", HINT
        )
    if settings["mode"] != "verified":
        raise PipelineError(f"minhash_index: `{marks.name}` has `mode: {settings['mode']}`, which compares nothing", "use `mode: verified`")


def _shared(settings: Mapping[str, Any], documents: Dataset, old: Dataset | None) -> Item:
    rules = len(parse(settings["keep"]))
    dump = old.manifest.about["dumps"] if old and rules else None
    ranks = rules + (dump is not None)
    rows = documents.rows + (old.rows if old else 0)
    shards = len(documents.manifest.shards) + (len(old.manifest.shards) if old else 0)
    partitions = shuffle.partitions_for(rows, CLASS_BYTES + 8 * ranks)
    return {**settings, "rules": ranks, "dump": dump, "shards": shards, "partitions": partitions, "draw": 0, "begin": 0}


def index_shard(item: Item, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield the rows of one shard of the index: one for each document that no document before it equals."""
    if "copied" in item:
        yield from read_shard(sign.storage_of(item, place), item["copied"])
        return
    chosen, signed = sign.firsts(item, place), RowStream(sign.signed_batches(item, place), item["path"])
    marks, begun = RowStream(read_shard(place.storage, item["marks"], [ID, "kept_id", "similarity"]), item["marks"]), 0
    for docs in read_shard(place.storage, item["path"], [ID, TEXT]):
        told = marks.take(docs.num_rows)
        if not told.column(ID).equals(docs.column(ID)):
            raise DatasetError(f"{item['marks']} does not describe {item['path']}: other ids", "remove both datasets and run again")
        rows = np.flatnonzero(chosen[begun : begun + docs.num_rows])
        yield _rows(item, docs.take(pa.array(rows)), told.take(pa.array(rows)), signed.take(docs.num_rows).take(pa.array(rows)))
        begun += docs.num_rows
    marks.finish()
    signed.finish()


def _rows(item: Item, docs: pa.RecordBatch, told: pa.RecordBatch, signed: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows of the index for documents that were all signed."""
    gone = told.column("kept_id").is_valid()
    ranks = sign.rank_names(item["rules"])[item["dump"] is not None :]
    columns = [
        docs.column(ID),
        pa.array(np.full(docs.num_rows, item["number"], np.uint32)),
        *(signed.column(name) for name in ("same", "check", "size")),
        _lists([signed.column(name).to_numpy() for name in ranks], docs.num_rows),
        _lists([signed.column(f"bucket_{band}").to_numpy() for band in range(item["bands"])], docs.num_rows),
        told.column("kept_id"),
        told.column("similarity"),
        pc.if_else(gone, pa.scalar(None, pa.large_string()), docs.column(TEXT).cast(pa.large_string())),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=known.INDEX)


def _lists(columns: list[Any], rows: int) -> pa.ListArray:
    values = np.stack(columns, axis=1).ravel() if columns else np.zeros(0, np.uint64)
    return pa.ListArray.from_arrays(pa.array(np.arange(rows + 1, dtype=np.int32) * len(columns)), pa.array(values))
