"""Calls of the API, as tests write them."""

from __future__ import annotations

import time
from typing import Any

from starlette.testclient import TestClient

from curate.service import runs
from curate.service.watch import Watch


class Calls:
    """One caller's requests; an answer that is not as expected shows itself."""

    def __init__(self, client: TestClient, token: str | None) -> None:
        self.client = client
        self.token = token

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        sent = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return self.client.request(method, f"/api/v1{path}", json=body, headers=sent | (headers or {}))

    def get(self, path: str, status: int = 200) -> Any:
        return self._expected(self.ask("GET", path), status)

    def post(self, path: str, body: Any = None, status: int = 201, headers: dict[str, str] | None = None) -> Any:
        return self._expected(self.ask("POST", path, body, headers), status)

    def delete(self, path: str, status: int = 200) -> Any:
        return self._expected(self.ask("DELETE", path), status)

    def _expected(self, answer: Any, status: int) -> Any:
        assert answer.status_code == status, f"{answer.status_code}: {answer.text}"
        return answer.json() if "json" in answer.headers["content-type"] else answer.text

    def watched_to_end(self, watch: Watch, run_id: str, patience_s: float = 120.0) -> Any:
        """Look after runs until one has ended."""
        until = time.monotonic() + patience_s
        while (run := self.get(f"/runs/{run_id}"))["status"] not in runs.ENDED:
            assert time.monotonic() < until, run
            watch.step()
            time.sleep(0.1)
        return run
