"""`python -m tests.benchmarks.llm_client [--write] [--served]`: what asking costs beside the model that answers.

The first table is processor time of the asking process for one request to the stub server (`tests/llm/stub_server.py`, a process of its
own), prompts of about 1,000 bytes and answers of as many, 32 at a time: plain loops over two libraries, our client, our client with
answers written down in a workspace, and the same prompts again, from there. Medians of rounds in turn.

With `--served smollm2` (or `tiny`, a random Llama that is far faster), vLLM on this machine's processor (`make test-llm` makes it): output
tokens a second of a plain loop beside a whole `curate run`, at equal concurrency, in turn, every prompt new; and datatrove's inference
runner with its cache of requests, if `make peers` made its environment. The processor time for a token, of the server and of the process
that asks, stands beside it, since the machine may be shared.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import yaml

from curate import run_pipeline
from curate.llm import Llm, Prompt
from curate.storage import LocalStorage
from tests.benchmarks import readme
from tests.benchmarks.peers import make_env

WORDS = "curation of pretraining data decides what a model learns and what it never sees"
LANES = 32


def texts(count: int, mark: str, size: int = 1000) -> list[str]:
    """Return distinct texts of about `size` bytes; what tells them apart comes first, so that no server has seen their beginning."""
    body = " ".join([WORDS] * (size // len(WORDS) + 1))[:size]
    return [f"{mark} {number}: {body}" for number in range(count)]


def plain(url: str, model: str, further: dict[str, Any]) -> Callable[[list[str]], int]:
    """Return the loop that one would write: no retries, no cache, no order; it tells how many tokens came."""

    async def run(documents: list[str]) -> int:
        waiting, tokens = iter(documents), 0

        async def lane(session: aiohttp.ClientSession) -> None:
            nonlocal tokens
            for text in waiting:
                body = {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0, **further}
                async with session.post(f"{url}/chat/completions", json=body) as response:
                    tokens += orjson.loads(await response.read())["usage"]["completion_tokens"]

        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(lane(session) for _ in range(LANES)))
        return tokens

    return lambda documents: asyncio.run(run(documents))


def plain_httpx2(url: str, model: str, further: dict[str, Any]) -> Callable[[list[str]], int]:
    """Return the same loop over httpx2, which comes with huggingface_hub."""
    import httpx2

    async def run(documents: list[str]) -> int:
        waiting, tokens = iter(documents), 0

        async def lane(session: Any) -> None:
            nonlocal tokens
            for text in waiting:
                body = {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0, **further}
                response = await session.post(f"{url}/chat/completions", json=body)
                tokens += orjson.loads(response.content)["usage"]["completion_tokens"]

        async with httpx2.AsyncClient(timeout=60) as session:
            await asyncio.gather(*(lane(session) for _ in range(LANES)))
        return tokens

    return lambda documents: asyncio.run(run(documents))


def client(rounds: int, count: int) -> Iterator[str]:
    """Yield the rows of the first table."""
    from tests.llm.servers import StubProcess

    names = ("a plain loop over httpx2", "a plain loop over aiohttp", "`Llm.ask`", "with a workspace", "the same again, from it")
    spent: dict[str, list[float]] = {name: [] for name in names}
    with StubProcess() as stub, tempfile.TemporaryDirectory() as folder:
        settings = {"model": "stub", "endpoint": stub.url, "concurrency": LANES, "max_tokens": 1024}
        bare, kept = Llm(settings), Llm(settings)
        loops = [make(stub.url, "stub", {"max_tokens": 1024}) for make in (plain_httpx2, plain)]
        for number in range(rounds):
            kept.remember(LocalStorage(Path(folder)))
            prompts = [Prompt.user(text) for text in texts(count, f"{number}")]
            jobs: list[Callable[[], Any]] = [
                lambda number=number: loops[0](texts(count, f"{number}")),
                lambda number=number: loops[1](texts(count, f"{number}")),
                lambda prompts=prompts: bare.ask(prompts),
                lambda prompts=prompts: kept.ask(prompts),
                lambda prompts=prompts: (kept.remember(LocalStorage(Path(folder))), kept.ask(prompts)),
            ]
            for name, job in zip(spent, jobs, strict=True):
                begun = time.process_time()
                job()
                spent[name].append((time.process_time() - begun) / count)
    yield "| asking | processor time of a request | requests/s/core |"
    yield "|---|--:|--:|"
    for name, seconds in spent.items():
        median = statistics.median(seconds)
        yield f"| {name} | {median * 1e6:,.0f} µs | {1 / median:,.0f} |"


Spent = tuple[float, ...]
"""Seconds for a token: on the wall, of the server's processor, of the asking one's."""


def served(model: str, rounds: int, count: int, datatrove: str | None) -> Iterator[str]:
    """Yield the rows of the second table."""
    from tests.llm.environment import SMOLLM2, TINY
    from tests.llm.servers import VllmProcess

    further = {"max_tokens": 64, "ignore_eos": True}
    found: dict[str, list[Spent]] = {}
    with VllmProcess({"smollm2": SMOLLM2, "tiny": TINY}[model]) as server:
        loop = plain(server.settings["endpoint"], server.name, further)
        jobs = {
            "a plain loop": lambda documents: _timed(loop, documents),
            "`curate run`": lambda documents: _timed(functools.partial(_run, server), documents),
        }
        if datatrove is not None:
            jobs["datatrove's inference runner"] = lambda documents: _by_datatrove(datatrove, server, documents, further)
        loop(texts(LANES, "warm", 300))
        for number in range(rounds):
            for name, job in jobs.items():
                documents = texts(count, f"{name} {number}", 300)
                before = server.cpu_seconds()
                tokens, wall, ours = job(documents)
                spent = (wall, server.cpu_seconds() - before, ours)
                found.setdefault(name, []).append(tuple(seconds / tokens for seconds in spent))
    medians = {name: [statistics.median(column) for column in zip(*rounds_, strict=True)] for name, rounds_ in found.items()}
    yield f"| {server.name} on vLLM, {os.cpu_count()} cores, {LANES} at a time | output tokens/s | beside the loop | server, a token | asking, a token |"
    yield "|---|--:|--:|--:|--:|"
    for name, (wall, theirs, ours) in medians.items():
        speed = medians["a plain loop"][0] / wall
        yield f"| {name} | {1 / wall:,.0f} | {speed:.2f} × | {theirs * 1e3:,.2f} ms | {ours * 1e3:,.2f} ms |"


def _timed(job: Callable[[list[str]], int], documents: list[str]) -> tuple[int, float, float]:
    """Return the tokens that came, the seconds, and those of this process's processor."""
    begun = time.monotonic(), time.process_time()
    tokens = job(documents)
    return tokens, time.monotonic() - begun[0], time.process_time() - begun[1]


