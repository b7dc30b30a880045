"""`python -m tests.benchmarks.service_load [--write]`: how fast pages and lists come while a service has a past and many look on.

A real `curate serve` on a database with 50,000 runs, 1,000 schedules, their ticks and the audit trail, over SQLite and PostgreSQL.
Four runs go on, whose events grow by ten a second; 200 streams of events are open over them. Meanwhile another process asks for
pages and lists, one each tenth of a second whether or not the last has come; times count from when an answer was due to be asked for.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from curate.events import EventLog
from curate.storage import LocalStorage, join
from tests.benchmarks import corpus, readme
from tests.benchmarks.service_load_past import LIVE, Past, fill
from tests.service.postgres import Postgres, reason_to_skip
from tests.service.servers import Server

EVERY_S = 0.1
ASKING = 8  # threads: answers that are late hold up nobody else
EVENTS_S = 10
LIMIT_MS = 200
MB = 1_000_000


@dataclass
class Seen:
    """Milliseconds of every answer by what was asked for, and the service's memory second by second."""

    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    memory: list[float] = field(default_factory=list)
    processor: float = 0.0
    streams: dict[str, int] = field(default_factory=dict)


def questions(past: Past, number: int) -> list[tuple[str, str]]:
    """Return what is asked for in one round: its name and its address."""
    ended, live = past.ended[number % len(past.ended)], past.live[number % LIVE]
    return [
        ("page: runs", "/runs"),
        ("page: runs, failed", "/runs?status=failed"),
        ("page: runs of a pipeline, failed", "/runs?pipeline=web_03&status=failed"),
        ("page: runs, far back", f"/runs?after={past.ended[0]}"),
        ("page: a run that ended", f"/runs/{ended}"),
        ("page: a run that goes on", f"/runs/{live}"),
        ("page: its part that changes", f"/runs/{live}/live"),
        ("page: pipelines", "/pipelines"),
        ("page: schedules", "/schedules"),
        ("page: a schedule", f"/schedules/schedule-{number % 1000:04d}"),
        ("list: 50 runs", "/api/v1/runs"),
        ("list: 50 runs that failed or were lost", "/api/v1/runs?status=failed&status=lost"),
        ("list: 500 runs", "/api/v1/runs?limit=500"),
        ("list: 50 schedules", "/api/v1/schedules"),
        ("list: 500 schedules", "/api/v1/schedules?limit=500"),
        ("list: ticks of a schedule", f"/api/v1/schedules/schedule-{number % 1000:04d}/history"),
        ("list: audit trail", "/api/v1/audit"),
        ("a run", f"/api/v1/runs/{ended}"),
        ("metrics", "/metrics"),
    ]


class Asker:
    """Asks on a connection for each thread, which is kept."""

    def __init__(self, url: str, token: str) -> None:
        self._host, self._token = url.partition("://")[2], token
        self._mine = threading.local()

    def ask(self, path: str, due: float) -> float:
        """Return the milliseconds from when it was due until the whole answer was there."""
        try:
            status, body = self._answer(path)
        except ConnectionError:  # the service closes what was quiet for seconds
            del self._mine.connection
            status, body = self._answer(path)
        if status != 200:
            raise RuntimeError(f"{path}: {status}: {body[:500]!r}")
        return (time.monotonic() - due) * 1000

    def _answer(self, path: str) -> tuple[int, bytes]:
        if not hasattr(self._mine, "connection"):
            self._mine.connection = http.client.HTTPConnection(self._host, timeout=60)
        self._mine.connection.request("GET", path, headers={"Authorization": f"Bearer {self._token}"})
        answer = self._mine.connection.getresponse()
        return answer.status, answer.read()


@contextlib.contextmanager
def growing(past: Past) -> Iterator[None]:
    """Let the events of the runs that go on grow."""
    stopped = threading.Event()

    def grow() -> None:
        logs = [EventLog(LocalStorage(past.workspace), join("runs", run)) for run in past.live]
        for log in logs:
            log.on_event({"event": "run_started", "stages": ["pages", "clean"]})
            log.on_event({"event": "stage_started", "stage": "pages", "shards": 1_000_000})
        shard = 0
        while not stopped.wait(1 / EVENTS_S):
            done = {"event": "shard_done", "stage": "pages", "shard": shard, "rows_in": 900, "rows_out": 700, "seconds": 0.4}
            for log in logs:
                log.on_event(done | {"bytes_in": 4 * MB, "text_bytes_in": 3 * MB, "peak_rss_bytes": 300 * MB})
            shard += 1

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


