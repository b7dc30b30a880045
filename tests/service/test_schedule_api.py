"""Every route of schedules, over HTTP and on both databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select

from curate.service.state import tables
from curate.service.state.types import now
from tests.service.calls import Calls
from tests.service.conftest import small_pipeline

NIGHTLY: dict[str, Any] = {
    "name": "nightly",
    "pipeline": "small",
    "trigger": {"kind": "cron", "expression": "30 2 * * *", "zone": "Europe/Berlin"},
}


@pytest.fixture
def kept(calls: Calls, text: str) -> Calls:
    """Calls of a service that keeps the pipeline `small`."""
    calls.post("/pipelines", {"text": text})
    return calls


def ended(app: FastAPI, status: str = "succeeded") -> None:
    """Let the runs end, as the watch would write it, and the ticker note it."""
    with app.state.service.database.writing() as session:
        for run in session.scalars(select(tables.Run).where(tables.Run.ended_at.is_(None))):
            run.status, run.ended_at = status, now()
    app.state.service.ticker.step()


def test_a_schedule_is_added_shown_and_listed_as_it_was_said(kept: Calls) -> None:
    said = NIGHTLY | {"policies": {"retries": 2}, "sets": ["long.length.min_chars=5"], "until": "long", "workers": 3, "version": 1}
    added = kept.post("/schedules", said)
    assert {name: added[name] for name in said if name != "policies"} == {name: said[name] for name in said if name != "policies"}
    assert added["policies"] == {
        "overlap": "skip",
        "misfire": "once",
        "grace_s": 60.0,
        "retries": 2,
        "backoff_s": 60.0,
        "deadline_s": None,
        "jitter_s": 0.0,
        "pause_after": None,
    }
    assert (added["paused"], added["failures"], added["last"], added["created_by"]) == (None, 0, None, "the admin")
    assert added["next_due"] == added["next_fires"] and len(added["upcoming"]) == 5
    assert kept.get("/schedules/nightly") == added
    assert kept.get("/schedules")["items"] == [added | {"upcoming": []}]
    assert [entry["action"] for entry in kept.get("/audit")["items"]] == ["schedule.add", "pipeline.save"]


def test_lists_come_in_pages_by_name_and_by_pipeline(kept: Calls, data: Path) -> None:
    kept.post("/pipelines", {"text": small_pipeline(data, "other")})
    for number in range(5):
        kept.post("/schedules", NIGHTLY | {"name": f"s{number}", "pipeline": ("small", "other")[number % 2]})
    seen, cursor = [], ""
    while cursor is not None:
        page = kept.get(f"/schedules?limit=2{cursor and f'&cursor={cursor}'}")
        seen.append([schedule["name"] for schedule in page["items"]])
        cursor = page["next"]
    assert seen == [["s0", "s1"], ["s2", "s3"], ["s4"]]
    assert [schedule["name"] for schedule in kept.get("/schedules?pipeline=other")["items"]] == ["s1", "s3"]


def test_a_taken_name_is_refused_unless_it_is_put_and_its_history_goes_on(app: FastAPI, kept: Calls) -> None:
    kept.post("/schedules", NIGHTLY)
    kept.post("/schedules/nightly/run")
    ended(app)
    refused = kept.post("/schedules", NIGHTLY, 409)
    assert (refused["detail"], "--replace" in refused["hint"]) == ("there is a schedule `nightly` already", True)
    hourly = NIGHTLY | {"trigger": {"kind": "cron", "expression": "@hourly", "zone": "UTC"}}
    answer = kept.ask("PUT", "/schedules/nightly", hourly)
    assert (answer.status_code, answer.json()["trigger"]) == (200, hourly["trigger"])
    assert len(kept.get("/schedules/nightly/history")["items"]) == 1
    assert kept.ask("PUT", "/schedules/weekly", NIGHTLY).json()["detail"] == "the address says `weekly`, and the schedule `nightly`"
    assert kept.ask("PUT", "/schedules/weekly", NIGHTLY | {"name": "weekly"}).status_code == 200


def test_a_removed_schedule_is_gone_and_its_history_is_not(app: FastAPI, kept: Calls) -> None:
    kept.post("/schedules", NIGHTLY)
    kept.post("/schedules/nightly/run")
    ended(app)
    assert kept.delete("/schedules/nightly")["last"]["outcome"] == "succeeded"
    assert kept.get("/schedules")["items"] == []
    for method, path in (("GET", ""), ("GET", "/history"), ("POST", "/run"), ("POST", "/pause"), ("DELETE", "")):
        assert kept.ask(method, f"/schedules/nightly{path}").status_code == 404, (method, path)
    assert kept.post("/schedules", NIGHTLY)["last"]["outcome"] == "succeeded"


def test_a_name_that_is_nearly_right_is_suggested(kept: Calls) -> None:
    kept.post("/schedules", NIGHTLY)
    missing = kept.get("/schedules/nigthly", 404)
    assert (missing["detail"], missing["hint"]) == ("no schedule `nigthly`", "did you mean `nightly`?")
    assert kept.post("/schedules", NIGHTLY | {"name": "n", "pipeline": "smal"}, 404)["hint"] == "did you mean `small`?"


def test_a_schedule_rests_for_a_reason_and_resumes_from_now_on(kept: Calls) -> None:
    kept.post("/schedules", NIGHTLY)
    rests = kept.post("/schedules/nightly/pause", {"reason": "the store moves"}, 200)
    assert (rests["paused"], rests["next_due"], rests["upcoming"]) == ("the store moves", None, [])
    assert kept.post("/schedules/nightly/pause", status=200)["paused"] == "the store moves", "it rested already"
    assert kept.post("/schedules/nightly/resume", status=200)["next_due"]
    assert kept.post("/schedules/nightly/pause", status=200)["paused"] == "by the admin"
    actions = [entry["action"] for entry in kept.get("/audit")["items"]]
    assert actions[:3] == ["schedule.pause", "schedule.resume", "schedule.pause"]


def test_a_run_at_once_is_a_tick_and_does_not_overlap(app: FastAPI, kept: Calls) -> None:
    kept.post("/schedules", NIGHTLY | {"sets": ["long.length.min_chars=5"]})
    tick = kept.post("/schedules/nightly/run")
    assert (tick["outcome"], tick["note"]) == ("running", "asked for by the admin")
    assert tick["inputs"] == {"rows": {"files": 1, "new": 1, "examples": ["in.jsonl"]}}
    assert kept.get(f"/runs/{tick['run_id']}")["created_by"] == "schedule nightly"
    refused = kept.post("/schedules/nightly/run", status=409)
    assert refused["detail"] == f"schedule `nightly` has a run that goes on: {tick['run_id']}"
    ended(app, "failed")
    shown = kept.get("/schedules/nightly")
    assert (shown["failures"], shown["last"]["outcome"]) == (1, "failed")


def test_the_history_comes_in_pages_newest_first(app: FastAPI, kept: Calls) -> None:
    kept.post("/schedules", NIGHTLY)
    made = []
    for _ in range(5):
        made.append(kept.post("/schedules/nightly/run")["run_id"])
        ended(app)
    seen, cursor = [], ""
    while cursor is not None:
        page = kept.get(f"/schedules/nightly/history?limit=2{cursor and f'&cursor={cursor}'}")
        seen += [tick["run_id"] for tick in page["items"]]
        cursor = page["next"]
    assert seen == made[::-1]
    assert kept.get("/schedules/nightly/history?cursor=yesterday", 422)["detail"].startswith("`cursor`")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "../nightly"}, "`name`"),
        ({"workers": 0}, "`workers`"),
        ({"policies": {"overlap": "cancel"}}, "`policies.overlap`"),
        ({"policies": {"retrys": 2}}, "`policies.retrys`"),
        ({"version": 9}, "pipeline `small` has no version 9"),
        ({"sets": ["long.length.min_char=5"]}, "unknown parameter `min_char` of `length`"),
        ({"workspace": "/etc"}, "/etc"),
        ({"trigger": {"kind": "cron", "expression": "30 2 * *"}}, "'30 2 * *' has 4 fields"),
        ({"trigger": {"kind": "cron", "expression": "@daily", "zone": "Europe/Berln"}}, "no time zone 'Europe/Berln'"),
        ({"trigger": {"kind": "at", "at": "2026-12-01T02:00:00"}}, "`trigger.at.at`"),
        ({"trigger": {"kind": "at", "at": "2020-12-01T02:00:00Z"}}, "the time has passed: 2020-12-01T02:00:00+00:00"),
        ({"trigger": {"kind": "files", "input": "row"}}, "pipeline `small` has no input `row` with files"),
        ({"trigger": {"kind": "finished", "pipeline": "small"}}, "schedule `nightly` would never come to rest"),
        ({"trigger": {"kind": "finished", "pipeline": "no"}}, "no pipeline `no`"),
        ({"trigger": {"kind": "moon"}}, "`trigger`"),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_could_never_run_is_refused(kept: Calls, change: dict[str, Any], told: str) -> None:
    answer = kept.ask("POST", "/schedules", NIGHTLY | change)
    assert answer.status_code in (404, 422)
    assert told in answer.json()["detail"]
    assert kept.get("/schedules")["items"] == []


def test_a_time_and_new_files_are_triggers_as_well(app: FastAPI, kept: Calls) -> None:
    once = kept.post("/schedules", NIGHTLY | {"name": "once", "trigger": {"kind": "at", "at": "2999-12-01T02:00:00+01:00"}})
    assert (once["next_due"], once["upcoming"]) == ("2999-12-01T01:00:00Z", [])
    kept.post("/schedules", NIGHTLY | {"name": "files", "trigger": {"kind": "files", "input": "rows", "every_s": 1}})
    while not (ticks := kept.get("/schedules/files/history")["items"]):
        app.state.service.ticker.step()
    assert ticks[0]["inputs"]["rows"]["examples"] == ["in.jsonl"]


def test_a_schedule_is_exported_with_what_is_lost(kept: Calls) -> None:
    kept.post("/schedules", NIGHTLY | {"policies": {"pause_after": 3}})
    cron = kept.get("/schedules/nightly/export?as=cron&pipeline_file=/srv/small.yaml")
    assert sorted(cron["files"]) == ["nightly.crontab", "nightly.sh"] and "pause after failures" in cron["lost"]
    assert "curate run /srv/small.yaml" in cron["files"]["nightly.sh"]
    pod = kept.get("/schedules/nightly/export?as=k8s-cronjob&image=registry.example/own:1")
    assert "image: registry.example/own:1\n" in pod["files"]["nightly.yaml"] and "min_chars: 100" in pod["files"]["nightly.yaml"]
    assert "`as`" in kept.get("/schedules/nightly/export?as=windows", 422)["detail"]
