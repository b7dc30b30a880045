"""A systemd timer and the service that it starts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC

from cronsim import CronSim

from curate.errors import PipelineError
from curate.service.schedules.cron import CronTimes
from curate.service.schedules.export.cron import script
from curate.service.schedules.export.job import Exported, Job, comment, unsupported, whole_seconds
from curate.service.schedules.spec import AtTrigger, ScheduleSpec

_WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_SERVICE = """[Unit]
Description=curate: schedule {name}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
User=curate
WorkingDirectory=/var/lib/curate
EnvironmentFile=-/etc/curate/environment
ExecStart=/etc/curate/{name}.sh
# Ctrl-C's signal: the driver stops its workers, and the next run goes on from the finished shards.
KillSignal=SIGINT
TimeoutStartSec={timeout}
TimeoutStopSec=60
NoNewPrivileges=true
PrivateTmp=true
ProtectSystem=strict
ProtectHome=true
StateDirectory=curate
"""
_TIMER = """[Unit]
Description=curate: when schedule {name} is due

[Timer]
{when}
RandomizedDelaySec={jitter}
AccuracySec=1s
Persistent={persistent}

[Install]
WantedBy=timers.target
"""


def export(spec: ScheduleSpec, times: CronTimes, job: Job) -> Exported:
    """Write `curate-NAME.timer`, `curate-NAME.service` and `NAME.sh`."""
    gap = ["a time that the clocks skip: systemd lets that day pass"] if not times.goes_with_real_time and times.zone != "UTC" else []
    return _files(spec, list(calendar(times)), job, gap)


def export_once(spec: ScheduleSpec, trigger: AtTrigger, job: Job) -> Exported:
    """Write the same for one time."""
    return _files(spec, [f"{trigger.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"], job, [])


def _files(spec: ScheduleSpec, when: list[str], job: Job, lost: list[str]) -> Exported:
    policies = spec.policies
    able = ("retries", "back-off", "deadline", "jitter")
    lost = [*unsupported(policies, overlaps=("skip",), misfires=("once", "none"), able=able), *lost]
    timeout = "infinity" if policies.deadline_s is None else str(whole_seconds(policies.deadline_s))
    timer = _TIMER.format(
        name=spec.name,
        when="\n".join(f"OnCalendar={line}" for line in when),
        jitter=whole_seconds(policies.jitter_s),
        persistent="false" if policies.misfire == "none" else "true",
    )
    head = comment(spec, lost)
    files = {
        f"curate-{spec.name}.timer": head + timer,
        f"curate-{spec.name}.service": head + _SERVICE.format(name=spec.name, timeout=timeout),
        f"{spec.name}.sh": script(spec, job, whole=False),
    }
    return Exported(files, tuple(lost))


def calendar(times: CronTimes) -> Iterator[str]:
    """Yield the lines of `OnCalendar=` that together are due when the expression is."""
    parsed = times.parsed
    clock = f"{_listed(parsed.hours, 24)}:{_listed(parsed.minutes, 60)}:00 {times.zone}"
    months = _listed(parsed.months, 12)
    for weekdays, day in _days(times, parsed):
        yield f"{weekdays} *-{months}{day} {clock}".lstrip()


def _listed(numbers: set[int], all_of_them: int) -> str:
    return "*" if len(numbers) == all_of_them else ",".join(f"{number:02d}" for number in sorted(numbers))


def _days(times: CronTimes, parsed: CronSim) -> Iterator[tuple[str, str]]:
    """Yield (weekdays, days of the month): one that fits both fields where both must match, else each by itself."""
    of_month, of_week = list(_of_month(times, parsed)), list(_of_week(parsed))
    if not parsed.day_and:
        yield from (("", day) for day in of_month)
        yield from ((names, day or "-*") for names, day in of_week)
        return
    for day in of_month:
        for names, within in of_week:
            if within is not None and day != "-*":
                raise PipelineError(f"systemd cannot join a day of the month with `#` or `L`: {times.expression!r}", "use one of them")
            yield names, within or day


def _of_month(times: CronTimes, parsed: CronSim) -> Iterator[str]:
    if CronSim.LAST_WEEKDAY in parsed.days:
        raise PipelineError(f"systemd does not know `LW`, the last weekday: {times.expression!r}", "use `L`, the last day")
    if numbers := {day for day in parsed.days if day > 0}:
        yield "-" + _listed(numbers, 31)
    if CronSim.LAST in parsed.days:
        yield "~01"


def _of_week(parsed: CronSim) -> Iterator[tuple[str, str | None]]:
    """Yield (names, days of the month that these names mean, None for all)."""
    if plain := {day % 7 for day in parsed.weekdays if isinstance(day, int)}:
        yield ("" if len(plain) == 7 else ",".join(_WEEKDAYS[day] for day in sorted(plain))), None
    for day in parsed.weekdays:
        if isinstance(day, tuple):
            weekday, nth = day
            yield _WEEKDAYS[weekday % 7], "~07/1" if nth == CronSim.LAST else f"-{7 * nth - 6:02d}..{min(7 * nth, 31):02d}"
