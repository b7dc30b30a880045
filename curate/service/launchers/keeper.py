"""Runs one command and keeps its exit code, for a service that may not be there when it ends.

    python -m curate.service.launchers.keeper FOLDER LOCK COMMAND …

LOCK is the open file whose lock says that the run lives; the command inherits it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path


def main(folder: Path, lock: int, command: list[str]) -> None:
    """Run the command to its end; a signal to the process group is the command's to follow."""
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    _write(folder / "started", str(os.getpid()))
    code = subprocess.run(command, pass_fds=(lock,), check=False).returncode
    _write(folder / "exit", str(code))


def _write(path: Path, text: str) -> None:
    hidden = path.with_name(f".{path.name}.tmp")
    hidden.write_text(text)
    hidden.replace(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
