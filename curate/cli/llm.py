"""`curate llm`: servers of language models."""

from __future__ import annotations

import os
import signal
import sys

import click

from curate.llm import serve as serving


@click.group()
def llm() -> None:
    """Start servers of language models for operators that ask them."""


@llm.command(context_settings={"ignore_unknown_options": True})
@click.argument("model")
@click.option("--python", default=sys.executable, help="The python of an environment that has vLLM. [default: this one]")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--host", default="127.0.0.1", show_default=True, help="Any but this machine's own needs a key in VLLM_API_KEY.")
@click.option("--name", help="What pipelines call the model. [default: the folder's name]")
@click.option("--wait-s", default=900.0, show_default=True, type=click.FloatRange(min=1), help="Seconds until it must be ready.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def serve(model: str, python: str, port: int, host: str, name: str | None, wait_s: float, arguments: tuple[str, ...]) -> None:
    """Serve MODEL, a folder or a name, by vLLM until Ctrl-C; a server that dies is started again. ARGUMENTS go to vLLM.

    On a processor that has no instructions for bfloat16, `--dtype float32` is several times as fast as what vLLM does by itself.

    \b
    Examples:
      curate llm serve models/SmolLM2-135M-Instruct --python vllm/bin/python
      curate llm serve models/Qwen3-8B --port 8001 --max-model-len 8192 --tensor-parallel-size 2
    """
    signal.signal(signal.SIGTERM, _interrupt)
    served = serving.Served(python, model, name or serving.name_of(model), host, port, arguments)
    serving.check(served, dict(os.environ))

    def tell(times: int) -> None:
        if times == 1:
            click.echo(f"llm: {{model: {served.name}, endpoint: {served.url}}}")
            sys.stdout.flush()
            if served.reachable != served.host:
                click.echo(f"other machines write this one's name or address in place of {served.reachable}", err=True)
        else:
            click.echo(f"the server had died and is ready again, for the {times - 1}. time", err=True)

    serving.serve(served, wait_s, tell)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
