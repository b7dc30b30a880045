"""Pipelines that the service keeps: checked as the command line checks them, in versions that never change."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from curate.artifacts import open_artifacts, verify_artifacts
from curate.check import check_columns, warnings
from curate.errors import CurateError, PipelineError
from curate.pipeline import Pipeline
from curate.pipeline_validate import Built, validate
from curate.pipeline_yaml import Loaded, parse_pipeline
from curate.plan import input_schemas
from curate.registry import suggest
from curate.service.allowed import Places, check_operators, check_places
from curate.service.settings import ServiceSettings
from curate.service.state import tables

MAX_BYTES = 256 << 10  # reading YAML takes seconds for a megabyte, and others wait for it
FILE = "pipeline.yaml"  # what messages call a text without a file
_WHOLE = undefer(tables.PipelineVersion.text)
_LINE = re.compile(rf"{re.escape(FILE)}:(\d+): (.*)", re.DOTALL)


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong with a text; `line` counts from 1, None for what an override brought."""

    line: int | None
    message: str
    hint: str | None = None


@dataclass(frozen=True)
class Checked:
    """What the checker says of a text: mistakes, or what it holds and what is unwise about it."""

    name: str | None
    mistakes: list[Mistake] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)


class Checker:
    """Checks texts by the rules of one service."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.places = Places(settings.allowed)
        self._packs = settings.packs
        self._folder = settings.folder

    def folder(self, asked: str | None) -> Path:
        """Return where relative paths of a text start; raise `PipelineError` for a folder that is not allowed."""
        if asked is None:
            return self._folder
        self.places.check(asked, self._folder)
        return self._folder / asked

    def load(self, text: str, folder: Path, sets: Sequence[str] = ()) -> tuple[Loaded, Built]:
        """Return the pipeline of a text, made concrete; raise `PipelineError` with what the command line would say."""
        if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            raise PipelineError(f"{FILE}: larger than {MAX_BYTES >> 10} KiB, which no pipeline is")
        loaded = parse_pipeline(text, FILE, folder, sets)
        check_operators(loaded.pipeline, self._packs, loaded.positions)
        check_places(loaded.pipeline, self.places, loaded.positions)
        return loaded, validate(loaded.pipeline, loaded.positions)

    def readable(self, text: str, folder: Path, sets: Sequence[str] = ()) -> Pipeline:
        """Return the pipeline of a kept text if its inputs may be looked at, else raise `PipelineError`; nothing else is checked."""
        pipeline = _parsed(text, folder, tuple(sets))
        for path in (path for spec in pipeline.inputs.values() for path in spec.paths):
            self.places.check(path, folder)
        return pipeline

    def check(self, text: str, folder: Path, sets: Sequence[str] = ()) -> Checked:
        """Return what `curate check` would say of a text, its inputs looked at."""
        name = None
        try:
            loaded, built = self.load(text, folder, sets)
            name = loaded.pipeline.name
            _check_inputs(loaded, built)
        except CurateError as error:
            return Checked(name, mistakes(error))
        return Checked(name, [], warnings(loaded.pipeline, built, loaded.positions), built.order)


@lru_cache(maxsize=256)
def _parsed(text: str, folder: Path, sets: tuple[str, ...]) -> Pipeline:
    """Read a text once: schedules look at the inputs of the same pipelines again and again."""
    return parse_pipeline(text, FILE, folder, sets).pipeline


def _check_inputs(loaded: Loaded, built: Built) -> None:
    verify_artifacts(loaded.pipeline, built, open_artifacts(loaded.pipeline, loaded.positions), loaded.positions)
    check_columns(loaded.pipeline, built, input_schemas(loaded.pipeline), loaded.positions)


def mistakes(error: CurateError) -> list[Mistake]:
    """Return the mistakes that an error of the checker tells, each with its line."""
    lines = error.message.split("\n")
    if len(lines) == 1 or not all(_LINE.match(line) for line in lines[:1]):
        return [_mistake(error.message, error.hint)]
    return [_mistake(line, None) for line in lines]


def _mistake(text: str, hint: str | None) -> Mistake:
    match = _LINE.fullmatch(text)
    return Mistake(int(match[1]), match[2], hint) if match else Mistake(None, text, hint)


def save(session: Session, pipeline: Pipeline, text: str, author: str) -> tables.PipelineVersion:
    """Keep a checked text as the newest version of the pipeline of its name; the text that is the newest already stays it."""
    kept = session.scalar(select(tables.Pipeline).filter_by(name=pipeline.name).with_for_update())
    if kept is None:
        kept = tables.Pipeline(name=pipeline.name)
        session.add(kept)
        session.flush()
    newest = _newest(session, kept)
    folder, sha256 = str(pipeline.folder), hashlib.sha256(text.encode()).hexdigest()
    if newest is not None and (newest.sha256, newest.folder) == (sha256, folder):
        return newest
    number = newest.number + 1 if newest is not None else 1
    version = tables.PipelineVersion(pipeline=kept, number=number, text=text, folder=folder, sha256=sha256, created_by=author)
    session.add(version)
    session.flush()
    return version


def version_of(session: Session, name: str, number: int | None = None) -> tables.PipelineVersion:
    """Return one version of a pipeline with its text, the newest unless a number says which; raise `NotFound`."""
    kept = find(session, name)
    query = select(tables.PipelineVersion).filter_by(pipeline_id=kept.id, number=number).options(_WHOLE)
    version = _newest(session, kept) if number is None else session.scalar(query)
    if version is None:
        raise NotFound(f"pipeline `{name}` has no version {number}")
    return version


def text_of(session: Session, version_id: int) -> str:
    """Return the text of a version."""
    return session.get_one(tables.PipelineVersion, version_id, options=[_WHOLE]).text


def find(session: Session, name: str) -> tables.Pipeline:
    """Return a pipeline by its name; raise `NotFound`."""
    kept = session.scalar(select(tables.Pipeline).filter_by(name=name))
    if kept is None:
        raise NotFound(f"no pipeline `{name}`", suggest(name, list(session.scalars(select(tables.Pipeline.name).limit(1000)))))
    return kept


def names(session: Session) -> list[str]:
    """Return the names of the first thousand pipelines, to choose from."""
    return list(session.scalars(select(tables.Pipeline.name).order_by(tables.Pipeline.name).limit(1000)))


def difference(older: tables.PipelineVersion, newer: tables.PipelineVersion) -> str:
    """Return what changed from one version to another as a unified diff."""
    texts = [version.text.splitlines(keepends=True) for version in (older, newer)]
    return "".join(difflib.unified_diff(texts[0], texts[1], f"version {older.number}", f"version {newer.number}"))


class NotFound(CurateError):
    """There is nothing of that name in this service."""


def _newest(session: Session, kept: tables.Pipeline) -> tables.PipelineVersion | None:
    query = select(tables.PipelineVersion).filter_by(pipeline_id=kept.id).order_by(tables.PipelineVersion.number.desc()).limit(1)
    return session.scalar(query.options(_WHOLE))
