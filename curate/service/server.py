"""Listens: what `curate serve` starts."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable

import uvicorn

from curate.service import logs
from curate.service.api.app import make_app
from curate.service.connections import ImpatientProtocol
from curate.service.service import Service, first_token
from curate.service.settings import ServiceSettings
from curate.storage.errors import explained

REQUESTS = 500  # under way at a time, beside the streams of events
FIRST_TOKEN = "admin-token"  # noqa: S105 - the name of the file that holds it


def serve(settings: ServiceSettings, tell: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM; `tell` gets lines for the person who started it."""
    logs.install()
    with explained(str(settings.home), writing=True):
        settings.home.mkdir(parents=True, exist_ok=True)
    app = make_app(settings)
    _tell_token(app.state.service, tell)
    tell(f"curate serves {settings.url}")
    gc.collect()
    gc.freeze()  # else lists of hundreds of rows wait for a collection of all that was imported (measured: 150 ms)
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn ends in good order by them, and then raises them once more
        signal.signal(number, lambda number, frame: None)
    uvicorn.Server(configured(app, settings)).run()


def configured(app: object, settings: ServiceSettings) -> uvicorn.Config:
    """Return how uvicorn runs the application."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        host=settings.host,
        port=settings.port,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        proxy_headers=settings.behind_proxy,
        forwarded_allow_ips=list(settings.proxies),
        server_header=False,
        http=ImpatientProtocol,
        ws="none",
        limit_concurrency=settings.streams + REQUESTS,
        timeout_graceful_shutdown=5,
        log_config=None,  # see curate.service.logs
        access_log=False,
    )


def _tell_token(service: Service, tell: Callable[[str], None]) -> None:
    """Put the first token into a file that only its owner may read: what is printed may end in logs."""
    path = service.settings.home / FIRST_TOKEN

    def keep(token: str) -> None:
        with explained(str(path), writing=True):
            path.touch(mode=0o600)
            path.write_text(token + "\n")
        tell(f"a token for the first admin is in {path}")

    if service.settings.auth == "tokens":
        first_token(service, keep)
