"""Role by role over every route of the OpenAPI document: who may call what, and that nothing is open by accident."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select, text
from starlette.testclient import TestClient

from curate.service.auth import ROLES, Role
from curate.service.state import tables
from curate.service.state.types import now
from tests.service.conftest import called_as

OPEN = {("GET", "/healthz"), ("GET", "/readyz")}
ADMIN = ("/tokens", "/audit", "/webhooks")
LOOKS = {("POST", "/api/v1/pipelines/check")}  # asks with a body, changes nothing


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """Return method and path of every documented route, its parameters filled with what is not there."""
    found = []
    for path, operations in app.openapi()["paths"].items():
        for method in operations:
            found.append((method.upper(), path))
    return sorted(found)


def needed(method: str, path: str) -> Role:
    """Return the role that a route should need."""
    if any(path.startswith(f"/api/v1{part}") for part in ADMIN):
        return "admin"
    return "viewer" if method == "GET" or (method, path) in LOOKS else "operator"


def called(client: TestClient, method: str, path: str, headers: dict[str, str]) -> int:
    filled = path
    for name in ("name", "run_id", "stage", "number", "token_id", "webhook_id", "schedule_id", "id"):
        filled = filled.replace(f"{{{name}}}", "999")
    assert "{" not in filled, f"{path} has a parameter that this test does not know"
    status: int = client.request(method, filled, headers=headers, json={} if method in ("POST", "PUT", "PATCH") else None).status_code
    return status


def test_without_a_token_nothing_is_open_but_health(app: FastAPI, served: TestClient) -> None:
    forged = [{}, {"Authorization": "Bearer curate_forged"}, {"Authorization": "Basic YTpi"}, {"Cookie": "curate_session=forged"}]
    for method, path in routes(app):
        expected = {200} if (method, path) in OPEN else {401}
        assert {called(served, method, path, headers) for headers in forged} == expected, (method, path)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_it_should_and_nothing_else(app: FastAPI, served: TestClient, role: Role) -> None:
    headers = {"Authorization": f"Bearer {called_as(app, served, role).token}"}
    wrong = []
    for method, path in routes(app):
        if (method, path) not in OPEN:
            allowed = ROLES.index(role) >= ROLES.index(needed(method, path))
            status = called(served, method, path, headers)
            if (status != 403) != allowed or status == 401 or status >= 500:
                wrong.append((method, path, status))
    assert not wrong


def test_tokens_end(app: FastAPI, served: TestClient, calls: Any) -> None:
    made = calls.post("/tokens", {"name": "for a while", "role": "viewer", "expires_at": "2999-01-01T00:00:00+02:00"})
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert served.get("/api/v1/me", headers=headers).json() == {"name": "for a while", "role": "viewer"}
    with app.state.service.database.writing() as session:
        session.get(tables.Token, made["id"]).expires_at = now()
    assert served.get("/api/v1/me", headers=headers).status_code == 401
    assert calls.post("/tokens", {"name": "late", "role": "viewer", "expires_at": "2000-01-01T00:00:00Z"}, 422)["detail"].startswith(
        "the token would"
    )


def test_a_revoked_token_ends_at_once_and_so_do_its_sessions(served: TestClient, calls: Any) -> None:
    made = calls.post("/tokens", {"name": "short", "role": "operator"})
    assert served.post("/login", data={"token": made["token"]}, follow_redirects=False).status_code == 303
    assert served.get("/api/v1/me").json()["role"] == "operator"
    calls.delete(f"/tokens/{made['id']}")
    assert served.get("/api/v1/me").status_code == 401
    assert served.get("/api/v1/me", headers={"Authorization": f"Bearer {made['token']}"}).status_code == 401
    assert [entry["action"] for entry in calls.get("/audit")["items"]] == ["token.revoke", "token.create"]


def test_when_a_token_was_used_last_is_noted_but_not_by_the_request(app: FastAPI, served: TestClient, calls: Any) -> None:
    made = calls.post("/tokens", {"name": "seldom", "role": "viewer"})
    began, uses = now(), app.state.service.uses

    def last() -> datetime | None:
        with app.state.service.database.reading() as session:
            token = session.get(tables.Token, made["id"])
            assert token is not None
            return token.last_used_at

    uses.write()
    assert last() is None
    assert served.post("/login", data={"token": made["token"]}, follow_redirects=False).status_code == 303
    assert served.get("/api/v1/me").status_code == 200  # by the cookie of the session that began with the token
    assert last() is None, "looking writes nothing"
    with app.state.service.database.writing() as session:
        session.execute(text("ALTER TABLE tokens RENAME TO away"))
    uses.write()  # in vain, and says so in the log
    with app.state.service.database.writing() as session:
        session.execute(text("ALTER TABLE away RENAME TO tokens"))
    uses.write()
    used = last()
    assert used is not None and began <= used <= now()
    uses.write()
    assert last() == used


def test_no_secret_is_kept_or_shown(app: FastAPI, served: TestClient, calls: Any) -> None:
    made = calls.post("/tokens", {"name": "secret", "role": "viewer"})
    listed = calls.get("/tokens")
    assert made["token"] not in str(listed) and "hash" not in str(listed)
    with app.state.service.database.reading() as session:
        kept = session.execute(select(tables.Token.__table__)).all()
    assert made["token"] not in str(kept)
