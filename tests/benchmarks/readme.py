"""Puts what a benchmark printed into README.md, between two marks that name it: the only way in which a table gets there."""

from __future__ import annotations

import platform
from pathlib import Path

README = Path(__file__).with_name("README.md")


def processor() -> str:
    """Return the name of this machine's processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def marks(name: str) -> tuple[str, str]:
    """Return the lines before and after the text of a benchmark."""
    return f"<!-- {name} -->", f"<!-- end of {name} -->"


def write(name: str, text: str, readme: Path = README) -> None:
    """Put a benchmark's text between its marks, at the end of the file when they are not there."""
    first, last = marks(name)
    before, found, rest = readme.read_text().partition(first)
    _, ended, after = rest.partition(last)
    if found and not ended:
        raise ValueError(f"{readme.name} has {first} without {last}; writing would lose what follows")
    readme.write_text(f"{before if found else before + chr(10)}{first}\n{text}\n{last}{after if found else chr(10)}")
