"""A schedule for a scheduler that is already there: cron, systemd, a Kubernetes CronJob, Airflow.

exported = export(spec, "systemd", job)
exported.files   {"curate-nightly.timer": …, …}
exported.lost    sentences: what the schedule says and the other scheduler cannot do
"""

from __future__ import annotations

from curate.errors import PipelineError
from curate.service.schedules.export import airflow, cron, kubernetes, systemd
from curate.service.schedules.export.job import Exported, Job, Target
from curate.service.schedules.spec import AtTrigger, CronTrigger, ScheduleSpec

__all__ = ["TARGETS", "Exported", "Job", "Target", "export"]

TARGETS: tuple[Target, ...] = ("cron", "systemd", "k8s-cronjob", "airflow")


def export(spec: ScheduleSpec, target: Target, job: Job) -> Exported:
    """Write the schedule as files of another scheduler; raises `PipelineError` for a trigger that it does not have."""
    trigger = spec.trigger
    if isinstance(trigger, AtTrigger) and target == "systemd":
        return systemd.export_once(spec, trigger, job)
    if not isinstance(trigger, CronTrigger):
        wanted = "a cron expression or a one-off time" if target == "systemd" else "a cron expression"
        told = f"schedule `{spec.name}` cannot be exported as {target}: its trigger is `{trigger.kind}`"
        raise PipelineError(told, f"{target} takes {wanted}")
    writers = {"cron": cron.export, "systemd": systemd.export, "k8s-cronjob": kubernetes.export, "airflow": airflow.export}
    return writers[target](spec, trigger.times, job)
