"""Role by role over every page and form, and every change without the word of a page: nothing is open by accident."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from curate.service.api import sessions
from curate.service.api.page_routers import PAGES
from curate.service.auth import ROLES, Role
from tests.service.pages import logged_in, looked_at, plain
from tests.service.test_roles import called, routes

OPEN = ("/", "/login", "/static/")  # the first leads on to /runs
FORMS = ("/new", "/new/schedule", "/schedules/{name}/change")
KNOWN = sorted(
    (method, route.path)
    for router in (*PAGES, sessions.router)
    for route in router.routes
    for method in route.methods  # type: ignore[attr-defined]
)
CLOSED = [(method, path) for method, path in KNOWN if path not in OPEN and not path.startswith("/static/")]


@pytest.fixture
def app(data: Path) -> FastAPI:
    return looked_at(data)


def needed(method: str, path: str) -> Role:
    """Return the role that a page or form should need."""
    if path.startswith("/tokens"):
        return "admin"
    return "operator" if (method == "POST" and path != "/logout") or path in FORMS else "viewer"


def sent(client: TestClient, method: str, path: str, form: dict[str, str] | None = None, **headers: str) -> Any:
    filled = re.sub(r"\{\w+\}", "999", path)
    return client.request(method, filled, data=form, headers=headers, follow_redirects=False)


def test_every_page_is_known_here() -> None:
    assert len(CLOSED) > 30 and ("POST", "/schedules/{name}/pause") in CLOSED


def test_without_a_session_every_page_leads_to_the_login(served: TestClient) -> None:
    for method, path in CLOSED:
        for headers in ({}, {"Cookie": "curate_session=forged"}, {"Authorization": "Bearer curate_forged"}):
            answer = sent(served, method, path, {"csrf": "guessed"} if method == "POST" else None, **headers)
            assert (answer.status_code, answer.headers.get("location", "").partition("?")[0]) == (303, "/login"), (method, path, headers)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_sees_and_does_what_it_should_and_nothing_else(app: FastAPI, served: TestClient, role: Role) -> None:
    browser = logged_in(app, served, role)
    wrong = []
    for method, path in CLOSED:
        if path == "/logout":
            continue
        allowed = ROLES.index(role) >= ROLES.index(needed(method, path))
        answer = sent(served, method, path, {"csrf": browser.csrf} if method == "POST" else None)
        if (answer.status_code != 403) != allowed or answer.status_code >= 500 or "/login" in answer.headers.get("location", ""):
            wrong.append((method, path, answer.status_code))
    assert not wrong


def test_no_form_is_taken_without_the_word_of_its_page(app: FastAPI, served: TestClient) -> None:
    browser = logged_in(app, served, "admin")
    for method, path in CLOSED:
        if method == "POST":
            for form, headers in (({}, {}), ({"csrf": "guessed"}, {}), ({"csrf": browser.csrf}, {"Origin": "https://evil.example"})):
                answer = sent(served, method, path, form, **headers)
                assert answer.status_code == 403 and "a page of" in plain(answer.text), (path, form)


def test_no_change_by_the_api_is_made_for_a_session_without_the_word(app: FastAPI, served: TestClient) -> None:
    logged_in(app, served, "admin")
    changing = [(method, path) for method, path in routes(app) if method != "GET"]
    assert len(changing) > 10
    for method, path in changing:
        for headers in ({}, {"X-CSRF-Token": "guessed"}):
            assert called(served, method, path, headers) == 403, (method, path)
