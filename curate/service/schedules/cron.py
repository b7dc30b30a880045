"""When a cron expression is due in a time zone, right over both changes of the clock.

Five fields as Debian's cron reads them, and the names `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
What happens when clocks change follows Debian's cron as well:

- an expression with fixed minutes and hours (`30 2 * * *`) fires once a day: a time that is skipped fires right after the
  gap, a time that comes twice fires the first time;
- one whose minute or hour begins with `*` (`0 * * * *`, `*/15 * * * *`) goes with real time: an hour that is skipped has
  no ticks, an hour that comes twice has them twice.

`cronsim` reads the fields and tells times of a clock; which moments those are is decided here: given a zone, `cronsim` 2.8
misses ticks where clocks move by half an hour (Australia/Lord_Howe). All moments are given and taken in UTC.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from curate.errors import PipelineError
from curate.registry import suggest

NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
LONGEST_CHANGE = timedelta(hours=3)
"""More than any zone moves its clocks; Antarctica/Troll moves them by two hours."""
_MINUTE = timedelta(minutes=1)
_SOME_DAY = datetime(2026, 1, 1)
_HINT = "five fields: minute hour day-of-month month day-of-week, such as `30 2 * * *`, or @hourly, @daily, @weekly, @monthly, @yearly"


@dataclass(frozen=True)
class CronTimes:
    """A cron expression in a time zone (an IANA name); raises `PipelineError` when one of the two is none."""

    expression: str
    zone: str = "UTC"

    def __post_init__(self) -> None:
        fields = self.fields
        if len(fields) != 5:
            raise PipelineError(f"not a cron expression: {self.expression!r} has {len(fields)} fields", _HINT)
        zone_named(self.zone)
        try:
            next(self.parsed)
        except CronSimError as error:
            raise PipelineError(f"not a cron expression: {self.expression!r}: {_lowered(error)}", _HINT) from None
        except StopIteration:
            raise PipelineError(f"{self.expression!r} is never due", "no year of the next fifty has such a day") from None

    @property
    def fields(self) -> list[str]:
        """Minute, hour, day of the month, month and day of the week, as written; names such as `@daily` in full."""
        return NAMED.get(self.expression.strip().lower(), self.expression).upper().split()

    @property
    def parsed(self) -> CronSim:
        """The expression as `cronsim` reads it, with no zone."""
        return CronSim(" ".join(self.fields), _SOME_DAY)

    @property
    def goes_with_real_time(self) -> bool:
        """Whether the minute or the hour begins with `*`, so that ticks follow each other in real time."""
        return self.fields[0].startswith("*") or self.fields[1].startswith("*")

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the moments later than `moment` at which it is due, each later than the one before, without end."""
        zone, last = zone_named(self.zone), moment.astimezone(UTC)
        start = last.astimezone(zone).replace(tzinfo=None) - LONGEST_CHANGE
        waiting: list[datetime] = []
        for clock in CronSim(" ".join(self.fields), start):
            found = _real(clock, zone) if self.goes_with_real_time else [_first_existing(clock, zone)]
            for each in found:
                heapq.heappush(waiting, each)
            while waiting and found and waiting[0] <= found[0]:  # the second half of a doubled hour waits for the rest of the first
                if (due := heapq.heappop(waiting)) > last:
                    yield (last := due)


def _real(clock: datetime, zone: ZoneInfo) -> list[datetime]:
    """Return the moments at which clocks of the zone show that time: one, two in a doubled hour, none in a skipped one."""
    moments = {clock.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(moment for moment in moments if moment.astimezone(zone).replace(tzinfo=None) == clock)


def _first_existing(clock: datetime, zone: ZoneInfo) -> datetime:
    """Return the first moment at which clocks of the zone show that time, or the end of the gap that it lies in."""
    while not (moments := _real(clock, zone)):
        clock += _MINUTE
    return moments[0]


def zone_named(name: str) -> ZoneInfo:
    """Return the time zone of that IANA name; raises `PipelineError` when there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # an unknown key, one that leaves the folder, one that is a folder
        hint = suggest(name, sorted(available_timezones())) or "an IANA name such as Europe/Berlin or UTC"
        raise PipelineError(f"no time zone {name!r}", hint) from None


def jitter(schedule: str, due: datetime, at_most_s: float) -> timedelta:
    """Return how long after `due` this tick of this schedule waits: the same answer on every replica and after every restart."""
    digest = hashlib.sha256(f"{schedule} {due.astimezone(UTC).isoformat()}".encode()).digest()
    return timedelta(seconds=at_most_s * int.from_bytes(digest[:8], "big") / (1 << 64))


def _lowered(error: CronSimError) -> str:
    told = str(error)
    return told[:1].lower() + told[1:]
