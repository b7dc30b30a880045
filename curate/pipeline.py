"""A pipeline is a named DAG of stages: pure data, the same whether it came from YAML or from Python.

from curate import Input, Output, Pipeline, Stage, Step

Pipeline(
    name="web_english",
    inputs={"crawl": Input("crawl/*.warc.gz")},
    stages={
        "clean": Stage("crawl", operators=[Step("extract_html"), Step("length", {"min_chars": 200})]),
        "dedup": Stage("clean", use="exact_dedup"),
        "corpus": Stage(["clean", "dedup"], apply=["dedup"]),
    },
    outputs={"corpus": Output("corpora/web_english")},
)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from curate.executors.base import Resources
from curate.readers.base import Format

DEFAULT_SHARD_BYTES = 256 << 20


def _names(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


@dataclass(frozen=True)
class Step:
    """One operator of a chain: `use` is a registered name, `file.py:Class` or `package.module:Class`.

    `into` names the column of a Scorer (default: the step's name); `name` is what the ledger and the report call the step.
    """

    use: str
    params: Mapping[str, Any] = field(default_factory=dict)
    into: str | None = None
    name: str | None = None

    @property
    def label(self) -> str:
        """The step's name in the ledger: `name`, else whose marks are applied, else the last part of `use`."""
        applied = self.params.get("by") if self.use == "apply" else None
        return self.name or (applied if isinstance(applied, str) else None) or self.use.rpartition(":")[2] or self.use


@dataclass(frozen=True)
class Input:
    """Files to read: paths, globs (`*`, `**`) or captures (`{dump}` becomes a column), local or on an object store.

    Or an `artifact` that an earlier run left, read where it lies: its folder in a workspace, or a published output; an empty text =
    there is none yet, and stages do without. `format` None = told by the file names. `id` and `text` name the columns that hold
    them. `limit` reads only that many documents, from the first work unit.
    """

    path: str | Sequence[str] = ()
    format: Format | None = None
    id: str | None = None
    text: str = "text"
    max_record_bytes: int = 64 << 20
    limit: int | None = None
    artifact: str | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """`path` as a tuple."""
        return _names(self.path)


@dataclass(frozen=True)
class Stage:
    """Inputs → a chain of batch operators *or* one dataset operator (`use`) → one dataset.

    `from_` names inputs and stages: documents first, then attributes aligned to them. `apply` drops the documents that
    the named attributes mark with `keep` = false, keeping their evidence. `max_errors` is how many rows may be quarantined
    before the stage fails. `trace: documents` keeps the text before and after every edit. Resources are never identity.
    """

    from_: str | Sequence[str]
    operators: Sequence[Step] = ()
    use: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    apply: Sequence[str] = ()
    emits: Literal["documents", "attributes", "artifact"] | None = None
    max_errors: int = 0
    trace: Literal["documents"] | None = None
    resources: Resources = field(default_factory=Resources)
    timeout_s: float | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """`from_` as a tuple."""
        return _names(self.from_)


@dataclass(frozen=True)
class Output:
    """Where a finished dataset is published; `stage` None = the stage of the output's own name."""

    path: str
    stage: str | None = None
    format: Literal["parquet", "jsonl"] = "parquet"
    shard_bytes: int = DEFAULT_SHARD_BYTES


@dataclass(frozen=True)
class Check:
    """A gate: judges datasets before any output is published."""

    use: str
    from_: str | Sequence[str]
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sources(self) -> tuple[str, ...]:
        """`from_` as a tuple."""
        return _names(self.from_)


@dataclass(frozen=True)
class Pipeline:
    """The whole DAG. `folder` is where relative paths start: the pipeline file's folder, else the working directory.

    `shard_bytes` is the size that work units aim at (file bytes of inputs, text bytes of datasets); it is part of identity.
    `report_by` names columns whose values the report breaks its numbers down by.
    """

    name: str
    inputs: Mapping[str, Input]
    stages: Mapping[str, Stage]
    outputs: Mapping[str, Output] = field(default_factory=dict)
    checks: Mapping[str, Check] = field(default_factory=dict)
    shard_bytes: int = DEFAULT_SHARD_BYTES
    report_by: Sequence[str] = ("source",)
    folder: Path = field(default_factory=Path)
