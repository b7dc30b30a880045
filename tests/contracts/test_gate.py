"""A check that says no: exit code 3, the dataset stays in the workspace, nothing is published."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

import curate
from tests.contracts.workspaces import run


def gated(quickstart: Path, folder: Path, params: str) -> Path:
    text = quickstart.read_text().replace("sample/", f"{quickstart.parent}/sample/").replace("../corpora/quickstart", str(folder / "out"))
    path = folder / "pipeline.yaml"
    path.write_text(f"{text}\nchecks:\n  size: {{use: expect, from: [corpus, text], params: {params}}}\n")
    return path


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("{min_documents: 148}", "147 documents in corpus, at least 148 expected"),
        ("{max_documents: 146}", "147 documents in corpus, at most 146 expected"),
        ("{min_kept_ratio: 0.6}", "52.5% of text kept, at least 0.6 expected"),
        ("{max_kept_ratio: 0.2}", "52.5% of text kept, at most 0.2 expected"),
    ],
)
def test_a_check_that_says_no(
    quickstart: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, params: str, message: str
) -> None:
    path, workspace = gated(quickstart, tmp_path, params), tmp_path_factory.getbasetemp() / "gate"
    done = run("run", str(path), "-w", str(workspace), "-q", code=3)
    assert message in done.stdout
    assert not (tmp_path / "out").exists()
    summary = orjson.loads(run("run", str(path), "-w", str(workspace), "-q", "--json", code=3).stdout)
    assert summary["status"] == "gated" and summary["outputs"] == {}
    assert curate.load(summary["stages"]["corpus"]["dataset"]).rows == 147


def test_a_check_that_says_yes(quickstart: Path, tmp_path: Path) -> None:
    path = gated(quickstart, tmp_path, "{min_documents: 100, max_kept_ratio: 0.9}")
    done = run("run", str(path), "-w", str(tmp_path / "ws"), "-q")
    assert "check size: passed" in done.stdout
    assert curate.load(str(tmp_path / "out")).rows == 147
