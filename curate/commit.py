"""How a shard comes to exist: files of an attempt, made durable, given their names, and then one receipt.

    <dataset>/.attempts/<attempt>/part-00007.parquet   written here, fsynced, then renamed (local) or named by the receipt
    <dataset>/part-00007.parquet   drops/part-00007.parquet   errors/…   trace/…
    <dataset>/receipts/part-00007.json                 exclusively created: the first receipt wins

Anything may be killed at any line. Without a receipt there is no shard, and a new attempt starts from nothing; with one,
the files that it names are whole. Tasks are deterministic, so a late attempt can only write what is already there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import orjson
import pyarrow as pa

from curate.dataset import join_url
from curate.errors import CurateError
from curate.ledger import TABLES
from curate.manifest import Counts, FileRecord, Measured, Receipt
from curate.storage import Storage, join
from curate.writers import ParquetShard

ATTEMPTS = ".attempts"
RECEIPTS = "receipts"


@dataclass(frozen=True)
class Told:
    """What a receipt tells of a shard's rows beyond their counts."""

    statistics: dict[str, Any] = field(default_factory=dict)
    samples: dict[str, Any] = field(default_factory=dict)


def shard_name(index: int) -> str:
    """Return a shard's file name without its extension."""
    return f"part-{index:05d}"


class Attempt:
    """One attempt at one shard of a dataset; leaving the context without a commit removes its files."""

    def __init__(self, storage: Storage, folder: str, shard: int, schema: pa.Schema) -> None:
        self._storage = storage
        self._folder = folder
        self._shard = shard
        self._schemas = {"data": schema, **TABLES}
        self._attempt = join(folder, ATTEMPTS, uuid.uuid4().hex)
        self._stack = contextlib.ExitStack()
        self._open: dict[str, ParquetShard] = {}

    def __enter__(self) -> Attempt:
        self._table("data")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            return
        for shard in self._open.values():
            shard.abandon()
        explained: CurateError | None = None
        try:
            self._stack.__exit__(kind, error, trace)
        except CurateError as told:  # the same error, as the store explains it: a full disk, a refused write
            explained = told
        except OSError:
            pass  # the error that ended the attempt is the one to see
        with contextlib.suppress(CurateError, OSError):
            self._storage.delete_tree(self._attempt)
        if explained is not None and isinstance(error, OSError):
            raise explained from error

    def write(self, table: str, batch: pa.RecordBatch) -> None:
        """Add rows to `data`, `drops`, `errors` or `trace`."""
        self._table(table).write(batch)

    def _table(self, table: str) -> ParquetShard:
        if table not in self._open:
            out = self._stack.enter_context(self._storage.open_output(join(self._attempt, self._name(table))))
            self._open[table] = ParquetShard(out, self._schemas[table])
        return self._open[table]

    def _name(self, table: str) -> str:
        return join("" if table == "data" else table, f"{shard_name(self._shard)}.parquet")

    def commit(self, unit: str, counts: Counts, told: Told, measured: Measured, epoch: int) -> Receipt:
        """Make the files durable, verify the accounting, and create the receipt; return the receipt that stands."""
        for shard in self._open.values():
            shard.close()
        self._stack.close()
        counts.bytes_out = self._open["data"].file.size
        where = join_url(self._storage.url, join(self._folder, shard_name(self._shard)))
        counts.verify(where)
        records = {table: self._adopt(table) for table in reversed(self._open)}  # data last
        receipt = Receipt(
            shard=self._shard,
            unit=unit,
            data=records["data"],
            drops=records.get("drops"),
            errors=records.get("errors"),
            trace=records.get("trace"),
            counts=counts,
            statistics=told.statistics,
            samples=told.samples,
            measured=measured,
            epoch=epoch,
        )
        return self._register(receipt)

    def _adopt(self, table: str) -> FileRecord:
        shard = self._open[table]
        name = self._name(table)
        path = self._storage.adopt(join(self._attempt, name), join(self._folder, name))
        return FileRecord(path.removeprefix(f"{self._folder}/"), shard.rows, shard.file.size, shard.file.sha256)

    def _register(self, receipt: Receipt) -> Receipt:
        path = receipt_path(self._folder, self._shard)
        if self._storage.create(path, receipt.to_json()):
            return receipt
        return Receipt.from_json(self._storage.read(path), join_url(self._storage.url, path))


def receipt_path(folder: str, shard: int) -> str:
    """Return where a shard's receipt lies."""
    return join(folder, RECEIPTS, f"{shard_name(shard)}.json")


def receipts(storage: Storage, folder: str) -> dict[int, Receipt]:
    """Return the receipts of a dataset in progress whose files are there in full; others are taken back.

    A receipt that is cut short, or whose file is missing or short (a disk that lost what it had promised), is removed, so
    that the shard is made again.
    """
    sizes = {info.path: info.size for info in storage.list(folder)}
    found: dict[int, Receipt] = {}
    for path in sizes:
        if not path.startswith(f"{folder}/{RECEIPTS}/") or not path.endswith(".json"):
            continue
        data = storage.read(path)
        receipt = Receipt.from_json(data, join_url(storage.url, path)) if _is_json(data) else None
        if receipt and all(sizes.get(join(folder, record.path)) == record.bytes for record in _records(receipt)):
            found[receipt.shard] = receipt
        else:
            storage.delete(path)
    return found


def _is_json(data: bytes) -> bool:
    """Tell a whole receipt from one whose making was killed where files have no hard links."""
    try:
        orjson.loads(data)
    except ValueError:
        return False
    return True


def _records(receipt: Receipt) -> list[FileRecord]:
    return [record for record in (receipt.data, receipt.drops, receipt.errors, receipt.trace) if record is not None]


def from_sibling(receipt: Receipt, folder: str) -> Receipt:
    """Return a receipt whose files are named from the folder beside the one that holds them."""
    name = folder.rpartition("/")[2]

    def moved(record: FileRecord | None) -> FileRecord | None:
        if record is None or record.path.startswith("../"):
            return record
        return dataclasses.replace(record, path=f"../{name}/{record.path}")

    data = moved(receipt.data)
    assert data is not None
    return dataclasses.replace(receipt, data=data, drops=moved(receipt.drops), errors=moved(receipt.errors), trace=moved(receipt.trace))


def sweep(storage: Storage, folder: str, kept: list[Receipt]) -> None:
    """Remove what lost or killed attempts left behind, keeping every file that a receipt names."""
    named = {join(folder, record.path) for receipt in kept for record in _records(receipt)}
    attempts = join(folder, ATTEMPTS)
    leftovers = [info.path for info in storage.list(attempts)]
    if not any(path in named for path in leftovers):
        storage.delete_tree(attempts)
    for path in leftovers:
        if path not in named:
            storage.delete(path)
    storage.delete_unfinished(folder)
