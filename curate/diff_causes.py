"""What removed documents: the ledgers of the datasets that a corpus was made from, by hash of the document's id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate import shuffle
from curate.dataset import Dataset, open_dataset
from curate.diff_read import rows
from curate.document import ID, PARENT_ID
from curate.hashing import hash128
from curate.manifest import MANIFEST
from curate.shuffle import Range, ShuffleWriter
from curate.storage import Storage, join

SENT = pa.schema({"high": pa.uint64(), "low": pa.uint64(), "cause": pa.uint32()})
UNKNOWN = {"stage": None, "step": None, "reason": "no record"}
Numbers = np.ndarray[Any, np.dtype[Any]]
Cause = tuple[str, str, str]


class Causes:
    """Why documents went: (stage, step, reason) by number, and the documents of each partition that went so."""

    def __init__(self, lineage: Sequence[Dataset], storage: Storage, names: list[Cause], parts: list[list[Range]]) -> None:
        self.lineage = lineage
        self._storage = storage
        self._names = names
        self._parts = parts

    def told(self, code: int) -> dict[str, Any]:
        """Return a cause as JSON data; −1 is unknown."""
        return dict(UNKNOWN) if code < 0 else dict(zip(("stage", "step", "reason"), self._names[code], strict=True))

    def of_partition(self, partition: int) -> tuple[Numbers, Numbers, Numbers]:
        """Return hashes (two halves) and causes of one partition's documents, in the order of the lineage."""
        table = pa.Table.from_batches(shuffle.read(self._storage, self._parts[partition], SENT), SENT)
        high, low, cause = (column.to_numpy() for column in table.columns)
        return high, low, cause

    def evidence(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return the first line of a ledger about each of a few documents."""
        found: dict[str, dict[str, Any]] = {}
        wanted = pa.array(ids, pa.string())
        for dataset in self.lineage:
            for which in ("drops", "errors"):
                for batch in dataset.ledger(which):
                    for row in batch.filter(pc.is_in(batch.column(ID), value_set=wanted)).to_pylist():
                        given = {name: value for name, value in row.items() if value is not None and name != ID}
                        found.setdefault(row[ID], {"stage": dataset.name} | given)
        return found


def causes_of(lineage: Sequence[Dataset], new: Dataset, storage: Storage, partitions: int) -> Causes:
    """Gather what the ledgers say into a shuffle file."""
    numbers: dict[Cause, int] = {}
    with storage.open_output("causes.shuffle") as out:
        writer = ShuffleWriter(out, "causes.shuffle", partitions, SENT)
        for ids, cause in _records(lineage, new):
            keys = np.frombuffer(hash128(ids), dtype=">u8").astype(np.uint64).reshape(-1, 2)
            codes = np.full(len(ids), numbers.setdefault(cause, len(numbers)), dtype=np.uint32)
            batch = pa.RecordBatch.from_arrays([pa.array(keys[:, 0]), pa.array(keys[:, 1]), pa.array(codes)], schema=SENT)
            writer.write(keys[:, 0] % np.uint64(partitions), batch)
        file = writer.close()
    return Causes(lineage, storage, list(numbers), shuffle.ranges(storage, [file]))


def _records(lineage: Sequence[Dataset], new: Dataset) -> Iterator[tuple[pa.Array, Cause]]:
    """Yield ids of documents that went for one cause, and the cause."""
    for dataset in lineage:
        for batch in dataset.ledger("drops"):
            for pair in pa.Table.from_batches([batch]).group_by(["step", "reason"]).aggregate([]).to_pylist():
                mask = pc.and_(pc.equal(batch.column("step"), pair["step"]), pc.equal(batch.column("reason"), pair["reason"]))
                yield batch.column(ID).filter(mask), (dataset.name, pair["step"], pair["reason"])
        for batch in dataset.ledger("errors"):
            for step in pc.unique(batch.column("step")).to_pylist():
                yield batch.column(ID).filter(pc.equal(batch.column("step"), step)), (dataset.name, step, "error")
    if PARENT_ID in new.manifest.columns:
        for batch in rows(new, [PARENT_ID]):
            yield pc.unique(batch.column(PARENT_ID).drop_null()), (new.name, "expand", "other documents were made of it")


def lineage_of(workspace: Storage, dataset: Dataset) -> list[Dataset]:
    """Return the finished datasets that a corpus was made from, itself last, as the newest run of the workspace that made it says."""
    plans = sorted(info.path for info in workspace.list("runs") if info.path.endswith("/plan.json"))
    for path in reversed(plans):
        stages = orjson.loads(workspace.read(path))["stages"]
        for name, stage in stages.items():
            if stage["fingerprint"] == dataset.manifest.fingerprint:
                return [open_dataset(workspace, s["dataset"]) for s in _upstream(stages, name) if _is_finished(workspace, s["dataset"])]
    return []


def _is_finished(workspace: Storage, folder: str) -> bool:
    return workspace.info(join(folder, MANIFEST)) is not None


def _upstream(stages: dict[str, Any], name: str) -> list[dict[str, Any]]:
    wanted, queue = set(), [name]
    while queue:
        current = queue.pop()
        if current in stages and current not in wanted:
            wanted.add(current)
            queue += stages[current]["from"]
    return [stage for key, stage in stages.items() if key in wanted]
