"""The shape of a pipeline file, as pydantic models: the one place where YAML is validated.

Defaults live in the dataclasses of `curate.pipeline`; the models only say which keys there are and what they hold.
"""

from __future__ import annotations

import dataclasses
import re
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from curate.executors.base import Resources
from curate.pipeline import Input, Output, Pipeline, Stage
from curate.pipeline_mistakes import found
from curate.readers.base import Format

UNITS = {"B": 1} | {f"{p}B": 1000**i for i, p in enumerate("kMGT", 1)} | {f"{p}iB": 1024**i for i, p in enumerate("KMGT", 1)}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([A-Za-z]*)")


def parse_size(value: object) -> object:
    """Return bytes for `512MB` or `2GiB`; other values than strings pass on to the type check."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    units = {name.lower(): factor for name, factor in UNITS.items()}
    if match is None or match[2].lower() not in units or len(match[1]) > 20:
        raise PydanticCustomError("size", "{found}", {"found": found(value)})
    return round(Decimal(match[1]) * units[match[2].lower()])


def _known_names(value: object) -> object:
    if isinstance(value, str) or (isinstance(value, list) and value and all(isinstance(v, str) for v in value)):
        return value
    empty = isinstance(value, list) and not value
    wrong = next((v for v in value if not isinstance(v, str)), None) if isinstance(value, list) else None
    text = "an empty list" if empty else f"a list with {found(wrong)}" if isinstance(value, list) else found(value)
    raise PydanticCustomError("names", "{found}", {"found": text})


_SIZE_SCHEMA = {
    "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? *([kKMGT]i?)?B$"}],
    "examples": ["512MB", "2GiB"],
}
Size = Annotated[int, Field(ge=1), BeforeValidator(parse_size), WithJsonSchema(_SIZE_SCHEMA)]
Names = Annotated[str | list[str], BeforeValidator(_known_names)]


def _default(cls: type, name: str) -> Any:
    found_field = next(f for f in dataclasses.fields(cls) if f.name == name)
    if found_field.default_factory is not dataclasses.MISSING:
        return found_field.default_factory()
    return found_field.default


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)


class ResourcesModel(_Model):
    """What one task of the stage needs; never part of a dataset's identity."""

    cpus: float = Field(_default(Resources, "cpus"), gt=0, description="cores per task")
    memory: Size | None = Field(None, description="bytes per task, such as `2GB`; nothing = not limited")
    gpus: float = Field(_default(Resources, "gpus"), ge=0, description="GPUs per task")


class InputModel(_Model):
    """Files to read, or an artifact that an earlier run left."""

    path: Names = Field(
        default_factory=list, description="paths, globs (`*`, `**`) or captures (`{dump}` becomes a column), local or on an object store"
    )
    format: Format | None = Field(None, description="nothing = told by the file names")
    id: str | None = Field(None, description="the column that holds ids; nothing = `id` where there is one, else derived")
    text: str = Field(_default(Input, "text"), description="the column that holds the text")
    max_record_bytes: Size = Field(_default(Input, "max_record_bytes"), description="longer records are dropped, with a reason")
    limit: int | None = Field(None, ge=0, description="read only so many documents")
    artifact: str | None = Field(
        None, description="instead of all these: the folder of an artifact, in a workspace or published; an empty text = none yet"
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> InputModel:
        """Files and artifacts have nothing in common but their place among the inputs."""
        others = [name for name in self.model_fields_set - {"artifact"} if getattr(self, name) is not None]
        if self.artifact is None and "path" not in self.model_fields_set:
            raise PydanticCustomError("input", "has neither `path` nor `artifact`", {"hint": "`path` names files, `artifact` a folder"})
        if self.artifact is not None and others:
            told = {"other": sorted(others)[0], "hint": "an artifact is read as it is: make two inputs, or remove one of them"}
            raise PydanticCustomError("input", "has `artifact` and `{other}`", told)
        return self


class StepModel(_Model):
    """One operator of a chain."""

    use: str = Field(description="a registered name, `file.py:Class` or `package.module:Class`")
    params: dict[str, Any] = Field(default_factory=dict, description="the operator's parameters")
    into: str | None = Field(None, description="the column that a Scorer makes; nothing = the step's name")
    name: str | None = Field(None, description="what the ledger and the report call the step; nothing = the operator's name")


class StageModel(_Model):
    """Inputs → a chain of batch operators or one dataset operator → one dataset."""

    from_: Names = Field(alias="from", description="inputs and stages: documents first, then attributes aligned to them")
    operators: list[StepModel] = Field(default_factory=list, description="a chain, carried out in one pass over the data")
    use: str | None = Field(None, description="one dataset operator instead of a chain")
    params: dict[str, Any] = Field(default_factory=dict, description="the dataset operator's parameters")
    apply: list[str] = Field(default_factory=list, description="attributes whose `keep` decides which documents go on")
    emits: Literal["documents", "attributes", "artifact"] | None = Field(None, description="told by the operators when left out")
    max_errors: int = Field(_default(Stage, "max_errors"), ge=0, description="rows that may be quarantined before the stage fails")
    trace: Literal["documents"] | None = Field(None, description="`documents` keeps the text before and after every edit")
    resources: ResourcesModel = Field(default_factory=lambda: ResourcesModel.model_validate({}), description="what one task needs")
    timeout_s: float | None = Field(None, gt=0, description="seconds after which a batch is taken apart to find the row that hangs")


class OutputModel(_Model):
    """Where a finished dataset is published."""

    path: str = Field(description="a folder, local or on an object store")
    stage: str | None = Field(None, description="nothing = the stage of the output's own name")
    format: Literal["parquet", "jsonl"] = Field(_default(Output, "format"))
    shard_bytes: Size = Field(_default(Output, "shard_bytes"), description="target size of a file")


class CheckModel(_Model):
    """A gate: judges datasets before any output is published."""

    use: str = Field(description="a check's registered name, `file.py:Class` or `package.module:Class`")
    from_: Names = Field(alias="from", description="the stages to judge")
    params: dict[str, Any] = Field(default_factory=dict, description="the check's parameters")


class PipelineModel(_Model):
    """A pipeline of `curate`: named inputs, stages, outputs and checks."""

    name: str = Field(description="letters, digits and `_`")
    vars: dict[str, str] = Field(default_factory=dict, description="texts that `${name}` stands for in any string below")
    inputs: dict[str, InputModel] = Field(min_length=1)
    stages: dict[str, StageModel] = Field(min_length=1)
    outputs: dict[str, OutputModel] = Field(default_factory=dict)
    checks: dict[str, CheckModel] = Field(default_factory=dict)
    shard_bytes: Size = Field(_default(Pipeline, "shard_bytes"), description="the size that work units aim at; part of identity")
    report_by: list[str] = Field(
        default_factory=lambda: list(_default(Pipeline, "report_by")), description="columns that the report breaks its numbers down by"
    )
