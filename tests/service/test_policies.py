"""Properties of what policies make of late ticks, overlaps and failures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.service.schedules.policies import (
    Due,
    Meeting,
    deadline,
    end_of,
    failures_in_a_row,
    fire,
    is_to_pause,
    meet,
    retry_at,
    wait_before,
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
        (True, ""),
    ]
    assert [answer.note for answer in fire(found, NOW, Policies(misfire="none"))] == ["2 h 00 min late", "1 h 00 min late", ""]


def test_a_wait_by_jitter_is_not_lateness() -> None:
    tick = Due(NOW - timedelta(minutes=10), NOW - timedelta(seconds=5))
    assert fire([tick], NOW, Policies(misfire="none", jitter_s=900))[0].runs


def test_an_overlap_skips_waits_or_cancels() -> None:
    assert [meet(0, overlap) for overlap in ("skip", "queue", "cancel_older")] == [Meeting("start")] * 3
    assert meet(1, "skip") == Meeting("skip")
    assert meet(2, "queue") == Meeting("wait")
    assert meet(2, "cancel_older") == Meeting("wait", cancels=True)


@given(st.integers(1, 100), st.integers(0, 10_000), st.integers(0, 100_000))
def test_waits_double_up_to_the_longest(retry: int, backoff_s: int, max_backoff_s: int) -> None:
    policies = Policies(backoff_s=backoff_s, max_backoff_s=max_backoff_s)
    wait, following = wait_before(retry, policies), wait_before(retry + 1, policies)
    assert wait_before(1, policies) == timedelta(seconds=min(backoff_s, max_backoff_s))
    assert following == min(2 * wait, timedelta(seconds=max_backoff_s))


@given(st.sampled_from(["failed", "lost"]), st.integers(0, 6), seconds, st.one_of(st.none(), st.integers(1, 10_000)))
def test_a_failed_run_is_tried_again_as_often_as_told_and_never_past_the_deadline(
    status: str, retries: int, took_s: int, deadline_s: int | None
) -> None:
    policies = Policies(retries=retries, backoff_s=10, deadline_s=deadline_s)
    moment, runs = NOW + timedelta(seconds=took_s), 1
    while (again := retry_at(status, runs, moment, NOW, policies)) is not None:
        assert again - moment == wait_before(runs, policies)
        assert deadline_s is None or again < NOW + timedelta(seconds=deadline_s)
        moment, runs = again + timedelta(seconds=took_s), runs + 1
    assert runs <= retries + 1
    assert deadline_s is not None or runs == retries + 1


@pytest.mark.parametrize("status", ["succeeded", "gated", "cancelled"])
def test_what_would_go_the_same_way_again_is_not_tried_again(status: str) -> None:
    assert retry_at(status, 1, NOW, NOW, Policies(retries=5)) is None


def test_a_deadline_counts_from_firing() -> None:
    assert deadline(NOW, Policies(deadline_s=60)) == NOW + timedelta(minutes=1)
    assert deadline(NOW, Policies()) is None


def test_how_a_tick_ends() -> None:
    assert [end_of(status) for status in ("succeeded", "failed", "lost", "gated", "cancelled")] == [
        "succeeded",
        "failed",
        "failed",
        "failed",
        "cancelled",
    ]


@given(ends, ends)
def test_a_success_forgives_what_came_before(newer: list[str], older: list[str]) -> None:
    assert failures_in_a_row([*newer, "succeeded", *older]) == failures_in_a_row(newer)
    assert failures_in_a_row(newer) <= newer.count("failed")


@given(ends, st.integers(1, 4))
def test_ticks_that_did_not_run_neither_count_nor_forgive(newest_first: list[str], pause_after: int) -> None:
    ran = [end for end in newest_first if end in ("succeeded", "failed")]
    assert is_to_pause(newest_first, Policies(pause_after=pause_after)) == (
        len(ran) >= pause_after and set(ran[:pause_after]) == {"failed"}
    )
    assert not is_to_pause(newest_first, Policies())
