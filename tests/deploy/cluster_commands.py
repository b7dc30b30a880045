"""What `kubectl` makes of the pages' commands, and whether the manifests make what they name."""

from __future__ import annotations

import yaml

from tests.conftest import ROOT
from tests.deploy.manifests import FOLDER, Manifest, built, of_kind, pods, rayjob
from tests.deploy.pages import Words
from tests.deploy.programs import NOBODY, asked


def kubectl(words: Words) -> None:
    """Have `kubectl` read a command; what it can do without a cluster it does."""
    creates = "create" in words and "--" not in words
    told = ["--kubeconfig=/dev/null", f"--server=http://{NOBODY}", *words[1:], *(["--dry-run=client", "--output=yaml"] if creates else [])]
    printed = asked("kubectl", told, "refused")
    manifests = [*built(FOLDER / "demo"), rayjob()]
    if creates:
        _is_wanted(yaml.safe_load(printed), manifests)
    for option, word in zip(words, words[1:], strict=False):
        _exists(option, word, manifests)


def _is_wanted(made: Manifest, manifests: list[Manifest]) -> None:
    name = made["metadata"]["name"]
    if made["kind"] == "Namespace":
        assert name in names(manifests, "Namespace")
    else:
        assert made["kind"] == "Secret" and made["metadata"]["namespace"] in names(manifests, "Namespace")
        assert f"'name': '{name}'" in str([pod.spec for pod in pods(manifests).values()]), "no pod reads it"


def _exists(option: str, word: str, manifests: list[Manifest]) -> None:
    every = pods(manifests).values()
    containers = [container for pod in every for container in pod.containers]
    match option:
        case "--namespace":
            assert word in names(manifests, "Namespace")
        case "--selector":
            label, _, value = word.partition("=")
            assert any(pod.labels.get(label) == value for pod in every)
        case "--container":
            assert any(container["name"] == word for container in containers)
        case "rayjob":
            assert word in names(manifests, "RayJob")
        case "ingress-nginx":
            label, _, value = word.partition("=")
            assert f"'namespaceSelector': {{'matchLabels': {{'{label}': '{value}'}}}}" in str(of_kind(manifests, "NetworkPolicy"))
        case "--kustomize" | "kustomize":
            assert built(ROOT / word)
    if word.startswith("deployment/"):
        assert word.partition("/")[2] in names(manifests, "Deployment")
    if option.startswith("deployment/") and word[:1].isdigit():
        ports = [port["containerPort"] for container in containers for port in container.get("ports", [])]
        assert int(word.partition(":")[2]) in ports


def names(manifests: list[Manifest], kind: str) -> set[str]:
    return {manifest["metadata"]["name"] for manifest in of_kind(manifests, kind)}