@contextlib.contextmanager
def streaming(server: Server, past: Past, count: int, seen: Seen) -> Iterator[None]:
    """Hold streams open, and say afterwards what came."""
    command = [sys.executable, "-m", "tests.benchmarks.service_load_streams", server.url, str(count), *past.live]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "CURATE_TOKEN": server.token})
    assert process.stdout is not None, "it is a pipe"
    try:
        if process.stdout.readline() != b"open\n":
            raise RuntimeError("the streams did not open")
        yield
    finally:
        process.terminate()
        seen.streams = json.loads(process.communicate()[0])


def measure(server: Server, past: Past, seconds: float, seen: Seen) -> None:
    """Ask for so many seconds, and look at the service's memory meanwhile."""
    asker, process = Asker(server.url, server.token), psutil.Process(server.process.pid)
    for _, path in questions(past, 0):
        asker.ask(path, time.monotonic())  # what is made once is made
    began, spent = time.monotonic(), sum(process.cpu_times()[:2])
    with ThreadPoolExecutor(ASKING) as pool:
        asked, number = [], 0
        while (due := began + number * EVERY_S) < began + seconds:
            time.sleep(max(0.0, due - time.monotonic()))
            round_, place = divmod(number, len(questions(past, 0)))
            name, path = questions(past, round_)[place]
            asked.append((name, pool.submit(asker.ask, path, due)))
            if number % EVENTS_S == 0:
                seen.memory.append(process.memory_info().rss / MB)
            number += 1
        for name, answer in asked:
            seen.times[name].append(answer.result())
    seen.processor = (sum(process.cpu_times()[:2]) - spent) / (time.monotonic() - began)


def loaded(url: Callable[[Path], str], chosen: argparse.Namespace) -> Seen:
    """Return what was seen of a service over one database."""
    seen = Seen()
    with tempfile.TemporaryDirectory(prefix="curate-load-") as name:
        folder = Path(name)
        past = fill(url(folder), folder, chosen.runs, chosen.schedules)
        places = [str(folder), str(corpus.SAMPLE.parent)]
        server = Server(folder / "server", database=url(folder), workspace=str(past.workspace), allow=places)
        try:
            with growing(past), streaming(server, past, chosen.streams, seen):
                measure(server, past, chosen.minutes * 60, seen)
        finally:
            server.stop()
            if chosen.keep_log:
                shutil.copy(folder / "server" / "serve.log", chosen.keep_log)
    return seen


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that so large a share of the values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def table(found: dict[str, Seen]) -> Iterator[str]:
    """Yield the lines of the table."""
    names = list(found)
    yield "| " + " | ".join(["", *(f"{name}: median, ms | p95 | worst" for name in names)]) + " |"
    yield "|---|" + "--:|--:|--:|" * len(names)
    for question in found[names[0]].times:
        cells = [found[name].times[question] for name in names]
        told = [f"{statistics.median(times):,.0f} | {percentile(times, 0.95):,.0f} | {max(times):,.0f}" for times in cells]
        yield f"| {question} | " + " | ".join(told) + " |"
    yield ""
    for name, seen in found.items():
        first, last = statistics.median(seen.memory[:60]), statistics.median(seen.memory[-60:])
        worst = max(percentile(times, 0.95) for times in seen.times.values())
        yield (
            f"{name}: the highest p95 is {worst:,.0f} ms (limit {LIMIT_MS}); memory of the service, median of the first and the last minute: "
            f"{first:,.0f} and {last:,.0f} MB ({last / first - 1:+.0%}); {seen.processor:.2f} cores; {seen.streams['open']} streams open, "
            f"{seen.streams['closed']} closed, {seen.streams['events']:,} events came."
        )


def main() -> None:
    """Measure, print, and on request write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--runs", type=int, default=50_000)
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--only", choices=["SQLite", "PostgreSQL"], help="one database")
    parser.add_argument("--keep-log", type=Path, help="where the service's log is left")
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    chosen = parser.parse_args()
    found: dict[str, Seen] = {}
    if chosen.only != "PostgreSQL":
        found["SQLite"] = loaded(lambda folder: f"sqlite:///{folder / 'service.db'}", chosen)
    if chosen.only != "SQLite" and reason_to_skip() is None:
        with tempfile.TemporaryDirectory(prefix="curate-postgres-") as base:
            Path(base).chmod(0o711)
            postgres = Postgres(Path(base) / "server")
            try:
                url = postgres.database()
                found["PostgreSQL"] = loaded(lambda folder: url, chosen)
            finally:
                postgres.stop()
    head = f"{os.cpu_count()} cores; {chosen.runs:,} runs, {chosen.schedules:,} schedules, {chosen.streams} streams of events; {chosen.minutes:g} minutes."
    text = "\n".join([head, "", *table(found)])
    print(text)
    if chosen.write:
        readme.write("service under load", text)


if __name__ == "__main__":
    main()
