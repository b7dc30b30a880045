"""What images are made of: linted, pinned, complete. `test_built.py` builds one."""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

from curate.version import VERSION
from tests.conftest import ROOT

FOLDER = ROOT / "docker"
DOCKERFILE = (FOLDER / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BIN = Path(sys.executable).parent
SCRIPTS = sorted([*FOLDER.glob("*.sh"), *(ROOT / "deploy").rglob("*.sbatch")])
EXTRAS = {
    "cpu": ["ray", "serve", "trafilatura", "code", "fasttext", "cluster", "llm"],
    "gpu": ["ray", "trafilatura", "code", "fasttext", "lm", "embed", "gpu", "llm"],
    "vllm": ["ray", "llm"],
}


def tool(name: str, *arguments: object) -> None:
    done = subprocess.run([BIN / name, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_linter_of_dockerfiles_finds_nothing() -> None:
    tool("hadolint", FOLDER / "Dockerfile")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_linter_of_scripts_finds_nothing(script: Path) -> None:
    tool("shellcheck", script)


def locked(image: str) -> dict[str, str]:
    """The version of every package that an image installs."""
    entries = re.split(r"\n(?=\S)", (FOLDER / "requirements" / f"{image}.txt").read_text())[1:]
    assert all(re.fullmatch(r"\S+==\S+(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n?", entry) for entry in entries), "a package without a hash"
    return dict(entry.split(" ")[0].split("==") for entry in entries)


@pytest.mark.parametrize("image", sorted(EXTRAS))
def test_what_is_pinned_is_what_the_project_asks_for(image: str) -> None:
    """A dependency that changed in pyproject.toml needs `python docker/lock.py`."""
    pinned = locked(image)
    wanted = [*PROJECT["dependencies"], *(line for extra in EXTRAS[image] for line in PROJECT["optional-dependencies"][extra])]
    environment = default_environment() | {"python_version": "3.11", "sys_platform": "linux"}
    for requirement in map(Requirement, wanted):
        if requirement.marker is None or requirement.marker.evaluate(environment):
            name = re.sub(r"[-_.]+", "-", requirement.name).lower()
            assert name in pinned and pinned[name] in requirement.specifier, f"{requirement} is pinned at {pinned.get(name)}"


def test_the_images_agree_on_what_nodes_compare() -> None:
    """A worker whose `pyarrow` differs from its driver's is refused; so is another Ray."""
    for name in ("pyarrow", "ray"):
        assert len({locked(image)[name] for image in EXTRAS}) == 1, f"the images have different versions of {name}"


def test_the_base_is_pinned_and_the_version_is_ours() -> None:
    assert re.search(r"^ARG BASE=python:3\.11\.\d+-slim-\w+$", DOCKERFILE, re.MULTILINE)
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${BASE}", "${BASE}"]
    assert f"ARG VERSION={VERSION}\n" in DOCKERFILE
    for path in [FOLDER / "README.md", FOLDER / "compose.yaml", FOLDER / "Dockerfile", *(ROOT / "deploy").rglob("*.*")]:
        tags = re.findall(r"curate(?:-gpu|-vllm)?:(\d[\w.]*)", path.read_text()) if path.is_file() else []
        assert set(tags) <= {VERSION}, f"{path.name} names another version"


def test_the_build_context_holds_what_is_copied() -> None:
    """The ignore file lets in only what is named there; a `COPY` of anything else would fail."""
    allowed = [line[1:] for line in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")]
    for line in re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+)$", DOCKERFILE, re.MULTILINE):
        for source in line.replace("${IMAGE}", "cpu").split()[:-1]:
            assert (ROOT / source).exists(), source
            assert any(fnmatch.fnmatch(source, pattern) or source.startswith(f"{pattern}/") for pattern in allowed), f"{source} is ignored"


@pytest.fixture
def answering() -> Iterator[HTTPServer]:
    """A server of this machine that answers 200 under the path that it is told, else 500."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == server.path else 500)  # type: ignore[attr-defined]
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.skipif(shutil.which("wget") is None, reason="needs wget")
@pytest.mark.parametrize(
    ("command", "variable", "path"),
    [
        ("curate serve --config x", "CURATE_SERVICE_PORT", "/healthz"),
        ("ray start --head --block", "CURATE_RAY_AGENT_PORT", "/api/local_raylet_healthz"),
        ("curate llm serve x", "CURATE_LLM_PORT", "/health"),
    ],
)
def test_health_is_asked_of_what_was_started(answering: HTTPServer, command: str, variable: str, path: str) -> None:
    main = subprocess.Popen(["sh", "-c", "sleep 60 & wait", *command.split()])
    environment = {"PATH": "/usr/bin:/bin", variable: str(answering.server_port)}
    try:
        codes = []
        for answering.path in (path, "/elsewhere"):  # type: ignore[attr-defined]
            codes.append(subprocess.run([FOLDER / "healthcheck.sh", str(main.pid)], env=environment, check=False).returncode)
        assert codes[0] == 0 and codes[1] != 0
    finally:
        main.kill()
        main.wait()


def test_any_other_command_is_healthy_while_it_runs() -> None:
    main = subprocess.Popen(["sleep", "60"])
    try:
        subprocess.run([FOLDER / "healthcheck.sh", str(main.pid)], check=True)
    finally:
        main.kill()
        main.wait()
