"""Finds the examples in Markdown files and carries them out.

    <!-- run -->            the block below runs: `sh` line by line, `python` as a script, `yaml` with `curate run`
    <!-- file: NAME -->     the block below is written to a file of that name

The blocks of one document run in order in one folder, which holds `pipelines/` as a checkout does.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from curate.cli import cli

_BLOCK = re.compile(r"^<!-- (?P<mark>run|file: (?P<name>\S+)) -->\n+```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
_FENCED = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELLS = ("sh", "bash", "console")


@dataclass(frozen=True)
class Block:
    """A fenced block; `file` is the name to write it to, None = run it."""

    language: str
    code: str
    file: str | None


def marked(text: str) -> list[Block]:
    """Return the blocks of a document that run or become files, in order."""
    return [Block(match["language"], match["code"], match["name"]) for match in _BLOCK.finditer(text)]


def command_lines(text: str) -> list[list[str]]:
    """Return the arguments of every `curate …` line in the shell blocks of a document."""
    lines = [line for match in _FENCED.finditer(text) if match["language"] in _SHELLS for line in _lines(match["code"])]
    return [words[1:] for words in map(_words, lines) if words[:1] == ["curate"]]


def _lines(code: str) -> list[str]:
    return code.replace("\\\n", " ").splitlines()


def _words(line: str) -> list[str]:
    return shlex.split(line.removeprefix("$ "), comments=True)


def parse(words: list[str]) -> None:
    """Parse a command line without running it; raises when an option or argument is wrong."""
    command: click.Command = cli
    context = click.Context(cli)
    rest = list(words)
    while isinstance(command, click.Group) and (rest := _after_options(command, rest)):
        name = rest.pop(0)
        found = command.get_command(context, name)
        assert found is not None, f"no command {name}: curate {' '.join(words)}"
        command = found
        context = click.Context(command)
    if not isinstance(command, click.Group):
        command.make_context("curate", rest)


def _after_options(group: click.Group, words: list[str]) -> list[str]:
    """Return what follows a group's own options."""
    known = {name: option for option in group.params if isinstance(option, click.Option) for name in option.opts}
    known |= {name: option for option in [group.get_help_option(click.Context(group))] if option for name in option.opts}
    while words and words[0].startswith("-"):
        option = known.get(words[0])
        if option is None:
            raise click.NoSuchOption(words[0])
        words = words[1 if option.is_flag or option.is_eager else 2 :]
    return words


def checkout(folder: Path, root: Path) -> None:
    """Give a folder the `pipelines/` of a checkout."""
    shutil.copytree(root / "pipelines", folder / "pipelines", ignore=shutil.ignore_patterns("*.png", "licences"))


def carry_out(block: Block, folder: Path, environment: Mapping[str, str]) -> None:
    """Run one block, or write it; raise `AssertionError` with the output when a command fails."""
    if block.file is not None:
        (folder / block.file).write_text(block.code, encoding="utf-8")
    elif block.language in _SHELLS:
        for line in filter(str.strip, _lines(block.code)):
            _run(_own_python(_words(line)), folder, environment)
    elif block.language == "python":
        _run([sys.executable, "-c", block.code], folder, environment)
    elif block.language == "yaml":
        (folder / "example.yaml").write_text(block.code, encoding="utf-8")
        _run([sys.executable, "-m", "curate", "run", "example.yaml", "--quiet"], folder, environment)
    else:
        raise AssertionError(f"no way to run a block of {block.language}")


def _own_python(words: list[str]) -> list[str]:
    """Make `curate` and `pytest` those of this environment."""
    known = {"curate": "curate", "pytest": "pytest", "python": ""}
    if words[0] not in known:
        raise AssertionError(f"examples run curate, pytest and python only, not {words[0]}")
    module = known[words[0]]
    return [sys.executable, *(["-m", module] if module else []), *words[1:]]


def _run(command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CURATE_", "RAY_"))}
    done = subprocess.run(command, cwd=folder, env=clean | dict(environment), capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}\nexit {done.returncode}\n{done.stdout}\n{done.stderr}"
