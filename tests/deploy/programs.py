"""What each program makes of a command that a page tells: whether it understands it, and whether what it names exists.

`kubectl` and `docker` are asked for real, about a server that nobody has started: they read the whole command, and miss the server then.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from curate.service.api.app import make_app
from curate.service.settings import load_settings
from tests.conftest import ROOT
from tests.deploy.pages import Words
from tests.docs import blocks

NOBODY = "127.0.0.1:1"
"""Where nothing listens."""

COMPOSE = ROOT / "docker" / "compose.yaml"


def asked(program: str, arguments: Words, refused: str) -> str:
    """Call a program, and return what it printed; its complaint must be that nobody answers, and no other."""
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    done = subprocess.run([program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or refused in done.stderr, done.stderr
    return done.stdout


def curate(words: Words) -> None:
    blocks.parse(words[1:])


def ray(words: Words) -> None:
    scripts = pytest.importorskip("ray.scripts.scripts")
    scripts.cli.commands[words[1]].make_context("ray", words[2:])


def docker(words: Words) -> None:
    if words[1] == "compose":
        _compose(words[2:])
    else:
        asked("docker", ["--host", f"tcp://{NOBODY}", *words[1:]], "Cannot connect to the Docker daemon")


def _compose(words: Words) -> None:
    """Look at services only: the plug-in of `docker` is rare, and reads nothing without a daemon."""
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    assert words[:2] == ["-f", "docker/compose.yaml"]
    match words[2:]:
        case ["exec", service, "curate", "serve", "--config", path, *_]:
            assert services[service]["command"] == ["curate", "serve", "--config", path]
        case ["exec", service, *_]:
            assert service in services
        case ["up", *options] if "--scale" in options:
            assert options[options.index("--scale") + 1].partition("=")[0] in services
        case [command, *_]:
            assert command in ("up", "down")


def curl(words: Words) -> None:
    address = urlsplit(words[-1])
    assert address.hostname in ("localhost", "127.0.0.1")
    assert "get" in routes()[address.path]


@functools.cache
def routes() -> dict[str, Any]:
    """The service's routes, with what may be asked of each."""
    with tempfile.TemporaryDirectory() as home:
        return dict(make_app(load_settings(None, {"home": home}), watching=False).openapi()["paths"])


def systemd(words: Words) -> None:
    units = [word for word in words if word.endswith((".service", ".timer"))]
    assert units and all((ROOT / "deploy" / "machine" / unit).is_file() for unit in units)


def pip(words: Words) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert words[1] == "install" and set(re.findall(r"\.\[(\w+)\]", " ".join(words))) <= set(extras)


def make(words: Words) -> None:
    assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def chosen(words: Words) -> None:
    """`pytest FOLDER -k WORD` finds something."""
    path = ROOT / words[1]
    files = path.glob("test_*.py") if path.is_dir() else [path]
    word = words[words.index("-k") + 1] if "-k" in words else ""
    assert any(re.search(rf"^def test_\w*{word}", file.read_text(), re.MULTILINE) for file in files)


def openssl(words: Words) -> None:
    assert re.fullmatch(r"[0-9a-f]+\n", asked("openssl", words[1:], "no server is asked"))


def system(words: Words) -> None:
    """Nothing to say of what every system has; the files are looked at, and other tests carry some of them out."""


CHECKS: dict[str, Callable[[Words], None]] = {
    "curate": curate,
    "curl": curl,
    "docker": docker,
    "journalctl": systemd,
    "make": make,
    "openssl": openssl,
    "pip": pip,
    "pytest": chosen,
    "ray": ray,
    "systemctl": systemd,
    **dict.fromkeys(
        ("cp", "crontab", "export", "install", "python3", "rm", "sbatch", "scancel", "sh", "squeue", "useradd", "userdel"), system
    ),
}
