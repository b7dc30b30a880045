"""Bounds what one request may take: bytes of its body, and seconds in which the client sends it and takes the answer."""

from __future__ import annotations

import asyncio
import time

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from curate.service.api.problems import problem


class Limits:
    """ASGI middleware; requests beyond the bounds are answered 413 or 408, and a client that takes no answer is let go."""

    def __init__(self, app: ASGIApp, body_bytes: int, request_s: float) -> None:
        self._app = app
        self._body_bytes = body_bytes
        self._request_s = request_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._said_bytes(scope) > self._body_bytes:
            await problem(413, self._too_large)(scope, receive, send)
            return
        await self._app(scope, self._bounded(receive), self._hurried(send))

    @property
    def _too_large(self) -> str:
        return f"the body is larger than {self._body_bytes:,} bytes"

    @staticmethod
    def _said_bytes(scope: Scope) -> int:
        said = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        return int(said) if said.isdigit() else 0

    def _bounded(self, receive: Receive) -> Receive:
        ends, seen, whole = time.monotonic() + self._request_s, 0, False

        async def received() -> Message:
            nonlocal seen, whole
            if whole:
                return await receive()  # waits for the client to go away: as long as the answer takes
            try:
                message = await asyncio.wait_for(receive(), max(0.0, ends - time.monotonic()))
            except TimeoutError:
                raise HTTPException(408, f"the body did not come within {self._request_s:g} seconds") from None
            seen += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if seen > self._body_bytes:
                raise HTTPException(413, self._too_large)
            return message

        return received

    def _hurried(self, send: Send) -> Send:
        async def sent(message: Message) -> None:
            await asyncio.wait_for(send(message), self._request_s)

        return sent
