"""`curate proofs`: what was judged of corpora by models, so that the history of a recipe can be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click
import orjson

from curate import proofs as ledger
from curate.cli import options
from curate.cli.table import aligned
from curate.report.units import clip, printable
from curate.storage import open_storage

NAME_CHARS = 28


@click.group(invoke_without_command=True)
@options.workspace
@click.option("--pipeline", metavar="NAME", help="Only those of this pipeline.")
@options.as_json
@click.pass_context
def proofs(ctx: click.Context, workspace: str, pipeline: str | None, as_json: bool) -> None:
    """List what was judged of corpora by models, oldest first, or show one judgement."""
    if ctx.invoked_subcommand is not None:
        return
    kept = ledger.read(open_storage(workspace))
    found = [proof for proof in kept if pipeline in (None, proof["pipeline"])]
    if as_json:
        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        return
    if kept and not found:
        known = ", ".join(sorted({printable(str(proof["pipeline"])) for proof in kept}))
        click.echo(f"no proofs of the pipeline `{pipeline}`; there are some of: {known}", err=True)
    elif not found:
        click.echo("no proofs: a `proxy_compare` among the checks of a pipeline makes one", err=True)
    for line in aligned([row for proof in found for row in _rows(proof)]):
        click.echo(line)


@proofs.command()
@click.argument("name", metavar="ID")
@options.workspace
@options.as_json
def show(name: str, workspace: str, as_json: bool) -> None:
    """Show one judgement (an id, its beginning, or `last`): what was trained, and how each set and metric differs."""
    proof = ledger.find(open_storage(workspace), name)
    if as_json:
        click.echo(orjson.dumps(proof, option=orjson.OPT_INDENT_2))
        return
    click.echo(f"{proof['id']}  {proof['time']}  {printable(str(proof['pipeline']))}, check {proof['check']}, run {proof['run']}")
    click.echo(f"{'passed' if proof['passed'] else 'did not pass'}: {printable(proof['message'])}")
    recipe = proof["recipe"]
    trials = proof["trials"].values()
    tokens = sum(trial["tokens"] for trial in trials)
    click.echo(f"{len(trials)} trainings of {recipe['size']} on {tokens:,} tokens in all\n")
    names = list(next(iter(proof["measures"].values())))
    rows = [[clip(printable(key), 2 * NAME_CHARS), *(_shown(name, row[name]) for name in names)] for key, row in proof["measures"].items()]
    for line in aligned([["", *names], *rows]):
        click.echo(line)


def _rows(proof: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield a line for each corpus that the candidate was compared with."""
    for other, overall in proof["against"].items():
        names = (str(proof["pipeline"]), proof["candidate"], other)
        pipeline, candidate, against = (clip(printable(name), NAME_CHARS) for name in names)
        interval = f"{overall['difference']:+.4f} [{overall['low']:+.4f}, {overall['high']:+.4f}]"
        told = [overall["answer"], "passed" if proof["passed"] else "stopped"]
        yield [proof["id"], proof["time"][:16].replace("T", " "), pipeline, f"{candidate} against {against}", interval, *told]


def _shown(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:+.4f}" if name in ("difference", "low", "high") else f"{value:.2g}"