def _by_datatrove(python: str, server: Any, documents: list[str], further: dict[str, Any]) -> tuple[int, float, float]:
    """Return the same of datatrove's runner, from the start of its pipeline, without the time that Python takes to import it."""
    with tempfile.TemporaryDirectory() as name:
        docs = Path(name, "docs.jsonl")
        docs.write_bytes(b"".join(orjson.dumps({"id": str(n), "text": text}) + b"\n" for n, text in enumerate(documents)))
        script = Path(__file__).parent / "peers" / "datatrove_inference.py"
        options = [server.settings["endpoint"], server.name, str(docs), f"{name}/work", str(LANES), orjson.dumps(further).decode()]
        done = subprocess.run([python, str(script), *options], capture_output=True, text=True, check=True)
    told = orjson.loads(done.stdout.splitlines()[-1])
    return int(told["tokens"]), told["seconds"], told["cpu"]


def _run(server: Any, documents: list[str]) -> int:
    """Run a pipeline that asks about the documents, and return how many tokens came."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "asking.py").write_bytes((Path(__file__).parents[1] / "llm" / "asking.py").read_bytes())
        (folder / "docs.jsonl").write_bytes(b"".join(orjson.dumps({"text": text}) + b"\n" for text in documents))
        llm = server.settings | {"max_tokens": 64, "body": {"ignore_eos": True}, "concurrency": LANES}
        stage = {"from": "docs", "operators": [{"use": "asking.py:Say", "params": {"llm": llm}}]}
        pipeline = {"name": "bench", "inputs": {"docs": {"path": "docs.jsonl"}}, "stages": {"said": stage}}
        (folder / "pipeline.yaml").write_text(yaml.safe_dump(pipeline))
        report = run_pipeline(folder / "pipeline.yaml", str(folder / "workspace"), on="local", workers=1)
    return int(report["stages"][0]["notes"][0]["measures"]["output_tokens"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=2000, help="in each round, to the stub server")
    parser.add_argument("--documents", type=int, default=128, help="in each round, to vLLM")
    parser.add_argument("--served", choices=["smollm2", "tiny"], help="ask vLLM too")
    parser.add_argument("--work", type=Path, default=make_env.WORK, help="where `make peers` put the peers' environments")
    parser.add_argument("--write", action="store_true", help="put the tables into README.md")
    args = parser.parse_args()
    lines = list(client(args.rounds, args.requests))
    if args.served:
        lines += ["", *served(args.served, args.rounds, args.documents, make_env.interpreter(args.work, "datatrove"))]
    text = "\n".join(lines)
    sys.stdout.write(text + "\n")
    if args.write:
        readme.write("asking a language model", text)


if __name__ == "__main__":
    main()
