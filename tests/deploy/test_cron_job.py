"""The job that a schedule is exported as, in the namespace of the manifests: it may run there, and reaches what it needs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import yaml

from curate.service.schedules.export import Job, export
from curate.service.schedules.spec import CronTrigger, ScheduleSpec
from tests.conftest import ROOT
from tests.deploy.manifests import FOLDER, Pod, built, of_kind, pods, quantity
from tests.deploy.policies import may_reach

METADATA = "169.254.169.254"


@pytest.fixture(scope="module")
def pod() -> Pod:
    spec = ScheduleSpec(name="nightly", pipeline="web", trigger=CronTrigger(expression="30 2 * * *"))
    job = Job("web.yaml", "name: web\n", "s3://curate/workspace", datetime(2026, 12, 1, tzinfo=UTC))
    return pods(list(yaml.safe_load_all(export(spec, "k8s-cronjob", job).files["nightly.yaml"])))["curate-nightly"]


def test_the_namespace_lets_it_in(pod: Pod) -> None:
    """The rules of the profile `restricted`."""
    [container] = pod.containers
    assert pod.spec["securityContext"]["runAsNonRoot"] and pod.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert (
        container["securityContext"]["capabilities"] == {"drop": ["ALL"]} and not container["securityContext"]["allowPrivilegeEscalation"]
    )


def test_it_is_the_user_of_the_image_and_keeps_its_kernels_where_it_can_write(pod: Pod) -> None:
    assert f"USER {pod.spec['securityContext']['runAsUser']}:" in (ROOT / "docker" / "Dockerfile").read_text()
    [container] = pod.containers
    [cache] = [entry["value"] for entry in container["env"] if entry["name"] == "NUMBA_CACHE_DIR"]
    writable = [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
    assert any(cache.startswith(f"{folder}/") for folder in writable)


def test_it_has_four_gibibytes_for_each_core_that_it_sees(pod: Pod) -> None:
    limits = pod.containers[0]["resources"]["limits"]
    assert quantity(limits["memory"]) / quantity(limits["cpu"]) == 4 * 2**30
    assert pod.containers[0]["resources"]["requests"] == limits


def test_it_reaches_the_object_store_and_not_what_is_others(pod: Pod) -> None:
    manifests = built(FOLDER / "demo")
    policies, others = of_kind(manifests, "NetworkPolicy"), pods(manifests)
    assert may_reach(policies, pod, others["curate-store"], 9000) and may_reach(policies, pod, "203.0.113.7", 443)
    assert not any(may_reach(policies, pod, METADATA, port) for port in (80, 443))
    assert not may_reach(policies, pod, others["curate-database"], 5432)
    assert not may_reach(policies, pod, others["curate-service"], 8300)
    assert not may_reach(policies, pod, others["curate-head"], 6379)
