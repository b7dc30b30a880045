"""A browser's side of the pages without a browser: a session with its cookie and its word, and pages as text."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from starlette.testclient import TestClient


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


def plain(html: str) -> str:
    """Return what a person reads of a page, on one line."""
    body = re.sub(r"<(head|script|style)\b.*?</\1>", " ", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", body)))
