"""The verbs of an operator.

An operator is a frozen dataclass whose fields are its parameters, with one verb. On a batch of documents a `Filter`
decides, a `Mapper` changes, a `FlatMapper` splits and a `Scorer` measures; a `DatasetOperator` sees whole datasets
and a `Check` judges them. Batches are `pa.RecordBatch`; there is no per-document twin of a verb.

Rules that `curate.testing.check_operator` verifies for every operator, ours and yours:

- Row-wise purity: a row's result does not depend on the other rows of its batch. The engine relies on it to give the
  same bytes for any batch size and to bisect a batch down to the one row that breaks an operator.
- Heavy state (a model, an index) is a `functools.cached_property`, loaded on the worker at first use.
- A change of behaviour bumps `version`, which is part of the fingerprint of every dataset made with the operator.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from curate.dataset import Dataset
    from curate.llm import Asked, Llm
    from curate.manifest import Kind
    from curate.work import Verdict, Work

Reproducible = Literal["bytes", "cached", "tolerance"]
Cost = Literal["cheap", "costly"]  # costly = slower than reading and writing the documents; `curate check` warns of cheap filters behind it


class Operator(ABC):
    """What all operators share: declarations that `curate check` reads before anything runs."""

    version: ClassVar[int] = 1
    reproducible: ClassVar[Reproducible] = "bytes"
    cost: ClassVar[Cost] = "cheap"
    files: ClassVar[tuple[str, ...]] = ()  # parameters that name a file: it must be there, and is part of the identity whatever its name
    folders: ClassVar[
        tuple[str, ...]
    ] = ()  # parameters that may name a folder: its files are then part of the identity; in both: it must be there

    def reads(self) -> tuple[str, ...]:
        """Return the columns that must be there, dotted paths included."""
        return ("text",)

    def models(self) -> Mapping[str, Llm]:
        """Return the language models that it asks, by the parameter that holds each one's settings; see `curate.llm`."""
        return {}

    def asks(self, text_bytes: int, documents: int) -> Mapping[str, Asked]:
        """Return what it will ask each of `models()` about so many bytes of text in so many documents, reckoned from these numbers alone.

        `curate plan` shows it. A model that is not told of is taken to be asked about each document once, whole, with nothing beside it.
        """
        return {}

    def asks_about(self, texts: Sequence[str]) -> Mapping[str, Asked]:
        """Return what it will ask each of `models()` about these texts, by what stands in them; what is not told is left to `asks`.

        `curate plan` calls it with a few documents, and corrects by it what `asks` says of all of them.
        """
        return {}

    def verify(self, schema: pa.Schema) -> None:
        """Raise `PipelineError` when columns that are there have types that the operator cannot work with.

        `curate check` calls it with the declared columns of the batches to come; most operators have nothing to say.
        """
        return

    def verify_file(self, parameter: str, path: Path) -> None:
        """Raise a `CurateError` when what one of `files` names is not what the operator can work with.

        `curate check` calls it for each that lies on this machine, and for one of `folders` that is missing; it may read the file, and
        imports nothing heavy.
        """
        return


class Filter(Operator):
    """Decides which documents to drop, and never changes one."""

    @abstractmethod
    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        """Return one entry per row, null to keep: a string (the reason), or a struct with `reason` and any of

        `value` (double: what was measured), `kept_id` (string) and `similarity` (double).
        """


def decisions(reason: pa.Array, value: pa.Array | None = None) -> pa.Array:
    """Return what `Filter.drop` returns: reasons (null = keep), with what was measured beside each when `value` is given."""
    reason = pc.cast(reason, pa.string())
    if value is None:
        return reason
    kept = pc.is_null(reason)
    measured = pc.if_else(kept, pa.scalar(None, pa.float64()), pc.cast(value, pa.float64()))
    fields = [pa.field("reason", pa.string()), pa.field("value", pa.float64())]
    return pa.StructArray.from_arrays([reason, measured], fields=fields, mask=kept)


class Mapper(Operator):
    """Changes documents: same rows, changed columns; `id` stays."""

    def adds(self) -> Mapping[str, pa.DataType]:
        """Return the columns that the result has beyond those that came in."""
        return {}

    def removes(self) -> tuple[str, ...]:
        """Return the columns that the result no longer has."""
        return ()

    @abstractmethod
    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        """Return a batch with the same ids in the same order."""


