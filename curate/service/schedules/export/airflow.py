"""A DAG of one task for Airflow 3."""

from __future__ import annotations

from datetime import UTC

from curate.service.retries import LONGEST_WAIT_S
from curate.service.schedules.cron import CronTimes
from curate.service.schedules.export.job import FINAL_CODES, Exported, Job, command, comment, five_fields, unsupported
from curate.service.schedules.spec import ScheduleSpec

_DAG = """{head}
import subprocess
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException
from airflow.timetables.trigger import CronTriggerTimetable

COMMAND = {command!r}
FINAL_CODES = {final_codes!r}  # the pipeline is wrong, or a check said no: the same comes again

with DAG(
    dag_id={dag_id!r},
    schedule=CronTriggerTimetable({expression!r}, timezone={zone!r}),
    start_date=datetime({start}, tzinfo=UTC),
    catchup={catchup!r},
    max_active_runs=1,
    tags=["curate"],
):

    @task(
        retries={retries!r},
        retry_delay=timedelta(seconds={backoff!r}),
        retry_exponential_backoff=True,
        max_retry_delay=timedelta(seconds={longest!r}),
        execution_timeout={timeout},
    )
    def run() -> None:
        code = subprocess.run(COMMAND, check=False).returncode
        if code in FINAL_CODES:
            raise AirflowFailException(f"curate run ended with exit code {{code}}")
        if code:
            raise RuntimeError(f"curate run ended with exit code {{code}}")

    run()
"""


def export(spec: ScheduleSpec, times: CronTimes, job: Job) -> Exported:
    """Write `curate_NAME.py` for Airflow's folder of DAGs; times from `job.since` on are caught up with if all are to run."""
    policies, since = spec.policies, job.since.astimezone(UTC)
    lost = unsupported(policies, overlaps=("queue",), misfires=("none", "all"), able=("retries", "back-off", "deadline"))
    if policies.deadline_s is not None:
        lost.append("one deadline for all tries; here each has its own")
    dag = _DAG.format(
        head=comment(spec, lost),
        command=command(spec, job),
        final_codes=FINAL_CODES,
        dag_id=f"curate_{spec.name}",
        expression=five_fields(times, "airflow", joins_star_steps=False),
        zone=times.zone,
        start=f"{since.year}, {since.month}, {since.day}, {since.hour}, {since.minute}",
        catchup=policies.misfire == "all",
        retries=policies.retries,
        backoff=policies.backoff_s,
        longest=LONGEST_WAIT_S,
        timeout="None" if policies.deadline_s is None else f"timedelta(seconds={policies.deadline_s!r})",
    )
    return Exported({f"curate_{spec.name}.py": dag}, tuple(lost))
