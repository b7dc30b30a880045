"""What keeps other sites from using a browser's session: cookies, the word of a page, where a request comes from."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from curate.service.api.app import make_app
from curate.service.api.sessions import local_path
from curate.service.settings import ServiceSettings
from curate.service.state import tables
from tests.service.calls import Calls

OURS = {"Origin": "http://127.0.0.1:8300"}


@pytest.fixture
def csrf(app: FastAPI, served: TestClient, calls: Calls) -> str:
    """Log the browser in, and return the word that its pages hold."""
    answer = served.post("/login", data={"token": calls.token, "next": "/runs"}, headers=OURS, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs")
    assert {"httponly", "samesite=lax"} <= {part.strip().lower() for part in answer.headers["set-cookie"].split(";")}
    with app.state.service.database.reading() as session:
        word: str = session.query(tables.BrowserSession).one().csrf
        return word


def submit(served: TestClient, text: str, headers: Any) -> Any:
    return served.post("/api/v1/runs", json={"text": text}, headers=headers)


def test_a_session_changes_things_only_with_the_word_of_its_page(served: TestClient, csrf: str, text: str) -> None:
    assert served.get("/api/v1/me").status_code == 200
    for word in (None, b"guessed", b"", b"\xe4"):
        answer = submit(served, text, {"X-CSRF-Token": word} if word is not None else {})
        assert (answer.status_code, answer.json()["detail"]) == (403, "the request does not come from a page of this service")
    assert submit(served, text, {"X-CSRF-Token": csrf}).status_code == 201
    assert submit(served, text, {"X-CSRF-Token": csrf, "Origin": "https://evil.example"}).status_code == 403


def test_forms_bring_the_word_in_a_field(served: TestClient, csrf: str) -> None:
    assert served.post("/logout", data={"csrf": "guessed"}, follow_redirects=False).status_code == 403
    assert served.post("/logout", data={"csrf": csrf}, follow_redirects=False).status_code == 303
    assert served.get("/api/v1/me").status_code == 401


def test_another_site_cannot_log_a_browser_in(served: TestClient, calls: Calls) -> None:
    answer = served.post("/login", data={"token": calls.token}, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403 and "set-cookie" not in answer.headers
    assert served.post("/login", data={"token": "curate_forged"}).status_code == 401


@pytest.mark.parametrize(
    "path", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\r\nSet-Cookie: a=b", ""]
)
def test_a_login_leads_nowhere_else(path: str) -> None:
    assert local_path(path) == "/"


def test_answers_tell_browsers_to_keep_them(served: TestClient) -> None:
    headers = served.get("/healthz").headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"] and "unsafe" not in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "same-origin")


def test_without_tokens_only_this_machine_by_its_own_name_is_answered(settings: ServiceSettings) -> None:
    app = make_app(settings.model_copy(update={"auth": "none"}), watching=False)
    with TestClient(app, base_url="http://127.0.0.1:8300") as client:
        assert client.get("/api/v1/me").json()["role"] == "admin"
        for headers in ({"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example:8300"}, {"Host": ""}):
            assert client.get("/api/v1/me", headers=headers).status_code == 403
        assert (
            client.post("/api/v1/tokens", json={"name": "a", "role": "admin"}, headers={"Origin": "http://evil.example"}).status_code == 403
        )
