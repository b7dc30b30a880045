"""`curate schedule run`: a schedule's pipeline at once, watched to its end if that is wished."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click
import orjson

from curate.cli import options
from curate.cli.remote import connected, followed, schedule_path
from curate.cli.run import show
from curate.client import Client
from curate.errors import CurateError

LOOK_S = 1.0


@click.command()
@click.argument("name")
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
    tick = client.call("POST", schedule_path(name, "run"))
    if wait:
        show(followed(client, _begun(client, name, tick), quiet), as_json)
    elif as_json:
        click.echo(orjson.dumps(tick, option=orjson.OPT_INDENT_2))
    else:
        click.echo(f"run {tick['run_id']} is with {url}" if tick["run_id"] else "it starts when the run before it has ended")


def _begun(client: Client, name: str, tick: Mapping[str, Any]) -> str:
    """Return the run of a tick once it has one; raise `CurateError` for a tick that gets none."""
    while tick["run_id"] is None:
        if tick["outcome"] != "waiting":
            raise CurateError(f"nothing ran: the tick was {tick['outcome']}: {tick['note']}")
        time.sleep(LOOK_S)
        tick = next(other for other in client.listed(schedule_path(name, "history")) if other["due"] == tick["due"])
    return str(tick["run_id"])
