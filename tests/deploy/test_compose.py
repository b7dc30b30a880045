"""The installation by Compose: valid, closed to other machines, with passwords that `setup.sh` makes, and settings that the service reads."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from curate.service.settings import ServiceSettings, load_settings
from tests.conftest import ROOT

FOLDER = ROOT / "docker"
SERVICES: Mapping[str, Mapping[str, Any]] = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("curate:")}
SETTINGS = [
    FOLDER / "service.yaml",
    ROOT / "deploy/machine/service.yaml",
    *sorted((ROOT / "deploy" / "kubernetes").glob("*/settings.yaml")),
]


def test_it_follows_the_schema_of_compose() -> None:
    program = Path(sys.executable).with_name("check-jsonschema")
    command = [program, "--builtin-schema", "vendor.compose-spec", FOLDER / "compose.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_images_are_pinned() -> None:
    for name, service in SERVICES.items():
        assert re.search(r":\S*\d", service["image"]), f"{name}: {service['image']}"


def test_who_needs_another_waits_until_it_is_well() -> None:
    assert SERVICES["service"]["depends_on"]["database"] == {"condition": "service_healthy"}
    for service in SERVICES.values():
        for other, wait in service.get("depends_on", {}).items():
            healthy = "healthcheck" in SERVICES[other] or other in OURS  # ours have one in the image
            assert wait["condition"] == "service_completed_successfully" or healthy, f"{other} never says that it is healthy"


def test_only_this_machine_reaches_a_port() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)


def test_ours_run_as_nobody_special_and_gain_no_rights() -> None:
    assert re.findall(r"^USER (.+)$", (FOLDER / "Dockerfile").read_text(), re.MULTILINE) == ["1000:1000"]
    assert set(OURS) == {"head", "worker", "service"}
    for service in OURS.values():
        assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
        assert not {"privileged", "user", "network_mode", "pid", "cap_add", "devices"} & set(service)
    mounted = [volume for service in SERVICES.values() for volume in service.get("volumes", []) if volume.startswith(("/", "."))]
    assert mounted and all(volume.startswith("./") and volume.endswith(":ro") for volume in mounted)


def test_a_job_needs_a_token() -> None:
    for service in OURS.values():
        assert service["environment"]["RAY_AUTH_MODE"] == "token" and service["environment"]["RAY_AUTH_TOKEN"].startswith("${")


def test_no_password_has_a_default() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN|SECRET|DATABASE$", variable):
                assert re.search(r"\$\{\w+:\?", value), f"{name}: {variable}"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_setup_makes_what_is_asked_for_and_changes_nothing_the_second_time(tmp_path: Path) -> None:
    folder = tmp_path / "docker"
    folder.mkdir()
    shutil.copy(FOLDER / "setup.sh", folder)
    shutil.copy(FOLDER / "service.yaml", folder)
    subprocess.run(["sh", "docker/setup.sh"], cwd=tmp_path, check=True)
    made = dict(line.split("=") for line in (folder / ".env").read_text().splitlines())
    asked = set(re.findall(r"\$\{(\w+):\?", (FOLDER / "compose.yaml").read_text()))
    assert asked == set(made) and len(set(made.values())) == len(made) and all(len(value) == 64 for value in made.values())
    assert (folder / ".env").stat().st_mode & 0o077 == 0
    settings = load_settings(folder / "service.yaml", {})
    assert settings.tls_certificate and settings.tls_certificate.is_file() and settings.tls_key and settings.tls_key.is_file()
    told = subprocess.run(
        ["openssl", "x509", "-in", settings.tls_certificate, "-noout", "-checkhost", "localhost"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "does match certificate" in told
    before = contents(folder)
    subprocess.run(["sh", "docker/setup.sh"], cwd=tmp_path, check=True)
    assert contents(folder) == before


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("file", SETTINGS, ids=lambda file: str(file.relative_to(ROOT)))
def test_the_service_reads_its_settings(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATE_DATABASE", "postgresql://curate:word@database:5432/curate")
    settings: ServiceSettings = load_settings(file, {})
    assert settings.auth == "tokens" and settings.allow
    assert settings.workspace.startswith(tuple(settings.allow)), "no pipeline could use it"
    if settings.cluster:
        assert settings.database_url == os.environ["CURATE_DATABASE"], "replicas have to share it"
        assert settings.workspace.startswith("s3://"), "nodes have to share it"


def test_the_service_finds_the_parts_of_the_installation() -> None:
    settings = load_settings(FOLDER / "service.yaml", {})
    assert settings.cluster and settings.cluster.partition("://")[2].partition(":")[0] in SERVICES
    address = SERVICES["service"]["environment"]["CURATE_DATABASE"]
    assert address.rpartition("@")[2].partition(":")[0] in SERVICES
    port = SERVICES["service"]["ports"][0].split(":")[1:]
    assert port == [str(settings.port)] * 2 and settings.url == f"https://localhost:{settings.port}"
