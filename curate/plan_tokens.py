"""What a plan would ask of language models, before anything runs: an estimate from bytes of text and numbers of documents.

Operators say what they ask about so much text (`Operator.asks`), and some what they ask about a few documents, which are read from the
beginnings of files or shards (`Operator.asks_about`): how long lines are, and which are too long, no sum of bytes tells. Where all text
is there, its size is known. Else it is reckoned: Parquet's footers tell what its columns take unpacked and how many rows there are, and
an earlier dataset of a stage tells how much text it made of what it read. Where there is neither, the bytes of the files have to do, as
documents of `DOCUMENT_BYTES`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import pyarrow as pa

from curate.dataset import Dataset, read_shard
from curate.document import TEXT
from curate.errors import CurateError
from curate.llm import Asked
from curate.llm.settings import Settings
from curate.llm.usage import BYTES_PER_TOKEN, Usage, dollars
from curate.manifest import MANIFEST, Manifest
from curate.plan import Plan, PlannedInput
from curate.protocols import Operator
from curate.readers import reader
from curate.readers.base import Slice
from curate.readers.parquet import unpacked
from curate.steps import operator

Basis = Literal["text", "reckoned", "files"]
_T = TypeVar("_T")
_SURE: tuple[Basis, ...] = ("text", "reckoned", "files")
SAMPLED_FILES, SAMPLED_TEXTS, SAMPLED_CHARS = 4, 32, 1 << 20  # texts and characters of each file
DOCUMENT_BYTES = 4000  # of a page of the web, where nothing tells


@dataclass(frozen=True)
class Estimate:
    """What one step of a stage would ask a model, and at most how many dollars that is, if there is a price.

    `basis` says what the bytes are: those of text that is there already, reckoned ones, or those of the files that hold it. Of a price by
    the hour there are dollars only where an earlier dataset of the stage tells how long a prompt takes one worker: `hours` then has them.
    """

    stage: str
    step: str
    model: str
    text_bytes: int
    documents: int
    basis: Basis
    asked: Asked
    by_the_hour: bool
    hours: float | None
    dollars: float | None


def estimates(plan: Plan) -> Iterator[Estimate]:
    """Yield an estimate for each step of a stage that is not done and asks a model; what was asked in earlier runs is in it."""
    for name, planned in plan.stages.items():
        if planned.stage.use is not None or plan.status(name) == "done":
            continue
        specs = planned.steps[len(planned.stage.apply) :]
        asking = [(spec, built) for spec, built in zip(specs, plan.built.operators.get(name, []), strict=False) if built.models()]
        if not asking:
            continue
        size, before = _read(plan, name), _earlier(plan, name)
        texts = _sample(plan, name) if any(type(built).asks_about is not Operator.asks_about for _, built in asking) else []
        for spec, built in asking:
            told: Mapping[str, Asked] = {}
            with contextlib.suppress(CurateError):  # a file of prompts that a stage has still to make
                told = _told(operator(spec.operator), size, texts)
            counted = before.measured.models.get(spec.label, {}) if before else {}
            for parameter, model in built.models().items():
                asked = told.get(parameter) or _once(size, model.settings)
                hours, cost = _price(asked, model.settings, counted.get(parameter, {}))
                names = (name, spec.label, model.settings.model)
                yield Estimate(*names, size.bytes, size.documents, size.basis, asked, "gpu_hour" in model.settings.price, hours, cost)


@dataclass(frozen=True)
class _Size:
    """Text, and the documents that it is in."""

    bytes: int
    basis: Basis
    documents: int


def _told(asking: Operator, size: _Size, texts: Sequence[str]) -> Mapping[str, Asked]:
    """Return what an operator says beforehand, corrected by what it says of a sample."""
    told, about = asking.asks(size.bytes, size.documents), asking.asks_about(texts) if texts else {}
    alike = asking.asks(sum(len(text.encode()) for text in texts), len(texts)) if about else {}
    return {model: asked.corrected(about[model], alike[model]) if model in about else asked for model, asked in told.items()}


def _sample(plan: Plan, name: str) -> list[str]:
    """Return a few of the texts that a stage reads, as they are in what is there already: none, where text has still to be made."""
    for source in plan.stages[name].documents:
        with contextlib.suppress(CurateError):  # damaged: the run will say so
            if plan.reads_files(name, source):
                found = list(_texts_of_files(plan.inputs[source]))
            elif plan.status(source) == "done":
                found = list(_texts_of_shards(plan.dataset(source)))
            else:
                found = _sample(plan, source)
            if found:
                return found
    return []


def _texts_of_files(read: PlannedInput) -> Iterator[str]:
    if TEXT in read.schema.names:
        for file in _spread(read.listing.files):
            batches = reader(read.listing.format).read(read.listing.storage, Slice(file, size=file.size), read.file_schema, read.options)
            yield from _texts(batch.docs for batch in batches)


def _texts_of_shards(dataset: Dataset) -> Iterator[str]:
    if TEXT in dataset.manifest.columns:
        for number in _spread([shard.shard for shard in dataset.manifest.shards if shard.data.rows]):
            yield from _texts(read_shard(dataset.storage, dataset.shard_path(number), [TEXT]))


def _spread(things: Sequence[_T]) -> Sequence[_T]:
    return things[:: -(-len(things) // SAMPLED_FILES)] if things else things


def _texts(batches: Iterable[pa.RecordBatch]) -> list[str]:
    """Return the first texts of a file, as many as a sample takes of it."""
    found: list[str] = []
    for docs in batches:
        found += docs.column(TEXT).slice(0, SAMPLED_TEXTS - len(found)).fill_null("").to_pylist()
        if len(found) >= SAMPLED_TEXTS or sum(map(len, found)) >= SAMPLED_CHARS:
            break
    return found


def _once(size: _Size, settings: Settings) -> Asked:
    """Return what it takes to show each document once, with nothing beside it."""
    return Asked(size.documents, size.bytes // BYTES_PER_TOKEN, size.documents * settings.max_tokens)


def _price(asked: Asked, settings: Settings, before: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return hours and dollars; `before` counts what an earlier run asked, and how long it took."""
    if "gpu_hour" not in settings.price:
        return None, dollars(Usage(prompt_tokens=asked.prompt_tokens, output_tokens=asked.output_tokens), settings, 0.0)
    if not before:
        return None, None
    seconds = asked.prompts * (before["seconds"] + before.get("cached_seconds", 0.0)) / before["prompts"]
    return seconds / 3600, dollars(Usage(seconds=seconds), settings, seconds)


