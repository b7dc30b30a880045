"""The public API is a list: what it names can be imported, is documented, and costs nothing before it is used."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import curate
import curate.testing

NAMES = [name for name in curate.__all__ if name != "__version__"]
HEAVY = ("ray", "torch", "vllm", "faiss", "numba", "pyarrow", "polars", "numpy", "pydantic", "obstore")


def test_the_list_is_sorted_and_without_repeats() -> None:
    assert sorted(set(curate.__all__)) == sorted(curate.__all__)
    assert dir(curate) == sorted(curate.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_importable_and_documented(name: str) -> None:
    value = getattr(curate, name)
    assert value.__name__ == name
    told = inspect.getdoc(value)
    assert told and not told.startswith(f"{name}("), "a docstring of its own, not what dataclasses make up"


@pytest.mark.parametrize("name", NAMES)
def test_public_methods_are_documented(name: str) -> None:
    value = getattr(curate, name)
    if inspect.isclass(value):
        missing = [
            key for key, member in vars(value).items() if not key.startswith("_") and _is_method(member) and not inspect.getdoc(member)
        ]
        inherited = {key for base in value.__mro__[1:] for key, member in vars(base).items() if inspect.getdoc(member)}
        assert [key for key in missing if key not in inherited] == []


def _is_method(member: object) -> bool:
    return inspect.isfunction(member) or isinstance(member, property)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(curate.__file__).read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    seen = {alias.name for block in blocks for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == set(NAMES)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Fliter'"):
        _ = curate.Fliter


def test_importing_curate_is_light() -> None:
    assert _loaded("import curate") == []


def test_the_command_line_starts_light() -> None:
    assert _loaded("import curate.cli") == []


def test_checking_a_pipeline_loads_no_engine_of_a_cluster_or_model(quickstart: Path) -> None:
    code = f"from curate.cli import main\ntry:\n    main(['check', {str(quickstart)!r}])\nexcept SystemExit:\n    pass"
    assert not {"ray", "torch", "vllm", "faiss", "numba"} & set(_loaded(code))


def _loaded(code: str) -> list[str]:
    """Return the heavy modules that a fresh process has after some code."""
    tail = f"\nimport sys\nprint('loaded:', *[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, check=True)
    return done.stdout.rpartition("loaded:")[2].split()


def test_operators_are_dataclasses_of_plain_parameters() -> None:
    assert not dataclasses.is_dataclass(curate.Filter), "a verb has no parameters of its own"
    assert callable(curate.testing.check_operator)
