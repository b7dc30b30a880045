"""The pipelines that come with `curate`: readable recipes to start from."""

from __future__ import annotations

from pathlib import Path

from curate.errors import PipelineError
from curate.registry import suggest

_HERE = Path(__file__).parent
_FOLDERS = (_HERE / "recipes", _HERE.parent / "pipelines")  # in a wheel, and in a checkout


def recipes() -> dict[str, str]:
    """Return the recipes' names with the first comment line of each."""
    return {name: _title(path) for name, path in sorted(_files().items())}


def recipe(name: str) -> str:
    """Return a recipe's text; raise `PipelineError` when there is none of that name."""
    files = _files()
    if name not in files:
        raise PipelineError(f"no recipe `{name}`", suggest(name, list(files)) or f"there are: {', '.join(sorted(files))}")
    return files[name].read_text(encoding="utf-8")


def _files() -> dict[str, Path]:
    return {path.stem: path for folder in _FOLDERS for path in folder.glob("*.yaml")}


def _title(path: Path) -> str:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip()
