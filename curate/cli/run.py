"""`curate run`."""

from __future__ import annotations

import shlex
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import click
import orjson

from curate.cli import options
from curate.errors import PipelineError
from curate.launch import Request, launch
from curate.pipeline_yaml import load_pipeline
from curate.progress import Progress
from curate.report.build import summary
from curate.report.text import summary as funnel
from curate.storage import is_remote, open_storage

EXIT = {"done": 0, "failed": 1, "gated": 3, "interrupted": 130}


@click.command()
@options.pipeline
@options.workspace
@click.option("--on", default="auto", show_default=True, metavar="auto|local|ray|HOST:PORT|http://HEAD:8265", help="Where tasks run.")
@click.option("--workers", type=click.IntRange(min=1), help="Local worker processes; 1 runs in this process. [default: all cores]")
@options.sets
@click.option("--limit", type=click.IntRange(min=1), help="Read only so many documents of each input; no checks, no outputs.")
@click.option("--until", metavar="STAGE", help="Run this stage and what it needs; no checks, no outputs.")
@click.option(
    "--service", metavar="URL", envvar="CURATE_SERVICE", help="Let a service run it; its token is in CURATE_TOKEN. [env: CURATE_SERVICE]"
)
@click.option("--run-id", help="Name the run. [default: date, time and four random digits]")
@options.as_json
@click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")
def run(pipeline: str, as_json: bool, quiet: bool, sets: tuple[str, ...], service: str | None, **chosen: Any) -> None:
    """Run a pipeline; a run that was stopped goes on where it was.

    \b
    Examples:
      curate run pipelines/quickstart.yaml
      curate run pipeline.yaml --workers 8 --set clean.length.min_chars=500
      curate run pipeline.yaml --on ray --workspace s3://bucket/workspace
    """
    heed_sigterm()
    if chosen["on"].startswith(("http://", "https://")):
        from curate.cli.job import submit

        sys.exit(submit(pipeline, sets, chosen))
    if service is not None:
        from curate.cli import remote

        show(remote.run(service, pipeline, sets, chosen, quiet), as_json)
    request = Request(**chosen, command=f"curate {shlex.join(sys.argv[1:])}")
    with _local(pipeline) as path, Progress(sys.stderr, quiet=quiet) as progress:
        loaded = load_pipeline(path, sets)
        report = launch(loaded.pipeline, loaded.positions, request, progress.on_event)
    show(report, as_json)


def show(report: dict[str, Any], as_json: bool) -> NoReturn:
    """Print the report, and end with the exit code that it stands for."""
    if as_json:
        click.echo(orjson.dumps(summary(report), option=orjson.OPT_INDENT_2))
    else:
        click.echo(funnel(report | {"error": None}))  # errors go to stderr
    _tell_end(report)
    sys.exit(EXIT[report["status"]])


def heed_sigterm() -> None:
    """Let what service managers send end the command as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _tell_end(report: dict[str, Any]) -> None:
    error = report["error"]
    if report["status"] == "interrupted":
        click.echo("interrupted: run the same command again to go on from the finished shards", err=True)
    elif error is not None:
        click.secho("error: ", fg="red", bold=True, nl=False, err=True)
        click.echo(error["message"], err=True)
        if error["hint"]:
            click.secho("hint: ", fg="cyan", nl=False, err=True)
            click.echo(error["hint"], err=True)


class _local:
    """The pipeline as a local file: one on an object store is fetched with the operator files beside it."""

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> str:
        if not is_remote(self._pipeline):
            return self._pipeline
        self._folder = tempfile.TemporaryDirectory(prefix="curate-")
        url, _, name = self._pipeline.rpartition("/")
        storage = open_storage(url)
        for info in storage.list():
            if info.path == name or info.path.endswith(".py"):
                target = Path(self._folder.name, info.path)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(storage.read(info.path))
        path = Path(self._folder.name, name)
        if not path.exists():
            raise PipelineError(f"no such pipeline: {self._pipeline}")
        return str(path)

    def __exit__(self, *exc: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()
