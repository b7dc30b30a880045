"""`curate diff`: what is different between two corpora, and what removed documents."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
import orjson

from curate.cli import options
from curate.dataset import Dataset, open_dataset
from curate.diff import KINDS, Options
from curate.diff import diff as compare
from curate.diff_causes import lineage_of
from curate.diff_read import has_column
from curate.document import TEXT
from curate.errors import DatasetError
from curate.launch import find_run, run_datasets, stage_dataset
from curate.manifest import MANIFEST
from curate.registry import suggest
from curate.report.units import count, printable, size
from curate.storage import LocalStorage, open_storage

GROUPS = ("source", "lang.code", "lang", "language")
SHOWN = 20  # lines of a table, behind which one sums up the rest; --json has all
NAME_WIDTHS = 23, 40  # of the first column of a table: at least, and at most unless names would look the same


@click.command()
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@options.workspace
@click.option("--column", default=TEXT, show_default=True, metavar="PATH", help="What makes a document a changed one.")
@click.option("--by", metavar="A,B", help="Count by these columns.  [default: source and language, where both have them]")
@click.option("--sample", default=0, show_default=True, type=click.IntRange(0, 1000), help="Show so many documents of each kind.")
@options.as_json
def diff(old: str, new: str, workspace: str, column: str, by: str | None, sample: int, as_json: bool) -> None:
    """Compare two corpora: documents added, removed and changed, and what removed them.

    OLD and NEW are folders or URLs of datasets or published corpora, stages of the workspace's last run, or RUN:STAGE (such as
    last:clean). Documents are the same when their ids are. What removed a document stands in the ledgers of the stages that
    NEW was made from, if a run of the workspace made it.
    """
    storage = open_storage(workspace)
    sides = _open(old, workspace), _open(new, workspace)
    for name, dataset in zip((old, new), sides, strict=True):
        if dataset.manifest.kind == "artifact":
            raise DatasetError(f"{name} is an artifact, not a set of documents")
    chosen = tuple(by.split(",")) if by else tuple(path for path in GROUPS if all(_is_plain(side, path) for side in sides))
    with tempfile.TemporaryDirectory(prefix="curate-diff-") as scratch:
        found = compare(*sides, Options(column, chosen, sample), LocalStorage(scratch), lineage_of(storage, sides[1]))
    if as_json:
        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        return
    for line in _lines(found):
        click.echo(line)


def _open(name: str, workspace: str) -> Dataset:
    storage = open_storage(name)
    if storage.info(MANIFEST) is not None:
        return open_dataset(storage, "")
    if "/" in name:
        raise DatasetError(f"no finished dataset at {name}: it has no {MANIFEST}")
    run, colon, stage = name.rpartition(":")
    if not colon:
        return stage_dataset(open_storage(workspace), name)
    found = {dataset.name: dataset for dataset in run_datasets(open_storage(workspace), find_run(open_storage(workspace), run))}
    if stage not in found:
        raise DatasetError(f"run {run} has no finished stage `{stage}`", suggest(stage, list(found)) or f"finished: {', '.join(found)}")
    return found[stage]


def _is_plain(dataset: Dataset, path: str) -> bool:
    return has_column(dataset, path) and ("." in path or "<" not in dataset.manifest.columns[path])


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    for side in ("old", "new"):
        yield f"{side:<10}{_amount(found[side])}  {found[side]['name']}  {found[side]['url']}"
    yield ""
    for kind in KINDS:
        was = f"  before {size(found[kind]['bytes_before'])}" if kind == "changed" else ""
        yield f"{kind:<10}{_amount(found[kind])}{was}"
    yield f"{'unchanged':<10}{found['unchanged']['documents']:>14,}"
    if found["removed"]["causes"]:
        yield from ("", "removed by", *_causes(found["removed"]["causes"]))
    for path, groups in found["by"].items():
        yield from ("", *_table(path, groups))
    for kind, documents in found.get("samples", {}).items():
        yield from ("", f"{kind}, {len(documents)} of {found[kind]['documents']:,}") if documents else ()
        for document in documents:
            yield from _document(document)


def _amount(entry: Mapping[str, Any]) -> str:
    return f"{entry['documents']:>14,}  {size(entry['bytes']):>10}"


def _causes(causes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for cause in causes[:SHOWN]:
        reason = cause["reason"] if cause["stage"] is None else f"{cause['stage']}, {cause['step']}: {cause['reason']}"
        yield f"  {_amount(cause)}  {reason}"
    if rest := causes[SHOWN:]:
        yield f"  {_amount({name: sum(cause[name] for cause in rest) for name in ('documents', 'bytes')})}  {_more(rest)}"


def _table(path: str, groups: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Yield the groups in which most documents differ, then larger ones; the others are one line."""
    order = sorted(groups, key=lambda name: -sum(groups[name][kind] for kind in KINDS))  # stable: of equal ones the largest is first
    names = _short([printable(name) for name in order[:SHOWN]])
    rows = [*zip(names, ([*groups[name].values()] for name in order), strict=False)]
    if rest := order[SHOWN:]:
        rows.append((_more(rest), [sum(column) for column in zip(*(groups[name].values() for name in rest), strict=True)]))
    width = max(NAME_WIDTHS[0], *(len(name) for name, _ in rows), len(path)) if rows else NAME_WIDTHS[0]
    yield f"{path:<{width}} " + "".join(f"{kind:>12}" for kind in ("old", "new", *KINDS))
    for name, counts in rows:
        yield f"{name:<{width}} " + "".join(f"{documents:>12,}" for documents in counts)


def _more(rest: Sequence[Any]) -> str:
    return f"… {count(len(rest))} more (--json has all)"


def _short(names: Sequence[str]) -> list[str]:
    """Return names cut in the middle, where they begin alike and seldom differ, but no shorter than tells them apart."""
    for width in range(NAME_WIDTHS[1], max(map(len, names), default=0)):
        tail = 2 * width // 3
        short = [name if len(name) <= width else f"{name[: width - tail - 1]}…{name[-tail:]}" for name in names]
        if len(set(short)) == len(set(names)):
            return short
    return list(names)


def _document(document: Mapping[str, Any]) -> Iterator[str]:
    why = ", ".join(f"{name}={value}" for name, value in document.items() if name not in ("id", "excerpt", "before", "after"))
    yield f"  {document['id']}" + (f"  ({why})" if why else "")
    for sign, name in (("  ", "excerpt"), ("- ", "before"), ("+ ", "after")):
        if name in document:
            yield f"    {sign}{' '.join(document[name].split())}"
