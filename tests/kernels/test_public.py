"""What `curate.kernels` offers: a list that resolves, a light import, and a README whose example runs."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from curate import kernels

README = Path(kernels.__file__).with_name("README.md")


@pytest.mark.parametrize("name", kernels.__all__)
def test_every_name_resolves(name: str) -> None:
    assert getattr(kernels, name).__doc__


def test_other_names_do_not() -> None:
    with pytest.raises(AttributeError, match="module 'curate.kernels' has no attribute 'tokens'"):
        _ = kernels.tokens


def test_importing_kernels_loads_nothing() -> None:
    code = "import sys, curate.kernels; assert not {'numba', 'numpy', 'pyarrow'} & {*sys.modules}, sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_example_of_the_readme() -> None:
    example = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[0]
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(example, str(README), "exec"), {})
    assert printed.getvalue().splitlines() == ["[8 0]", "(array([2, 0]), array([3, 0]))"]
