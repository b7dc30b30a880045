"""Numbers for Prometheus, and logs as lines of JSON."""

from __future__ import annotations

import json
import logging

from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from curate.service.logs import JsonLines
from tests.service.calls import Calls


def test_metrics_count_what_runs_did_and_what_waits(app: FastAPI, calls: Calls, text: str) -> None:
    calls.watched_to_end(app.state.service.watch, calls.post("/runs", {"text": text})["id"])
    calls.post("/runs", {"text": text})
    answer = calls.client.get("/metrics", headers={"Authorization": f"Bearer {calls.token}"})
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert values["curate_runs_ended_total", "small", "succeeded"] == 1
    assert values["curate_runs", "queued"] == 1
    assert [values["curate_documents_total", "small", what] for what in ("in", "kept", "dropped")] == [40, 21, 19]
    assert values["curate_drops_total", "small", "long", "length"] == 19
    assert values["curate_run_retries_total", "small"] == 0
    assert values["curate_run_peak_rss_bytes_count",] == 1
    assert values["curate_queue_oldest_seconds",] >= 0


def test_a_line_of_the_log_is_an_object_that_names_its_run() -> None:
    record = logging.makeLogRecord(
        {"name": "curate.service.watch", "levelname": "INFO", "msg": "attempt %s", "args": ("a\nb",), "run": "r1"}
    )
    line = JsonLines().format(record)
    assert "\n" not in line
    told = json.loads(line)
    assert (told["message"], told["run"], told["level"]) == ("attempt a\nb", "r1", "info")
