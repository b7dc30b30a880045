"""`curate thresholds`: what a threshold on a score would keep, before anything is cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
import orjson

from curate.cli import options
from curate.dataset import Dataset, load, open_dataset
from curate.diff_read import has_column
from curate.errors import DatasetError
from curate.launch import run_ids, stage_dataset
from curate.manifest import MANIFEST
from curate.report.units import clip, count, plural, printable, share, size
from curate.storage import Storage, join, open_storage
from curate.thresholds_table import Asked, Corpus, kept

BAR = 24
EIGHTHS = " ▏▎▍▌▋▊▉█"
SHOWN_GROUPS, SHOWN_STEPS, NAME_CHARS, DIGITS = 20, 9, 20, 4

Found = Mapping[str, Any]


@click.command()
@click.argument("dataset", metavar="DATASET|STAGE")
@click.argument("column", metavar="COLUMN")
@options.workspace
@click.option("--by", metavar="PATH", help="Show apart what is kept of each value of this column, such as source.")
@click.option("--steps", default=10, show_default=True, type=click.IntRange(1, 1000), help="How many thresholds: 10 for deciles.")
@click.option("--lowest", is_flag=True, help="Low scores are the best.")
@options.as_json
def thresholds(dataset: str, column: str, workspace: str, by: str | None, steps: int, lowest: bool, as_json: bool) -> None:
    """Show what thresholds on a score would keep: documents and bytes, in all and for each source.

    DATASET is a folder or URL, or the name of a stage of the workspace's last run; documents that have the score, or attributes: the
    texts of the documents that they describe are counted with them. COLUMN may have dots: quality, top.probability, and scores.quality
    for documents whose scores are the attributes of a stage `scores`. --json has thresholds with all their digits.
    """
    corpus, path = _corpus(dataset, column, workspace)
    found = kept(corpus, Asked(path, steps, by, highest=not lowest))
    if as_json:
        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        return
    if found["bytes"] is None:
        click.echo("the documents are not in the workspace: their bytes are not counted", err=True)
    for line in (*_overall(corpus.scores.name, found), *_groups(found)):
        click.echo(line.rstrip())


def _corpus(name: str, column: str, workspace: str) -> tuple[Corpus, str]:
    """Return the dataset with the score, the documents beside it, and the score's path there."""
    dataset = _open(name, workspace)
    if dataset.manifest.kind == "artifact":
        raise DatasetError(f"{name} is an artifact, not a set of documents or attributes")
    place = _workspace_of(dataset, workspace)
    if dataset.manifest.kind == "attributes":
        described = dataset.manifest.aligned_to
        path = column.removeprefix(f"{dataset.name}.") if not has_column(dataset, column) else column
        return Corpus(dataset, _made(place, lambda stage, entry: entry["fingerprint"] == described)), path
    head, _, rest = column.partition(".")
    if not has_column(dataset, column) and rest:
        beside = _made(place, lambda stage, entry: stage == head and dataset.name in entry["from"][:1])
        if beside is not None and beside.manifest.aligned_to == dataset.manifest.fingerprint:
            return Corpus(beside, dataset), rest
    return Corpus(dataset, None), column


def _open(name: str, workspace: str) -> Dataset:
    if open_storage(name).info(MANIFEST) is not None:
        return load(name)
    if "/" in name:
        raise DatasetError(f"no finished dataset at {name}: it has no {MANIFEST}")
    return stage_dataset(open_storage(workspace), name)


def _workspace_of(dataset: Dataset, workspace: str) -> Storage:
    """Return the workspace in which a dataset lies; a published one belongs to that which is named."""
    folder, found, _ = dataset.url.rpartition("/datasets/")
    return open_storage(folder if found else workspace)


def _made(storage: Storage, wanted: Any) -> Dataset | None:
    """Return the latest finished dataset of a workspace's runs that is wanted, by its stage and its entry in the plan."""
    for run in reversed(run_ids(storage)):
        path = join("runs", run, "plan.json")
        stages = orjson.loads(storage.read(path))["stages"] if storage.info(path) is not None else {}
        for stage, entry in stages.items():
            if wanted(stage, entry) and storage.info(join(entry["dataset"], MANIFEST)) is not None:
                return open_dataset(storage, entry["dataset"])
    return None


