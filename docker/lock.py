"""Pins what the images install: resolves `pyproject.toml` once for each image and writes `docker/requirements/<image>.txt`.

    python docker/lock.py            all of them; needs `uv` on PATH or beside this Python

Each file names one version of every package and the hashes of the files that fit an image: CPython 3.11 on Debian 12. With them `pip`
refuses any other file. A source archive is named only where a package has no wheel.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDER = Path(__file__).with_name("requirements")
PYTHON = "3.11"
X86, ARM = "x86_64-manylinux_2_36", "aarch64-manylinux_2_36"  # Debian 12 has glibc 2.36
VLLM = "vllm==0.33.0"
LAUNCHER = "boto3>=1.40,<2"  # with it the head of a cluster that `ray up` made asks AWS for machines

IMAGES: dict[str, tuple[list[str], list[str], list[str]]] = {
    "cpu": (["ray", "serve", "trafilatura", "code", "fasttext", "cluster", "llm"], [LAUNCHER], [X86, ARM]),
    "gpu": (["ray", "trafilatura", "code", "fasttext", "lm", "embed", "gpu", "llm"], [], [X86]),
    "vllm": (["ray", "llm"], [VLLM], [X86]),
}
"""Each image's extras of ours, what else it installs, and the machines that it is for."""

HEAD = "# Written by `python docker/lock.py`, from pyproject.toml.\n"


def main() -> None:
    """Write every file."""
    for image, (extras, more, platforms) in IMAGES.items():
        write(image, [resolve(["pyproject.toml", *(f"--extra={name}" for name in extras)], more, platform) for platform in platforms])
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    write("build", [resolve([], build, X86)])


def resolve(sources: list[str], requirements: list[str], platform: str) -> list[dict[str, Any]]:
    """Return the packages that these sources and requirements need on a platform, with the files that fit it."""
    with tempfile.TemporaryDirectory() as folder:
        more, lock = Path(folder) / "more.in", Path(folder) / "pylock.toml"
        more.write_text("\n".join(requirements), encoding="utf-8")
        options = ["--python-version", PYTHON, "--python-platform", platform, "--format", "pylock.toml", "--quiet"]
        subprocess.run([_uv(), "pip", "compile", *sources, more, *options, "-o", lock], cwd=ROOT, check=True)
        return list(tomllib.loads(lock.read_text(encoding="utf-8"))["packages"])


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        sys.exit("docker/lock.py needs uv\nhint: pip install uv")
    return found


def write(image: str, resolved: list[list[dict[str, Any]]]) -> None:
    """Write one image's file: the union over its platforms, which must agree on every version."""
    versions: dict[str, str] = {}
    hashes: dict[str, set[str]] = {}
    for package in (package for packages in resolved for package in packages):
        name, version = package["name"], package["version"]
        if versions.setdefault(name, version) != version:
            sys.exit(f"{image}: {name} is {versions[name]} on one platform and {version} on another")
        files = package.get("wheels") or [package["sdist"]]
        hashes.setdefault(name, set()).update(file["hashes"]["sha256"] for file in files)
    path = FOLDER / f"{image}.txt"
    path.write_text(HEAD + "".join(_entry(name, versions[name], hashes[name]) for name in sorted(versions)), encoding="utf-8")
    print(f"wrote {path.relative_to(ROOT)}: {len(versions)} packages")


def _entry(name: str, version: str, hashes: set[str]) -> str:
    return " \\\n    ".join([f"{name}=={version}", *(f"--hash=sha256:{digest}" for digest in sorted(hashes))]) + "\n"


if __name__ == "__main__":
    main()
