"""The command line. Commands are imported when they are called, so that `curate --version` starts at once."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from curate.errors import CurateError
from curate.version import VERSION

COMMANDS = {
    "run": ("curate.cli.run:run", "Run a pipeline; a run that was stopped goes on where it was."),
    "check": ("curate.cli.author:check", "Check a pipeline: syntax, graph, parameters, columns."),
    "plan": ("curate.cli.author:plan", "Show what a run would do, and what is done already."),
    "try": ("curate.cli.author:try_", "Run a pipeline on the first documents, in a throw-away workspace."),
    "init": ("curate.cli.author:init", "Write a recipe as a pipeline of your own, or list the recipes."),
    "operators": ("curate.cli.author:operators", "List the operators that are installed, or show one."),
    "schema": ("curate.cli.author:schema", "Print the JSON Schema of pipeline files, for editors."),
    "show": ("curate.cli.inspect:show", "Show a dataset: columns, accounting, rows, drops, errors."),
    "explain": ("curate.cli.inspect:explain", "Tell one document's whole story in a run."),
    "diff": ("curate.cli.diff:diff", "Compare two corpora: documents added, removed, changed, and why."),
    "thresholds": ("curate.cli.thresholds:thresholds", "Show what thresholds on a score would keep, before anything is cut."),
    "proofs": ("curate.cli.proofs:proofs", "List what was judged of corpora by models, or show one judgement."),
    "clusters": ("curate.cli.clusters:clusters", "Show the cards of clusters, or decide in a file which clusters go."),
    "llm": ("curate.cli.llm:llm", "Serve a language model for operators that ask one."),
    "serve": ("curate.cli.serve:serve", "Serve the API and pages of a service that runs pipelines."),
    "schedule": ("curate.cli.schedule:schedule", "Let a service run pipelines by themselves, at times or when files come."),
    "report": ("curate.cli.inspect:report", "Print a run's report, or open its page."),
    "clean": ("curate.cli.inspect:clean", "Remove datasets that nothing uses any more, after asking."),
}


class _Lazy(click.Group):
    """A group whose commands live in other modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, told) for name, (_, told) in COMMANDS.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            from curate.registry import suggest

            hint = suggest(args[0], list(COMMANDS))
            ctx.fail(f"no command `{args[0]}`" + (f"; {hint}" if hint else ""))
        return super().resolve_command(ctx, args)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="curate")
def cli() -> None:
    """Turn raw crawls into pretraining corpora, and account for every document on the way."""


def main(args: list[str] | None = None) -> Any:
    """Run the command line: 0 done, 1 failed, 2 wrong pipeline or usage, 3 a check said no, 130 interrupted."""
    try:
        cli.main(args=args, standalone_mode=False)
    except CurateError as error:
        _tell(error)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone (`curate show … | head`)
        sys.exit(0)


def _tell(error: CurateError) -> None:
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(error.message, err=True)
    if error.hint:
        click.secho("hint: ", fg="cyan", nl=False, err=True)
        click.echo(error.hint, err=True)
