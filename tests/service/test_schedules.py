"""Schedules on both databases, by a clock that tests set: policies, clocks that jump, both changes of the year, replicas."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import event, select

from curate.errors import PipelineError
from curate.service import pipelines
from curate.service.auth import ANYBODY
from curate.service.pipelines import Checker
from curate.service.schedules.rows import Conflict
from curate.service.schedules.ticker import Ticker
from curate.service.state import tables
from curate.service.state.types import now
from curate.service.watch import Watch
from tests.service.calls import Calls
from tests.service.clocks import Hands
from tests.service.conftest import small_pipeline


@pytest.fixture
def hands(app: FastAPI, calls: Calls, text: str) -> Hands:
    calls.post("/pipelines", {"text": text})
    return Hands(app.state.service, "2026-12-01T12:00")


def test_a_tick_queues_one_run_and_ends_as_it_does(hands: Hands) -> None:
    hands.add("30 2 * * *", retries=2, backoff_s=5, deadline_s=3600, sets=("long.length.min_chars=5",))
    hands.move("14h")
    assert hands.ticks() == [] and hands.runs() == 0
    for _ in range(3):
        hands.move("30m")
    assert hands.ticks() == ["02 02:30 running"] and hands.runs() == 1
    with hands.service.database.reading() as session:
        run = session.scalars(select(tables.Run)).one()
        assert (run.retries, run.retry_after_s, run.sets, run.created_by) == (2, 5, ["long.length.min_chars=5"], "schedule nightly")
        assert run.deadline is not None and run.schedule_id is not None
    hands.end()
    assert hands.ticks() == ["02 02:30 succeeded"]
    shown = hands.desk.show("nightly")
    assert shown.last is not None and shown.last.run_id == run.id
    assert f"{shown.next_due:%d %H:%M}" == "03 02:30" and len(shown.upcoming) == 5


def test_the_night_that_skips_the_hour_and_the_night_that_has_it_twice(hands: Hands) -> None:
    hands.set("2026-03-28T23:15")
    hands.add("30 2 * * *", zone="Europe/Berlin")
    for _ in range(5):
        hands.move("30m")
        hands.end()
    assert hands.ticks() == ["29 01:00 succeeded"]  # 03:00 in Berlin, right after the gap
    hands.desk.remove("nightly", ANYBODY)
    hands.set("2026-10-24T23:15")
    hands.add("30 2 * * *", zone="Europe/Berlin", name="autumn")
    hands.add("30 * * * *", zone="Europe/Berlin", name="hourly")
    for _ in range(6):
        hands.move("30m")
        hands.end()
    assert hands.ticks("autumn") == ["25 00:30 succeeded"]  # the first 02:30 in Berlin
    assert hands.ticks("hourly") == [f"{day} {hour}:30 succeeded" for day, hour in ((24, 23), (25, "00"), (25, "01"))]


@pytest.mark.parametrize(
    ("misfire", "told", "runs"),
    [
        ("once", ["02 02:30 missed", "03 02:30 missed", "04 02:30 running"], 1),
        ("none", ["02 02:30 missed", "03 02:30 missed", "04 02:30 missed"], 0),
        ("all", ["02 02:30 running", "03 02:30 waiting", "04 02:30 waiting"], 1),
    ],
)
def test_a_clock_that_jumps_ahead(hands: Hands, misfire: str, told: list[str], runs: int) -> None:
    hands.add("30 2 * * *", misfire=misfire)
    hands.move("3d")
    assert (hands.ticks(), hands.runs()) == (told, runs)
    for _ in range(3):
        hands.end()
    assert hands.runs() == (3 if misfire == "all" else runs)
    assert "waiting" not in str(hands.ticks()) and "running" not in str(hands.ticks())
    if misfire == "none":
        assert hands.notes()[-1] == "9 h 30 min late"


def test_a_clock_that_goes_back_fires_nothing_twice_and_loses_nothing(hands: Hands) -> None:
    hands.add("0 * * * *", misfire="once")
    hands.move("1h")
    hands.end()
    hands.move("-2s")  # as time servers do
    hands.move("4s")
    assert (hands.ticks(), hands.runs()) == (["01 13:00 succeeded"], 1)
    hands.set("2027-06-01T00:00")  # a battery that is empty
    hands.end()
    assert hands.runs() == 2
    hands.set("2026-12-01T13:30")
    hands.move("30m")
    hands.end()
    assert "01 14:00 succeeded" in hands.ticks()
    assert hands.runs() == 3


def test_a_clock_that_was_far_ahead_keeps_no_trigger_from_firing(hands: Hands, calls: Calls, data: Path) -> None:
    calls.post("/pipelines", {"text": small_pipeline(data, "second")})
    hands.add({"kind": "files", "input": "rows"}, name="files")
    hands.add({"kind": "finished", "pipeline": "small"}, name="after", pipeline="second")
    hands.move("1m")
    hands.move("1m")
    ahead = hands.moment + timedelta(days=180)
    hands.end(at=ahead)
    hands.set(f"{ahead:%Y-%m-%dT%H:%M}")
    hands.move("1m")
    hands.end(at=hands.moment)
    assert (len(hands.ticks("files")), len(hands.ticks("after"))) == (1, 1)
    hands.set("2026-12-01T13:00")
    (data / "in.jsonl").write_text(json.dumps({"id": "a", "text": "word"}) + "\n")
    hands.move("2m")
    hands.move("2m")
    hands.end(at=hands.moment)
    hands.move("1m")
    assert (len(hands.ticks("files")), len(hands.ticks("after"))) == (2, 2)


def test_replicas_whose_clocks_differ_fire_each_tick_once(hands: Hands) -> None:
    hands.add("* * * * *", overlap="queue")
    for _ in range(12):
        hands.move("30s")
        hands.replica(timedelta(seconds=-100)).step()  # one that has just been started, and is behind
        hands.end()
    assert hands.ticks() == [f"01 12:0{minute} succeeded" for minute in range(1, 7)]


def test_a_silence_of_years_is_not_counted_out(hands: Hands) -> None:
    hands.add("* * * * *")
    hands.set("2028-01-01T00:00")
    assert len(hands.ticks()) == 1000
    assert hands.ticks()[-3:] == ["31 23:58 missed", "31 23:59 running", "01 00:00 skipped"]


def test_overlapping_ticks_are_skipped(hands: Hands) -> None:
    hands.add("0 * * * *")
    hands.move("1h")
    hands.move("1h")
    hands.end()
    hands.move("1h")
    assert hands.ticks() == ["01 13:00 succeeded", "01 14:00 skipped", "01 15:00 running"]
    assert hands.notes()[1] == "the run before it went on"


def test_overlapping_ticks_queue(hands: Hands) -> None:
    hands.add("0 * * * *", overlap="queue")
    for _ in range(3):
        hands.move("1h")
    assert (hands.ticks(), hands.runs()) == (["01 13:00 running", "01 14:00 waiting", "01 15:00 waiting"], 1)
    hands.end()
    assert (hands.ticks(), hands.runs()) == (["01 13:00 succeeded", "01 14:00 running", "01 15:00 waiting"], 2)


def test_an_overlapping_tick_cancels_the_older_one_and_waits_for_its_end(hands: Hands) -> None:
    hands.add("0 * * * *", overlap="cancel_older")
    hands.move("1h")
    with hands.service.database.writing() as session:
        session.scalars(select(tables.Run)).one().status = "running"
    hands.move("1h")
    hands.move("1h")
    assert (hands.ticks(), hands.runs()) == (["01 13:00 running", "01 14:00 skipped", "01 15:00 waiting"], 1)
    with hands.service.database.reading() as session:
        assert session.scalars(select(tables.Run)).one().cancelled_by == "schedule nightly"
    hands.end("cancelled")
    assert hands.ticks() == ["01 13:00 cancelled", "01 14:00 skipped", "01 15:00 running"]
    hands.move("1h")  # the run of 15:00 had not begun: it is cancelled, and the next starts, at once
    assert hands.ticks()[2:] == ["01 15:00 cancelled", "01 16:00 running"]


def test_a_schedule_that_fails_and_fails_is_paused_and_says_why(hands: Hands) -> None:
    hands.add("0 * * * *", pause_after=2, overlap="queue")
    for status in ("failed", "succeeded", "gated", "cancelled", "lost"):
        hands.move("1h")
        hands.end(status)
    shown = hands.desk.show("nightly")
    assert shown.paused is not None and shown.paused.startswith("2 ticks in a row failed, the last with run ")
    assert hands.notes()[0] == "it went wrong"
    hands.move("5h")
    assert len(hands.ticks()) == 5
    assert hands.desk.resume("nightly", ANYBODY).failures == 0
    hands.move("1h")
    assert hands.ticks()[5:] == ["01 23:00 running"]  # what was due while it rested was not missed


def test_a_pause_skips_what_waits(hands: Hands) -> None:
    hands.add("0 * * * *", overlap="queue")
    hands.move("1h")
    hands.move("1h")
    hands.desk.pause("nightly", "the store moves", ANYBODY)
    hands.end()
    hands.move("5h")
    assert hands.ticks() == ["01 13:00 succeeded", "01 14:00 skipped"]
    assert hands.desk.show("nightly").paused == "the store moves"


def test_jitter_delays_each_tick_by_its_own_time(hands: Hands) -> None:
    hands.add("0 * * * *", jitter_s=1800, overlap="queue")
    waits = []
    for _ in range(3):
        shown = hands.desk.show("nightly")
        assert shown.next_due is not None and shown.next_fires is not None
        waits.append(shown.next_fires - shown.next_due)
        hands.moment = shown.next_fires - timedelta(seconds=1)
        hands.move()
        before = hands.runs()
        hands.move("1s")
        assert hands.runs() == before + 1
        hands.end()
    assert hands.ticks() == [f"01 {hour}:00 succeeded" for hour in (13, 14, 15)]
    assert len(set(waits)) == 3 and all(timedelta(0) <= wait <= timedelta(minutes=30) for wait in waits)


def test_a_schedule_for_one_time_fires_once(hands: Hands) -> None:
    hands.add({"kind": "at", "at": "2026-12-01T15:00:00+02:00"})
    for _ in range(3):
        hands.move("1h")
        hands.end()
    assert hands.ticks() == ["01 13:00 succeeded"]
    assert hands.desk.show("nightly").next_due is None
    with pytest.raises(PipelineError, match="the time has passed"):
        hands.add({"kind": "at", "at": "2026-12-01T15:00:00+02:00"}, name="late")


def test_new_files_start_a_run_once_they_no_longer_change(hands: Hands, data: Path) -> None:
    folder = data / "crawl"
    folder.mkdir()
    text = small_pipeline(data, "crawled").replace(f"{data}/in.jsonl", f"{folder}/*.jsonl")
    row = json.dumps({"id": "a", "text": "word"}) + "\n"
    (folder / "a.jsonl").write_text(row)
    loaded, _ = hands.service.checker.load(text, data)
    with hands.service.database.writing() as session:
        pipelines.save(session, loaded.pipeline, text, "a test")
    hands.add({"kind": "files", "input": "rows", "every_s": 60}, pipeline="crawled")
    hands.move()
    assert hands.runs() == 0  # seen once: it may still grow
    hands.move("1m")
    assert hands.runs() == 1
    hands.end()
    hands.move("5m")
    assert hands.runs() == 1
    (folder / "b.jsonl").write_text(row)
    hands.move("1m")
    (folder / "b.jsonl").write_text(row * 2)
    hands.move("1m")
    assert hands.runs() == 1
    hands.move("1m")
    hands.end("failed")
    hands.move("5m")
    assert hands.runs() == 2  # the same files are not tried for ever
    (folder / "c.jsonl").write_text(row)
    hands.move("1m")
    hands.move("1m")
    newest = hands.desk.history("nightly", 1)[0]
    assert newest.inputs == {"rows": {"files": 3, "new": 2, "examples": ["b.jsonl", "c.jsonl"]}}
    hands.end()
    (folder / "d.jsonl").write_text(row)
    hands.move("1m")
    hands.move("1m")
    assert hands.desk.history("nightly", 1)[0].inputs == {"rows": {"files": 4, "new": 1, "examples": ["d.jsonl"]}}


def test_an_input_that_cannot_be_listed_is_told(hands: Hands, data: Path) -> None:
    hands.add({"kind": "files", "input": "rows"})
    (data / "in.jsonl").rename(data / "away.jsonl")
    hands.move("1m")
    assert str(hands.desk.show("nightly").problem).startswith(f"no such file or folder: {data}/in.jsonl")
    (data / "away.jsonl").rename(data / "in.jsonl")
    hands.move("1m")
    hands.move("1m")
    assert hands.desk.show("nightly").problem is None and hands.runs() == 1


def test_a_pipeline_that_is_wrong_by_now_says_so_when_its_run_starts(hands: Hands) -> None:
    hands.add("0 * * * *")
    service = hands.service
    strict = Checker(service.settings.model_copy(update={"allow": ("/nowhere",)}))
    hands.ticker = Ticker(service.database, strict, service.settings, lambda: hands.moment)
    hands.move("1h")
    assert (hands.ticks(), hands.runs()) == (["01 13:00 running"], 1)
    Watch(service.database, service.launcher, strict, 1, lambda session, run: None).step()
    hands.move("1m")
    assert hands.ticks() == ["01 13:00 failed"]
    assert str(hands.notes()[0]).startswith("outside of what this service may use: ")


def test_a_pipeline_starts_when_another_has_succeeded(hands: Hands, calls: Calls, data: Path) -> None:
    calls.post("/pipelines", {"text": small_pipeline(data, "second")})
    hands.moment = now()  # the ends of runs are told by the service's own clock
    hands.add({"kind": "finished", "pipeline": "small"}, pipeline="second")
    first = [calls.post("/runs", {"pipeline": "small"})["id"] for _ in range(2)]
    hands.end("failed")
    hands.move("1m")
    assert hands.ticks() == []
    again = calls.post(f"/runs/{first[0]}/again")["id"]
    hands.end()
    assert [run["pipeline"] for run in calls.get("/runs?status=queued")["items"]] == ["second"]
    for _ in range(3):
        hands.move("1m")
        hands.end()
    assert len(hands.ticks()) == 1, again
    with pytest.raises(PipelineError, match="would never come to rest"):
        hands.add({"kind": "finished", "pipeline": "second"}, name="back")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_look_at_many_schedules_that_need_nothing_costs_a_few_queries(hands: Hands, calls: Calls, data: Path) -> None:
    calls.post("/pipelines", {"text": small_pipeline(data, "first")})
    calls.post("/runs", {"pipeline": "first"})
    hands.moment = now()  # the ends of runs are told by the service's own clock
    for number in range(20):
        hands.add({"kind": "finished", "pipeline": "first"}, name=f"after-{number}")
    hands.end()
    hands.move("1m")
    assert hands.runs() == 21
    hands.end()
    hands.move("1h")
    asked: list[str] = []
    event.listen(hands.service.database.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    hands.move("1s")
    assert 0 < len(asked) < 10, asked


def test_replicas_on_one_database_fire_each_tick_once(hands: Hands) -> None:
    for number in range(10):
        hands.add("* * * * *", name=f"s{number}", overlap="queue")
    replicas = [hands.replica() for _ in range(4)]
    for _ in range(5):
        hands.moment = hands.moment.replace(minute=hands.moment.minute + 1)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda ticker: ticker.step(), replicas))
    hands.move()
    for number in range(10):
        assert [tick[:8] for tick in hands.ticks(f"s{number}")] == [f"01 12:0{minute}" for minute in range(1, 6)]
    assert hands.runs() == 10


def test_a_person_may_run_it_at_once_unless_that_overlaps(hands: Hands) -> None:
    hands.add("0 * * * *")
    hands.desk.pause("nightly", "rest", ANYBODY)
    tick = hands.desk.run("nightly", ANYBODY)
    assert (tick.outcome, tick.note) == ("running", "asked for by anybody on this machine")
    assert tick.inputs == {"rows": {"files": 1, "new": 1, "examples": ["in.jsonl"]}}
    with pytest.raises(Conflict, match=f"has a run that goes on: {tick.run_id}"):
        hands.desk.run("nightly", ANYBODY)
    hands.end()
    assert hands.desk.run("nightly", ANYBODY).inputs == {"rows": {"files": 1, "new": 0, "examples": []}}
