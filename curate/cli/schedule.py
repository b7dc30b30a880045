"""`curate schedule`: what a service runs by itself, by the service's API."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click
import orjson

from curate.cli import options, schedule_add, schedule_text
from curate.cli.remote import connected, followed
from curate.cli.run import show as show_report
from curate.cli.table import aligned
from curate.client import Client
from curate.errors import CurateError
from curate.report.units import printable

LOOK_S = 1.0
_name = click.argument("name")


@click.group()
def schedule() -> None:
    """Let a service run pipelines by themselves: at times, when files come, or when another pipeline has finished."""


schedule.add_command(schedule_add.add)


@schedule.command("list")
@options.service
@click.option("--pipeline", metavar="NAME", help="Only those of this pipeline.")
@options.as_json
def listed(url: str, pipeline: str | None, as_json: bool) -> None:
    """List schedules by name: when they run, when next, and how the last tick ended."""
    found = list(connected(url).listed("/schedules", [("pipeline", pipeline)] if pipeline else []))
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
    """Show a schedule: what it runs, by which policies, and the times to come."""
    found = connected(url).call("GET", _path(name))
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
    """List what came of each time at which a schedule was due, newest first."""
    client = connected(url)
    found = list(islice(client.listed(_path(name, "history")), rows))
    if as_json:
        _print_json(found)
        return
    if not found:
        click.echo(f"{name} was not due yet: `curate schedule show {name}` tells the next time", err=True)
        return
    for line in aligned(schedule_text.ticks(found, client.call("GET", _path(name))["trigger"])):
        click.echo(line)


@schedule.command()
@_name
@options.service
@click.option("--reason", metavar="TEXT", help="Why it rests; `list` and `show` tell it. [default: who paused it]")
def pause(name: str, url: str, reason: str | None) -> None:
    """Let a schedule rest; ticks that wait are skipped, a run that goes on goes on."""
    paused = connected(url).call("POST", _path(name, "pause"), {"reason": reason})
    click.echo(f"{name} rests: {printable(paused['paused'])}")


@schedule.command()
@_name
@options.service
def resume(name: str, url: str) -> None:
    """Let a schedule fire again, from now on; what was due while it rested was not missed."""
    click.echo(schedule_text.headline(connected(url).call("POST", _path(name, "resume"))))


@schedule.command()
@_name
@options.service
def remove(name: str, url: str) -> None:
    """Take a schedule away; a run that goes on goes on, and the history stays."""
    connected(url).call("DELETE", _path(name))
    click.echo(f"{name} is removed; its history goes on if it is added again")


@schedule.command()
@_name
@options.service
@click.option("--wait", is_flag=True, help="Show how the run goes, and end with its exit code; Ctrl-C cancels it.")
@options.as_json
@click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")
def run(name: str, url: str, wait: bool, as_json: bool, quiet: bool) -> None:
    """Run a schedule's pipeline at once, paused or not.

    \b
    Examples:
      curate schedule run nightly
      curate schedule run nightly --wait
    """
    client = connected(url)
    tick = client.call("POST", _path(name, "run"))
    if wait:
        show_report(followed(client, _begun(client, name, tick), quiet), as_json)
    elif as_json:
        _print_json(tick)
    else:
        click.echo(f"run {tick['run_id']} is with {url}" if tick["run_id"] else "it starts when the run before it has ended")


def _begun(client: Client, name: str, tick: Mapping[str, Any]) -> str:
    """Return the run of a tick once it has one; raise `CurateError` for a tick that gets none."""
    while tick["run_id"] is None:
        if tick["outcome"] != "waiting":
            raise CurateError(f"nothing ran: the tick was {tick['outcome']}: {tick['note']}")
        time.sleep(LOOK_S)
        tick = next(other for other in client.listed(_path(name, "history")) if other["due"] == tick["due"])
    return str(tick["run_id"])


@schedule.command()
@_name
@options.service
@click.option("--as", "target", required=True, type=click.Choice(["cron", "systemd", "k8s-cronjob", "airflow"]), help="Another scheduler.")
@click.option("--output", "-o", "folder", metavar="FOLDER", type=click.Path(path_type=Path), help="Write the files. [default: print them]")
@click.option("--pipeline-file", metavar="PATH", help="Where the pipeline lies there. [default: /etc/curate/PIPELINE.yaml]")
@click.option("--image", help="What Kubernetes runs. [default: registry.example/curate:latest]")
def export(name: str, url: str, target: str, folder: Path | None, pipeline_file: str | None, image: str | None) -> None:
    """Say a schedule as files for another scheduler; what that cannot do is told on stderr.

    \b
    Examples:
      curate schedule export nightly --as cron
      curate schedule export nightly --as systemd --pipeline-file /srv/pipelines/nightly.yaml -o units
    """
    asked = {"as": target, "pipeline_file": pipeline_file, "image": image}
    query = urlencode({key: value for key, value in asked.items() if value is not None})
    found = connected(url).call("GET", f"{_path(name, 'export')}?{query}")
    for one in found["lost"]:
        click.echo(f"not carried over: {one}", err=True)
    for file, text in found["files"].items():
        if folder is None:
            click.echo(f"==> {file} <==\n{text}")
        else:
            click.echo(f"wrote {_written(folder / Path(file).name, text)}")


def _written(path: Path, text: str) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if path.suffix == ".sh":
            path.chmod(0o755)
    except OSError as error:
        raise CurateError(f"{path}: cannot be written: {error.strerror or error}", "name another folder with `--output`") from error
    return path


def _path(name: str, *rest: str) -> str:
    return "/".join(["/schedules", quote(name, safe=""), *rest])


def _print_json(found: Any) -> None:
    click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
