"""The batch script in a real Slurm with two nodes; skipped where it is not installed (Debian: `slurm-wlm` and `munge`)."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.deploy.machine import environment
from tests.deploy.slurm import Slurm, reason_to_skip
from tests.service.waiting import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.ray,
    pytest.mark.skipif(reason_to_skip() is not None, reason=str(reason_to_skip())),
]
QUICKSTART = "pipelines/quickstart.yaml"
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    with tempfile.TemporaryDirectory(prefix="curate-slurm-") as folder:  # paths of sockets are short
        started = Slurm(Path(folder))
        yield started
        started.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the quickstart."""
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    return tmp_path


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Files]:
    """The quickstart's funnel and corpus, made without Slurm."""
    folder = tmp_path_factory.mktemp("local")
    shutil.copytree(ROOT / "pipelines", folder / "pipelines")
    command = [sys.executable, "-m", "curate", "run", QUICKSTART, "--on", "local", "--workers", "1", "--quiet"]
    printed = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=True).stdout
    return funnel(printed), corpus(folder)


def funnel(printed: str) -> str:
    """Return the table of the last run that was printed; an interrupted one prints its own."""
    table, found, _ = printed[printed.rindex("documents  share") :].partition("  ok\n")
    assert found, printed
    return table


def corpus(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in (folder / "corpora" / "quickstart").glob("v-*/*.parquet")}


def receipts(folder: Path) -> dict[Path, int]:
    """Return what is finished, with when."""
    return {path: path.stat().st_mtime_ns for path in (folder / "workspace").glob("datasets/*/receipts/*.json")}


def test_the_quickstart_gives_the_bytes_that_it_gives_without_slurm(slurm: Slurm, folder: Path, local: tuple[str, Files]) -> None:
    job = slurm.submit(folder, QUICKSTART, "--workspace", f"{folder}/workspace")
    ended = slurm.ended(job)
    printed = (folder / f"slurm-{job}.out").read_text()
    assert (ended["JobState"], ended["Restarts"], ended["NumNodes"]) == ("COMPLETED", "0", "2"), printed
    assert (funnel(printed), corpus(folder)) == local
    assert not Path(f"/tmp/ray-{job}").exists(), "the job left something on the node"


def test_a_job_whose_time_is_nearly_up_goes_back_into_the_queue_and_on(slurm: Slurm, folder: Path, local: tuple[str, Files]) -> None:
    job = slurm.submit(folder, QUICKSTART, "--workspace", f"{folder}/workspace")
    finished = until(lambda: receipts(folder))
    slurm.call("scancel", "--batch", "--signal=TERM", job)  # what Slurm itself sends two minutes before the end
    until(lambda: slurm.job(job).get("Restarts") == "1")
    ended = slurm.ended(job)
    printed = (folder / f"slurm-{job}.out").read_text()
    assert (ended["JobState"], ended["Restarts"]) == ("COMPLETED", "1"), printed
    assert "interrupted" in printed and printed.count(": 4 stages\n") == 2
    assert (funnel(printed), corpus(folder)) == local
    assert finished.items() <= receipts(folder).items(), "what was finished was made again"


def test_a_wrong_pipeline_ends_the_job_with_its_exit_code(slurm: Slurm, folder: Path) -> None:
    (folder / "wrong.yaml").write_text((folder / QUICKSTART).read_text().replace("use: length", "use: lenght"))
    ended = slurm.ended(slurm.submit(folder, "wrong.yaml", "--workspace", f"{folder}/workspace"))
    assert (ended["JobState"], ended["ExitCode"], ended["Restarts"]) == ("FAILED", "2:0", "0")
