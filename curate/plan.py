"""A plan is a pipeline made concrete for one workspace: files, columns, fingerprints, and what is done already.

Making a plan lists the inputs and looks at their schemas; it computes nothing else and writes nothing but the cache of
file hashes. The listing is frozen in the plan: a file that changes later fails its shard and never mixes versions.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson
import pyarrow as pa

from curate import artifacts
from curate.apply import Apply
from curate.check import check_columns
from curate.dataset import Dataset, open_dataset
from curate.document import ID, SOURCE
from curate.errors import CurateError, DatasetError
from curate.fingerprint import chain_identity, content_hash, digest, operator_identity
from curate.inputs import Listing, content_identities, list_input
from curate.manifest import MANIFEST, Kind
from curate.pipeline import Input, Pipeline, Stage, Step
from curate.pipeline_graph import REFERENCE, imported
from curate.pipeline_mistakes import Positions
from curate.pipeline_validate import READ_STEP, Built
from curate.protocols import DatasetOperator, Operator
from curate.readers import reader
from curate.readers.base import ReadOptions
from curate.registry import OperatorSpec, build
from curate.steps import StepSpec
from curate.storage import Storage, is_remote, join, open_file

FILE_CACHE = "cache/files.json"
Status = Literal["done", "partial", "pending"]


@dataclass(frozen=True)
class PlannedInput:
    """Files to read, frozen: `identities` are (path, size, content identity) in the order of the listing."""

    name: str
    spec: Input
    listing: Listing
    options: ReadOptions
    file_schema: pa.Schema
    schema: pa.Schema
    identities: tuple[tuple[str, int, str], ...]
    fingerprint: str


@dataclass(frozen=True)
class PlannedStage:
    """A stage with all that its tasks need. `documents` are its sources, `attributes` what describes their rows."""

    name: str
    stage: Stage
    kind: Kind
    documents: tuple[str, ...]
    attributes: tuple[str, ...]
    steps: tuple[StepSpec, ...]
    operator: OperatorSpec | None
    read_schema: pa.Schema
    schema: pa.Schema
    chain: str
    fingerprint: str
    aligned_to: str | None

    @property
    def folder(self) -> str:
        """The dataset's folder in the workspace."""
        return f"datasets/{self.name}@{self.fingerprint}"


@dataclass
class Plan:
    """What a run will do, stage by stage in order."""

    pipeline: Pipeline
    built: Built
    storage: Storage
    inputs: dict[str, PlannedInput] = field(default_factory=dict)
    artifacts: dict[str, Dataset] = field(default_factory=dict)
    stages: dict[str, PlannedStage] = field(default_factory=dict)

    def reads_files(self, stage: str, source: str) -> bool:
        """Tell whether a stage reads an input's files, and not a dataset of that name."""
        return source in self.inputs and (source not in self.stages or source == stage)

    def status(self, name: str) -> Status:
        """Tell whether a stage's dataset stands, is begun, or is not there."""
        folder = self.stages[name].folder
        if self.storage.info(join(folder, MANIFEST)) is not None:
            return "done"
        return "partial" if self.storage.list(join(folder, "receipts")) else "pending"

    def dataset(self, name: str) -> Dataset:
        """Open a finished stage's dataset, or an artifact among the inputs."""
        if name in self.artifacts:
            return self.artifacts[name]
        return open_dataset(self.storage, self.stages[name].folder)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON data."""
        return {
            "format": 1,
            "pipeline": self.pipeline.name,
            "workspace": self.storage.url,
            "inputs": {
                name: {
                    "url": planned.listing.storage_url,
                    "format": planned.listing.format,
                    "files": len(planned.listing.files),
                    "bytes": sum(file.size for file in planned.listing.files),
                    "fingerprint": planned.fingerprint,
                    "columns": {f.name: str(f.type) for f in planned.schema},
                }
                for name, planned in self.inputs.items()
            },
            "artifacts": {name: artifacts.described(artifact, self.storage) for name, artifact in self.artifacts.items()},
            "stages": {
                name: {
                    "kind": planned.kind,
                    "from": [*planned.documents, *planned.attributes],
                    "steps": [step.label for step in planned.steps] or [planned.stage.use or READ_STEP],
                    "fingerprint": planned.fingerprint,
                    "dataset": planned.folder,
                    "status": self.status(name),
                    "columns": {f.name: str(f.type) for f in planned.schema},
                    "cost": self.announced(name),
                }
                for name, planned in self.stages.items()
            },
        }

    def announced(self, name: str) -> str | None:
        """Return what a stage's dataset operator says beforehand of its cost; None when it says nothing, or is done."""
        planned = self.stages[name]
        operator = self.built.operators[name][0] if planned.operator is not None else None
        if not isinstance(operator, DatasetOperator) or self.status(name) == "done":
            return None
        sources = {source: self.built.kinds.get(source, "documents") for source in planned.stage.sources}
        return operator.announce(sources, self.built.operators)


