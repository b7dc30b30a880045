"""`/api/v1/webhooks`: addresses that are told of events."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from curate.errors import PipelineError
from curate.service import audit
from curate.service.api.callers import Admin, ServiceHere
from curate.service.api.paging import Page, Size, newest
from curate.service.api.pipelines import Number
from curate.service.api.problems import PROBLEM
from curate.service.api.tokens import After
from curate.service.pipelines import NotFound
from curate.service.settings import secret
from curate.service.state import tables
from curate.service.webhooks import check_url

router = APIRouter(prefix="/webhooks", tags=["webhooks"], responses=PROBLEM)
Event = Literal["run.succeeded", "run.failed", "run.gated", "run.cancelled", "run.lost", "schedule.missed", "schedule.paused"]


class WebhookIn(BaseModel):
    """Where to post what; `secret` names the variable of the service's environment with the key that signs, `env:CURATE_HOOK_…`."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(max_length=2000)
    events: list[Event] = Field(min_length=1)
    secret: str = Field(max_length=1000)


class WebhookOut(BaseModel):
    """A webhook."""

    id: int
    url: str
    events: list[str]
    secret: str
    created_at: datetime
    created_by: str


class DeliveryOut(BaseModel):
    """One notice for a webhook: when it arrived, or why it did not, and when it is tried again."""

    id: int
    event: str
    payload: dict[str, Any]
    attempts: int
    due_at: datetime | None
    done_at: datetime | None
    error: str | None


@router.get("")
def listed(caller: Admin, service: ServiceHere) -> list[WebhookOut]:
    """List the webhooks."""
    with service.database.reading() as session:
        return [_out(row) for row in session.scalars(select(tables.Webhook).order_by(tables.Webhook.id))]


@router.post("", status_code=201)
def create(body: WebhookIn, caller: Admin, service: ServiceHere) -> WebhookOut:
    """Tell an address of events from now on."""
    check_url(body.url, service.settings.hooks_allow)
    _check_secret(body.secret)
    with service.database.writing() as session:
        row = tables.Webhook(url=body.url, events=list(dict.fromkeys(body.events)), secret=body.secret, created_by=caller.name)
        session.add(row)
        session.flush()
        audit.note(session, caller, "webhook.create", row.url, id=row.id)
        return _out(row)


@router.delete("/{webhook_id}")
def remove(webhook_id: Number, caller: Admin, service: ServiceHere) -> WebhookOut:
    """Tell it nothing more."""
    with service.database.writing() as session:
        row = _found(session.get(tables.Webhook, webhook_id), webhook_id)
        session.query(tables.Notice).filter_by(webhook_id=row.id).delete()
        session.delete(row)
        audit.note(session, caller, "webhook.remove", row.url, id=row.id)
        return _out(row)


@router.get("/{webhook_id}/deliveries")
def deliveries(webhook_id: Number, caller: Admin, service: ServiceHere, limit: Size = 50, cursor: After = None) -> Page[DeliveryOut]:
    """List what a webhook was told, newest first."""
    with service.database.reading() as session:
        _found(session.get(tables.Webhook, webhook_id), webhook_id)
        rows, following = newest(session, select(tables.Notice).where(tables.Notice.webhook_id == webhook_id), limit, cursor)
    return Page(items=[DeliveryOut(**{name: getattr(row, name) for name in DeliveryOut.model_fields}) for row in rows], next=following)


def _found(row: tables.Webhook | None, webhook_id: int) -> tables.Webhook:
    if row is None:
        raise NotFound(f"no webhook {webhook_id}")
    return row


def _check_secret(reference: str) -> None:
    if not reference.startswith("env:CURATE_HOOK_"):
        raise PipelineError(
            "`secret` refers to a variable of the service's environment", "`env:CURATE_HOOK_…`, and set it where the service starts"
        )
    secret(reference)


def _out(row: tables.Webhook) -> WebhookOut:
    return WebhookOut(**{name: getattr(row, name) for name in WebhookOut.model_fields})
