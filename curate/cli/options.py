"""Options that several commands share."""

from __future__ import annotations

import click

from curate.launch import DEFAULT_WORKSPACE

workspace = click.option(
    "--workspace",
    "-w",
    envvar="CURATE_WORKSPACE",
    default=DEFAULT_WORKSPACE,
    show_default=True,
    metavar="DIR|URL",
    help="Where datasets, runs and caches live. [env: CURATE_WORKSPACE]",
)
sets = click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="TARGET=VALUE",
    help="Override STAGE.STEP.PARAM, STAGE.PARAM of a dataset operator (PARAM.KEY of a mapping), STAGE.resources.KEY, inputs.NAME.FIELD "
    "or vars.NAME.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
pipeline = click.argument("pipeline", metavar="PIPELINE.yaml")
service = click.option(
    "--service",
    "url",
    required=True,
    envvar="CURATE_SERVICE",
    metavar="URL",
    help="The service's address; its token is in CURATE_TOKEN. [env: CURATE_SERVICE]",
)
