"""`curate clusters`: look at the cards of clusters, and decide in a file which clusters go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import orjson

from curate.cli import options
from curate.clusters_cards import FILE, Card, Cards, headline, read_cards, told
from curate.clusters_decisions import DROP, decide, read_opinions
from curate.clusters_review import write_review
from curate.clusters_rule import parse
from curate.dataset import Dataset, load
from curate.errors import DatasetError
from curate.files import local_file
from curate.launch import stage_dataset
from curate.manifest import MANIFEST
from curate.report.units import count, plural, share
from curate.storage import open_storage

_artifact = click.argument("artifact", metavar="ARTIFACT|STAGE")


@click.group()
def clusters() -> None:
    """Show the cards of clusters, or decide in a file which clusters go."""


@clusters.command()
@_artifact
@click.argument("number", metavar="[N]...", type=int, nargs=-1)
@options.workspace
@click.option("--drop", metavar="RULE", help="Only clusters that this rule would drop.")
@click.option("--limit", "-n", default=20, show_default=True, type=click.IntRange(min=1), help="How many clusters to print.")
@options.as_json
def show(artifact: str, number: Sequence[int], workspace: str, drop: str | None, limit: int, as_json: bool) -> None:
    """Print the cards of clusters N, or of the largest ones.

    ARTIFACT is the folder or URL of what `cluster_cards` made, or the name of its stage in the workspace's last run.

    \b
    Examples:
      curate clusters show cards
      curate clusters show cards 17
      curate clusters show cards --drop "pairwise_similarity > 0.9 or line_repetition > 0.5"
    """
    cards = _cards(artifact, workspace)
    reasons = parse(drop).reasons(cards) if drop else {}
    chosen = _chosen(cards, number) if number else sorted(cards.clusters, key=lambda card: (-card["documents"], card["cluster"]))
    chosen = [card for card in chosen if not drop or card["cluster"] in reasons]
    shown = chosen if number else chosen[:limit]
    if as_json:
        for card in shown:
            click.echo(orjson.dumps(card))
        return
    for card in shown:
        click.echo(headline(card))
        for line in (*([f"drop: {reasons[card['cluster']]}"] if card["cluster"] in reasons else []), *told(card)):
            click.echo(f"  {line}")
    if drop:
        dropped = sum(card["documents"] for card in chosen)
        click.echo(f"the rule drops {plural(len(chosen), 'cluster')} of {count(len(cards.clusters))}: ", nl=False)
        click.echo(f"{plural(dropped, 'document')}, {share(dropped, cards.documents)}")
    elif len(shown) < len(chosen):
        click.echo(f"… {count(len(chosen) - len(shown))} more: --limit shows more", err=True)


@clusters.command()
@_artifact
@click.option("--to", "path", required=True, metavar="FILE.yaml", help="The review: written, or brought up to date.")
@options.workspace
@click.option("--drop", metavar="RULE", help='What to suggest, such as "pairwise_similarity > 0.9 or line_repetition > 0.5".')
@click.option("--verdicts", metavar="FILE.jsonl", type=click.Path(exists=True, dir_okay=False), help="What a model said of the clusters.")
def review(artifact: str, path: str, workspace: str, drop: str | None, verdicts: str | None) -> None:
    """Write a YAML file with an entry for every cluster, in which a person decides keep or drop.

    Run again, it brings comments and suggestions up to date and keeps what was decided. `drop_clusters` reads it: `review: FILE.yaml`.
    """
    cards = _cards(artifact, workspace)
    ruled = parse(drop).reasons(cards) if drop else {}
    suggested = decide(cards, {}, read_opinions(verdicts, cards) if verdicts else {}, ruled)
    decided = write_review(path, cards, suggested)
    dropped = [card["documents"] for card in cards.clusters if not suggested[card["cluster"]].keep]
    of_all = f"{plural(sum(dropped), 'document')}, {share(sum(dropped), cards.documents)}"
    click.echo(f"{path}: {plural(len(cards.clusters), 'cluster')}, {count(decided)} decided", err=True)
    click.echo(f"suggested: {DROP} {plural(len(dropped), 'cluster')} ({of_all})", err=True)


def _cards(name: str, workspace: str) -> Cards:
    dataset = _open(name, workspace)
    if not any(file.name.rpartition("/")[2] == FILE for file in dataset.manifest.files):
        raise DatasetError(f"{name} holds no cluster cards", "name a stage of `cluster_cards`, or the folder of what it made")
    return read_cards(local_file(f"{dataset.url}/{FILE}"))


def _open(name: str, workspace: str) -> Dataset:
    if open_storage(name).info(MANIFEST) is not None:
        return load(name)
    if "/" in name or Path(name).is_dir():
        raise DatasetError(f"no finished dataset at {name}: it has no {MANIFEST}")
    return stage_dataset(open_storage(workspace), name)


def _chosen(cards: Cards, numbers: Sequence[int]) -> list[Card]:
    by_number = {card["cluster"]: card for card in cards.clusters}
    for number in numbers:
        if number not in by_number:
            raise DatasetError(f"no cluster {number}", cards.range)
    return [by_number[number] for number in numbers]
