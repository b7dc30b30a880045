"""The image for processors, built here for real: by `buildah`, which needs no daemon, on a base that `debootstrap` makes.

`make images` runs this: minutes, and two gigabytes in the user's cache. Where packages come from is the machine's own affair: pip's
certificate, if one is set, is lent to the build, and Debian's mirror is the one that this machine uses.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

HOME = Path(os.environ.get("CURATE_TEST_IMAGES", Path.home() / ".cache" / "curate" / "images"))
BASE, IMAGE = "localhost/curate-test-base", "localhost/curate:0.1.0"
LENT = "/etc/build-authorities.crt"

pytestmark = [
    pytest.mark.images,
    pytest.mark.skipif(not os.environ.get("CURATE_TEST_IMAGES_WANTED"), reason="takes minutes: `make images`"),
    pytest.mark.skipif(not (shutil.which("buildah") and shutil.which("debootstrap")), reason="needs buildah and debootstrap"),
    pytest.mark.skipif(os.geteuid() != 0, reason="debootstrap needs root"),
    pytest.mark.timeout(3600),
]


def buildah(*arguments: object, check: bool = True) -> str:
    """Run buildah in a store of our own, and return what it printed."""
    environment = {"BUILDAH_ISOLATION": "chroot"} | os.environ
    places = ["--root", HOME / "store", "--runroot", HOME / "run"]
    command = ["buildah", *map(str, [*places, *arguments])]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def make_base(folder: Path) -> None:
    """Make an image of Debian with its Python, in place of the published one."""
    if BASE in buildah("images", "--format", "{{.Name}}"):
        return
    root = folder / "debian"
    include = "--include=python3,python3-venv,ca-certificates"
    subprocess.run(["debootstrap", "--variant=minbase", include, "bookworm", root], check=True, capture_output=True)
    container = buildah("from", "scratch").strip()
    buildah("copy", "--quiet", container, root, "/")
    buildah("commit", "--quiet", container, BASE)
    buildah("rm", container)


def lent(folder: Path) -> list[str]:
    """Return the volumes through which a build sees the certificate that pip has been told of on this machine."""
    told = subprocess.run([sys.executable, "-m", "pip", "config", "get", "global.cert"], capture_output=True, text=True, check=False)
    certificate = told.stdout.strip() or os.environ.get("PIP_CERT", "")
    if not certificate:
        return []
    settings = folder / "pip.conf"
    settings.write_text(f"[global]\ncert = {LENT}\n")
    return [f"--volume={certificate}:{LENT}:ro", f"--volume={settings}:/etc/pip.conf:ro"]


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A container of the image, which is built first."""
    folder = tmp_path_factory.mktemp("images")
    make_base(folder)
    dockerfile = ["--file", ROOT / "docker" / "Dockerfile", "--ignorefile", ROOT / "docker" / "Dockerfile.dockerignore"]
    arguments = ["--build-arg", f"BASE={BASE}", "--format", "docker", "--layers", "--network", "host"]
    buildah("build", "--quiet", *dockerfile, *arguments, *lent(folder), "--tag", IMAGE, ROOT)
    made = buildah("from", "--pull-never", IMAGE).strip()
    yield made
    buildah("rm", made)


def test_it_is_nobody_special_and_says_what_it_is(container: str) -> None:
    assert buildah("run", container, "--", "id", "--user").strip() == "1000"
    told = buildah("inspect", "--format", "{{.Docker.Config.Labels}} {{.Docker.Config.Healthcheck}}", container)
    assert "org.opencontainers.image.title" in told and "curate-health" in told


def test_the_quickstart_gives_the_bytes_that_it_gives_outside(container: str, tmp_path: Path) -> None:
    inside = buildah(
        "run", container, "--", "sh", "-c", "curate run pipelines/quickstart.yaml && sha256sum corpora/quickstart/v-*/*.parquet"
    )
    assert "300 in + 0 added = 147 out + 153 dropped" in inside
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    command = [sys.executable, "-m", "curate", "run", "pipelines/quickstart.yaml", "--quiet"]
    subprocess.run(command, cwd=tmp_path, check=True, env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT}/operators:{ROOT}/scorers"})
    files = sorted((tmp_path / "corpora" / "quickstart").glob("v-*/*.parquet"))
    outside = subprocess.run(["sha256sum", *files], capture_output=True, text=True, check=True).stdout
    hashes = [[line.split()[0] for line in text.splitlines() if line.endswith(".parquet")] for text in (inside, outside)]
    assert hashes[0] == hashes[1] and hashes[0]