def _overall(name: str, found: Found) -> Iterator[str]:
    """Yield what each threshold keeps of all, as a table with bars: documents above, bytes below in the same line."""
    texts = f", {size(found['bytes'])} of text" if found["bytes"] is not None else ""
    verb = "is" if found["without_score"] == 1 else "are"
    without = f"; {plural(found['without_score'], 'document')} without a score {verb} never kept" if found["without_score"] else ""
    yield f"{name}: `{found['column']}` of {plural(found['documents'], 'document')}{texts}{without}"
    rows = [_row(found, place) for place in range(len(found["thresholds"]))]
    if not rows:
        return
    heads = ["threshold", "documents", "share", "", *(["text", "share", ""] if found["bytes"] is not None else [])]
    yield ""
    yield from _aligned([heads, *rows], bars=(3, 6))


def _row(found: Found, place: int) -> list[str]:
    documents = found["kept_documents"][place]
    cells = [threshold_text(found, place), count(documents), share(documents, found["documents"]), _bar(documents, found["documents"])]
    if found["bytes"] is not None:
        length = found["kept_bytes"][place]
        cells += [size(length), share(length, found["bytes"]), _bar(length, found["bytes"])]
    return cells


def threshold_text(found: Found, place: int) -> str:
    """Return a threshold with four digits, or as many as tell all of them apart, and probabilities just below 1 from 1."""
    scores = [float(score) for score in found["thresholds"]]
    apart = len({1.0, *scores})
    digits = next((n for n in range(DIGITS, 17) if len({1.0, *(float(f"{score:.{n}g}") for score in scores)}) == apart), 17)
    return f"{'>=' if found['highest'] else '<='} {scores[place]:.{digits}g}"


def _bar(part: int, whole: int) -> str:
    """Return a bar of `BAR` characters at most, in eighths of a character."""
    eighths = round(8 * BAR * part / whole) if whole else 0
    return "█" * (eighths // 8) + (EIGHTHS[eighths % 8] if eighths % 8 else "" if eighths or not part else "▏")


def _groups(found: Found) -> Iterator[str]:
    """Yield the shares of documents, and of text, that are kept of each group, where so much is kept of all documents."""
    places = _some(len(found["thresholds"]) - 1)
    if "groups" not in found or not places:
        return
    kept_of_all = [share(found["kept_documents"][place], found["documents"]) for place in places]
    for counted, title in (("documents", "documents"), ("bytes", "text")):
        if found[counted] is None:
            continue
        groups = list(found["groups"].items())
        rows = [_group(name, group, counted, places) for name, group in groups[:SHOWN_GROUPS]]
        yield from ("", f"{title} kept of each `{found['by']}`, by the share of all documents that is kept:")
        yield from _aligned([["", "in all", *kept_of_all], *rows])
        if len(groups) > SHOWN_GROUPS:
            yield f"… {count(len(groups) - SHOWN_GROUPS)} more: --json shows all"


def _some(steps: int) -> list[int]:
    """Return the places of so many thresholds as fit into a line; the last one keeps all and tells nothing."""
    return sorted({round(i * (steps - 1) / (SHOWN_STEPS - 1)) for i in range(SHOWN_STEPS)}) if steps > 0 else []


def _group(name: str, group: Found, counted: str, places: Sequence[int]) -> list[str]:
    whole = group[counted]
    told = count(whole) if counted == "documents" else size(whole)
    return [clip(printable(name), NAME_CHARS), told, *(share(group[f"kept_{counted}"][place], whole) for place in places)]


def _aligned(rows: Sequence[Sequence[str]], bars: Sequence[int] = ()) -> Iterator[str]:
    """Set the first column and bars left, the others right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(
            cell.ljust(width) if column == 0 or column in bars else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