def input_schemas(pipeline: Pipeline) -> dict[str, pa.Schema]:
    """Return the columns that each input's documents have, by listing it and looking at its files."""
    return {
        name: pa.schema([]) if spec.artifact is not None else _schemas(list_input(name, spec, pipeline.folder), _options(name, spec))[1]
        for name, spec in pipeline.inputs.items()
    }


def make_plan(pipeline: Pipeline, built: Built, storage: Storage, positions: Positions | None = None) -> Plan:
    """List inputs, check columns and give every stage its fingerprint."""
    plan = Plan(pipeline, built, storage)
    plan.artifacts = artifacts.open_artifacts(pipeline, positions, storage)
    artifacts.verify_artifacts(pipeline, built, plan.artifacts, positions)
    cache = _read_cache(storage)
    known = dict(cache)
    for name, spec in _files(pipeline):
        plan.inputs[name] = _plan_input(name, spec, pipeline.folder, cache)
    if cache != known:
        with contextlib.suppress(CurateError):  # a read-only workspace can still be planned
            storage.write(FILE_CACHE, orjson.dumps(cache))
    known_schemas = {name: pa.schema([]) for name in pipeline.inputs} | {name: planned.schema for name, planned in plan.inputs.items()}
    schemas = check_columns(pipeline, built, known_schemas, positions)
    for name in imported(pipeline, built.kinds):
        plan.stages[name] = _plan_import(plan.inputs[name], plan)
    for name in built.order:
        plan.stages[name] = _plan_stage(name, plan, schemas)
    return plan


def _files(pipeline: Pipeline) -> Iterator[tuple[str, Input]]:
    return ((name, spec) for name, spec in pipeline.inputs.items() if spec.artifact is None)


def _read_cache(storage: Storage) -> dict[str, Any]:
    with contextlib.suppress(DatasetError, ValueError):
        return dict(orjson.loads(storage.read(FILE_CACHE)))
    return {}


def _options(name: str, spec: Input) -> ReadOptions:
    return ReadOptions(name, id=spec.id, text=spec.text, max_record_bytes=spec.max_record_bytes)


def _schemas(listing: Listing, options: ReadOptions) -> tuple[pa.Schema, pa.Schema]:
    """Return the columns as the reader yields them, and with the captured ones."""
    schema = reader(listing.format).schema(listing.storage, listing.files, options)
    captured = sorted({column for columns in listing.captures.values() for column in columns})
    whole = schema
    for column in captured:
        if column in whole.names and column != SOURCE:
            raise DatasetError(f"input `{options.input}`: the path captures `{column}`, but the files have a column of that name")
        whole = whole if column in whole.names else whole.append(pa.field(column, pa.string()))
    return schema, whole


def _plan_input(name: str, spec: Input, folder: Path, cache: dict[str, Any]) -> PlannedInput:
    listing = list_input(name, spec, folder)
    options = _options(name, spec)
    file_schema, schema = _schemas(listing, options)
    identities = content_identities(listing, cache)
    identity = {
        "files": identities,
        "format": listing.format,
        "input": name,
        "id": spec.id,
        "text": spec.text,
        "max_record_bytes": spec.max_record_bytes,
        "captures": listing.captures,
        "limit": spec.limit,
    }
    return PlannedInput(name, spec, listing, options, file_schema, schema, identities, digest(identity))


def _plan_import(planned: PlannedInput, plan: Plan) -> PlannedStage:
    """Return the stage that reads an input into a dataset, for those who need shards."""
    chain = chain_identity([], "documents", trace=False)
    return PlannedStage(
        name=planned.name,
        stage=Stage(
            planned.name, max_errors=max(stage.max_errors for stage in plan.pipeline.stages.values() if planned.name in stage.sources)
        ),
        kind="documents",
        documents=(planned.name,),
        attributes=(),
        steps=(),
        operator=None,
        read_schema=planned.schema,
        schema=planned.schema,
        chain=chain,
        fingerprint=digest({"chain": chain, "sources": planned.fingerprint, "shard_bytes": plan.pipeline.shard_bytes}),
        aligned_to=None,
    )


def _plan_stage(name: str, plan: Plan, schemas: Mapping[str, pa.Schema]) -> PlannedStage:
    stage, built = plan.pipeline.stages[name], plan.built
    named = [s for s in stage.sources if s in plan.artifacts or s in plan.stages or s in plan.inputs]  # not artifacts still to come
    documents = tuple(s for s in named if built.kinds.get(s, "documents") == "documents")
    attributes = tuple(s for s in named if s not in documents)
    specs, identities = _specs(name, plan)
    chain = chain_identity(identities, built.kinds[name], stage.trace is not None)
    sources = {source: _fingerprint(plan, source) for source in named}
    identity = {"chain": chain, "sources": sources, "order": named, "shard_bytes": plan.pipeline.shard_bytes}
    known = {**{n: p.schema for n, p in plan.inputs.items()}, **dict.fromkeys(plan.artifacts, pa.schema([])), **schemas}
    kind = built.kinds[name]
    return PlannedStage(
        name=name,
        stage=stage,
        kind=kind,
        documents=documents,
        attributes=attributes,
        steps=() if stage.use else specs,
        operator=specs[0].operator if stage.use else None,
        read_schema=_read_schema(documents, attributes, known),
        schema=schemas[name],
        chain=chain,
        fingerprint=digest(identity),
        aligned_to=sources[documents[0]] if kind == "attributes" else None,
    )


