"""Listens: what `curate serve` starts."""

from __future__ import annotations

import gc
import signal
import socket
from collections.abc import Callable

import uvicorn

from curate.errors import CurateError
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
    bound = _bound(settings)
    logs.install()
    with explained(str(settings.home), writing=True):
        settings.home.mkdir(parents=True, exist_ok=True)
    settings.home.mkdir(parents=True, exist_ok=True)
    settings = settings.model_copy(update={"port": bound.getsockname()[1]})  # 0 stands for one that is free
    app = make_app(settings)
    _tell_token(app.state.service, tell)
    tell(f"curate serves {settings.url}")
    gc.collect()
    gc.freeze()  # else lists of hundreds of rows wait for a collection of all that was imported (measured: 150 ms)
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn ends in good order by them, and then raises them once more
        signal.signal(number, lambda number, frame: None)
    uvicorn.Server(configured(app, settings)).run([bound])


def _bound(settings: ServiceSettings) -> socket.socket:
    """Take the address; raise `CurateError` where it is taken or not this machine's."""
    bound = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((settings.host, settings.port))
    except OSError as error:
        bound.close()
        raise CurateError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}",
            "does a service run there already? `port` and `host` are options and settings",
        ) from None
    return bound


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
