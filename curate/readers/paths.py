"""Finds the files that a path of an input names: a file, a folder, a glob, or a path with captures.

In a glob `*` and `?` stay within one path segment, `**` spans any number of them; `{name}` matches like `*` and its value
becomes a column. Names that begin with `.` or `_` are hidden: only a path that names them in full finds them.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from curate.errors import PipelineError
from curate.registry import suggest
from curate.storage import FileInfo, LocalStorage, Storage, is_remote, open_file, open_storage

_CAPTURE = re.compile(r"\{([A-Za-z_]\w*)\}")
_MAGIC = re.compile(r"[*?\[{]")
MAX_SEGMENTS = 200
_RESERVED = ("id", "text", "html")


@dataclass(frozen=True)
class Pattern:
    """A path cut where its first wildcard stands: `root` is a folder, `rest` is matched below it ("" = all of it)."""

    root: str
    rest: str

    @property
    def is_exact(self) -> bool:
        """Whether the path has no wildcard."""
        return not _MAGIC.search(self.rest)


@dataclass(frozen=True)
class Found:
    """A file below a pattern's root, with what the path captures; `by_folder` when only its folder was named."""

    file: FileInfo
    captures: dict[str, str]
    by_folder: bool = False


def parse(path: str, base: str) -> Pattern:
    """Return the pattern for a path as the pipeline writes it; local ones are relative to `base`."""
    if not path.strip():
        raise PipelineError("an input's path is empty")
    remote = is_remote(path)
    whole = path.rstrip("/") if remote else os.path.normpath(os.path.join(base, Path(path.removeprefix("file://")).expanduser()))
    segments = whole.split("/")
    if len(segments) > MAX_SEGMENTS:
        raise PipelineError(f"an input's path has more than {MAX_SEGMENTS} parts: {whole[:40]}…")
    first = 3 if remote else 0  # scheme, nothing, bucket
    wild = next((index for index in range(first, len(segments)) if _MAGIC.search(segments[index])), None)
    if wild is None and (path.endswith("/") or _is_folder(whole, len(segments) <= first)):
        return Pattern(whole, "")
    wild = max(len(segments) - 1, first) if wild is None else wild
    return Pattern("/".join(segments[:wild]) or "/", "/".join(segments[wild:]))


def _is_folder(whole: str, is_bucket: bool) -> bool:
    """Tell whether a path without wildcards is a folder; on an object store that is what no object is called."""
    if not is_remote(whole):
        return os.path.isdir(whole)  # noqa: PTH112 - False as well for a name that is too long
    storage, name = open_file(whole)
    return is_bucket or storage.info(name) is None


def find(pattern: Pattern) -> list[Found]:
    """Return the files that a pattern names, sorted by path."""
    storage = open_storage(pattern.root)
    if pattern.is_exact:
        return _find_exact(storage, pattern)
    matcher = _matcher(pattern.rest)
    found = []
    for file in _candidates(storage, pattern.rest):
        match = matcher.fullmatch(file.path)
        if match:
            found.append(Found(file, match.groupdict()))
    return sorted(found, key=lambda item: item.file.path)


def is_hidden(path: str) -> bool:
    """Tell whether a file, or a folder that it lies in, is hidden."""
    return any(segment[:1] in (".", "_") for segment in path.split("/"))


def missing(pattern: Pattern) -> PipelineError:
    """Return the error for a pattern that names nothing, with the nearest that exists."""
    whole = f"{pattern.root.rstrip('/')}/{pattern.rest}".rstrip("/")
    what = "no such file or folder" if pattern.is_exact else "no file matches"
    return PipelineError(f"{what}: {whole}", _nearest(pattern) if not is_remote(whole) else "list the bucket: a prefix may be misspelt")


def _find_exact(storage: Storage, pattern: Pattern) -> list[Found]:
    if not pattern.rest:
        return [Found(info, {}, by_folder=True) for info in storage.list() if not is_hidden(info.path)]
    file = storage.info(pattern.rest)
    return [Found(file, {})] if file is not None else []


def _candidates(storage: Storage, rest: str) -> Iterator[FileInfo]:
    if not isinstance(storage, LocalStorage):
        yield from storage.list()
        return
    plain = _CAPTURE.sub("*", rest)  # glob walks only the folders that can match
    for path in glob.iglob(plain, root_dir=storage.root, recursive=True):
        info = storage.info(path)
        if info is not None:
            yield info


def _matcher(rest: str) -> re.Pattern[str]:
    """Translate a glob with captures to a regular expression over paths."""
    out, at, seen = [], 0, set()
    while at < len(rest):
        capture = _CAPTURE.match(rest, at)
        if rest.startswith("**/", at):
            out.append(r"(?:(?![._])[^/]+/)*")
            at += 3
        elif rest.startswith("**", at):
            out.append(r"(?:(?![._])[^/]+/)*(?![._])[^/]+")
            at += 2
        elif capture:
            name = capture[1]
            _check_capture(name, rest)
            out.append(f"(?P={name})" if name in seen else f"(?P<{name}>{_unhidden(rest, at)}[^/]+)")
            seen.add(name)
            at = capture.end()
        else:
            piece, at = _translate(rest, at)
            out.append(piece)
    return re.compile("".join(out))


def _translate(rest: str, at: int) -> tuple[str, int]:
    char = rest[at]
    if char == "*":
        return f"{_unhidden(rest, at)}[^/]*", at + 1
    if char == "?":
        return f"{_unhidden(rest, at)}[^/]", at + 1
    if char == "[" and (end := rest.find("]", at + 2)) > 0:
        inside = rest[at + 1 : end].replace("\\", "\\\\")
        return f"[{'^' + inside[1:] if inside[0] == '!' else inside}]", end + 1
    if char in "{}":
        raise PipelineError(f"`{rest}`: braces hold the name of a capture, such as {{dump}}", "for alternatives give a list of paths")
    return re.escape(char), at + 1


def _unhidden(rest: str, at: int) -> str:
    return "(?![._])" if at == 0 or rest[at - 1] == "/" else ""


def _check_capture(name: str, rest: str) -> None:
    if name in _RESERVED:
        raise PipelineError(f"`{rest}`: a capture cannot be called `{name}`", "documents have a column of that name")


def _nearest(pattern: Pattern) -> str:
    """Return a hint that names the deepest folder that exists, and what in it looks like the next part of the path."""
    at = Path("/")
    for segment in f"{pattern.root}/{pattern.rest}".strip("/").split("/"):
        if (at / segment).is_dir():
            at /= segment
            continue
        names = sorted(os.listdir(at))
        close = suggest(segment, names)
        if close:
            return f"{close} (in {at})"
        return f"{at} exists and holds: {', '.join(names[:8])}{' …' if len(names) > 8 else ''}" if names else f"{at} exists but is empty"
    return f"{at} holds no file that curate reads"