def _fingerprint(plan: Plan, source: str) -> str:
    if source in plan.artifacts:
        return artifacts.identity(plan.artifacts[source])
    return plan.stages[source].fingerprint if source in plan.stages else plan.inputs[source].fingerprint


def _read_schema(documents: Sequence[str], attributes: Sequence[str], known: Mapping[str, pa.Schema]) -> pa.Schema:
    """Return the columns that a chain gets: the documents', then one struct per attributes dataset."""
    schema = known[documents[0]] if documents else pa.schema({})
    for name in attributes:
        schema = schema.append(pa.field(name, pa.struct([field for field in known[name] if field.name != ID])))
    return schema


def chain_steps(stage: Stage, operators: Sequence[Operator]) -> Iterator[tuple[Step, Operator]]:
    """Yield all steps of a stage with their operators: what `apply` stands for comes first."""
    if stage.use is not None:
        yield Step(stage.use, stage.params), operators[0]
        return
    for name in stage.apply:
        yield Step("apply", {"by": name}, name=name), Apply(by=name)
    yield from zip(stage.operators, operators, strict=True)


def _specs(name: str, plan: Plan) -> tuple[tuple[StepSpec, ...], list[dict[str, Any]]]:
    """Return a stage's operators as tasks rebuild them, and their identities."""
    stage = plan.pipeline.stages[name]
    specs, identities = [], []
    for index, (step, operator) in enumerate(chain_steps(stage, plan.built.operators[name])):
        params, references = _resolve_params(step.params, operator, plan)
        spec = OperatorSpec(step.use, params, plan.built.codes.get((name, index - len(stage.apply))))
        into = step.into or step.label
        specs.append(StepSpec(step.label, into, spec))
        identities.append(operator_identity(spec, operator, references) | {"label": step.label, "into": into})
    return tuple(specs), identities


def _resolve_params(params: Mapping[str, Any], operator: Operator, plan: Plan) -> tuple[dict[str, Any], dict[str, str]]:
    """Return parameters as a worker needs them, and the fingerprints that stand for files and stages."""
    resolved, references = dict(params), {}
    for key, model in operator.models().items():
        resolved[key], references[key] = model.placed(functools.partial(_located, plan=plan))
    for key, value in params.items():
        if not isinstance(value, str):
            continue
        if value.startswith(REFERENCE):
            resolved[key], references[key] = _referred(value, plan)
        elif is_remote(value):
            storage, file = open_file(value)
            info = storage.info(file)
            references[key] = f"file {info.etag if info else 'missing'}"
        elif path := named_file(key, value, operator, plan.pipeline.folder):
            references[key] = f"file {content_hash(path)}"
            resolved[key] = str(path.absolute())
    return resolved, references


def _referred(value: str, plan: Plan) -> tuple[str, str]:
    """Return where the artifact of `stage:NAME`, or a file of it, is to be found, and what stands for it in an identity."""
    name, slash, file = value.removeprefix(REFERENCE).partition("/")
    url = plan.artifacts[name].url if name in plan.artifacts else f"{plan.storage.url}/{plan.stages[name].folder}"
    return f"{url}{slash}{file}", f"stage {_fingerprint(plan, name)}{slash}{file}"


def _located(model: str, plan: Plan) -> tuple[str, str]:
    """Return where a worker finds a language model that it runs itself, and what stands for it in an identity."""
    if model.startswith(REFERENCE):
        return _referred(model, plan)
    path = plan.pipeline.folder / model
    return str(path.absolute()), content_hash(path)


def named_file(key: str, value: Any, operator: Operator, folder: Path) -> Path | None:
    """Return the local file or folder that a parameter names; a plain word is taken for one only where the operator says so."""
    if not isinstance(value, str) or is_remote(value) or value.startswith(REFERENCE):
        return None
    if not (key in operator.files or "/" in value or "." in value) or Path(value).name in ("", ".."):
        return None
    path = folder / value
    if not os.path.exists(path):  # noqa: PTH110 - Path.exists raises on conditions longer than a name
        return None
    return path if key in operator.folders or not path.is_dir() else None


def operator_of(planned: PlannedStage, plan: Plan) -> Operator:
    """Return the instance of a stage's dataset operator, its files and stages as workers know them."""
    return build(planned.operator) if planned.operator is not None else plan.built.operators[planned.name][0]
