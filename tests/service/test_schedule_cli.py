"""`curate schedule` against a real service, whose schedules fire by themselves and start real runs."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.service.commands import Curate
from tests.service.conftest import small_pipeline
from tests.service.servers import Server
from tests.service.waiting import until


@pytest.fixture
def curate(curate: Curate) -> Curate:
    """Calls of `curate schedule`."""
    return Curate(curate.capsys, "schedule")


def add_for_soon(curate: Curate, *words: str) -> None:
    """Add a schedule for a moment that has not passed when the service hears of it."""
    until(lambda: curate("add", *words, "--at", (datetime.now(UTC) + timedelta(seconds=1)).isoformat()).code == 0)


def ticks(curate: Curate, name: str) -> Any:
    return orjson.loads(curate("history", name, "--json").out)


def ended(curate: Curate, name: str) -> Any:
    """Return the newest tick once it has ended."""
    return until(lambda: next((tick for tick in ticks(curate, name)[:1] if tick["outcome"] not in ("waiting", "running")), None))


def test_a_schedule_is_added_with_all_that_can_be_said_and_shown(curate: Curate) -> None:
    said = ["--cron", "30 2 * * *", "--zone", "Europe/Berlin", "--overlap", "queue", "--misfire", "none", "--grace", "5m"]
    said += ["--retries", "2", "--back-off", "90s", "--deadline", "6h", "--jitter", "10m", "--pause-after", "3", "--until", "long"]
    said += ["--workers", "2", "--workspace", "other", "--set", "long.length.min_chars=5"]
    added = curate("add", "nightly", "pipeline.yaml", *said)
    assert added.code == 0, added.err
    assert added.err == "pipeline.yaml is version 1 of small\n"
    assert added.out.startswith("nightly runs small: 30 2 * * * Europe/Berlin, next 20")
    assert added.out.endswith(("02:30 CET\n", "02:30 CEST\n"))
    kept = orjson.loads(curate("show", "nightly", "--json").out)
    assert kept["policies"] == {
        "overlap": "queue",
        "misfire": "none",
        "grace_s": 300.0,
        "retries": 2,
        "backoff_s": 90.0,
        "deadline_s": 21600.0,
        "jitter_s": 600.0,
        "pause_after": 3,
    }
    assert (kept["until"], kept["workers"], kept["sets"]) == ("long", 2, ["long.length.min_chars=5"])
    assert kept["workspace"] == os.path.abspath("other")
    shown = dict(line.split(maxsplit=1) for line in curate("show", "nightly").out.splitlines())
    assert (shown["retries"], shown["deadline"]) == ("2, the first after 90s", "6h")
    assert (shown["misfire"], shown["pauses"]) == ("none, when more than 5m late", "after 3 ticks in a row that failed")
    assert shown["next"].endswith("later by its jitter") and shown["then"].count("02:30") == 5
    taken = curate("add", "nightly", "small", "--cron", "@hourly")
    assert taken.code == 1 and "error: there is a schedule `nightly` already\nhint: remove it" in taken.err
    replaced = curate("add", "nightly", "small", "--cron", "@hourly", "--version", "1", "--replace")
    assert replaced.out.startswith("nightly runs small: @hourly UTC")
    assert "pipeline  small, version 1\n" in curate("show", "nightly").out


def test_a_schedule_fires_by_itself_and_its_history_is_told(curate: Curate, server: Server) -> None:
    add_for_soon(curate, "once", "pipeline.yaml", "--set", "long.length.min_chars=110")
    tick = ended(curate, "once")
    assert (tick["outcome"], tick["note"]) == ("succeeded", None)
    run = server.client.run(tick["run_id"])
    assert run.summary is not None and run.summary["stages"]["long"]["rows_out"] == 19
    head, told = curate("history", "once").out.splitlines()
    assert head.split() == ["due", "outcome", "run"]
    assert f"UTC  succeeded  {tick['run_id']}  rows: 1 new of 1 file" in told
    assert f"last      {told.split(' UTC')[0]} UTC succeeded {run.id}" in curate("show", "once").out


def test_new_files_start_a_run_and_its_success_another(curate: Curate, folder: Path) -> None:
    crawl = folder / "crawl"
    crawl.mkdir()
    for name in ("crawled", "second"):
        (folder / f"{name}.yaml").write_text(small_pipeline(folder, name).replace(f"{folder}/in.jsonl", f"{crawl}/*.jsonl"))
    assert curate("add", "incoming", "crawled.yaml", "--files", "rows", "--every", "1s").code == 0
    assert curate("add", "following", "second.yaml", "--after", "crawled").out == "following runs second: after crawled\n"
    (crawl / "a.jsonl").write_text((folder / "in.jsonl").read_text())
    assert ended(curate, "following")["outcome"] == "succeeded"
    assert ticks(curate, "incoming")[0]["inputs"]["rows"] == {"files": 1, "new": 1, "examples": ["a.jsonl"]}
    listed = curate("list", "--pipeline", "crawled").out.splitlines()
    assert [line.split("  ")[0] for line in listed] == ["schedule", "incoming"]
    assert "new files of rows, every 1s" in listed[1]
    assert curate("remove", "incoming").out == "incoming is removed; its history goes on if it is added again\n"
    assert curate("show", "incoming").err.startswith("error: no schedule `incoming`\n")


def test_what_fails_is_tried_again_and_rests_until_it_is_mended(curate: Curate, server: Server, folder: Path) -> None:
    (folder / "full").write_text("a file where a folder must be")
    (folder / "failing.yaml").write_text(small_pipeline(folder, "failing").replace(f"{folder}/out/failing", f"{folder}/full/out"))
    add_for_soon(curate, "failing", "failing.yaml", "--retries", "1", "--back-off", "0s", "--pause-after", "2")
    tick = ended(curate, "failing")
    assert (tick["outcome"], server.client.run(tick["run_id"]).attempt) == ("failed", 2)
    again = curate("run", "failing", "--wait")
    assert again.code == 1 and "error: " in again.err
    reason = until(lambda: orjson.loads(curate("show", "failing", "--json").out)["paused"])
    assert reason.startswith("2 ticks in a row failed, the last with run ")
    assert f"paused: {reason}"[:39] in curate("list").out
    (folder / "full").unlink()
    assert curate("resume", "failing").out.startswith("failing runs failing: once, 20")
    done = curate("run", "failing", "--wait", "--json")
    assert done.code == 0 and orjson.loads(done.out)["stages"]["long"]["rows_out"] == 21
    assert "long: reused" in done.err or "long: done" in done.err


def test_a_schedule_that_rests_tells_why(curate: Curate) -> None:
    assert curate("add", "resting", "pipeline.yaml", "--cron", "0 0 1 1 *").code == 0
    assert curate("history", "resting").err == "resting was not due yet: `curate schedule show resting` tells the next time\n"
    assert curate("pause", "resting", "--reason", "the store \x1b[31mmoves").out == "resting rests: the store \ufffd[31mmoves\n"
    assert curate("pause", "resting").code == 0
    line = next(line for line in curate("list").out.splitlines() if line.startswith("resting"))
    assert "paused: the store \ufffd[31mmoves" in line
    assert curate("resume", "resting").out.startswith("resting runs small: 0 0 1 1 * UTC, next 20")
    assert "paused" not in curate("show", "resting").out


def test_a_run_at_once_is_not_waited_for_unless_asked_and_waits_for_the_one_before(curate: Curate, server: Server) -> None:
    assert curate("add", "asked", "pipeline.yaml", "--cron", "0 0 1 1 *", "--overlap", "queue").code == 0
    told = curate("run", "asked")
    first = told.out.split()[1]
    assert told.out == f"run {first} is with {server.url}\n"
    waited = curate("run", "asked", "--wait", "--json", "--quiet")
    assert (waited.code, waited.err) == (0, "")
    second = orjson.loads(waited.out)["run_id"]
    assert [(tick["run_id"], tick["note"]) for tick in ticks(curate, "asked")] == [
        (second, "asked for by admin"),
        (first, "asked for by admin"),
    ]
    assert server.client.run(first).status == "succeeded"


def test_whoever_waits_cancels_by_what_service_managers_send(curate: Curate, server: Server) -> None:
    assert curate("add", "stopped", "pipeline.yaml", "--cron", "0 0 1 1 *", "--set", "long.length.min_chars=77").code == 0

    def going() -> str | None:
        return next((tick["run_id"] for tick in server.client.schedules.history("stopped") if tick["run_id"]), None)

    def stop() -> None:
        until(lambda: (run_id := going()) and server.client.run(run_id).status == "running")
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    stopper = threading.Thread(target=stop)
    stopper.start()
    try:
        stopped = curate("run", "stopped", "--wait")
    finally:
        stopper.join()
        signal.signal(signal.SIGTERM, before)
    assert (stopped.code, stopped.out) == (130, "") and stopped.err.endswith("interrupted\n")
    run = server.client.wait(str(going()))
    assert run.status == "cancelled", run


def test_a_schedule_is_exported_for_those_who_have_another_scheduler(curate: Curate, folder: Path) -> None:
    assert curate("add", "export", "pipeline.yaml", "--cron", "30 2 * * *", "--zone", "Europe/Berlin", "--pause-after", "3").code == 0
    printed = curate("export", "export", "--as", "cron", "--pipeline-file", "/srv/small.yaml")
    assert "not carried over: pause after failures\n" in printed.err
    assert printed.out.startswith("==> export.crontab <==\n") and "\n==> export.sh <==\n#!/bin/sh\n" in printed.out
    assert "curate run /srv/small.yaml" in printed.out
    for target, names in (("systemd", 3), ("k8s-cronjob", 1), ("airflow", 1)):
        written = curate("export", "export", "--as", target, "-o", f"units/{target}")
        assert written.code == 0, written.err
        assert written.out == "".join(f"wrote units/{target}/{file.name}\n" for file in map(Path, written.out.split()[1::2]))
        assert len(list((folder / "units" / target).iterdir())) == names
    script = folder / "units" / "systemd" / "export.sh"
    assert os.access(script, os.X_OK) and subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0
    assert "error: in.jsonl/export.crontab: cannot be written" in curate("export", "export", "--as", "cron", "-o", "in.jsonl").err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "a schedule has one of `--cron`, `--at`, `--files` and `--after`"),
        (["--cron", "@daily", "--at", "2999-12-01"], "a schedule has one of"),
        (["--after", "small", "--zone", "UTC"], "`--after` goes without `--zone`"),
        (["--cron", "@daily", "--every", "5m"], "`--cron` goes without `--every`"),
        (["--files", "rows", "--every", "5 minutes"], "not a span of time: '5 minutes'; such as 90s, 5m, 6h or 2d"),
        (["--at", "tomorrow"], "not a time: tomorrow"),
        (["--at", "9999-12-31T23:59", "--zone", "America/New_York"], "not a time: 9999-12-31T23:59"),
        (["--at", "2999-12-01T02:00+01:00", "--zone", "UTC"], "has an offset, and goes without `--zone`"),
        (["--at", "2999-12-01T02:00", "--zone", "Europe/Berln"], "no time zone 'Europe/Berln'"),
        (["--at", "2027-03-28T02:30", "--zone", "Europe/Berlin"], "the clocks of Europe/Berlin skip 2027-03-28T02:30:00"),
        (["--at", "2020-12-01T02:00"], "the time has passed: 2020-12-01T02:00:00+00:00"),
        (["--cron", "30 2 * *"], "'30 2 * *' has 4 fields"),
        (["--cron", "@daily", "--version", "1"], "`--version` goes without a file"),
        (["--cron", "@daily", "--set", "long.length.min_char=5"], "unknown parameter `min_char` of `length`"),
    ],
)
def test_mistakes_are_told_and_end_with_2(curate: Curate, words: list[str], told: str) -> None:
    refused = curate("add", "wrong", "pipeline.yaml", *words)
    assert (refused.code, refused.out) == (2, "")
    assert told in refused.err


def test_mistakes_in_a_file_are_told_with_its_name(curate: Curate, folder: Path) -> None:
    (folder / "wrong.yaml").write_text(small_pipeline(folder, "wrong").replace("min_chars", "min_char"))
    assert "error: wrong.yaml:9: unknown parameter `min_char`" in curate("add", "wrong", "wrong.yaml", "--cron", "@daily").err
    (folder / "latin.yaml").write_bytes("name: é\n".encode("latin-1"))
    assert "error: latin.yaml: not UTF-8 text" in curate("add", "wrong", "latin.yaml", "--cron", "@daily").err


def test_a_time_without_an_offset_is_one_of_the_zone(curate: Curate) -> None:
    for name, words in {"summer": ["--zone", "Europe/Berlin"], "plain": []}.items():
        assert curate("add", name, "pipeline.yaml", "--at", "2999-07-01T02:00", *words).code == 0
    kept = {name: orjson.loads(curate("show", name, "--json").out)["next_due"] for name in ("summer", "plain")}
    assert kept == {"summer": "2999-07-01T00:00:00Z", "plain": "2999-07-01T02:00:00Z"}


def test_a_service_that_is_not_named_or_not_there_is_told(curate: Curate, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = curate("list", "--service", "http://127.0.0.1:1")
    assert absent.code == 1 and "does not answer" in absent.err
    monkeypatch.delenv("CURATE_SERVICE")
    missing = curate("list")
    assert missing.code == 2 and "--service" in missing.err