def _read(plan: Plan, name: str) -> _Size:
    """Return the text that a stage reads, of all its documents."""
    sources = [_files(plan, source) if plan.reads_files(name, source) else _made(plan, source) for source in plan.stages[name].documents]
    basis: Basis = max((size.basis for size in sources), key=_SURE.index, default="text")
    return _Size(sum(size.bytes for size in sources), basis, sum(size.documents for size in sources))


def _files(plan: Plan, source: str) -> _Size:
    listing = plan.inputs[source].listing
    if listing.format == "parquet":
        size, rows = unpacked(listing.storage, listing.files)
        return _Size(size, "reckoned", rows)
    return _Size(listing.bytes, "files", -(-listing.bytes // DOCUMENT_BYTES))


def _made(plan: Plan, name: str) -> _Size:
    """Return the text that a stage has made, or will make of what it reads: as much of it as last time, or all."""
    if plan.status(name) == "done":
        counts = plan.dataset(name).manifest.counts
        return _Size(counts.text_bytes_out, "text", counts.rows_out)
    size, before = _read(plan, name), _earlier(plan, name)
    if before is None:
        basis: Basis = "files" if size.basis == "files" else "reckoned"
        return _Size(size.bytes, basis, size.documents)
    counts = before.counts
    made = size.bytes * counts.text_bytes_out // max(counts.bytes_in if size.basis == "files" else counts.text_bytes_in, 1)
    return _Size(made, "reckoned", made * counts.rows_out // max(counts.text_bytes_out, 1))


def _earlier(plan: Plan, name: str) -> Manifest | None:
    """Return the manifest of the largest dataset of the stage that earlier runs left, as other inputs or parameters made it."""
    prefix = f"datasets/{name}@"
    manifests = [info.path for info in plan.storage.list("datasets") if info.path.startswith(prefix) and info.path.endswith(f"/{MANIFEST}")]
    found = [Manifest.from_json(plan.storage.read(path), path) for path in manifests]
    return max(found, key=lambda manifest: manifest.counts.bytes_in, default=None)
