"""`curate schedule`: what a service runs by itself, by the service's API."""

from __future__ import annotations

from itertools import islice
from typing import Any

import click
import orjson

from curate.cli import options, schedule_add, schedule_export, schedule_run, schedule_text
from curate.cli.remote import connected
from curate.cli.table import aligned
from curate.report.units import printable

_name = click.argument("name")


@click.group()
def schedule() -> None:
    """Let a service run pipelines by themselves: at times, when files come, or when another pipeline has finished."""


schedule.add_command(schedule_add.add)
schedule.add_command(schedule_run.run)
schedule.add_command(schedule_export.export)


@schedule.command("list")
@options.service
@click.option("--pipeline", metavar="NAME", help="Only those of this pipeline.")
@options.as_json
def listed(url: str, pipeline: str | None, as_json: bool) -> None:
    """List schedules by name: when they run, when next, and how the last tick ended.

    \b
    Examples:
      curate schedule list
      curate schedule list --pipeline web_english
    """
    found = list(connected(url).schedules.listed(pipeline))
    if as_json:
        _print_json(found)
        return
    if not found:
        click.echo("no schedules: `curate schedule add` adds one", err=True)
    for line in aligned(schedule_text.rows(found) if found else []):
        click.echo(line)


@schedule.command()
@_name
@options.service
@options.as_json
def show(name: str, url: str, as_json: bool) -> None:
    """Show a schedule: what it runs, by which policies, and the times to come.

    \b
    Example:
      curate schedule show nightly
    """
    found = connected(url).schedules.show(name)
    if as_json:
        _print_json(found)
        return
    for line in aligned(schedule_text.facts(found)):
        click.echo(line)


@schedule.command()
@_name
@options.service
@click.option("--rows", "-n", default=20, show_default=True, type=click.IntRange(min=1), help="How many ticks to print.")
@options.as_json
def history(name: str, url: str, rows: int, as_json: bool) -> None:
    """List what came of each time at which a schedule was due, newest first.

    \b
    Examples:
      curate schedule history nightly
      curate schedule history nightly --rows 1000 --json
    """
    schedules = connected(url).schedules
    found = list(islice(schedules.history(name), rows))
    if as_json:
        _print_json(found)
        return
    if not found:
        click.echo(f"{name} was not due yet: `curate schedule show {name}` tells the next time", err=True)
        return
    for line in aligned(schedule_text.ticks(found, schedules.show(name)["trigger"])):
        click.echo(line)


@schedule.command()
@_name
@options.service
@click.option("--reason", metavar="TEXT", help="Why it rests; `list` and `show` tell it. [default: who paused it]")
def pause(name: str, url: str, reason: str | None) -> None:
    """Let a schedule rest; ticks that wait are skipped, a run that goes on goes on.

    \b
    Example:
      curate schedule pause nightly --reason "the store moves"
    """
    paused = connected(url).schedules.pause(name, reason)
    click.echo(f"{name} rests: {printable(paused['paused'] or '')}")


@schedule.command()
@_name
@options.service
def resume(name: str, url: str) -> None:
    """Let a schedule fire again, from now on; what was due while it rested was not missed.

    \b
    Example:
      curate schedule resume nightly
    """
    click.echo(schedule_text.headline(connected(url).schedules.resume(name)))


@schedule.command()
@_name
@options.service
def remove(name: str, url: str) -> None:
    """Take a schedule away; a run that goes on goes on, and the history stays.

    \b
    Example:
      curate schedule remove nightly
    """
    connected(url).schedules.remove(name)
    click.echo(f"{name} is removed; its history goes on if it is added again")


def _print_json(found: Any) -> None:
    click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
