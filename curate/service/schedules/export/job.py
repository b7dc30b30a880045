"""What every exported schedule needs: the command, the name, and what other schedulers cannot say."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from curate.errors import PipelineError
from curate.service.schedules.cron import CronTimes
from curate.service.schedules.spec import Policies, ScheduleSpec

Target = Literal["cron", "systemd", "k8s-cronjob", "airflow"]
HEADER = "Exported by a curate service from schedule `{schedule}`, pipeline `{pipeline}`."
FINAL_CODES = (2, 3)
"""Exit codes of `curate run` that come again when it is run again: the pipeline is wrong, a check said no."""
_PLAIN = re.compile(r"\*(/\d+)?|[0-9A-Z]+(-[0-9A-Z]+)?(,[0-9A-Z]+(-[0-9A-Z]+)?)*")


@dataclass(frozen=True)
class Job:
    """What runs: `pipeline_file` is where the pipeline lies on the other scheduler's machine, `text` what is in it.

    `workspace` is where it runs, `since` when the other scheduler takes over, `image` what Kubernetes runs.
    """

    pipeline_file: str
    text: str
    workspace: str
    since: datetime
    image: str = "registry.example/curate:latest"


@dataclass(frozen=True)
class Exported:
    """Files by name, and sentences on what they cannot carry."""

    files: Mapping[str, str]
    lost: tuple[str, ...] = ()


def command(spec: ScheduleSpec, job: Job) -> list[str]:
    """Return the `curate run` that a person would type."""
    chosen = {"until": spec.until, "workers": spec.workers}
    options = [*(f"--set={one}" for one in spec.sets), *(f"--{name}={value}" for name, value in chosen.items() if value is not None)]
    return ["curate", "run", job.pipeline_file, f"--workspace={job.workspace}", *options, "--quiet"]


def shell(spec: ScheduleSpec, job: Job) -> str:
    """Return the command as a line for a shell."""
    return shlex.join(command(spec, job))


def comment(spec: ScheduleSpec, lost: Sequence[str]) -> str:
    """Return the lines that head a file: where it comes from, and what it cannot carry."""
    lines = [HEADER.format(schedule=spec.name, pipeline=spec.pipeline), *(f"Not carried over: {one}" for one in lost)]
    return "".join(f"# {line}\n" for line in lines)


def whole_seconds(seconds: float) -> int:
    """Return seconds as schedulers take them, rounded up."""
    return math.ceil(seconds)


def five_fields(times: CronTimes, target: Target, joins_star_steps: bool) -> str:
    """Return the expression for a scheduler that knows numbers, names, lists, ranges and steps of `*`, and no more.

    Where both days are restricted and one begins with `*`, both must match here and in Debian's cron; schedulers without
    that rule (`joins_star_steps` false) cannot have it, nor does any of them know `L`, `LW` and `#`.
    """
    fields, parsed = times.fields, times.parsed
    days = fields[2], fields[4]
    if any("#" in day or re.search(r"(^|\d)LW?$", day) for day in days):
        raise PipelineError(f"{target} does not know `L` and `#`: {times.expression!r}", "systemd does: --as systemd")
    if not joins_star_steps and parsed.day_and and "*" not in days:
        raise PipelineError(
            f"{target} would run {times.expression!r} when either day matches, not when both do", "systemd knows it: --as systemd"
        )
    sets: list[Iterable[Any]] = [parsed.minutes, parsed.hours, parsed.days, parsed.months, parsed.weekdays]
    written = [field if _PLAIN.fullmatch(field) else ",".join(map(str, sorted(each))) for field, each in zip(fields, sets, strict=True)]
    if written[4] != "*":
        written[4] = ",".join(map(str, sorted({day % 7 for day in parsed.weekdays if isinstance(day, int)})))
    return " ".join(written)


def unsupported(policies: Policies, *, overlaps: Sequence[str], misfires: Sequence[str], able: Sequence[str]) -> list[str]:
    """Return what a scheduler cannot do that knows only these overlaps, these misfires, and of the others those in `able`."""
    told = []
    if policies.overlap not in overlaps:
        told.append(f"overlap `{policies.overlap}`; here it is `{overlaps[0]}`")
    if policies.misfire not in misfires:
        told.append(f"misfire `{policies.misfire}`; here it is `{misfires[0]}`")
    wanted = {
        "retries": policies.retries > 0,
        "back-off": policies.retries > 0,
        "deadline": policies.deadline_s is not None,
        "jitter": policies.jitter_s > 0,
        "pause after failures": policies.pause_after is not None,
    }
    return told + [name for name, used in wanted.items() if used and name not in able]
