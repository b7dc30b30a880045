"""Identity: what a dataset is made of, and never how, where or how fast it was made.

A fingerprint covers operator names, versions, parameters, the user's code, input files and the byte target of shards.
Resources, executor, workers, batch sizes and the workspace never enter.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import xxhash

from curate.manifest import FORMAT
from curate.protocols import Operator
from curate.registry import OperatorSpec


def digest(value: Any) -> str:
    """Return 16 hex digits of the SHA-256 of a JSON value with sorted keys."""
    data = json.dumps(value, sort_keys=True, default=str)  # the standard library: it knows integers of any size
    return hashlib.sha256(data.encode()).hexdigest()[:16]


def operator_identity(spec: OperatorSpec, operator: Operator, references: Mapping[str, str]) -> dict[str, Any]:
    """Return what an operator is: its name, version and code, and the value of every parameter, defaults included.

    `references` gives the fingerprint that stands for a parameter's value (`stage:NAME`, or a file's content).
    """
    params = {
        field.name: references.get(field.name, getattr(operator, field.name))
        for field in dataclasses.fields(operator)  # type: ignore[arg-type]
    }
    name = spec.use.rpartition(":")[2] if spec.code is not None else spec.use  # a file is its content, wherever it lies
    return {"use": name, "version": operator.version, "code": spec.code_sha, "package": _package(spec), "params": params}


def chain_identity(steps: Sequence[Mapping[str, Any]], kind: str, trace: bool) -> str:
    """Return the fingerprint of what is done, apart from the inputs."""
    return digest({"format": FORMAT, "kind": kind, "steps": list(steps), "trace": trace})


def unit_identity(chain: str, read_schema: pa.Schema, schema: pa.Schema, content: Any) -> str:
    """Return the fingerprint of one shard: what is done to which bytes."""
    return digest({"chain": chain, "read": _schema(read_schema), "schema": _schema(schema), "content": content})


def file_hash(path: Path) -> str:
    """Return the 128-bit xxh3 hash of a file's content."""
    state = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while block := file.read(4 << 20):
            state.update(block)
    return f"xxh3:{state.hexdigest()}"


def content_hash(path: Path) -> str:
    """Return the hash of a file's content, or that of all files in a folder with their names in it."""
    if path.is_file():
        return file_hash(path)
    files = sorted(found for found in path.rglob("*") if found.is_file())
    return f"folder:{digest([[found.relative_to(path).as_posix(), file_hash(found)] for found in files])}"


def _package(spec: OperatorSpec) -> str | None:
    """Return name and version of the distribution of an operator named by `package.module:Class`."""
    module, _, _ = spec.use.rpartition(":")
    if not module or spec.code is not None:
        return None
    top = module.partition(".")[0]
    names = importlib.metadata.packages_distributions().get(top, [])
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in sorted(set(names))) or top


def _schema(schema: pa.Schema) -> list[list[str]]:
    return [[field.name, str(field.type)] for field in schema]
