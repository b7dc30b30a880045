"""`curate serve`: the service, and its tokens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.errors import CurateError

if TYPE_CHECKING:
    from curate.service.settings import ServiceSettings

config = click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="CURATE_CONFIG",
    help="Settings as YAML. [env: CURATE_CONFIG]",
)


@click.group(invoke_without_command=True)
@config
@click.option("--home", metavar="DIR", help="Where state and the files of local runs live. [default: service]")
@click.option(
    "--database", metavar="URL", help="SQLite or PostgreSQL; `env:NAME` names a variable that holds it. [default: SQLite in --home]"
)
@click.option("--host", help="The address to listen on. [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="The port to listen on. [default: 8300]")
@click.option("--workspace", "-w", metavar="DIR|URL", help="Where runs work that name no workspace. [default: workspace]")
@click.option("--cluster", metavar="http://HEAD:8265", help="The Ray cluster that runs are sent to. [default: this machine]")
@click.option("--allow", multiple=True, metavar="PREFIX", help="A folder or URL that pipelines may use. [default: this folder]")
@click.pass_context
def serve(context: click.Context, /, **chosen: Any) -> None:
    """Serve the API and the pages until Ctrl-C; runs go on when the service ends, and it finds them again.

    \b
    Examples:
      curate serve
      curate serve --config /etc/curate/service.yaml
    """
    context.obj = lambda: _settings(chosen)
    if context.invoked_subcommand is None:
        _extra("curate.service.server").serve(context.obj(), lambda line: click.echo(line, err=True))


@serve.group()
def token() -> None:
    """Make, list and revoke tokens of a service, on its database."""


@token.command()
@click.argument("name")
@click.option("--role", type=click.Choice(["viewer", "operator", "admin"]), default="viewer", show_default=True)
@click.option("--days", type=click.FloatRange(0, 36500, min_open=True), help="Days until it expires. [default: never]")
@click.pass_obj
def create(settings: Callable[[], ServiceSettings], name: str, role: Any, days: float | None) -> None:
    """Print a new token for NAME."""
    expires_at = datetime.now(UTC) + timedelta(days=days) if days is not None else None
    click.echo(_extra("curate.service.tokens").create(settings(), name, role, expires_at))


@token.command("list")
@click.pass_obj
def listed(settings: Callable[[], ServiceSettings]) -> None:
    """List the tokens, without their texts."""
    for line in _extra("curate.service.tokens").lines(settings()):
        click.echo(line)


@token.command()
@click.argument("number", type=int)
@click.pass_obj
def revoke(settings: Callable[[], ServiceSettings], number: int) -> None:
    """Take back the token of that NUMBER in the list."""
    _extra("curate.service.tokens").revoke(settings(), number)


def _settings(chosen: dict[str, Any]) -> ServiceSettings:
    given = {**chosen, "allow": tuple(chosen["allow"]) or None}
    settings: ServiceSettings = _extra("curate.service.settings").load_settings(given.pop("config"), given)
    return settings


def _extra(module: str) -> Any:
    """Import a module of the service; say which extra has what is missing."""
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        raise CurateError(
            f"the service needs the package {missing.name!r}",
            "install curate with its extra `serve`: `pip install '.[serve]'` in a checkout",
        ) from missing
