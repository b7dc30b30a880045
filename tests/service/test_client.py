"""`curate.Client` and `curate run --service` against a real service."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from curate.client_schedules import NewSchedule, Schedule, Tick
from curate.errors import PipelineError
from curate.service.schedules.spec import ScheduleSpec
from curate.service.schedules.views import ScheduleOut, TickOut
from tests.service.commands import Curate
from tests.service.conftest import small_pipeline
from tests.service.servers import Server


def test_events_are_told_as_they_come_and_end(server: Server, folder: Path) -> None:
    run = server.client.submit(small_pipeline(folder, "told"))
    events = [event["event"] for event in server.client.events(run.id)]
    assert (events[0], events[-1]) == ("run_started", "run_done")
    ended = server.client.run(run.id)
    assert (ended.status, ended.ended) == ("succeeded", True)
    assert [event["event"] for event in server.client.events(run.id)] == events, "a run that has ended is told from its beginning"
    assert run.id in [other.id for other in server.client.runs(pipeline="told")]


def test_the_same_key_gives_the_same_run(server: Server, folder: Path) -> None:
    text = small_pipeline(folder, "once")
    first, again = (server.client.submit(text, key="a key") for _ in range(2))
    assert first.id == again.id
    with pytest.raises(PipelineError, match="used for another run"):
        server.client.submit(text, key="a key", limit=5)
    assert server.client.submit(text, key="another key").id != first.id


def test_curate_run_shows_the_same_as_without_a_service(curate: Curate) -> None:
    done = curate("run", "pipeline.yaml", "--json", "--set", "long.length.min_chars=110")
    assert done.code == 0, done.err
    assert orjson.loads(done.out)["stages"]["long"]["rows_out"] == 19
    assert "long: done, 40 in, 19 out" in done.err
    wrong = curate("run", "pipeline.yaml", "--set", "long.length.min_chars=many")
    assert wrong.code == 2
    assert "--set long.length.min_chars=many: `min_chars` of `length` must be" in wrong.err


def test_a_wrong_token_is_told_in_words(curate: Curate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATE_TOKEN", "curate_forged")
    refused = curate("run", "pipeline.yaml")
    assert refused.code == 1
    assert "error: the token is not known, has expired or was revoked\nhint: " in refused.err


def test_the_client_says_of_schedules_what_the_service_says() -> None:
    """Said twice, since a client has none of the service's packages."""
    for ours, theirs in ((NewSchedule, ScheduleSpec), (Schedule, ScheduleOut), (Tick, TickOut)):
        assert ours.__annotations__.keys() == theirs.model_fields.keys()
