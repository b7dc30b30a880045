"""`curate schedule export`: a schedule as files for a scheduler that is there already."""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli import options
from curate.cli.remote import connected
from curate.errors import CurateError


@click.command()
@click.argument("name")
@options.service
@click.option("--as", "target", required=True, type=click.Choice(["cron", "systemd", "k8s-cronjob", "airflow"]), help="For whom.")
@click.option("--output", "-o", "folder", metavar="FOLDER", type=click.Path(path_type=Path), help="Write the files. [default: print them]")
@click.option("--pipeline-file", metavar="PATH", help="Where the pipeline lies there. [default: /etc/curate/PIPELINE.yaml]")
@click.option("--image", metavar="IMAGE", help="What Kubernetes runs. [default: registry.example/curate:latest]")
def export(name: str, url: str, target: str, folder: Path | None, pipeline_file: str | None, image: str | None) -> None:
    """Say a schedule as files for another scheduler; what that cannot do is told on stderr.

    \b
    Examples:
      curate schedule export nightly --as cron
      curate schedule export nightly --as systemd --pipeline-file /srv/pipelines/nightly.yaml -o units
    """
    found = connected(url).schedules.export(name, target, pipeline_file, image)
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
