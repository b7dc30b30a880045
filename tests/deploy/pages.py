"""The commands that the pages tell: every line of their shell blocks, and what such a line has another program run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

PAGES = [ROOT / "docker" / "README.md", *sorted((ROOT / "deploy").rglob("README.md"))]
IMAGE = re.compile(r"curate(-\w+)?:\d\S*")
_VARIABLE = re.compile(r"\w+=(?P<value>.*)", re.DOTALL)
_FENCED = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
Words = list[str]


def lines(page: Path) -> list[str]:
    """Return the lines of a page's shell blocks."""
    found = [match["code"] for match in _FENCED.finditer(page.read_text()) if match["language"] == "sh"]
    return [line.strip() for code in found for line in code.replace("\\\n", " ").splitlines()]


def commands(line: str) -> list[Words]:
    """Return a line's command, without variables, `sudo` and folders of programs, and after it the one that it carries."""
    words = _plain(shlex.split(line, comments=True))
    return [words, *commands(shlex.join(inner))] if (inner := _carried(words)) else [words]


def told(page: Path) -> list[Words]:
    """Return every command of a page, in order."""
    return [words for line in lines(page) for words in commands(line) if words]


def in_text(page: Path) -> Iterator[Words]:
    """Yield what stands between backquotes in a page's text and names several words: commands, and other things."""
    text = _FENCED.sub("", page.read_text())
    for code in re.findall(r"`([^`]+)`", text):
        words = shlex.split(code) if code.count("'") % 2 == code.count('"') % 2 == 0 else []
        if len(words) > 1:
            yield from commands(code)


def _plain(words: Words) -> Words:
    while words:
        if match := _VARIABLE.fullmatch(words[0]):
            value = match["value"]
            words = words[1:] or (shlex.split(value[2:-1]) if value.startswith("$(") else [])
        elif words[0] == "sudo":
            words = words[3:] if words[1] == "-u" else words[1:]
        else:
            return [Path(words[0]).name, *words[1:]]
    return []


def _carried(words: Words) -> Words:
    """Return what a command has another machine or container run, or a batch script give to `curate run`."""
    match words:
        case ["docker", "run", *rest]:
            image = next((place for place, word in enumerate(rest) if IMAGE.fullmatch(word)), len(rest))
            return rest[image + 1 :]
        case ["docker", "compose", *rest] if "exec" in rest:
            return rest[rest.index("exec") + 2 :]
        case ["kubectl", *rest] if "--" in rest:
            return rest[rest.index("--") + 1 :]
        case ["ray", "exec", _, command]:
            return shlex.split(command)
        case ["sbatch", *rest]:
            script = next(place for place, word in enumerate(rest) if word.endswith(".sbatch"))
            return ["curate", "run", *rest[script + 1 :]]
    return []
