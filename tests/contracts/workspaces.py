"""Runs the command line as a person would, and tells what a workspace holds."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson

MEASURED = ("measured", "epoch")  # how the work went, not what came of it


def command(*args: str) -> list[str]:
    """Return the command line of `curate`."""
    return [sys.executable, "-m", "curate", *args]


def run(*args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run `curate` and demand an exit code."""
    done = subprocess.run(command(*args), capture_output=True, text=True, timeout=280)
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def contents(workspace: Path) -> dict[str, str]:
    """Return the hash of every file of every dataset; manifests and receipts without their measurements."""
    found = {}
    for path in sorted(workspace.glob("datasets/*/**/*")):
        if path.is_file():
            data = path.read_bytes()
            if path.suffix == ".json":
                data = orjson.dumps(_unmeasured(orjson.loads(data)), option=orjson.OPT_SORT_KEYS)
            found[str(path.relative_to(workspace))] = hashlib.sha256(data).hexdigest()
    return found


def _unmeasured(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unmeasured(inner) for key, inner in value.items() if key not in MEASURED}
    return [_unmeasured(inner) for inner in value] if isinstance(value, list) else value
