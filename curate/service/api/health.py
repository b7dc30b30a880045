"""`/healthz` and `/readyz`: whether the process answers, and whether it can do its work."""

from __future__ import annotations

from fastapi import APIRouter

from curate.service.api.callers import ServiceHere
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
