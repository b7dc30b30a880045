"""The manifests: valid, restricted, reachable only where they must be, and as large as the stages need."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from curate.executors.base import Resources
from curate.pipeline_yaml import load_pipeline
from tests.conftest import ROOT
from tests.deploy.manifests import FOLDER, OVERLAYS, Manifest, Pod, built, of_kind, pods, quantity, ray_spec, rayjob
from tests.deploy.policies import may_reach

KUBERNETES = ("1.29", "1.37")
CRDS = {"RayCluster", "RayJob"}
OUTSIDE, METADATA = "203.0.113.7", "169.254.169.254"
RECIPES = sorted((ROOT / "pipelines").glob("*.yaml"))


def manifests(overlay: str) -> list[Manifest]:
    return [rayjob()] if overlay == "rayjob" else built(FOLDER / overlay)


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("overlay", [*OVERLAYS, "rayjob"])
def test_everything_is_valid(overlay: str, version: str) -> None:
    found = manifests(overlay)
    for manifest in found:
        if manifest["kind"] not in CRDS:
            kubernetes_validate.validate(manifest, version, strict=True)
    for pod in pods(found).values():
        whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod.name}, "spec": dict(pod.spec)}
        kubernetes_validate.validate(whole, version, strict=True)


def test_a_misspelt_field_is_noticed() -> None:
    pod = pods([rayjob()])["curate-web-head"]
    whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {**pod.spec, "nodeSelektor": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(whole, KUBERNETES[-1], strict=True)


@pytest.mark.parametrize("overlay", [*OVERLAYS, "rayjob"])
def test_no_pod_may_run_as_root_or_gain_rights(overlay: str) -> None:
    """The rules of the profile `restricted`, which the namespace enforces."""
    found = manifests(overlay)
    clusters = [ray_spec(manifest) for manifest in found if manifest["kind"] in CRDS]
    contexts = [spec["autoscalerOptions"]["securityContext"] for spec in clusters]
    for pod in pods(found).values():
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod.spec)
        assert not [volume for volume in pod.spec.get("volumes", []) if "hostPath" in volume]
        assert pod.spec["securityContext"]["runAsUser"] > 0
        contexts += [container["securityContext"] for container in [*pod.containers, *pod.spec.get("initContainers", [])]]
    for context in contexts:
        assert context["runAsNonRoot"] and context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]} and context["seccompProfile"] == {"type": "RuntimeDefault"}
    namespaces = of_kind(found, "Namespace")
    assert all(space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted" for space in namespaces)


@pytest.mark.parametrize("overlay", [*OVERLAYS, "rayjob"])
def test_memory_is_reserved_and_images_are_pinned(overlay: str) -> None:
    for pod in pods(manifests(overlay)).values():
        for container in pod.containers:
            asked, limit = container["resources"]["requests"], container["resources"]["limits"]
            assert asked["memory"] == limit["memory"] and "cpu" in asked, f"{pod.name} may be evicted"
            assert re.fullmatch(r"\S+:[\w.-]*\d[\w.-]*", container["image"]), f"{pod.name}: {container['image']}"


def workers(overlay: str) -> dict[str, Resources]:
    """What Ray will see of a worker of each group: KubeRay tells it the container's limits."""
    [spec] = [ray_spec(manifest) for manifest in manifests(overlay) if manifest["kind"] in CRDS]
    found = {}
    for group in spec["workerGroupSpecs"]:
        [container] = group["template"]["spec"]["containers"]
        limit = container["resources"]["limits"]
        gpus = float(limit.get("nvidia.com/gpu", 0))
        found[group["groupName"]] = Resources(quantity(limit["cpu"]), int(quantity(limit["memory"])), gpus)
    return found


def fits(need: Resources, node: Resources) -> bool:
    return need.cpus <= node.cpus and (need.memory or 0) <= (node.memory or 0) and need.gpus <= node.gpus


@pytest.mark.parametrize("overlay", [*OVERLAYS, "rayjob"])
def test_resources_of_every_stage_fit_a_worker(overlay: str) -> None:
    found = workers(overlay)
    for recipe in RECIPES:
        for name, stage in load_pipeline(str(recipe)).pipeline.stages.items():
            assert any(fits(stage.resources, node) for node in found.values()), f"{recipe.name}: {name} would wait for ever"


@pytest.mark.parametrize("overlay", [*OVERLAYS, "rayjob"])
def test_resources_of_a_worker_are_four_gibibytes_for_each_core(overlay: str) -> None:
    assert {node.memory / node.cpus / 2**30 for node in workers(overlay).values() if node.memory and not node.gpus} == {4.0}


