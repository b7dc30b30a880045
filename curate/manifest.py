"""The records that make a dataset trustworthy: counts, receipts and the manifest.

A shard exists exactly when its receipt does, a dataset exactly when its manifest does. Everything in a receipt is
a function of the data, except `measured`, which says how the work went (seconds, peak memory, attempt) and is left
out of every comparison.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast

import orjson

from curate.errors import DatasetError

FORMAT = 1
MANIFEST = "manifest.json"
Kind = Literal["documents", "attributes", "artifact"]


@dataclass(frozen=True)
class FileRecord:
    """A file of a dataset: `path` is relative to the dataset's folder and may point into a sibling's."""

    path: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class ArtifactFile:
    """A file that stands beside the shards, such as a model: `name` is relative to the dataset's folder."""

    name: str
    bytes: int
    sha256: str


@dataclass
class Counts:
    """The accounting of one shard or stage, in documents and bytes.

    `bytes_*` are file bytes, `text_bytes_*` UTF-8 bytes of the `text` column. `dropped` counts by step and reason,
    `edited` by step: documents changed, bytes removed and bytes added.
    """

    rows_in: int = 0
    rows_added: int = 0
    rows_out: int = 0
    merged: int = 0
    errored: int = 0
    dropped: dict[str, dict[str, int]] = field(default_factory=dict)
    edited: dict[str, dict[str, int]] = field(default_factory=dict)
    bytes_in: int = 0
    bytes_out: int = 0
    text_bytes_in: int = 0
    text_bytes_out: int = 0

    def add_drops(self, step: str, reason: str, rows: int) -> None:
        """Count rows dropped by one step for one reason."""
        reasons = self.dropped.setdefault(step, {})
        reasons[reason] = reasons.get(reason, 0) + rows

    def add(self, other: Counts) -> None:
        """Add another shard's counts to these."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        add_nested(self.dropped, other.dropped)
        add_nested(self.edited, other.edited)

    @property
    def rows_dropped(self) -> int:
        """All dropped rows, whatever the step and reason."""
        return sum(rows for reasons in self.dropped.values() for rows in reasons.values())

    def verify(self, where: str) -> None:
        """Raise `DatasetError` unless every row is accounted for (the conservation contract)."""
        came = self.rows_in + self.rows_added
        went = self.rows_out + self.rows_dropped + self.merged + self.errored
        if came != went:
            raise DatasetError(
                f"{where}: the receipt does not add up: {self.rows_in} in + {self.rows_added} added != {self.rows_out} out"
                f" + {self.rows_dropped} dropped + {self.merged} merged + {self.errored} errored",
                "this is a bug in an operator or in curate; the shard was not committed",
            )


_NUMBERS = tuple(f.name for f in dataclasses.fields(Counts) if f.type == "int")


def add_nested(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    """Add a tree of numbers to another, key by key, in place."""
    for key, value in other.items():
        if isinstance(value, Mapping):
            add_nested(into.setdefault(key, {}), value)
        else:
            into[key] = into.get(key, 0) + value


@dataclass
class Measured:
    """How the work went: never part of identity, never compared. `models` counts what steps asked of language models, by parameter."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_rss_bytes: int = 0
    attempts: int = 1
    steps: dict[str, float] = field(default_factory=dict)
    models: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    def add(self, other: Measured) -> None:
        """Sum the time, keep the highest peak."""
        add_nested(self.steps, other.steps)
        add_nested(self.models, other.models)
        self.seconds += other.seconds
        self.cpu_seconds += other.cpu_seconds
        self.peak_rss_bytes = max(self.peak_rss_bytes, other.peak_rss_bytes)
        self.attempts += other.attempts


@dataclass
class Receipt:
    """Proof that one shard is committed: what was read, where each row went, and which files hold the result."""

    shard: int
    unit: str
    data: FileRecord
    drops: FileRecord | None
    errors: FileRecord | None
    trace: FileRecord | None
    counts: Counts
    statistics: dict[str, Any] = field(default_factory=dict)
    samples: dict[str, Any] = field(default_factory=dict)
    measured: Measured = field(default_factory=Measured)
    epoch: int = 0
    format: int = FORMAT

    def to_json(self) -> bytes:
        """Serialise with sorted keys, so that equal receipts are equal bytes."""
        return orjson.dumps(self, option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_json(cls, data: bytes, where: str) -> Receipt:
        """Parse, or raise `DatasetError` naming `where`."""
        return _parse(cls, data, where)


@dataclass
class Manifest:
    """What a finished dataset or artifact is: written last, so its presence means the data is whole.

    `chain` is the fingerprint of what was done, apart from the inputs: shards of an earlier dataset with the same
    chain and the same unit are reused as they are. `aligned_to` is the fingerprint of the documents dataset whose
    rows these attributes describe, shard by shard and row by row. `notes` are what a dataset operator found out about its
    work: {"name", "passed", "message", "measures", "curve"} each (`curate.work.Verdict`). `about` is what it says of its result
    to the operators that read it. `files` stand beside the shards: models, tables.
    """

    kind: Kind
    stage: str
    fingerprint: str
    chain: str
    columns: dict[str, str]
    shards: list[Receipt]
    counts: Counts
    aligned_to: str | None = None
    statistics: dict[str, Any] = field(default_factory=dict)
    samples: dict[str, Any] = field(default_factory=dict)
    notes: list[dict[str, Any]] = field(default_factory=list)
    measured: Measured = field(default_factory=Measured)
    curate_version: str = ""
    pipeline: str = ""
    about: dict[str, Any] = field(default_factory=dict)
    files: list[ArtifactFile] = field(default_factory=list)
    format: int = FORMAT

    def to_json(self) -> bytes:
        """Serialise in the order of the fields; the columns keep theirs."""
        return orjson.dumps(self, option=orjson.OPT_INDENT_2)

    @classmethod
    def from_json(cls, data: bytes, where: str) -> Manifest:
        """Parse, or raise `DatasetError` naming `where`."""
        return _parse(cls, data, where)


def total(receipts: Iterable[Receipt]) -> tuple[Counts, Measured]:
    """Add up the counts and measures of shards."""
    counts, measured = Counts(), Measured(attempts=0)
    for receipt in receipts:
        counts.add(receipt.counts)
        measured.add(receipt.measured)
    return counts, measured


_T = TypeVar("_T")


def _parse(cls: type[_T], data: bytes, where: str) -> _T:
    try:
        raw = orjson.loads(data)
        if raw["format"] != FORMAT:
            raise DatasetError(f"{where}: on-disk format {raw['format']}, this curate reads {FORMAT}", "use the version that wrote it")
        return cast(_T, _build(cls, raw))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{where}: not a valid {cls.__name__.lower()}: {error}", "remove it and run again") from error


_NESTED: dict[str, type] = {"counts": Counts, "measured": Measured} | dict.fromkeys(("data", "drops", "errors", "trace"), FileRecord)


def _build(cls: type[Any], raw: Mapping[str, Any]) -> Any:
    """Rebuild a record from plain JSON; unknown keys are an error, as they come from another format."""
    values = dict(raw)
    for name, nested in _NESTED.items():
        if values.get(name) is not None and name in values:
            values[name] = _build(nested, values[name])
    if "shards" in values:
        values["shards"] = [_build(Receipt, shard) for shard in values["shards"]]
    if "files" in values:
        values["files"] = [_build(ArtifactFile, file) for file in values["files"]]
    return cls(**values)
