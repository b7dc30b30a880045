"""A crontab line and the script that it calls. The script carries the policies that cron itself does not know."""

from __future__ import annotations

from curate.service.retries import wait_before
from curate.service.schedules.cron import CronTimes
from curate.service.schedules.export.job import FINAL_CODES, Exported, Job, comment, five_fields, shell, unsupported, whole_seconds
from curate.service.schedules.spec import Policies, ScheduleSpec

_TIMED_OUT = 124
_INTERRUPTED = 130
_KILL_AFTER_S = 60


def export(spec: ScheduleSpec, times: CronTimes, job: Job) -> Exported:
    """Write `NAME.crontab` and `NAME.sh`; the line goes into `crontab -e`, the script to `/etc/curate`."""
    policies = spec.policies
    able = ("retries", "back-off", "deadline", "jitter")
    lost = unsupported(policies, overlaps=("skip", "queue"), misfires=("none",), able=able)
    zone = "" if times.zone == "UTC" else f"# Debian's cron does not read CRON_TZ: the machine's zone must be {times.zone} there.\n"
    line = f"{five_fields(times, 'cron', joins_star_steps=True)} /etc/curate/{spec.name}.sh"
    crontab = f"{comment(spec, lost)}{zone}CRON_TZ={times.zone}\n{line}\n"
    return Exported({f"{spec.name}.crontab": crontab, f"{spec.name}.sh": script(spec, job, whole=True)}, tuple(lost))


def script(spec: ScheduleSpec, job: Job, whole: bool) -> str:
    """Return a shell script that runs the pipeline with retries; with `whole` also jitter, overlap and deadline."""
    policies = spec.policies
    before = [*_overlap(policies), *_jitter(policies), *_deadline(policies)] if whole else []
    limit = f'timeout --signal=INT --kill-after={_KILL_AFTER_S} "$(left)" ' if whole and policies.deadline_s else ""
    lines = ["#!/bin/sh", comment(spec, ()).strip(), "set -u", *before, "run() {", f"    {limit}{shell(spec, job)}", "}", *_tries(policies)]
    return "\n".join(lines) + "\n"


def _overlap(policies: Policies) -> list[str]:
    """Lock the script itself: it is there, and whoever runs it may read it."""
    if policies.overlap == "queue":
        return ['exec 9< "$0"', "flock 9"]
    return ['exec 9< "$0"', 'flock --nonblock 9 || { echo "skipped: the last run still goes on" >&2; exit 0; }']


def _jitter(policies: Policies) -> list[str]:
    longest = whole_seconds(policies.jitter_s)
    return [f'sleep "$(shuf --input-range=0-{longest} --head-count=1)"'] if longest else []


def _deadline(policies: Policies) -> list[str]:
    if policies.deadline_s is None:
        return []
    ends = f"ends=$(($(date +%s) + {whole_seconds(policies.deadline_s)}))"
    # `timeout 0` would mean no limit at all
    return [ends, "left() {", "    seconds=$((ends - $(date +%s)))", '    echo "$((seconds > 1 ? seconds : 1))"', "}"]


def _tries(policies: Policies) -> list[str]:
    if not policies.retries:
        return ["run"]
    waits = " ".join(str(whole_seconds(wait_before(retry, policies.backoff_s).total_seconds())) for retry in range(1, policies.retries + 1))
    final = " | ".join(map(str, (0, *FINAL_CODES, _TIMED_OUT, _INTERRUPTED)))
    return [
        f"for wait in {waits}; do",
        "    run",
        "    status=$?",
        f'    case $status in {final}) exit "$status" ;; esac # done, wrong, refused by a check, out of time, interrupted',
        '    sleep "$wait"',
        "done",
        "run",
    ]
