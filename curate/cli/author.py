"""`curate check`, `plan`, `try`, `init`, `operators` and `schema`: for whoever writes a pipeline."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import orjson

from curate.artifacts import open_artifacts, verify_artifacts
from curate.check import check_columns, warnings
from curate.cli import options
from curate.errors import PipelineError
from curate.launch import Request, launch, plan_for
from curate.pipeline_validate import validate
from curate.pipeline_yaml import load_pipeline
from curate.plan import Plan, input_schemas
from curate.plan_tokens import DOCUMENT_BYTES, Estimate, estimates
from curate.recipes import recipe, recipes
from curate.registry import find, packs
from curate.report.units import plural, size
from curate.schema import describe, describe_text, json_schema
from curate.storage import open_storage


@click.command()
@options.pipeline
@options.sets
def check(pipeline: str, sets: tuple[str, ...]) -> None:
    """Check a pipeline: syntax, graph, parameters and columns; nothing runs."""
    loaded = load_pipeline(pipeline, sets)
    built = validate(loaded.pipeline, loaded.positions)
    verify_artifacts(loaded.pipeline, built, open_artifacts(loaded.pipeline, loaded.positions), loaded.positions)
    check_columns(loaded.pipeline, built, input_schemas(loaded.pipeline), loaded.positions)
    for warning in warnings(loaded.pipeline, built, loaded.positions):
        click.secho("warning: ", fg="yellow", nl=False, err=True)
        click.echo(warning, err=True)
    steps = sum(len(operators) for operators in built.operators.values())
    click.echo(f"{pipeline}: {plural(len(built.order), 'stage')}, {plural(steps, 'operator')}, all columns found")


@click.command()
@options.pipeline
@options.workspace
@options.sets
@options.as_json
def plan(pipeline: str, workspace: str, sets: tuple[str, ...], as_json: bool) -> None:
    """Show what a run would do: files, stages, and what is done already."""
    loaded = load_pipeline(pipeline, sets)
    made = plan_for(loaded.pipeline, loaded.positions, open_storage(workspace))
    if as_json:
        click.echo(orjson.dumps(made.to_dict(), option=orjson.OPT_INDENT_2))
        return
    _print_plan(made)
    for warning in warnings(loaded.pipeline, made.built, loaded.positions):
        click.secho("warning: ", fg="yellow", nl=False, err=True)
        click.echo(warning, err=True)


def _print_plan(made: Plan) -> None:
    told = made.to_dict()
    for name, entry in told["inputs"].items():
        click.echo(f"input  {name:<14} {plural(entry['files'], entry['format'] + ' file')}, {entry['bytes']:,} bytes in {entry['url']}")
    for name, entry in told["artifacts"].items():
        click.echo(f"input  {name:<14} {entry['shards']:,} shards with {entry['rows']:,} rows of an artifact in {entry['url']}")
    for name, entry in told["stages"].items():
        colour = {"done": "green", "partial": "yellow", "pending": None}[entry["status"]]
        click.echo(f"stage  {name:<14} ", nl=False)
        click.secho(f"{entry['status']:<8}", fg=colour, nl=False)
        click.echo(f" {entry['kind']:<10} {' → '.join(entry['steps'])}  from {', '.join(entry['from'])}")
        click.echo(f"       {'':<14} {entry['dataset']}")
        if entry["cost"]:
            click.echo(f"       {'':<14} {entry['cost']}")
    for told_of in estimates(made):
        click.echo(f"llm    {told_of.stage:<14} {_estimated(told_of)}")
    for name, output in made.pipeline.outputs.items():
        click.echo(f"output {name:<14} {output.format} in {output.path}")


def _estimated(told: Estimate) -> str:
    """Return an estimate in words, with what it rests on."""
    files = f"files, as documents of {size(DOCUMENT_BYTES)}"
    source = {"text": "text", "reckoned": "text, as far as can be told beforehand", "files": files}[told.basis]
    prompts = f"{plural(told.asked.prompts, 'prompt')} of {told.asked.prompt_tokens:,} tokens"
    basis = f"{size(told.text_bytes)} of {source}, 4 bytes a token; what was answered before is not taken off"
    most = f"at most {told.asked.output_tokens:,} output tokens"
    return f"{told.step} asks {told.model}: about {prompts} and {most}{_priced(told)} (estimate: {basis})"


def _priced(told: Estimate) -> str:
    if told.hours is not None:
        return f", about {told.dollars:,.2f} dollars for {told.hours:,.2f} hours of one worker at the pace of an earlier run"
    if told.by_the_hour:
        return ", paid by the hour: no earlier run tells how long it takes"
    return "" if told.dollars is None else f", at most {told.dollars:,.2f} dollars"


@click.command(name="try")
@options.pipeline
@click.option("--docs", default=1000, show_default=True, type=click.IntRange(min=1), help="Documents to read of each input.")
@options.sets
def try_(pipeline: str, docs: int, sets: tuple[str, ...]) -> None:
    """Run a pipeline on the first documents, in a workspace that is thrown away; nothing is published.

    What language models answer goes with the workspace, too: a run asks them again.
    """
    from curate.report.text import summary as funnel

    loaded = load_pipeline(pipeline, sets)
    trimmed = dataclasses.replace(loaded.pipeline, outputs={}, checks={})
    with tempfile.TemporaryDirectory(prefix="curate-try-") as workspace:
        request = Request(workspace, on="local", workers=1, limit=docs, command="curate try")
        report = launch(trimmed, loaded.positions, request, lambda event: None)
    click.echo(funnel(report | {"page": None}))  # it goes with the workspace
    for stage in report["stages"]:
        for step, reasons in stage["samples"].get("dropped", {}).items():
            for reason, samples in reasons.items():
                _print_samples(f"{stage['name']} · {step}: {reason}", samples[:2])
    if report["error"]:
        raise PipelineError(report["error"]["message"], report["error"]["hint"])


def _print_samples(title: str, samples: list[dict[str, Any]]) -> None:
    click.secho(f"\n{title}", bold=True)
    for sample in samples:
        measured = f"  [{sample['value']:g}]" if "value" in sample else ""
        excerpt = " ".join(sample.get("excerpt", "").split())[:160]
        click.echo(f"  {sample['id']}{measured}\n    {excerpt}")


@click.command()
@click.argument("name", required=False, metavar="[RECIPE]")
@click.option("--to", "target", type=click.Path(path_type=Path), help="The file to write. [default: RECIPE.yaml here]")
def init(name: str | None, target: Path | None) -> None:
    """Write a recipe as a pipeline of your own, or list the recipes."""
    if name is None:
        for known, title in recipes().items():
            click.echo(f"{known:<20} {title}")
        return
    text = recipe(name)
    path = target or Path(f"{name}.yaml")
    if path.exists():
        raise PipelineError(f"{path} exists already", "name another file with --to")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PipelineError(f"{path}: cannot be written: {error.strerror or error}", "name another file with `--to`") from error
    click.echo(f"wrote {path}; `curate check {path}` after you have set its inputs")


@click.group(invoke_without_command=True)
@options.as_json
@click.pass_context
def operators(ctx: click.Context, as_json: bool) -> None:
    """List the operators that are installed."""
    if ctx.invoked_subcommand is not None:
        return
    described = {name: describe(find(name)[0]) for name in sorted(packs())}
    if as_json:
        click.echo(orjson.dumps(described, option=orjson.OPT_INDENT_2))
        return
    width = max(map(len, described))
    for name, entry in described.items():
        click.echo(f"{name:<{width}} {entry['verb']:<16} {entry['summary']}")


@operators.command(name="show")
@click.argument("name")
def show_operator(name: str) -> None:
    """Show one operator: what it does, its parameters, an example, its source."""
    click.echo(describe_text(find(name, Path.cwd())[0], name))


@click.command()
def schema() -> None:
    """Print the JSON Schema of pipeline files, for editors."""
    sys.stdout.write(orjson.dumps(json_schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode())
