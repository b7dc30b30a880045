"""Logs requests: one line each, with who called and how long it took."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

QUIET = ("/healthz", "/readyz", "/metrics", "/static/")  # asked all the time, by machines
_log = logging.getLogger("curate.service.access")


class Access:
    """ASGI middleware; an answer's time ends with its last byte, for a stream of events when that is closed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(QUIET):
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sent)
        finally:
            _note(scope, status, time.perf_counter() - began)


def _note(scope: Scope, status: int, seconds: float) -> None:
    told = {
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "ms": round(seconds * 1000, 1),
        "address": scope["client"][0] if scope["client"] else None,
        "caller": scope.get("state", {}).get("caller"),
    }
    _log.info("%s %s: %d", scope["method"], scope["path"], status, extra=told)
