"""Makes the application: `make_app(settings)` is what `curate serve` and tests run."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import APIRouter, FastAPI

from curate.service.api import datasets, events, health, pipelines, problems, runs, schedules, sessions, sign_in, tokens, webhooks
from curate.service.api.access import Access
from curate.service.api.headers import Headers
from curate.service.api.limits import Limits
from curate.service.api.page_routers import PAGES
from curate.service.events import Pulses
from curate.service.service import Running, make_service
from curate.service.settings import ServiceSettings
from curate.version import VERSION

API = "/api/v1"


def make_app(settings: ServiceSettings, watching: bool = True) -> FastAPI:
    """Return the application; unless `watching`, submitted runs wait until a service that watches comes."""
    service = make_service(settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with Running(service) if watching else contextlib.nullcontext():
            yield
        service.database.close()

    app = FastAPI(title="curate", version=VERSION, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=f"{API}/openapi.json")
    app.state.service = service
    app.state.pulses = Pulses(service.database, settings.streams)
    problems.install(app)
    app.add_middleware(Limits, body_bytes=settings.body_bytes, request_s=settings.request_s)
    app.add_middleware(Headers, secure=settings.secure)
    app.add_middleware(Access)
    api = APIRouter(prefix=API)
    routed = (pipelines, runs, events, datasets, schedules, tokens, webhooks)
    for router in (module.router for module in routed):
        api.include_router(router)
    for router in (api, sessions.router, sign_in.router, health.router, *PAGES):
        app.include_router(router)
    return app
