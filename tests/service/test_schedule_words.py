"""Schedules in words: what plain cron expressions mean, and that awkward ones are left as they are written."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from curate.errors import PipelineError
from curate.service.pages.schedule_words import in_words, moment_in, policies_in_words
from curate.service.schedules.cron import CronTimes
from curate.service.schedules.spans import seconds_of, span
from curate.service.schedules.spec import Policies


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("30 2 * * *", "every day at 02:30"),
        ("@daily", "every day at 00:00"),
        ("0 6,18 * * *", "every day at 06:00 and 18:00"),
        ("0 */6 * * *", "every day at 00:00, 06:00, 12:00 and 18:00"),
        ("5 */2 * * *", "every 2 hours at minute 5"),
        ("@hourly", "every hour at minute 0"),
        ("* * * * *", "every minute"),
        ("*/15 * * * *", "every 15 minutes"),
        ("*/15 * * * 1-5", "Monday to Friday every 15 minutes"),
        ("0 4 * * SUN", "on Sundays at 04:00"),
        ("0 4 * * 7,3", "on Sundays and Wednesdays at 04:00"),
        ("@monthly", "on day 1 of each month at 00:00"),
        ("0 0 1,15 * *", "on days 1 and 15 of each month at 00:00"),
        ("7-11 3 * * *", None),
        ("*/7 * * * *", None),
        ("0 0 L * *", None),
        ("0 0 * * 1#2", None),
        ("0 0 1 7 *", None),
        ("0 0 1-31 * 1", None),  # either day matches: every day
        ("0 0 13 * 5", None),
    ],
)
def test_expressions_in_words(expression: str, words: str | None) -> None:
    assert in_words(CronTimes(expression)) == words


def test_moments_stand_as_the_clocks_of_the_zone_show_them() -> None:
    moment = datetime(2026, 12, 1, 1, 30, tzinfo=UTC)
    assert moment_in(moment, "Europe/Berlin") == "Tue 1 Dec 2026, 02:30"
    assert moment_in(moment.replace(second=7), "America/New_York") == "Mon 30 Nov 2026, 20:30:07"


def test_policies_in_words() -> None:
    assert policies_in_words(Policies()) == [
        "A tick that comes while the last run goes on is skipped.",
        "Ticks that nobody saw within 1 min 00 s make one run together.",
        "A run that fails or is lost is not tried again.",
    ]
    chosen = Policies(overlap="queue", misfire="none", grace_s=0, retries=2, deadline_s=21600, jitter_s=600, pause_after=3)
    assert policies_in_words(chosen) == [
        "A tick that comes while the last run goes on waits for its end.",
        "Late ticks are missed.",
        "A run that fails or is lost is tried again 2 times, after 1 min 00 s at first and twice as long each time, up to an hour.",
        "A run must be done within 6 h 00 min, further attempts included.",
        "Each tick waits up to 10 min 00 s, so that schedules of one time do not start together.",
        "After 3 failures in a row the schedule is paused.",
    ]


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("90", 90), ("1.5m", 90), ("6 h", 21600), ("2d", 172800), ("0s", 0)])
def test_spans_of_time(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds
    assert seconds_of(span(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5m", "5 weeks", "1e3"])
def test_what_is_no_span_of_time_is_refused(text: str) -> None:
    with pytest.raises(PipelineError, match="not a span of time"):
        seconds_of(text)
