"""Holds many streams of events open, as a process of its own: `service_load` starts it; it says when they are open, and what came when it is ended.

python -m tests.benchmarks.service_load_streams URL COUNT RUN…       CURATE_TOKEN holds the token
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence

import aiohttp


class Streams:
    """Streams over some runs in turn; `closed` counts those that ended before we did."""

    def __init__(self, url: str, runs: Sequence[str]) -> None:
        self._url, self._runs = url, runs
        self._all_open = asyncio.Event()
        self.open = self.closed = self.events = self.bytes = 0

    async def hold(self, count: int) -> None:
        """Hold so many until a signal comes."""
        headers = {"Authorization": f"Bearer {os.environ['CURATE_TOKEN']}"}
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
            tasks = [asyncio.create_task(self._one(session, self._runs[number % len(self._runs)], count)) for number in range(count)]
            ended = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
            await self._all_open.wait()
            print("open", flush=True)
            await ended.wait()
            told = {"open": self.open, "closed": self.closed, "events": self.events, "bytes": self.bytes}
            print(json.dumps(told), flush=True)
            for task in tasks:
                task.cancel()

    async def _one(self, session: aiohttp.ClientSession, run: str, count: int) -> None:
        async with session.get(f"{self._url}/api/v1/runs/{run}/events") as answer:
            answer.raise_for_status()
            self.open += 1
            if self.open == count:
                self._all_open.set()
            async for part in answer.content.iter_any():
                self.events += part.count(b"event: progress")
                self.bytes += len(part)
        self.open -= 1
        self.closed += 1


if __name__ == "__main__":
    url, count, *runs = sys.argv[1:]
    asyncio.run(Streams(url, runs).hold(int(count)))
