"""A browser's side of the pages without a browser: a service to look at, a session with its cookie and its word, and pages as text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from curate.service.api.app import make_app
from curate.service.auth import Role, make_token
from curate.service.settings import load_settings


class Browser:
    """Somebody who is logged in."""

    def __init__(self, client: TestClient, token: str) -> None:
        self.client = client
        answer = client.post("/login", data={"token": token, "next": "/runs"}, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/runs")
        found = re.search(r'name="csrf" value="([^"]+)"', self.html("/runs"))
        assert found is not None
        self.csrf = found[1]

    def html(self, path: str, status: int = 200) -> str:
        answer = self.client.get(path, follow_redirects=False)
        assert answer.status_code == status, f"{path}: {answer.status_code}: {answer.text[-2000:]}"
        return str(answer.text)

    def words(self, path: str, status: int = 200) -> str:
        return plain(self.html(path, status))

    def send(self, path: str, form: dict[str, Any], status: int = 303) -> Any:
        answer = self.client.post(path, data={"csrf": self.csrf} | form, follow_redirects=False)
        assert answer.status_code == status, f"{path}: {answer.status_code}: {plain(answer.text)[-2000:]}"
        return answer


@pytest.fixture(scope="module", name="data")
def data_of_pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the service may use, for all tests of a file: each works with names of its own."""
    folder = tmp_path_factory.mktemp("pages") / "data"
    folder.mkdir()
    rows = [{"id": str(i), "text": "word " * i} for i in range(1, 41)]
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module", name="app")
def app_of_pages(data: Path) -> FastAPI:
    """The application that all tests of a file look at."""
    return looked_at(data)


@pytest.fixture(scope="module", name="served")
def served_pages(app: FastAPI) -> Iterator[TestClient]:
    """Requests to it."""
    with TestClient(app, base_url="http://127.0.0.1:8300", raise_server_exceptions=False) as client:
        yield client


def looked_at(data: Path, workspace: str = "workspace") -> FastAPI:
    """Return an application for a folder: pages read through the same functions as the API, whose tests run over both databases."""
    chosen = {"home": str(data.parent / f"{data.name}-home"), "workspace": str(data / workspace), "folder": str(data)}
    return make_app(load_settings(None, {**chosen, "workers": 1, "allow": (str(data),)}), watching=False)


def logged_in(app: FastAPI, served: TestClient, role: Role) -> Browser:
    """Return somebody of a role who has just logged in."""
    with app.state.service.database.writing() as session:
        token, _ = make_token(session, f"the {role}", role, None, "a test")
    return Browser(served, token)


def plain(html: str) -> str:
    """Return what a person reads of a page, on one line."""
    body = re.sub(r"<(head|script|style)\b.*?</\1>", " ", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", body)))
