"""How kernels are compiled and kept."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from curate.kernels import compiled

RUN = "import kernel_copy.user as user; print(user.twice(21))"
USER = """
from kernel_copy.compiled import kernel
from kernel_copy.helper import factor


@kernel
def twice(value):
    return factor() * value
"""


def helper(factor: int) -> str:
    return f"from kernel_copy.compiled import kernel\n\n\n@kernel\ndef factor():\n    return {factor}\n"


def run(folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", RUN], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    made = tmp_path / "kernel_copy"
    made.mkdir()
    (made / "__init__.py").touch()
    shutil.copy(compiled.__file__, made / "compiled.py")
    (made / "user.py").write_text(USER)
    (made / "helper.py").write_text(helper(2))
    return made


def test_a_kernel_is_compiled_anew_when_one_that_it_calls_changes(package: Path) -> None:
    assert run(package.parent) == "42"
    assert list(package.glob("__pycache__/*.nbi")), "nothing is kept"
    (package / "helper.py").write_text(helper(3))
    assert run(package.parent) == "63"


def test_kernels_work_where_nothing_can_be_kept(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/cache")
    (package / "__pycache__").touch()  # a file where the folder would be: not even root can write there
    assert run(package.parent) == "42"
    assert (package / "__pycache__").is_file()
