"""Finds datasets that nothing uses any more: not in the plan of the last run of any pipeline, nor borrowed from by one that is."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import orjson

from curate.dataset import open_dataset
from curate.fence import STALE_S
from curate.launch import run_ids
from curate.manifest import MANIFEST, Receipt
from curate.storage import FileInfo, Storage, join


@dataclass(frozen=True)
class Unused:
    """A dataset's folder that may go, and why."""

    folder: str
    bytes: int
    why: str


def unused(storage: Storage) -> list[Unused]:
    """Return the datasets that no pipeline's last run names, leaving out those that a living run works on."""
    folders = {
        folder: list(files) for folder, files in groupby(storage.list("datasets"), key=lambda info: "/".join(info.path.split("/")[:2]))
    }
    used = _with_lenders(storage, _in_last_plans(storage) & set(folders), folders)
    living = {_stage(folder) for folder, files in folders.items() if _worked_on(storage, files)}  # may be about to borrow from any of these
    return [
        Unused(
            folder, sum(info.size for info in files), "superseded" if join(folder, MANIFEST) in {i.path for i in files} else "unfinished"
        )
        for folder, files in sorted(folders.items())
        if folder not in used and _stage(folder) not in living
    ]


def remove(storage: Storage, found: list[Unused]) -> None:
    """Remove datasets that nothing uses."""
    remove_datasets(storage, [entry.folder for entry in found])


def remove_datasets(storage: Storage, folders: Sequence[str]) -> None:
    """Remove datasets, each one's manifest first, so that no half of a dataset ever looks whole; one that is not there is no error."""
    for folder in folders:
        storage.delete(join(folder, MANIFEST))
        storage.delete_tree(folder)


def lent(storage: Storage, folders: Sequence[str]) -> str | None:
    """Return a finished dataset, none of these itself, that takes shards over from one of them; None when there is none."""
    stages = {_stage(folder) for folder in folders}
    for folder in sorted({"/".join(info.path.split("/")[:2]) for info in storage.list("datasets")} - set(folders)):
        if _stage(folder) in stages and storage.info(join(folder, MANIFEST)) is not None:
            lenders = {join("datasets", path.split("/")[1]) for path in _borrowed(open_dataset(storage, folder).manifest.shards)}
            if lenders & set(folders):
                return folder
    return None


def _in_last_plans(storage: Storage) -> set[str]:
    last: dict[str, set[str]] = {}
    for run_id in run_ids(storage):
        path = join("runs", run_id, "plan.json")
        if storage.info(path) is not None:
            plan = orjson.loads(storage.read(path))
            named = {stage["dataset"] for stage in plan["stages"].values()}
            named |= {artifact["dataset"] for artifact in plan.get("artifacts", {}).values() if artifact["dataset"]}
            earlier = last.get(plan["pipeline"], set()) if plan.get("partial") else set()  # a limited run supersedes nothing
            last[plan["pipeline"]] = earlier | named
    return set().union(*last.values())


def _with_lenders(storage: Storage, used: set[str], folders: dict[str, list[FileInfo]]) -> set[str]:
    """Add the datasets whose shards the used ones take over."""
    for folder in sorted(used):
        if join(folder, MANIFEST) in {info.path for info in folders[folder]}:
            used = used | {join("datasets", path.split("/")[1]) for path in _borrowed(open_dataset(storage, folder).manifest.shards)}
    return used


def _borrowed(shards: list[Receipt]) -> Iterator[str]:
    for shard in shards:
        for record in (shard.data, shard.drops, shard.errors, shard.trace):
            if record is not None and record.path.startswith("../"):
                yield record.path


def _stage(folder: str) -> str:
    return folder.rpartition("@")[0]


def _worked_on(storage: Storage, files: list[FileInfo]) -> bool:
    fences = [info.path for info in files if "/.fence/" in info.path]
    if not fences:
        return False
    holder = orjson.loads(storage.read(max(fences)))
    return not holder["released"] and time.time() - holder["beat"] < STALE_S
