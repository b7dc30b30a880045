"""`curate show`, `explain`, `report` and `clean`: look at what runs have left."""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import click
import orjson

from curate.cleaning import Unused, remove, unused
from curate.cli import options
from curate.dataset import Dataset, open_dataset
from curate.errors import DatasetError
from curate.explain import Event, changed_lines, parents
from curate.explain import explain as tell_story
from curate.launch import find_run, read_report, run_datasets, stage_dataset
from curate.manifest import MANIFEST
from curate.registry import suggest
from curate.report.text import summary as funnel
from curate.report.units import plural, printable, size
from curate.storage import join, open_storage

_FITS = 60  # characters of a value beside its name
_MARKS = "; it marks documents, and the stage that applies its marks drops them"


@click.command()
@click.argument("dataset", metavar="DATASET|STAGE")
@options.workspace
@click.option("--drops", "table", flag_value="drops", help="The dropped documents, with reason and evidence.")
@click.option("--errors", "table", flag_value="errors", help="The quarantined documents, with their errors.")
@click.option("--trace", "table", flag_value="trace", help="Texts before and after each edit, where the stage traced them.")
@click.option("--columns", "-c", metavar="A,B", help="Only these columns.")
@click.option("--rows", "-n", default=10, show_default=True, type=click.IntRange(min=0), help="How many rows to print.")
@click.option("--width", default=72, show_default=True, type=click.IntRange(min=8), help="Cut values to this many characters.")
@options.as_json
def show(dataset: str, workspace: str, table: str | None, columns: str | None, rows: int, width: int, as_json: bool) -> None:
    """Show a dataset: its columns, its accounting and its first rows.

    DATASET is a folder or URL, or the name of a stage of the workspace's last run.
    """
    found = _open(dataset, workspace)
    chosen_columns = columns.split(",") if columns else None
    known = list(found.manifest.columns)
    for name in chosen_columns or ():
        if not table and name not in known:
            raise DatasetError(f"no column `{name}` in {found.name}", suggest(name, known) or f"columns: {', '.join(known)}")
    batches = found.ledger(table) if table else found.batches(chosen_columns)
    chosen = list(islice((row for batch in batches for row in batch.to_pylist()), rows))
    if as_json:
        for row in chosen:
            click.echo(orjson.dumps(row, default=str))
        return
    if table is None:
        _show_head(found)
    elif not chosen and rows:
        click.echo(f"no {table} in {found.name}{_MARKS if found.manifest.kind == 'attributes' else ''}", err=True)
    for row in chosen:
        click.echo("")
        for name, value in row.items():
            if value is not None:
                click.echo(f"{name:>14}  {_cut(value, width)}")


def _open(dataset: str, workspace: str) -> Dataset:
    storage = open_storage(dataset)
    if storage.info(MANIFEST) is not None:
        return open_dataset(storage, "")
    if "/" in dataset:
        raise DatasetError(f"no finished dataset at {dataset}: it has no {MANIFEST}")
    return stage_dataset(open_storage(workspace), dataset)


def _show_head(dataset: Dataset) -> None:
    manifest, counts = dataset.manifest, dataset.manifest.counts
    click.secho(f"{manifest.stage}@{manifest.fingerprint}", bold=True, nl=False)
    click.echo(f"  {manifest.kind}, {plural(counts.rows_out, 'row')} in {plural(len(manifest.shards), 'shard')}, {size(counts.bytes_out)}")
    for name, kind in manifest.columns.items():
        click.echo(f"  {name:<24} {kind}")
    for step, reasons in counts.dropped.items():
        for reason, number in reasons.items():
            click.echo(f"  dropped {number:>10,}  {step}: {reason}")
    if counts.errored:
        click.echo(f"  quarantined {counts.errored:>6,}")


def _cut(value: Any, width: int) -> str:
    text = value if isinstance(value, str) else f"<{len(value):,} bytes>" if isinstance(value, bytes) else str(value)
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


@click.command()
@click.argument("run", metavar="RUN")
@click.argument("doc_id", metavar="ID")
@options.workspace
@options.as_json
def explain(run: str, doc_id: str, workspace: str, as_json: bool) -> None:
    """Tell one document's whole story in a run (an id, its beginning, or `last`).

    Below what a stage did stand the lines that a traced edit took (-) and gave (+), and columns of several fields that are long, whole.
    """
    storage = open_storage(workspace)
    datasets = list(run_datasets(storage, find_run(storage, run)))
    events = tell_story(datasets, doc_id)
    for parent in parents(datasets, doc_id):
        events = tell_story(datasets, parent) + events
    if not events:
        raise DatasetError(f"no stage of run {run} has seen a document `{doc_id}`", "`curate show STAGE --columns id` prints ids")
    told: dict[str, Any] = {}
    for event in events:
        click.echo(orjson.dumps(event) if as_json else _sentence(event))
        for line in () if as_json else _below(event, told):
            click.echo(f"    {printable(line)}".rstrip())


