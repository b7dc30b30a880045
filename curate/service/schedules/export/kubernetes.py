"""A Kubernetes CronJob, and the pipeline beside it in a ConfigMap."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import yaml

from curate.service.schedules.cron import CronTimes
from curate.service.schedules.export.job import FINAL_CODES, Exported, Job, command, comment, five_fields, unsupported, whole_seconds
from curate.service.schedules.spec import ScheduleSpec
from curate.storage import is_remote

_LONGEST_NAME = 52
_SOONEST_S = 10  # the controller looks every ten seconds; a shorter deadline for starting may never be met
_FOLDER = "/etc/curate"
_SIZE = {"cpu": "2", "memory": "8Gi"}  # 4 GiB for each core, and as many workers as cores
_USER = 1000  # the image's


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are."""


def _represent(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent)


def export(spec: ScheduleSpec, times: CronTimes, job: Job) -> Exported:
    """Write `NAME.yaml` for `kubectl apply`; a workspace on a local path lies on the claim `curate-workspace`."""
    able = ("retries", "deadline")
    lost = unsupported(spec.policies, overlaps=("skip", "cancel_older"), misfires=("once", "none"), able=able)
    documents = [_config_map(spec, job), _cron_job(spec, five_fields(times, "k8s-cronjob", joins_star_steps=False), times.zone, job)]
    text = "---\n".join(yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120) for document in documents)
    return Exported({f"{spec.name}.yaml": comment(spec, lost) + text}, tuple(lost))


def _name(spec: ScheduleSpec) -> str:
    plain = re.sub(r"[^a-z0-9-]+", "-", f"curate-{spec.name}".lower())
    return plain[:_LONGEST_NAME].strip("-")


def _config_map(spec: ScheduleSpec, job: Job) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": _name(spec)}, "data": {"pipeline.yaml": job.text}}


def _cron_job(spec: ScheduleSpec, expression: str, zone: str, job: Job) -> dict[str, Any]:
    policies = spec.policies
    deadline = {} if policies.deadline_s is None else {"activeDeadlineSeconds": whole_seconds(policies.deadline_s)}
    soon = {"startingDeadlineSeconds": max(whole_seconds(policies.grace_s), _SOONEST_S)} if policies.misfire == "none" else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": _name(spec), "labels": {"app.kubernetes.io/name": "curate"}},
        "spec": {
            "schedule": expression,
            "timeZone": zone,
            "concurrencyPolicy": "Replace" if policies.overlap == "cancel_older" else "Forbid",
            **soon,
            "jobTemplate": {"spec": {"backoffLimit": policies.retries, **deadline, **_final_codes(), "template": _pod(spec, job)}},
        },
    }


def _final_codes() -> dict[str, Any]:
    """A wrong pipeline and a refusal by a check are not tried again."""
    rule = {"action": "FailJob", "onExitCodes": {"containerName": "curate", "operator": "In", "values": list(FINAL_CODES)}}
    return {"podFailurePolicy": {"rules": [rule]}}


def _pod(spec: ScheduleSpec, job: Job) -> dict[str, Any]:
    mounts = [{"name": "pipeline", "mountPath": _FOLDER, "readOnly": True}, {"name": "scratch", "mountPath": "/tmp"}]  # noqa: S108 - the pod's own
    volumes: list[dict[str, Any]] = [{"name": "pipeline", "configMap": {"name": _name(spec)}}, {"name": "scratch", "emptyDir": {}}]
    if not is_remote(job.workspace):
        mounts.append({"name": "workspace", "mountPath": job.workspace, "readOnly": False})
        volumes.append({"name": "workspace", "persistentVolumeClaim": {"claimName": "curate-workspace"}})
    container = {
        "name": "curate",
        "image": job.image,
        "command": command(spec, replace(job, pipeline_file=f"{_FOLDER}/pipeline.yaml")),
        "envFrom": [{"secretRef": {"name": "curate-store", "optional": True}}],
        "env": [{"name": "NUMBA_CACHE_DIR", "value": "/tmp/numba"}],  # noqa: S108 - the root is read-only
        "resources": {"requests": dict(_SIZE), "limits": dict(_SIZE)},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": mounts,
    }
    security = {"runAsNonRoot": True, "runAsUser": _USER, "fsGroup": _USER, "seccompProfile": {"type": "RuntimeDefault"}}
    labels = {"app.kubernetes.io/name": "curate-run"}  # network policies of deploy/kubernetes know it
    pod = {"restartPolicy": "Never", "automountServiceAccountToken": False, "securityContext": security, "containers": [container]}
    return {"metadata": {"labels": labels}, "spec": pod | {"volumes": volumes}}
