"""What a plan would ask of language models, before anything runs: an estimate from bytes of text, which says what it assumes.

Where the text is there, its bytes are known. Else they are reckoned: Parquet's footers tell what its columns take unpacked, and an earlier
dataset of a stage tells how much text it made of what it read. Where there is neither, the bytes of the files have to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from curate.llm.settings import Settings
from curate.llm.usage import BYTES_PER_TOKEN, Usage, dollars
from curate.manifest import MANIFEST, Counts, Manifest
from curate.plan import Plan
from curate.readers.parquet import unpacked_bytes

Basis = Literal["text", "reckoned", "files"]
_SURE: tuple[Basis, ...] = ("text", "reckoned", "files")


@dataclass(frozen=True)
class Estimate:
    """What one step of a stage would ask: tokens of the documents that it reads, as many again of answers, and dollars if there is a price.

    `basis` says what the bytes are: those of text that is there already, reckoned ones, or those of the files that hold it.
    """

    stage: str
    step: str
    model: str
    text_bytes: int
    basis: Basis
    prompt_tokens: int
    output_tokens: int
    dollars: float | None


def estimates(plan: Plan) -> Iterator[Estimate]:
    """Yield an estimate for each step of a stage that is not done and asks a model."""
    for name, planned in plan.stages.items():
        if planned.stage.use is not None or plan.status(name) == "done":
            continue
        size = _read(plan, name)
        for step, operator in zip(planned.stage.operators, plan.built.operators.get(name, []), strict=False):
            for model in operator.models().values():
                yield _estimate(name, step.label, model.settings, size)


@dataclass(frozen=True)
class _Size:
    """Bytes of text; how many documents they are in is known only where the text is there."""

    bytes: int
    basis: Basis
    rows: int = 0


def _estimate(stage: str, step: str, settings: Settings, size: _Size) -> Estimate:
    tokens = size.bytes // BYTES_PER_TOKEN
    output = min(tokens, size.rows * settings.max_tokens) if size.basis == "text" else tokens
    hourly = "gpu_hour" in settings.price  # nobody knows how long it takes
    cost = None if hourly else dollars(Usage(prompt_tokens=tokens, output_tokens=output), settings, 0.0)
    return Estimate(stage, step, settings.model, size.bytes, size.basis, tokens, output, cost)


def _read(plan: Plan, name: str) -> _Size:
    """Return the text that a stage reads, of all its documents."""
    sources = [_files(plan, source) if plan.reads_files(name, source) else _made(plan, source) for source in plan.stages[name].documents]
    return _Size(sum(size.bytes for size in sources), _worst([size.basis for size in sources]), sum(size.rows for size in sources))


def _files(plan: Plan, source: str) -> _Size:
    listing = plan.inputs[source].listing
    if listing.format == "parquet":
        return _Size(unpacked_bytes(listing.storage, listing.files), "reckoned")
    return _Size(listing.bytes, "files")


def _made(plan: Plan, name: str) -> _Size:
    """Return the text that a stage has made, or will make of what it reads: as much of it as last time, or all."""
    if plan.status(name) == "done":
        counts = plan.dataset(name).manifest.counts
        return _Size(counts.text_bytes_out, "text", counts.rows_out)
    size, before = _read(plan, name), _earlier(plan, name)
    if before is None:
        return _Size(size.bytes, _worst([size.basis, "reckoned"]))
    read = before.bytes_in if size.basis == "files" else before.text_bytes_in
    return _Size(size.bytes * before.text_bytes_out // max(read, 1), "reckoned")


def _earlier(plan: Plan, name: str) -> Counts | None:
    """Return the counts of the largest dataset of the stage that earlier runs left, as other inputs or parameters made it."""
    prefix = f"datasets/{name}@"
    manifests = [info.path for info in plan.storage.list("datasets") if info.path.startswith(prefix) and info.path.endswith(f"/{MANIFEST}")]
    found = [Manifest.from_json(plan.storage.read(path), path).counts for path in manifests]
    return max(found, key=lambda counts: counts.bytes_in, default=None)


def _worst(bases: list[Basis]) -> Basis:
    return max(bases, key=_SURE.index, default="text")