def test_resources_of_a_gpu_stage_fit_the_component_alone() -> None:
    stage = Resources(gpus=1)
    assert [name for name, node in workers("cloud").items() if fits(stage, node)] == ["gpu"]
    assert not any(fits(stage, node) for node in workers("base").values())


@pytest.mark.parametrize("cloud", ["gke", "eks", "aks"])
def test_spot_machines_are_asked_for_first_and_never_for_the_head(cloud: str, tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to(FOLDER)
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(f"resources: [../x/base]\ncomponents: [../x/spot/{cloud}]\n")
    [cluster] = of_kind(built(overlay), "RayCluster")
    steady, spot = cluster["spec"]["workerGroupSpecs"]
    [toleration] = spot["template"]["spec"]["tolerations"]
    assert spot["groupName"] == "spot" and spot["priority"] > steady.get("priority", 0)
    assert spot["template"]["spec"]["nodeSelector"][toleration["key"]] == toleration["value"]
    others = (steady["template"]["spec"], cluster["spec"]["headGroupSpec"]["template"]["spec"])
    assert not [spec for spec in others if "tolerations" in spec or toleration["key"] in spec["nodeSelector"]]


def demo() -> tuple[list[Manifest], dict[str, Pod]]:
    found = manifests("demo")
    return of_kind(found, "NetworkPolicy"), pods(found)


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        ("curate-service", "curate-head", 8265),
        ("curate-service", "curate-database", 5432),
        ("curate-service", "curate-store", 9000),
        ("curate-steady", "curate-head", 6379),
        ("curate-head", "curate-steady", 30123),
        ("curate-steady", "curate-store", 9000),
        ("curate-bucket", "curate-store", 9000),
        ("curate-head", OUTSIDE, 443),
        ("curate-service", OUTSIDE, 443),
    ],
)
def test_policies_let_through_what_works_together(source: str, target: str, port: int) -> None:
    policies, found = demo()
    assert may_reach(policies, found.get(source, source), found.get(target, target), port)


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        ("curate-service", "curate-head", 6379),
        ("curate-service", "curate-steady", 8265),
        ("curate-steady", "curate-service", 8300),
        ("curate-steady", "curate-database", 5432),
        ("curate-database", "curate-store", 9000),
        ("curate-bucket", "curate-head", 6379),
        ("curate-store", OUTSIDE, 443),
        ("curate-steady", METADATA, 443),
        ("curate-service", METADATA, 80),
        ("curate-steady", OUTSIDE, 25),
        (OUTSIDE, "curate-head", 8265),
        (OUTSIDE, "curate-service", 8300),
    ],
)
def test_policies_stop_everything_else(source: str, target: str, port: int) -> None:
    policies, found = demo()
    assert not may_reach(policies, found.get(source, source), found.get(target, target), port)


def test_a_job_of_its_own_reaches_its_head() -> None:
    policies = of_kind(manifests("base"), "NetworkPolicy")
    found = pods([rayjob()])
    assert may_reach(policies, found["curate-web-submitter"], found["curate-web-head"], 8265)
    assert not may_reach(policies, found["curate-web-submitter"], found["curate-web-workers"], 8265)


def test_names_lead_to_services_that_exist() -> None:
    found = manifests("demo")
    services = {service["metadata"]["name"]: service["spec"]["selector"] for service in of_kind(found, "Service")}
    assert set(services) == {"curate-service", "curate-database", "curate-store"}
    every = list(pods(found).values())
    for name, selector in services.items():
        assert [pod.name for pod in every if selector.items() <= pod.labels.items()] == [name]


def references(value: Any) -> set[tuple[str, str | None]]:
    """Return the secrets that pods read, with the key where they name one."""
    if isinstance(value, Mapping):
        here = {(value[kind]["name"], value[kind].get("key")) for kind in ("secretKeyRef", "secretRef") if kind in value}
        return here.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_every_secret_is_made_by_somebody() -> None:
    page = (FOLDER / "README.md").read_text()
    made = {("curate", "auth_token"), ("curate-store", None)}  # the first is KubeRay's
    for command in re.findall(r"create secret generic (.+?)(?<!\\)\n", page, re.DOTALL):
        made |= {(command.split()[0], key) for key in re.findall(r"--from-literal=(\w+)=", command)}
    assert references([pod.spec for pod in pods(manifests("demo")).values()]) <= made
