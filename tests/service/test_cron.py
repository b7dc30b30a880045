"""Times of cron expressions beside an independent reading of them, minute by minute, over both changes of the clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import PipelineError
from curate.service.schedules.cron import CronTimes, jitter

MINUTE = timedelta(minutes=1)
ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Africa/Cairo", "Australia/Lord_Howe", "Antarctica/Troll", "Asia/Kolkata")
"""Cairo skips midnight, Lord Howe changes by half an hour, Troll by two."""
CHANGES = {
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "Africa/Cairo": ("2026-04-24", "2026-10-29"),
    "Antarctica/Troll": ("2026-03-29", "2026-10-25"),
    "Australia/Lord_Howe": ("2026-10-04", "2026-04-05"),
}


def local(expression: str, zone: str, start: str, number: int) -> list[str]:
    """The first times after a local moment, as the clocks of the zone show them, with the offset."""
    found = islice(CronTimes(expression, zone).after(datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone))), number)
    return [moment.astimezone(ZoneInfo(zone)).strftime("%d %H:%M %z") for moment in found]


def test_a_nightly_job_on_the_skipped_hour_runs_once_right_after_it() -> None:
    times = local("30 2 * * *", "America/New_York", "2026-03-07T12:00", 3)
    assert times == ["08 03:00 -0400", "09 02:30 -0400", "10 02:30 -0400"]


def test_a_nightly_job_on_the_doubled_hour_runs_the_first_time_only() -> None:
    times = local("30 1 * * *", "America/New_York", "2026-10-31T12:00", 3)
    assert times == ["01 01:30 -0400", "02 01:30 -0500", "03 01:30 -0500"]


def test_who_asks_within_the_doubled_hour_is_not_told_a_time_that_has_passed() -> None:
    second = datetime(2026, 11, 1, 1, 10, fold=1, tzinfo=ZoneInfo("America/New_York"))
    found = next(CronTimes("30 1 * * *", "America/New_York").after(second))
    assert found == datetime(2026, 11, 2, 6, 30, tzinfo=UTC)


def test_an_hourly_job_goes_with_real_time() -> None:
    assert local("0 * * * *", "Europe/Berlin", "2026-03-29T00:30", 3) == ["29 01:00 +0100", "29 03:00 +0200", "29 04:00 +0200"]
    assert local("0 * * * *", "Europe/Berlin", "2026-10-25T00:30", 4) == [
        "25 01:00 +0200",
        "25 02:00 +0200",
        "25 02:00 +0100",
        "25 03:00 +0100",
    ]
    moments = list(islice(CronTimes("0 * * * *", "Europe/Berlin").after(datetime(2026, 3, 28, tzinfo=UTC)), 24 * 365))
    assert {later - earlier for earlier, later in pairwise(moments)} == {timedelta(hours=1)}


def test_several_times_in_the_skipped_hour_become_one() -> None:
    assert local("0,20,40 2 * * *", "Europe/Berlin", "2026-03-28T23:00", 2) == ["29 03:00 +0200", "30 02:00 +0200"]


def test_a_job_at_a_midnight_that_is_skipped_runs_at_one() -> None:
    assert local("@daily", "Africa/Cairo", "2026-04-23T12:00", 2) == ["24 01:00 +0300", "25 00:00 +0300"]


def test_minutes_of_a_skipped_hour_do_not_exist() -> None:
    assert local("*/20 0 24 4 *", "Africa/Cairo", "2026-04-23T12:00", 1) == ["24 00:00 +0200"]  # of the next year


def field(names: range) -> st.SearchStrategy[str]:
    """A field of a cron expression: a star, a step, a number, a list or a range."""
    number = st.integers(names.start, names.stop - 1)
    several = st.lists(number, min_size=2, max_size=3).map(lambda found: ",".join(map(str, found)))
    span = st.tuples(number, number).map(lambda ends: f"{min(ends)}-{max(ends)}")
    return st.one_of(st.just("*"), st.integers(2, 30).map(lambda step: f"*/{step}"), number.map(str), several, span)


def members(text: str, names: range) -> set[int]:
    """What a field of that kind names."""
    if text.startswith("*"):
        return set(names[:: int(text[2:] or 1)])
    if "-" in text:
        first, last = map(int, text.split("-"))
        return set(range(first, last + 1))
    return set(map(int, text.split(",")))


def reading(expression: str) -> Callable[[datetime], bool]:
    """Tell of a local time whether the expression names it."""
    minutes, hours = (members(text, names) for text, names in zip(expression.split(), (range(60), range(24)), strict=False))
    weekdays = members(expression.split()[4], range(7))
    return lambda moment: moment.minute in minutes and moment.hour in hours and moment.isoweekday() % 7 in weekdays


def expected(times: CronTimes, start: datetime, end: datetime) -> list[datetime]:
    """The due times in (start, end], found by looking at every minute."""
    named, zone, found = reading(times.expression), ZoneInfo(times.zone), set()
    if times.goes_with_real_time:
        moment = start
        while (moment := moment + MINUTE) <= end:
            if named(moment.astimezone(zone).replace(tzinfo=None)):
                found.add(moment)
    else:
        clock = start.astimezone(zone).replace(tzinfo=None) - timedelta(days=1)
        while (clock := clock + MINUTE) <= end.astimezone(zone).replace(tzinfo=None) + timedelta(days=1):
            if named(clock):
                found.add(first_existing(clock, zone))
    return sorted(moment for moment in found if start < moment <= end)


def first_existing(clock: datetime, zone: ZoneInfo) -> datetime:
    """The first moment at which the clocks show that time, or the first one after the gap that holds it."""
    while (moment := clock.replace(tzinfo=zone).astimezone(UTC)).astimezone(zone).replace(tzinfo=None) != clock:
        clock += MINUTE
    return moment


@settings(max_examples=150)
@given(minute=field(range(60)), hour=field(range(24)), weekday=st.one_of(st.just("*"), field(range(7))), data=st.data())
def test_times_are_those_that_a_look_at_every_minute_finds(minute: str, hour: str, weekday: str, data: st.DataObject) -> None:
    zone = data.draw(st.sampled_from(ZONES))
    day = data.draw(st.sampled_from(CHANGES.get(zone, ("2026-02-27", "2026-12-31"))))
    start = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(minutes=data.draw(st.integers(0, 1440)))
    end = start + timedelta(days=2)
    times = CronTimes(f"{minute} {hour} * * {weekday}", zone)
    assert list(takewhile(lambda moment: moment <= end, times.after(start))) == expected(times, start, end)


@pytest.mark.parametrize(
    ("expression", "zone", "told"),
    [
        ("30 2 * *", "UTC", "4 fields"),
        ("* * * * * *", "UTC", "6 fields"),
        ("61 2 * * *", "UTC", "bad minute"),
        ("0 0 30 2 *", "UTC", "bad day-of-month"),
        ("0 0 29 2 MON#5L", "UTC", "bad day-of-week"),
        ("@nightly", "UTC", "1 fields"),
        ("0 2 * * *", "Europe/Berln", "no time zone 'Europe/Berln'\nhint: did you mean `Europe/Berlin`?"),
        ("0 2 * * *", "../../etc/passwd", "no time zone"),
        ("0 2 * * *", "Europe", "no time zone"),
        ("0 2 * * *", "", "no time zone"),
    ],
)
def test_what_is_no_schedule_is_told(expression: str, zone: str, told: str) -> None:
    with pytest.raises(PipelineError) as error:
        CronTimes(expression, zone)
    assert told in str(error.value)
    assert error.value.hint


@given(st.floats(0, 86_400), st.datetimes(timezones=st.just(UTC)), st.text(max_size=8))
def test_jitter_is_the_same_for_a_tick_wherever_it_is_asked(at_most_s: float, due: datetime, name: str) -> None:
    wait = jitter(name, due, at_most_s)
    assert timedelta(0) <= wait <= timedelta(seconds=at_most_s)
    assert wait == jitter(name, due.astimezone(ZoneInfo("Asia/Kolkata")), at_most_s)


def test_jitter_spreads_schedules_that_are_due_together() -> None:
    due = datetime(2026, 12, 1, 2, tzinfo=UTC)
    waits = sorted(jitter(f"schedule-{number}", due, 600).total_seconds() for number in range(1000))
    shares = [sum(1 for wait in waits if 60 * tenth <= wait < 60 * (tenth + 1)) for tenth in range(10)]
    assert min(shares) > 60  # of 100 each on average
