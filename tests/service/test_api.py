"""The API against its own OpenAPI document, pipelines and their versions, the database's tables against its migrations."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi import checks
from starlette.testclient import TestClient

from curate.service.state import Database, tables
from tests.service.calls import Calls
from tests.service.conftest import called_as, small_pipeline
from tests.service.pages import logged_in

CHECKS = (
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
)
EXAMPLES = 12  # of each route


def test_migrations_make_the_tables(database_url: str) -> None:
    database = Database(database_url)
    database.upgrade()
    database.upgrade()
    database.verify_current()
    with database.reading() as session:
        assert compare_metadata(MigrationContext.configure(session.connection()), tables.Base.metadata) == []
    database.close()


def test_whatever_is_sent_is_answered_as_the_document_says(app: FastAPI, served: TestClient, calls: Calls, text: str) -> None:
    """Schemathesis makes requests of every route, right ones and wrong ones; runs wait, since nobody watches."""
    calls.post("/pipelines", {"text": text})
    calls.post("/runs", {"pipeline": "small"})
    document = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app)
    asked = 0
    for found in document.exclude(path_regex="/events$").get_all_operations():  # streams have tests of their own
        _try(found.ok(), called_as(app, served, "admin").token or "")  # a token each: one may be revoked on the way
        asked += 1
    assert asked > 25


def _try(operation: Any, token: str) -> None:
    @settings(max_examples=EXAMPLES, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def tried(case: Any) -> None:
        answer = case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, checks=CHECKS)
        assert answer.status_code != 503, "nothing is out of order"

    tried()


def test_versions_of_a_pipeline_are_kept_and_compared(calls: Calls, data: Path) -> None:
    first = calls.post("/pipelines", {"text": small_pipeline(data)})
    again = calls.post("/pipelines", {"text": small_pipeline(data)})
    second = calls.post("/pipelines", {"text": small_pipeline(data, min_chars=150)})
    assert [first["number"], again["number"], second["number"]] == [1, 1, 2], "the same text is the same version"
    assert calls.get("/pipelines/small/versions/1")["text"] == small_pipeline(data)
    assert [version["number"] for version in calls.get("/pipelines/small/versions")["items"]] == [2, 1]
    diff = calls.get("/pipelines/small/diff?older=1&newer=2")["diff"]
    assert "-        params: { min_chars: 100 }\n+        params: { min_chars: 150 }\n" in diff
    assert calls.post("/runs", {"pipeline": "small", "version": 1})["version"] == 1
    assert calls.post("/runs", {"pipeline": "small"})["version"] == 2
    assert calls.get("/pipelines/smal", 404)["hint"] == "did you mean `small`?"
    assert calls.get("/pipelines/small/versions/9", 404)["detail"] == "pipeline `small` has no version 9"


def test_a_wrong_pipeline_is_refused_with_what_the_command_line_says(calls: Calls, text: str) -> None:
    wrong = text.replace("min_chars", "min_char").replace("from: rows", "from: row")
    checked = calls.post("/pipelines/check", {"text": wrong}, 200)
    assert checked["ok"] is False
    assert [(mistake["line"], mistake["message"].partition(" (")[0]) for mistake in checked["mistakes"]] == [
        (6, "unknown input or stage `row`"),
        (9, "unknown parameter `min_char` of `length`"),
    ]
    for path in ("/pipelines", "/runs"):
        refused = calls.post(path, {"text": wrong}, 422)
        assert refused["mistakes"] == checked["mistakes"] and "pipeline.yaml:9: unknown parameter" in refused["detail"]
    assert calls.get("/pipelines")["items"] == [] and calls.get("/runs")["items"] == []
    assert calls.post("/pipelines/check", {"text": text}, 200) == {
        "name": "small",
        "ok": True,
        "mistakes": [],
        "warnings": [],
        "stages": ["long"],
    }


@pytest.mark.parametrize(
    ("body", "told"),
    [({}, "a run has `pipeline` or `text`"), ({"text": "a", "limit": 0}, "`limit`"), ({"nonsense": 1, "text": ""}, "`nonsense`")],
)
def test_a_body_that_does_not_fit_is_a_problem_as_well(calls: Calls, body: dict[str, Any], told: str) -> None:
    answer = calls.ask("POST", "/runs", body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert told in answer.json()["detail"]


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00"])
def test_a_time_that_no_clock_shows_is_refused(calls: Calls, text: str, moment: str) -> None:
    calls.post("/pipelines", {"text": text})
    once = {"name": "once", "pipeline": "small", "trigger": {"kind": "at", "at": moment}}
    told = [calls.post("/schedules", once, 422), calls.post("/tokens", {"name": "late", "role": "viewer", "expires_at": moment}, 422)]
    calls.post("/schedules", once | {"trigger": {"kind": "cron", "expression": "@daily"}})
    told.append(calls.ask("GET", "/schedules/once/history?cursor=" + moment.replace("+", "%2B")).json())
    assert ["of the years 2 to 9998" in problem["detail"] for problem in told] == [True] * 3


def test_the_page_of_the_api_tells_every_route_and_schema(app: FastAPI, served: TestClient) -> None:
    page = logged_in(app, served, "viewer").html("/api/v1/docs")
    document = app.openapi()
    routes = [f"<code>{method.upper()} {path}</code>" for path, found in document["paths"].items() for method in found]
    schemas = [f'<h3 id="{name}">' for name in document["components"]["schemas"]]
    assert [missing for missing in routes + schemas if missing not in page] == []
    assert set(re.findall(r'href="#(\w+)"', page)) - {"content"} <= set(document["components"]["schemas"])
    assert "skip, queue, cancel_older" in page and "at least 1; at most 500; 50 unless said" in page


@pytest.mark.parametrize("name", ["%00", "%ed%a0%80", "..%2F..%2Fetc", "a" * 3000, "%F0%9F%98%80"])
def test_odd_names_are_not_there_and_that_is_all(calls: Calls, name: str) -> None:
    for path in (f"/pipelines/{name}", f"/runs/{name}", f"/runs?pipeline={name}&cursor={name}"):
        assert calls.ask("GET", path).status_code in (200, 404, 422)
