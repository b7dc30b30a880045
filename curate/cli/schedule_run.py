"""`curate schedule run`: a schedule's pipeline at once, watched to its end if that is wished."""

from __future__ import annotations

import time

import click
import orjson

from curate.cli import options
from curate.cli.remote import connected, followed
from curate.cli.run import heed_sigterm, show
from curate.client_schedules import Schedules, Tick
from curate.errors import CurateError

LOOK_S = 1.0
WAITS = "it starts when the run before it has ended"


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
    tick = client.schedules.run(name)
    if wait:
        heed_sigterm()
        show(followed(client, _begun(client.schedules, name, tick), quiet), as_json)
    elif as_json:
        click.echo(orjson.dumps(tick, option=orjson.OPT_INDENT_2))
    else:
        click.echo(f"run {tick['run_id']} is with {url}" if tick["run_id"] else WAITS)


def _begun(schedules: Schedules, name: str, tick: Tick) -> str:
    """Return the run of a tick once it has one; raise `CurateError` for a tick that gets none."""
    try:
        while tick["run_id"] is None:
            if tick["outcome"] != "waiting":
                raise CurateError(f"nothing ran: the tick was {tick['outcome']}: {tick['note']}")
            time.sleep(LOOK_S)
            tick = next(other for other in schedules.history(name) if other["due"] == tick["due"])
    except KeyboardInterrupt:
        click.echo(WAITS, err=True)  # there is no run to cancel yet
        raise
    return tick["run_id"]