def _sentence(event: Event) -> str:
    details: Mapping[str, Any] = event.details
    head = f"{event.stage:<12} {event.what:<9} "
    if event.what == "dropped":
        value = f" (measured {details['value']:g})" if "value" in details else ""
        kept = f", kept instead: {details['kept_id']}" if "kept_id" in details else ""
        close = f", similarity {details['similarity']:.3f}" if "similarity" in details else ""
        return f"{head}by {details['step']}: {details['reason']}{value}{kept}{close}"
    if event.what == "errored":
        return f"{head}at {details['step']}: {details['error']}"
    if event.what == "edited":
        return f"{head}by {details['step']}: {len(details.get('before', ''))} characters became {len(details.get('after', ''))}"
    shown = (f"{name}={_cut(value, _FITS)}" for name, value in details.items() if not _is_long(value))
    return f"{head}{', '.join(shown)} (shard {event.shard})"


def _is_long(value: Any) -> bool:
    """Tell whether a value has fields of its own and does not fit beside its name."""
    return isinstance(value, dict) and len(str(value)) > _FITS


def _below(event: Event, told: dict[str, Any]) -> Iterator[str]:
    """Yield what is too long for the sentence: changed lines, and long columns, unless they were told before and are the same."""
    if event.what == "edited":
        changed = changed_lines(event.details.get("before", ""), event.details.get("after", ""))
        yield from (f"{sign} {line}" for sign, line in changed if sign != "@")
    for name, value in event.details.items():
        if _is_long(value) and told.get(name) != value:
            told[name] = value
            yield from _fields(name, value)


def _fields(name: str, value: Mapping[str, Any]) -> Iterator[str]:
    """Yield the fields of a column by their paths, one below the other, without those that are empty."""
    for key, each in value.items():
        path = f"{name}.{key}"
        if isinstance(each, dict):
            yield from _fields(path, each)
        elif each not in (None, "", []):
            first, *more = _lines(each)
            yield f"{path:<24} {first}"
            yield from (f"{'':<24} {line}" for line in more)


def _lines(value: Any) -> list[str]:
    """Return a value as lines: those of a text, a line for each entry of a list of texts or fields, one for all numbers."""
    if isinstance(value, list) and isinstance(value[0], dict):
        return [", ".join(f"{name}={each!r}" for name, each in entry.items()) for entry in value]
    if isinstance(value, list) and isinstance(value[0], str):
        return value
    return ", ".join(map(str, value)).split("\n") if isinstance(value, list) else str(value).split("\n")


@click.command()
@click.argument("run", metavar="RUN", default="last")
@options.workspace
@click.option("--open", "open_page", is_flag=True, help="Open report.html in the browser.")
@options.as_json
def report(run: str, workspace: str, open_page: bool, as_json: bool) -> None:
    """Print a run's report (an id, its beginning, or `last`)."""
    storage = open_storage(workspace)
    run_id = find_run(storage, run)
    found = read_report(storage, run_id)
    click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2) if as_json else funnel(found))
    if open_page:
        webbrowser.open(f"{'' if '://' in storage.url else 'file://'}{storage.url}/{join('runs', run_id, 'report.html')}")


@click.command()
@options.workspace
@click.option("--yes", is_flag=True, help="Do not ask.")
def clean(workspace: str, yes: bool) -> None:
    """Remove datasets that the last run of no pipeline uses, after asking."""
    storage = open_storage(workspace)
    found = unused(storage)
    if not found:
        click.echo("nothing to remove: every dataset belongs to the last run of its pipeline")
        return
    for line in _listed(found):
        click.echo(line)
    if not yes and not (sys.stdin.isatty() and click.confirm(f"remove these {len(found)} datasets?", err=True)):
        click.echo("nothing was removed (--yes removes without asking)", err=True)
        return
    remove(storage, found)
    click.echo(f"removed {len(found)} datasets, {size(sum(entry.bytes for entry in found))}")


def _listed(found: list[Unused]) -> Iterator[str]:
    for entry in found:
        yield f"{size(entry.bytes):>10}  {entry.folder}  ({entry.why})"
