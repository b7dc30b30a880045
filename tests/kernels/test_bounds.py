"""No kernel reads or writes outside its arrays, whatever the bytes: proved by a run in which Numba checks every index."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernels import bounds_run
from tests.kernels.columns import fuzz_columns
from tests.operators.conftest import ROOT

# Numba's cache does not say whether indices were checked, so the child has a cache of its own and proves the switch first
PROOF = """
import numba, numpy
@numba.njit
def outside(array): return array[len(array)]
try:
    outside(numpy.zeros(3))
except IndexError:
    from tests.kernels.bounds_run import main
    main()
"""


@pytest.mark.slow
def test_every_index_is_inside_its_array(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", PROOF], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) == sum(bounds_run.run(column) for column in fuzz_columns(seed=4, count=1500))


def test_fuzz_columns_are_awkward() -> None:
    made = [*fuzz_columns(seed=4, count=300)]
    assert any(column.array.offset for column in made)
    assert any(None in column.rows for column in made)
    assert any(not column.rows for column in made)
    assert len({column.array.type for column in made}) == 2
    assert any(b"\xff" in content for column in made for content in column.contents)
