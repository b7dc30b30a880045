"""Requests at the edge of what can be said: each is a mistake of the caller's, told in words, and never one of the service's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from tests.service.calls import Calls
from tests.service.conftest import small_pipeline
from tests.service.pages import looked_at


@pytest.fixture
def app(data: Path) -> FastAPI:
    return looked_at(data)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("in.jsonl", "a" * 5000, "File name too long"),
        ("in.jsonl", "a/" * 5000, "more than 200 parts"),
        ("in.jsonl", "*/" * 5000 + "*.jsonl", "more than 200 parts"),
        ("in.jsonl", "**/" * 1000 + "*.jsonl", "more than 200 parts"),
        ("name: small", f"name: {'s' * 101}", "more than 100 characters"),
        ("  long:\n", f"  {'s' * 101}:\n", "more than 100 characters"),
        ("min_chars: 100", f"min_chars: 0x{'f' * 50_000}", "a very long number"),
        ("min_chars: 100", f"min_chars: {'9' * 5000}", "not a valid int"),
        ("min_chars: 100", f"min_chars: {'{a: ' * 1000}", "nested too deeply"),
    ],
    ids=lambda text: text[:20],
)
def test_a_pipeline_of_extremes_is_told_what_is_wrong(calls: Calls, data: Path, before: str, after: str, told: str) -> None:
    text = small_pipeline(data)
    assert before in text
    checked = calls.post("/pipelines/check", {"text": text.replace(before, after)}, 200)
    assert not checked["ok"] and any(told in mistake["message"] for mistake in checked["mistakes"]), checked


LAST = "9999-12-31T23:59:59-23:59"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/runs", {"sets": ["long.length.min_chars=" + "[" * 50_000]}),
        ("/runs", {"sets": [f"long.length.min_chars=0x{'f' * 50_000}"]}),
        ("/runs", {"workspace": "o" * 5000}),
        ("/runs", {"workspace": "\0"}),
        ("/pipelines", {"text": "name: a", "folder": "o" * 300}),
        ("/tokens", {"name": "late", "role": "viewer", "expires_at": LAST}),
        ("/schedules", {"name": "n", "pipeline": "small", "trigger": {"kind": "at", "at": LAST}}),
        (
            "/schedules",
            {"name": "n", "pipeline": "small", "trigger": {"kind": "cron", "expression": "0 0 * * *", "zone": "../../etc/passwd"}},
        ),
    ],
)
def test_a_body_of_extremes_is_refused(calls: Calls, data: Path, path: str, body: Any) -> None:
    text = {"text": small_pipeline(data)}
    calls.post("/pipelines", text)
    assert calls.post(path, text | body if path == "/runs" else body, 422)["detail"]


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"a":' * 50_000 + b"1" + b"}" * 50_000, b'{"limit": ' + b"9" * 5000 + b"}", b"\x1f\x8b\x08"]
)
def test_a_body_that_is_no_json_is_refused(calls: Calls, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {calls.token}", "Content-Type": "application/json"}
    assert calls.client.post("/api/v1/runs", content=body, headers=headers).status_code == 400
