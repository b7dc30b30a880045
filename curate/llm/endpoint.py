"""Asks a server that speaks OpenAI's chat completions: many requests at a time, tried again where the server is at fault.

| what happens                                     | is                                                                     |
|--------------------------------------------------|------------------------------------------------------------------------|
| 400, 413, 422; an answer withheld                | the prompt's fault: an `Answer` that says so, never tried again         |
| cut connection, deadline, 5xx, damaged answer    | a failed try; the next one waits until the server answers a word at all |
| deadline, and fewer answered than are under way  | no try at all: half as many are under way then                          |
| no connection; 429, or 503 with `Retry-After`    | no try at all: it waits, as long as it is asked to                      |
| all of this for `patience_s`                     | `TransientError`: the stage ends, and a rerun goes on where it was      |
| 401, 403, 404                                    | `CurateError`: a wrong key or name                                     |

A prompt that kills the server is told from those that were merely under way: a prompt that failed twice, or that has one try left, is
tried alone, while no other prompt of this worker is under way. (With `attempts: 1` there is no such try.)
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import os
import random
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from typing import Any

import orjson

from curate.errors import CurateError, PipelineError, TransientError
from curate.llm.chat import Fault, body, parsed, said, seconds
from curate.llm.gate import Gate, Load
from curate.llm.prompts import Answer, Heard, Prompt
from curate.llm.settings import Settings
from curate.registry import suggest

try:
    import aiohttp
except ModuleNotFoundError as missing:
    raise CurateError(
        f"asking a language model needs the package {missing.name!r}",
        "install curate with its extra `llm`: `pip install '.[llm]'` in a checkout",
    ) from missing

PAUSE_S = 0.5  # before the second try; doubled for each further one, and spread so that the tries of many prompts do not meet
MAX_PAUSE_S = 20.0
ALONE_AFTER = 2  # failed tries
UNREACHABLE = "start the server, or ask it for less at a time (`concurrency`), and run again: no request that was answered is repeated"
PROBE = Prompt.user("Hello", max_tokens=1)


class Endpoint:
    """The server at `settings.endpoint`; each call of `answer` opens its own connections and closes them."""

    def __init__(self, settings: Settings) -> None:
        assert settings.endpoint is not None
        self._settings = settings
        self._url = settings.endpoint.rstrip("/")
        self._headers = {"Content-Type": "application/json"} | _key(settings.key_variable)
        self._load = Load(settings.concurrency, settings.deadline_s)

    def answer(self, prompts: Sequence[Prompt], heard: Heard) -> None:
        """Ask all prompts, `concurrency` at a time, and tell each answer as it comes."""
        _run(self._answer_all(prompts, heard))

    async def _answer_all(self, prompts: Sequence[Prompt], heard: Heard) -> None:
        waiting = iter(enumerate(prompts))
        lanes = min(len(prompts), self._settings.concurrency)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=self._settings.deadline_s),
            headers=self._headers,
        ) as session:
            asking = _Asking(self._settings, self._url, session, self._load)
            tasks = [asyncio.create_task(_lane(asking, waiting, heard)) for _ in range(lanes)]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


async def _lane(asking: _Asking, waiting: Iterator[tuple[int, Prompt]], heard: Heard) -> None:
    for number, prompt in waiting:
        heard(number, await asking.answer(prompt))


class _Asking:
    """One session with the server, and what is known of its health."""

    def __init__(self, settings: Settings, url: str, session: aiohttp.ClientSession, load: Load) -> None:
        self._settings = settings
        self._url = url
        self._session = session
        self._answered_at = -1.0
        self._probing = asyncio.Lock()
        self._load = load
        self._gate = Gate(load)

    async def answer(self, prompt: Prompt) -> Answer:
        """Try until there is an answer, or until the prompt has used up its tries."""
        failed = late = 0
        while True:
            try:
                answer = await self._patiently(prompt, alone=failed > 0 and failed >= min(ALONE_AFTER, self._settings.attempts - 1))
                return dataclasses.replace(answer, late=late)
            except Fault as fault:
                failed, late = failed + (not fault.crowded), late + fault.timed_out
                await self._until_alive(time.monotonic())
                if failed >= self._settings.attempts:
                    return Answer("", "error", error=f"{fault} (try {failed} of {failed})", late=late)
            await asyncio.sleep(_pause(failed))

    async def _patiently(self, prompt: Prompt, alone: bool) -> Answer:
        """Try once, but wait for a server that is not there, and as long as a busy one asks for it."""
        begun, waits = 0.0, 0
        while True:
            try:
                async with self._gate.through(alone):
                    begun = begun or time.monotonic()
                    return await self._timed(prompt)
            except Fault as fault:
                if not fault.later:
                    raise
                waits += 1
                pause = _pause(waits) if fault.wait_s is None else fault.wait_s + random.random()  # noqa: S311 - spreads tries
                await self._pause_within(begun, pause, fault)

    async def _timed(self, prompt: Prompt) -> Answer:
        """Try once, and learn how much the server can take."""
        mark = self._load.mark()
        try:
            answer = await self._try(prompt)
        except Fault as fault:
            fault.crowded = fault.timed_out and self._load.was_late(mark, self._gate.inside)
            raise
        self._load.was_answered(mark)
        return answer

    async def _until_alive(self, since: float) -> None:
        """Return once the server has answered anything after `since`."""
        async with self._probing:
            waits = 0
            while self._answered_at < since:
                try:
                    await self._try(PROBE)
                except Fault as fault:
                    waits += 1
                    if self._answered_at < since:
                        await self._pause_within(since, _pause(waits), fault)

    async def _pause_within(self, begun: float, pause: float, fault: Fault) -> None:
        """Sleep; raise `TransientError` when `patience_s` is used up."""
        left = begun + self._settings.patience_s - time.monotonic()
        if left <= 0:
            raise TransientError(f"{self._url}: no answer for {self._settings.patience_s:g} s: {fault}", UNREACHABLE, cause="endpoint")
        await asyncio.sleep(min(pause, left))

    async def _try(self, prompt: Prompt) -> Answer:
        """Send one request; raise `Fault` where that may be worth another try."""
        try:
            async with self._session.post(f"{self._url}/chat/completions", data=body(prompt, self._settings)) as response:
                data = await response.read()
        except TimeoutError as error:
            raise Fault(f"no answer within {self._settings.deadline_s:g} s", timed_out=True) from error
        except aiohttp.InvalidURL as error:
            raise PipelineError(f"llm: `endpoint` is no address: {self._url}") from error
        except aiohttp.ClientConnectorError as error:
            raise Fault(f"{type(error).__name__}: {error}", later=True) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Fault(f"{type(error).__name__}: {error}") from error
        if response.status < 500 or "Retry-After" in response.headers:
            self._answered_at = time.monotonic()
        if response.status == 200:
            return parsed(data)
        await self._refuse(response.status, data, response.headers)
        return Answer("", "error", error=f"the server refuses the prompt: {response.status} {said(data)}", refused=True)

    async def _refuse(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        """Raise what a status says; return where it is the prompt's fault."""
        if status == 429 or (status == 503 and "Retry-After" in headers):
            raise Fault(f"{status} {said(data)}", later=True, wait_s=seconds(headers.get("Retry-After")))
        if status >= 500 or status in (408, 409, 425):
            raise Fault(f"{status} {said(data)}")
        if status in (401, 403):
            raise CurateError(f"{self._url} refuses the key: {status} {said(data)}", "`key_variable` names the variable that holds it")
        if status == 404:
            raise await self._unknown_model(data)
        if status not in (400, 413, 422):
            raise CurateError(f"{self._url} answers {status}: {said(data)}", "is this the address of a server of chat completions?")

    async def _unknown_model(self, data: bytes) -> CurateError:
        name, names = self._settings.model, await self._models()
        if names and name not in names:
            return CurateError(f"{self._url} has no model `{name}`", suggest(name, names) or f"it has: {', '.join(names[:5])}")
        return CurateError(f"{self._url} answers 404: {said(data)}", "addresses of such servers mostly end in `/v1`")

    async def _models(self) -> list[str]:
        try:
            async with self._session.get(f"{self._url}/models") as response:
                return [str(entry["id"]) for entry in orjson.loads(await response.read())["data"]]
        except (aiohttp.ClientError, OSError, ValueError, KeyError, TypeError):
            return []


def _pause(failed: int) -> float:
    return min(MAX_PAUSE_S, PAUSE_S * 2.0 ** (failed - 1)) * (0.5 + random.random())  # noqa: S311 - spreads tries


def _key(variable: str | None) -> dict[str, str]:
    if variable is None:
        return {}
    if not (key := os.environ.get(variable)):
        raise CurateError(f"llm: the environment variable `{variable}` is not set", "it must be set wherever tasks run")
    return {"Authorization": f"Bearer {key}"}


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end, in a thread of its own where this one has a loop already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()
