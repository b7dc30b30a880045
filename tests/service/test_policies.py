"""Properties of what policies make of late ticks, overlaps and failures."""

from __future__ import annotations

import functools
import itertools
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from curate.service.retries import wait_before
from curate.service.schedules.policies import (
    Due,
    End,
    Meeting,
    end_of,
    failures_after,
    fire,
    is_to_pause,
    meet,
    overlap_of,
)
from curate.service.schedules.spec import Policies

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
seconds = st.integers(0, 10_000)
ends = st.lists(st.sampled_from(["succeeded", "failed", "cancelled", "skipped", "missed"]), max_size=12)
misfires = st.sampled_from(["once", "all", "none"])


def ticks(late_s: list[int]) -> list[Due]:
    """Ticks of one schedule that are late by so many seconds, oldest first."""
    return [Due(NOW - timedelta(seconds=late), NOW - timedelta(seconds=late)) for late in sorted(set(late_s), reverse=True)]


@given(st.lists(seconds, max_size=20), st.integers(0, 5_000), misfires)
def test_every_tick_gets_one_answer_and_those_in_time_run(late_s: list[int], grace_s: int, misfire: str) -> None:
    found = ticks(late_s)
    answers = fire(found, NOW, Policies(misfire=misfire, grace_s=grace_s))
    assert [answer.due for answer in answers] == [tick.due for tick in found]
    in_time = [NOW - tick.fires <= timedelta(seconds=grace_s) for tick in found]
    assert all(answer.runs and not answer.note for answer, timely in zip(answers, in_time, strict=True) if timely)
    assert all(answer.note for answer, timely in zip(answers, in_time, strict=True) if not timely)


@given(st.lists(seconds, min_size=1, max_size=20), st.integers(0, 5_000))
def test_late_ticks_run_once_all_or_never(late_s: list[int], grace_s: int) -> None:
    found = ticks(late_s)
    late = [NOW - tick.fires > timedelta(seconds=grace_s) for tick in found]

    def running(misfire: str) -> list[bool]:
        return [answer.runs for answer in fire(found, NOW, Policies(misfire=misfire, grace_s=grace_s))]

    assert all(running("all"))
    assert running("none") == [not each for each in late]
    once = running("once")
    assert once[-1] and sum(runs for runs, each in zip(once, late, strict=True) if each) == (1 if late[-1] else 0)


def test_notes_say_how_late_and_what_runs_instead() -> None:
    found = ticks([7200, 3600, 10])
    once = fire(found, NOW, Policies())
    assert [(answer.runs, answer.note) for answer in once] == [
        (False, "the tick of 2026-12-01 11:59:50 UTC runs for it"),
        (False, "the tick of 2026-12-01 11:59:50 UTC runs for it"),
        (True, None),
    ]
    assert [answer.note for answer in fire(found, NOW, Policies(misfire="none"))] == ["2 h 00 min late", "1 h 00 min late", None]


def test_a_wait_by_jitter_is_not_lateness() -> None:
    tick = Due(NOW - timedelta(minutes=10), NOW - timedelta(seconds=5))
    assert fire([tick], NOW, Policies(misfire="none", jitter_s=900))[0].runs


def test_an_overlap_skips_waits_or_cancels() -> None:
    assert [meet(0, overlap) for overlap in ("skip", "queue", "cancel_older")] == [Meeting("start")] * 3
    assert meet(1, "skip") == Meeting("skip")
    assert meet(2, "queue") == Meeting("wait")
    assert meet(2, "cancel_older") == Meeting("wait", cancels=True)


def test_late_ticks_that_are_all_to_run_wait_for_each_other() -> None:
    found = ticks([7200, 10])
    policies = Policies(misfire="all", overlap="skip")
    assert [overlap_of(fired, policies) for fired in fire(found, NOW, policies)] == ["queue", "skip"]


@given(st.integers(1, 100), st.integers(0, 10_000))
def test_waits_double_up_to_an_hour(retry: int, backoff_s: int) -> None:
    hour = timedelta(hours=1)
    assert wait_before(1, backoff_s) == min(timedelta(seconds=backoff_s), hour)
    assert wait_before(retry + 1, backoff_s) == min(2 * wait_before(retry, backoff_s), hour)


def test_how_a_tick_ends() -> None:
    assert [end_of(status) for status in ("succeeded", "failed", "lost", "gated", "cancelled")] == [
        "succeeded",
        "failed",
        "failed",
        "failed",
        "cancelled",
    ]


@given(ends, st.integers(1, 4))
def test_ticks_that_did_not_run_neither_count_nor_forgive(oldest_first: list[End], pause_after: int) -> None:
    failures = functools.reduce(failures_after, oldest_first, 0)
    ran = [end for end in oldest_first if end in ("succeeded", "failed")]
    assert failures == len(list(itertools.takewhile(lambda end: end == "failed", reversed(ran))))
    assert is_to_pause(failures, Policies(pause_after=pause_after)) == (len(ran) >= pause_after and set(ran[-pause_after:]) == {"failed"})
    assert not is_to_pause(failures, Policies())
