"""`/healthz`, `/readyz` and `/metrics`: whether the process answers, whether it can do its work, and how much it did."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from curate.service.api.callers import ServiceHere, Viewer
from curate.service.api.problems import PROBLEM

router = APIRouter(tags=["health"], responses={503: PROBLEM[503]})


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(service: ServiceHere) -> dict[str, str]:
    """Say that the database answers and its tables are current."""
    service.database.verify_current()
    return {"status": "ok"}


@router.get("/metrics", response_class=PlainTextResponse, responses={401: PROBLEM[401]})
def metrics(caller: Viewer, service: ServiceHere) -> PlainTextResponse:
    """Return numbers for Prometheus, which asks with a viewer's token."""
    return PlainTextResponse(service.metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)
