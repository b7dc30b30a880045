"""How many requests a server gets at a time: as many as it can answer within the deadline, or one alone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

QUICK = 0.5  # of the deadline: answers that take less make room for more


class Mark(NamedTuple):
    """When a request began, and how many had been answered by then."""

    begun: float
    answered: int


class Load:
    """What is known of how much a server can take.

    Where it answers fewer requests within the deadline than are under way, the deadline is missed by all of them in the end: half as many
    are then let through at a time, and one more for each round of quick answers (additive increase, multiplicative decrease: Chiu and
    Jain, 1989). A server that answers many, and one of them late, is not crowded: then it is the prompt.
    """

    def __init__(self, most: int, deadline_s: float) -> None:
        self.most, self.deadline_s = most, deadline_s
        self.limit = float(most)
        self._answered = 0
        self._cut_at = -1.0

    def mark(self) -> Mark:
        """Begin a request."""
        return Mark(time.monotonic(), self._answered)

    def was_answered(self, mark: Mark) -> None:
        """Learn that a request was answered."""
        self._answered += 1
        if time.monotonic() - mark.begun < QUICK * self.deadline_s:
            self.limit = min(float(self.most), self.limit + 1 / self.limit)

    def was_late(self, mark: Mark, under_way: int) -> bool:
        """Learn that a request was late, and tell whether that is because so many were under way: then there will be fewer."""
        if mark.begun <= self._cut_at:
            return True  # it went with those that were too many
        if under_way <= 1 or self._answered - mark.answered >= under_way:
            return False
        self.limit, self._cut_at = max(1.0, under_way / 2), time.monotonic()
        return True


class Gate:
    """Lets requests through side by side, as many as the load allows, or one alone. Who comes first goes first: nobody waits for ever."""

    def __init__(self, load: Load) -> None:
        self.inside = 0
        self._load = load
        self._turn = asyncio.Lock()
        self._left = asyncio.Event()

    @contextlib.asynccontextmanager
    async def through(self, alone: bool) -> AsyncIterator[None]:
        """Wait for a turn, and be inside until the block ends: with others, or `alone`."""
        async with self._turn:
            while self.inside >= (1 if alone else int(self._load.limit)):
                self._left.clear()
                await self._left.wait()
            self.inside += 1
            if alone:
                with self._leaving():
                    yield
                return
        with self._leaving():
            yield

    @contextlib.contextmanager
    def _leaving(self) -> Iterator[None]:
        try:
            yield
        finally:
            self.inside -= 1
            self._left.set()