class FlatMapper(Operator):
    """Turns each document into any number of new ones."""

    def adds(self) -> Mapping[str, pa.DataType]:
        """Return the columns that the result has beyond those that came in and `parent_id`."""
        return {}

    @abstractmethod
    def expand(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        """Return new rows with a `parent_id` column, in the order of their parents.

        The engine gives each the id `<parent id>/<index>`; a parent without rows is dropped for the reason `expanded_to_none`.
        """


class Scorer(Operator):
    """Measures documents; the measure becomes a column named by the step's `into`."""

    @abstractmethod
    def output(self) -> pa.DataType:
        """Return the type of the measure: a number, a string, or a struct of them."""

    @abstractmethod
    def score(self, docs: pa.RecordBatch) -> pa.Array:
        """Return one value of type `output()` per row."""

    def tally(self, scores: pa.Array) -> Mapping[str, int]:
        """Return counts of what its values say, as `score` returns them; the engine adds them up over all documents of a stage."""
        return {}

    def remark(self, tally: Mapping[str, int]) -> Verdict | None:
        """Return what the report says of a stage's values by their counts, None = nothing; a verdict that does not pass is a warning."""
        return None


class DatasetOperator(Operator):
    """Works on whole datasets; `run` coordinates on the driver, data passes through `work`."""

    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "attributes"

    def adds(self) -> Mapping[str, pa.DataType]:
        """Return the columns of the dataset that it emits, beyond `id`."""
        return {}

    def reads_of(self, number: int, name: str) -> tuple[str, ...]:
        """Return the columns that must be there in one of its sources that are documents: its number among them, from 0, and its name."""
        return self.reads()

    def keeps(self) -> tuple[str, ...] | None:
        """Return the names of files and folders that it will keep beside its rows; None where they are not known beforehand."""
        return None

    def verify_sources(self, sources: Mapping[str, Kind]) -> None:
        """Raise `PipelineError` when it cannot work with the stages and inputs that it is to read: names, and what each holds, in order."""
        return

    def verify_lineage(self, sources: Mapping[str, Kind], made_of: Mapping[str, Mapping[str, Kind]]) -> None:
        """Raise `PipelineError` when what its sources were made of does not fit: for each that is a stage, what that stage reads."""
        return

    def verify_tables(self, tables: Mapping[str, pa.Schema]) -> None:
        """Raise `PipelineError` when the artifacts among its sources, by their stages' names, will not have the columns that it needs."""
        return

    def verify_stages(self, stages: Mapping[str, Sequence[Operator]]) -> None:
        """Raise `PipelineError` when a stage that it reads, or that a parameter names, will not make what it needs.

        `stages` holds the operators of every stage of the pipeline by its name, one of a dataset operator.
        """
        return

    def announce(self, sources: Mapping[str, Kind], stages: Mapping[str, Sequence[Operator]]) -> str | None:
        """Return what a run will cost, in one sentence, where a person should know it beforehand: `curate plan` shows it.

        `stages` as for `verify_stages`.
        """
        return None

    def verify_artifacts(self, artifacts: Sequence[Dataset]) -> None:
        """Raise `PipelineError` when artifacts that are there already, as inputs of the pipeline, are not what it can work with."""
        return

    @abstractmethod
    def run(self, inputs: list[Dataset], work: Work) -> None:
        """Do the work in named phases; shards are written with `work.write_shards`.

        `inputs` are documents, then attributes and artifacts in the stage's order. `work.about` goes into the manifest.
        """


class Judge(Operator):
    """Judges finished datasets before outputs are published: a gate."""

    def reads(self) -> tuple[str, ...]:
        return ()

    def verify_lineage(self, sources: Mapping[str, Kind], made_of: Mapping[str, Mapping[str, Kind]]) -> None:
        """Raise `PipelineError` when it cannot judge its sources: names, and what each holds; for each stage also what that reads."""
        return

    @abstractmethod
    def judge(self, inputs: list[Dataset], work: Work) -> Verdict:
        """Return whether the datasets pass, with the measures that say so."""
