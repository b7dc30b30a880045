"""Files that operators load, such as models: on this machine, in an object store, or kept in an artifact by the stage that trained them.

A parameter may name any of them; `local_file` gives what a library can open. Copies of remote files lie in the system's folder for
temporary files, named by what they hold, so that every process of a machine fetches a file once.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from curate.dataset import join_url
from curate.errors import DatasetError, PipelineError
from curate.fingerprint import digest
from curate.manifest import MANIFEST, ArtifactFile, Manifest
from curate.storage import Storage, is_remote, open_file, open_storage

COPIES = "curate-files"
CHUNK_BYTES = 4 << 20
_VERSION = re.compile(r"^v-[0-9a-f]{16}/")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


@functools.lru_cache(maxsize=256)
def local_file(path: str) -> Path:
    """Return where a file can be opened on this machine.

    `path` is a file, the URL of one, or the folder of an artifact that keeps exactly one file; `<folder>/<name>` picks one of several,
    and `<folder>/<part>/<name>` one of a folder in it. A file of an artifact must have the hash of its manifest. Raises `DatasetError`
    for what is not there or not whole.
    """
    folder, _, name = path.rstrip("/").rpartition("/")
    above, _, part = folder.rpartition("/")
    for place, wanted in ((path, None), (folder, name), (above, f"{part}/{name}")):
        kept = _kept_files(place)
        if kept is not None and (wanted is None or any(_is(file, wanted) for file in kept)):
            return _whole(open_storage(place), _chosen(kept, wanted, place))
    if not is_remote(path):
        if not Path(path).is_file():
            raise DatasetError(f"no such file: {path}", "paths are relative to the pipeline file")
        return Path(path)
    storage, file = open_file(path)
    info = storage.info(file)
    if info is None:
        raise DatasetError(f"no such file: {path}")
    return _copied(storage, file, digest([path, info.etag, info.size]), None)


def local_folder(place: str) -> Path:
    """Return where the files of a folder lie together, such as a model's; those of an artifact in an object store are fetched once.

    `place` is a folder, that of an artifact, or `<artifact>/<part>` for a folder in it. Raises `DatasetError` for a part that an artifact
    does not keep, and for a folder in an object store that is no artifact.
    """
    artifact, part = place.rstrip("/"), ""
    kept = _kept_files(artifact)
    if kept is None:
        artifact, _, part = artifact.rpartition("/")
        kept = _kept_files(artifact)
    if kept is None or (part and not is_remote(place) and Path(place).is_dir()):
        if is_remote(place):
            raise DatasetError(f"{place}: a folder in an object store is no artifact", "name the stage that made it, or a local folder")
        return Path(place)
    head = f"{part}/" if part else ""
    inside = {file: _plain(file).removeprefix(head) for file in kept if _plain(file).startswith(head)}
    if not inside and part:
        parts = sorted({_plain(file).partition("/")[0] for file in kept if "/" in _plain(file)})
        raise DatasetError(f"{artifact} keeps no folder `{part}`", f"its folders: {', '.join(parts) or 'none'}")
    if not is_remote(place):
        version = next((file.name.removesuffix(_plain(file)) for file in inside), "")
        return Path(artifact, version, part)
    return _linked(artifact, inside)


def _linked(artifact: str, files: Mapping[ArtifactFile, str]) -> Path:
    """Return a folder with a link to the copy of each file, by the name that it is to have there."""
    folder = _copies() / digest([[name, file.sha256] for file, name in files.items()])
    for file, name in files.items():
        copy = folder / name
        if ".." in copy.parts or not copy.is_relative_to(folder):
            raise DatasetError(f"{artifact}: its manifest names a file outside of it: {file.name}", "it was altered: do not use it")
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not copy.exists():
            copy.unlink(missing_ok=True)  # its target may have been tidied away
        with contextlib.suppress(FileExistsError):  # it is there, or another process was here
            copy.symlink_to(_whole(open_storage(artifact), file))
    return folder


def _kept_files(folder: str) -> list[ArtifactFile] | None:
    """Return the files that an artifact keeps, None where there is no artifact."""
    if not is_remote(folder) and not (Path(folder) / MANIFEST).is_file():
        return None
    storage = open_storage(folder)
    with contextlib.suppress(DatasetError):  # no manifest, or somebody else's file of that name
        return Manifest.from_json(storage.read(MANIFEST), join_url(folder, MANIFEST)).files
    return None


def _is(file: ArtifactFile, wanted: str) -> bool:
    """Tell whether a file is meant."""
    return wanted in (file.name, _plain(file))


def _plain(file: ArtifactFile) -> str:
    """Return the name that a file was kept by; a published one lies in the folder of its version."""
    return _VERSION.sub("", file.name, count=1)


def _chosen(kept: list[ArtifactFile], wanted: str | None, folder: str) -> ArtifactFile:
    found = [file for file in kept if wanted is None or _is(file, wanted)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(file.name for file in kept) or "none"
    raise DatasetError(f"{folder} keeps {len(kept)} files, where one is needed", f"name one behind a slash; its files: {names}")


def _whole(storage: Storage, file: ArtifactFile) -> Path:
    """Return an artifact's file after a look at its hash."""
    path = Path(storage.url) / file.name
    if is_remote(storage.url):
        return _copied(storage, file.name, file.sha256, file.sha256)
    _verify(path, file.sha256, str(path))
    return path


def _copied(storage: Storage, file: str, key: str, sha256: str | None) -> Path:
    """Fetch a file unless a copy is there; other processes see the whole copy or none."""
    target = _copies() / key[:32] / file.rpartition("/")[2]
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=target.parent)
        with open(descriptor, "wb") as out, storage.open_input(file) as source:
            shutil.copyfileobj(source, out, CHUNK_BYTES)
        Path(name).rename(target)
    if sha256 is not None:
        _verify(target, sha256, join_url(storage.url, file))
    return target


def _copies() -> Path:
    return Path(tempfile.gettempdir()) / f"{COPIES}-{os.getuid()}"


def check_sha256(sha256: str) -> None:
    """Raise `PipelineError` unless a text is a SHA-256 as hexadecimal digits."""
    if not _SHA256.fullmatch(sha256):
        raise PipelineError(f"sha256 is no SHA-256: {sha256}", "64 hexadecimal digits: `sha256sum FILE` prints them")


def verify_sha256(path: Path, sha256: str) -> None:
    """Raise `DatasetError` unless a file has the hash that somebody pinned."""
    found = _sha256(path)
    if found != sha256.lower():
        raise DatasetError(f"{path} is another file: its SHA-256 is {found}, not {sha256}", "get the right one, or correct `sha256`")


def _verify(path: Path, sha256: str, where: str) -> None:
    if not path.is_file():
        raise DatasetError(f"no such file: {where}", "remove the artifact's folder and run again")
    if _sha256(path) != sha256:
        raise DatasetError(f"{where}: damaged: its bytes are not those of its manifest", "remove the artifact's folder and run again")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
