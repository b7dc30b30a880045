"""What tests ask of manifests: built by kustomize, taken apart into pods and policies."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("base", "demo", "cloud")
Manifest = Mapping[str, Any]


@functools.cache
def built(folder: Path) -> list[Manifest]:
    """Build a kustomization; skip the test where there is no kustomize."""
    command = next((command for command in (["kubectl", "kustomize"], ["kustomize", "build"]) if shutil.which(command[0])), None)
    if command is None:
        pytest.skip("needs kubectl or kustomize")
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def rayjob() -> Manifest:
    """The job that stands by itself."""
    return dict(yaml.safe_load((FOLDER / "rayjob.yaml").read_text()))


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


@dataclass(frozen=True)
class Pod:
    """A pod that a manifest leads to, with the labels that it will wear."""

    name: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def containers(self) -> list[Mapping[str, Any]]:
        return list(self.spec["containers"])


def pods(manifests: list[Manifest]) -> dict[str, Pod]:
    """Return every pod by its name: those of workloads, and those that KubeRay makes, with the labels that it gives them."""
    return {pod.name: pod for manifest in manifests for pod in _pods(manifest)}


def _pods(manifest: Manifest) -> Iterator[Pod]:
    kind, name, spec = manifest["kind"], manifest["metadata"]["name"], manifest.get("spec", {})
    if kind in ("Deployment", "StatefulSet"):
        yield Pod(name, spec["template"]["metadata"]["labels"], spec["template"]["spec"])
    elif kind == "Job":
        yield Pod(name, {"batch.kubernetes.io/job-name": name}, spec["template"]["spec"])
    elif kind == "CronJob":
        template = spec["jobTemplate"]["spec"]["template"]
        yield Pod(name, template["metadata"]["labels"] | {"batch.kubernetes.io/job-name": f"{name}-1"}, template["spec"])
    elif kind == "RayCluster":
        yield from _ray_pods(name, spec)
    elif kind == "RayJob":
        yield from _ray_pods(name, spec["rayClusterSpec"])
        yield Pod(f"{name}-submitter", {"batch.kubernetes.io/job-name": name}, spec["submitterPodTemplate"]["spec"])


def _ray_pods(cluster: str, spec: Mapping[str, Any]) -> Iterator[Pod]:
    labels = {"ray.io/is-ray-node": "yes", "ray.io/cluster": cluster, "app.kubernetes.io/name": "kuberay"}
    yield Pod(f"{cluster}-head", labels | {"ray.io/node-type": "head"}, spec["headGroupSpec"]["template"]["spec"])
    for group in spec["workerGroupSpecs"]:
        labels |= {"ray.io/node-type": "worker", "ray.io/group": group["groupName"]}
        yield Pod(f"{cluster}-{group['groupName']}", dict(labels), group["template"]["spec"])


def ray_spec(manifest: Manifest) -> Mapping[str, Any]:
    """The cluster that a RayCluster or a RayJob describes."""
    return dict(manifest["spec"].get("rayClusterSpec", manifest["spec"]))


_UNITS = {"m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "": 1}


def quantity(text: str) -> float:
    """Read one of Kubernetes' quantities: `500m`, `8`, `32Gi`."""
    number = text.rstrip("mKiMG")
    return float(number) * _UNITS[text[len(number) :]]
