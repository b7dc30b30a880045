"""What the pages install, running: the units of one machine, and the service of Compose with its certificate."""

from __future__ import annotations

import json
import shutil
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.deploy.machine import PROGRAM, Machine, environment, free_port
from tests.service.conftest import small_pipeline
from tests.service.waiting import until

pytestmark = pytest.mark.skipif(not (shutil.which("curl") and shutil.which("wget")), reason="needs curl and wget")


def ready(url: str, process: subprocess.Popen[bytes], trusted: Path | None = None) -> bool:
    """Tell whether a service that has been started answers that it is ready."""
    assert process.poll() is None
    try:
        context = ssl.create_default_context(cafile=trusted) if trusted else None
        with urllib.request.urlopen(f"{url}/readyz", timeout=5, context=context) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def healthy(process: subprocess.Popen[bytes], port: int) -> bool:
    """Ask as an image does, of a process and a port."""
    asked = [ROOT / "docker" / "healthcheck.sh", str(process.pid)]
    return subprocess.run(asked, env=environment(CURATE_SERVICE_PORT=str(port)), check=False).returncode == 0


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, ROOT / "deploy" / "machine" / "README.md")


def test_the_service_of_one_machine(machine: Machine) -> None:
    machine.do("cp deploy/machine/service.yaml")
    machine.do("cp deploy/machine/curate-serve.service")
    settings = machine.path("/etc/curate/service.yaml")
    settings.write_text(f"{machine.here(settings.read_text())}port: {machine.port}\n")
    service = machine.start("curate-serve.service")
    try:
        token = machine.do("token create").strip()  # at once: systemd does not wait until the service answers
        assert until(lambda: ready(f"http://127.0.0.1:{machine.port}", service))
        assert json.loads(machine.do("curl", CURATE_TOKEN=token)) == {"items": [], "next": None}
        assert healthy(service, machine.port)
        assert not healthy(service, free_port()), "nobody answers there"
        service.send_signal(signal.SIGTERM)
        assert service.wait(30) == 0
    finally:
        service.kill()
        service.wait()


def test_a_pipeline_by_a_unit_and_by_cron(machine: Machine) -> None:
    shutil.copy(ROOT / "deploy" / "machine" / "curate.service", machine.path("/etc/systemd/system"))
    data = machine.path("/var/lib/curate")
    (data / "in.jsonl").write_text("".join(f'{{"id": "{i}", "text": "{"word " * i}"}}\n' for i in range(1, 41)))
    machine.path("/etc/curate/web.yaml").write_text(small_pipeline(data))
    assert machine.start("curate.service").wait(120) == 0
    assert "40 in + 0 added = 21 out + 19 dropped" in machine.do("report last")
    [entry] = [line for line in (ROOT / "deploy" / "machine" / "crontab").read_text().splitlines() if not line.startswith("#")]
    command = machine.here(entry.split(maxsplit=5)[5])
    assert subprocess.run(["sh", "-c", command], env=environment(), check=False).returncode == 0, (data / "curate.log").read_text()
    assert len(list((data / "workspace" / "runs").iterdir())) == 2


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_the_service_of_compose_with_its_certificate(tmp_path: Path) -> None:
    """Its own settings but for what is another container's: the database, the folder, the address that others reach."""
    shutil.copytree(ROOT / "docker", tmp_path / "docker")
    machine = Machine(tmp_path / "machine", ROOT / "docker" / "README.md")
    machine.do("setup.sh", tmp_path)
    chosen = ["--host", "127.0.0.1", "--port", str(machine.port), "--home", str(tmp_path / "home"), "--database", "sqlite:///service.db"]
    serve = [*PROGRAM.split(), "serve", "--config", "docker/service.yaml", *chosen]
    service = subprocess.Popen(serve, cwd=tmp_path, env=environment())
    try:
        certificate = tmp_path / "docker" / "tls" / "certificate.pem"
        assert until(lambda: ready(f"https://localhost:{machine.port}", service, certificate))
        token = (tmp_path / "home" / "admin-token").read_text().strip()
        assert json.loads(machine.do("curl", tmp_path, CURATE_TOKEN=token)) == {"items": [], "next": None}
        assert healthy(service, machine.port)
    finally:
        service.kill()
        service.wait()
