"""Regenerates the marked blocks of the Markdown files, so that help, catalogue and printed output never go stale.

    python tests/docs/generate.py            write them
    python tests/docs/generate.py --check    exit 1 and show the difference when one is stale

A block stands between `<!-- generated: NAME -->` and `<!-- end -->`; `BLOCKS` says what each name stands for.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner

import curate
from curate.cli import COMMANDS, cli
from curate.registry import find, packs
from curate.schema import describe

ROOT = Path(__file__).parents[2]
SKIPPED = {"workspace", "corpora", "dist", "build"}
WIDTH = 100
EXPLAINED = "crawl/handbook_fr-FR.warc.gz:31955"  # a page of the sample that another one equals
BLOCK = re.compile(r"(?P<head><!-- generated: (?P<name>[a-z-]+) -->\n).*?(?P<foot><!-- end -->)", re.DOTALL)


def documents() -> list[Path]:
    """Return the project's Markdown files."""
    found = [*ROOT.glob("*.md"), *(path for top in _rooms() for path in top.rglob("*.md"))]
    return sorted(found)


def _rooms() -> Iterator[Path]:
    for path in ROOT.iterdir():
        if path.is_dir() and not path.name.startswith(".") and path.name not in SKIPPED:
            yield path


def regenerated(text: str) -> str:
    """Return a document's text with every marked block made anew."""
    return BLOCK.sub(lambda match: f"{match['head']}{BLOCKS[match['name']]()}{match['foot']}", text)


def commands() -> list[tuple[str, ...]]:
    """Return every command and subcommand, in the order of `curate --help`."""
    context = click.Context(cli)
    found: list[tuple[str, ...]] = []
    for name in COMMANDS:
        command = cli.get_command(context, name)
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, inner) for inner in command.list_commands(context)]
    return found


def command_table() -> str:
    """What each command is for, in one line."""
    rows = [f"| `curate {name}` | {told.replace('|', '&#124;')} |" for name, (_, told) in COMMANDS.items()]
    return "\n".join(["| command | does |", "|---|---|", *rows, ""])


def command_help() -> str:
    """`--help` of every command."""
    return "\n".join(_help(path) for path in [(), *commands()])


def _help(path: tuple[str, ...]) -> str:
    done = CliRunner().invoke(cli, [*path, "--help"], prog_name="curate", terminal_width=WIDTH, env={"CURATE_WORKSPACE": None})
    if done.exit_code:
        raise RuntimeError(f"curate {' '.join(path)} --help: exit {done.exit_code}\n{done.output}")
    return f"## {' '.join(('curate', *path))}\n\n```text\n{done.output.rstrip()}\n```\n"


def operator_catalogue() -> str:
    """Every operator that this repository ships, with its parameters."""
    return "\n".join(_operator(name) for name, target in sorted(packs().items()) if target.startswith("curate"))


def _operator(name: str) -> str:
    about = describe(find(name)[0], name)
    facts = [about["verb"], f"version {about['version']}", about["cost"], f"reproducible: {about['reproducible']}"]
    facts += [f"reads {_code(about['reads'])}"] if about["reads"] else []
    facts += [f"adds {_code(about['adds'])}"] if about["adds"] else []
    facts += [f"emits {about['emits']}"] if about["emits"] else []
    lines = [f"### {name}", "", about["summary"].partition("\n\n")[0], "", " · ".join(facts), ""]
    lines += [f"- `{p['name']}`: {p['type'].replace('|', 'or')}, {_default(p)}" for p in about["parameters"]]
    lines += [""] if about["parameters"] else []
    return "\n".join(lines)


def _code(values: Any) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _default(parameter: dict[str, Any]) -> str:
    if parameter["required"]:
        return "required"
    shown = repr(parameter["default"])
    return f"default `{shown if len(shown) <= 60 else shown[:57] + '…'}`"


def public_api() -> str:
    """Every public name, where it lives, and the first sentence of its docstring."""
    rows = [f"| `{name}` | `{_home(name)}` | {_sentence(getattr(curate, name))} |" for name in curate.__all__ if name != "__version__"]
    return "\n".join(["| name | module | is |", "|---|---|---|", *rows, ""])


def _home(name: str) -> str:
    return str(importlib.import_module(getattr(curate, name).__module__).__name__)


def _sentence(value: Any) -> str:
    paragraph = (inspect.getdoc(value) or "").partition("\n\n")[0].replace("\n", " ").replace("|", "&#124;")
    return re.split(r"(?<=\.) ", paragraph)[0].rstrip(":")


def funnel() -> str:
    """What the quickstart prints, without what differs from run to run."""
    return f"```text\n$ curate run pipelines/quickstart.yaml\n{quickstart()[0]}\n```\n"


def explained() -> str:
    """What became of one page of the quickstart, in the last line."""
    return f"```text\n$ curate explain last {EXPLAINED} | tail -1\n{quickstart()[1].splitlines()[-1]}\n```\n"


@functools.cache
def quickstart() -> tuple[str, str]:
    """Run the quickstart; return what it prints, and what `curate explain` then says of a page."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = ["--workspace", f"{folder}/workspace"]
        command = ["run", "pipelines/quickstart.yaml", "--on", "local", "--workers", "1", "--quiet"]
        printed = _curate([*command, *workspace, "--set", f"outputs.corpus.path={folder}/corpora/quickstart"])
        return stable(printed, folder), _curate(["explain", "last", EXPLAINED, *workspace]).strip()


def _curate(arguments: list[str]) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CURATE_")} | {"NO_COLOR": "1"}
    command = [sys.executable, "-m", "curate", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the quickstart failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def stable(output: str, folder: str) -> str:
    """Leave out run ids, seconds, sizes of compressed files (they differ between versions of Arrow) and where the folder is."""
    run_id = re.search(r"\d{8}-\d{6}-[0-9a-f]{4}", output)
    if run_id is None:
        raise RuntimeError(f"the quickstart printed no run id:\n{output}")
    text = output.replace(f"{folder}/", "").replace(run_id[0], "…").strip()
    text = re.sub(r"(?<=done  )\S[^ ]*(?: \S+)*(?=  )", "… s", text, count=1)
    text = re.sub(r"/v-[0-9a-f]{16}", "/v-…", text)
    return re.sub(r"documents, \S+ \wB, ", "documents, … kB, ", text)


BLOCKS: dict[str, Callable[[], str]] = {
    "commands": command_table,
    "help": command_help,
    "operators": operator_catalogue,
    "public-api": public_api,
    "funnel": funnel,
    "explained": explained,
}


def main(check: bool) -> int:
    """Write stale documents, or only show them; return the exit code."""
    stale = 0
    for path in documents():
        text = path.read_text(encoding="utf-8")
        fresh = regenerated(text)
        if fresh == text:
            continue
        stale += 1
        name = str(path.relative_to(ROOT))
        if check:
            sys.stdout.writelines(difflib.unified_diff(text.splitlines(True), fresh.splitlines(True), name, f"{name} (fresh)", n=1))
        else:
            path.write_text(fresh, encoding="utf-8")
            print(f"wrote {name}")
    if check and stale:
        print(f"\n{stale} documents are stale\nhint: python tests/docs/generate.py", file=sys.stderr)
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
