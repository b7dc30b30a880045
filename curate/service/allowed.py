"""What a submitted pipeline may name: operators of allowed packs, and places under allowed prefixes.

A pipeline of the service is somebody else's text. Its operators are looked at by name before any is imported, and every
place by what it is after `..` and links.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from curate.errors import PipelineError
from curate.pipeline import Input, Pipeline
from curate.pipeline_graph import REFERENCE
from curate.pipeline_mistakes import Mistakes, Place, Positions
from curate.readers import paths
from curate.registry import BUILT_IN, find, packs

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_LOOKED_AT = 100_000  # files of one input whose links are followed


def check_operators(pipeline: Pipeline, allowed: Sequence[str] | None, positions: Positions) -> None:
    """Raise `PipelineError` for each operator that comes from anywhere but an allowed pack; nothing is imported for it."""
    mistakes = Mistakes(positions)
    for place, use, _ in _uses(pipeline):
        if ":" in use:
            hint = "a service runs operators of installed packs by their names: `curate operators` lists them"
            mistakes.add((*place, "use"), f"`{use}` is code from outside the packs of this service", hint)
        elif (pack := _pack(use)) is not None and allowed is not None and pack not in allowed:
            mistakes.add((*place, "use"), f"`{use}` belongs to the pack `{pack}`, which this service does not run")
    mistakes.raise_any()


def check_places(pipeline: Pipeline, places: Places, positions: Positions) -> None:
    """Raise `PipelineError` for each input, output and file of an operator outside the allowed prefixes.

    To be asked before operators are made: some read their files then.
    """
    mistakes = Mistakes(positions)
    for place, path in _places(pipeline):
        try:
            places.check(path, pipeline.folder)
        except PipelineError as error:
            mistakes.add_error(place, error)
    mistakes.raise_any()


class Places:
    """The prefixes that a service allows: folders by what they really are, URLs by their text."""

    def __init__(self, prefixes: Iterable[str]) -> None:
        given = list(prefixes)
        self.folders = [os.path.realpath(prefix) for prefix in given if not _URL.match(prefix)]
        self.urls = [prefix for prefix in given if _URL.match(prefix)]

    def check(self, path: str, folder: Path = Path()) -> None:
        """Raise `PipelineError` unless a path, a pattern or a URL lies under one of the prefixes."""
        if "\0" in path:
            raise PipelineError("a path holds a NUL character")
        if path.lower().startswith("file:"):
            raise PipelineError(f"not a plain path: {_shown(path)}", "leave out `file://`")
        if _URL.match(path):
            self._check_url(path)
        else:
            self._check_local(path, folder)

    def _check_url(self, url: str) -> None:
        parts = unquote(url.partition("://")[2]).split("/")
        if "@" in parts[0] or "\\" in url:
            raise PipelineError(f"not a plain URL: {_shown(url)}", "credentials come from the environment of the service")
        if ".." in parts or not any(_begins(url, prefix) for prefix in self.urls):
            raise self._refused(url)

    def _check_local(self, path: str, folder: Path) -> None:
        """Follow the links of what a path names: read as text, as inputs are, and by the system, as outputs are."""
        pattern = paths.parse(path, str(folder))
        root = pattern.root if not pattern.is_exact else os.path.join(pattern.root, pattern.rest)
        plain = os.path.join(folder, os.path.expanduser(path))  # noqa: PTH111
        if not self._inside(os.path.realpath(root)) or (pattern.is_exact and not self._inside(os.path.realpath(plain))):
            raise self._refused(path)
        if os.path.isdir(root) and (link := next(filter(self._leads_out, _links(root)), None)):  # noqa: PTH112
            raise PipelineError(f"{_shown(path)}: the link {link} leads out of what this service may use")

    def _inside(self, real: str) -> bool:
        return any(real == folder or real.startswith(folder.rstrip("/") + "/") for folder in self.folders)

    def _leads_out(self, link: str) -> bool:
        return not self._inside(os.path.realpath(link))

    def _refused(self, path: str) -> PipelineError:
        known = ", ".join([*self.folders, *self.urls])
        return PipelineError(f"outside of what this service may use: {_shown(path)}", f"allowed are: {known}")


def _uses(pipeline: Pipeline) -> Iterator[tuple[Place, str, Mapping[str, Any]]]:
    """Yield the place, the name and the parameters of every operator."""
    for name, stage in pipeline.stages.items():
        if stage.use is not None:
            yield ("stages", name), stage.use, stage.params
        for index, step in enumerate(stage.operators):
            yield ("stages", name, "operators", index), step.use, step.params
    for name, check in pipeline.checks.items():
        yield ("checks", name), check.use, check.params


def _pack(use: str) -> str | None:
    """Return the package that a registered operator comes from; None for one that validation will find unknown."""
    target = packs().get(use)
    return None if target is None or use in BUILT_IN else target.partition(":")[0].partition(".")[0]


def _places(pipeline: Pipeline) -> Iterator[tuple[Place, str]]:
    for name, spec in pipeline.inputs.items():
        yield from _of_input(("inputs", name), spec)
    for name, output in pipeline.outputs.items():
        yield ("outputs", name, "path"), output.path
    for place, use, params in _uses(pipeline):
        files = _files(use)
        for key, value in params.items():
            for text in _texts(value):
                if (key in files and not text.startswith(REFERENCE)) or _names_place(text, pipeline.folder):
                    yield (*place, "params", key), text


def _files(use: str) -> tuple[str, ...]:
    """Return the parameters of a registered operator that name files."""
    if use not in packs():
        return ()  # validation will say so
    cls, _ = find(use)
    return (*cls.files, *cls.folders)


def _of_input(place: Place, spec: Input) -> Iterator[tuple[Place, str]]:
    if spec.artifact:
        yield (*place, "artifact"), spec.artifact
    for path in spec.paths:
        yield (*place, "path"), path


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _names_place(text: str, folder: Path) -> bool:
    """Tell whether a parameter is an address, or the path of a file that is there; the name of another stage is neither."""
    if text.startswith(REFERENCE) or len(text) > 4096 or "\0" in text:
        return False
    return bool(_URL.match(text)) or os.path.isfile(folder / os.path.expanduser(text))  # noqa: PTH111, PTH113


def _links(folder: str) -> Iterator[str]:
    """Yield the links below a folder, as far as a listing would follow them."""
    looked_at = 0
    for top, folders, files in os.walk(folder):
        for name in (*folders, *files):
            looked_at += 1
            if looked_at > _LOOKED_AT:
                return
            path = os.path.join(top, name)
            if os.path.islink(path):  # noqa: PTH114
                yield path


def _begins(url: str, prefix: str) -> bool:
    return url == prefix.rstrip("/") or url.startswith(prefix.rstrip("/") + "/")


def _shown(text: str) -> str:
    return text if len(text) <= 200 else text[:199] + "…"
