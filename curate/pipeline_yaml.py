"""Reads a pipeline from YAML, every mistake explained with file and line, and writes one back.

loaded = load_pipeline("pipelines/quickstart.yaml", sets=["clean.length.min_chars=300"])
built = validate(loaded.pipeline, loaded.positions)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from curate.errors import PipelineError
from curate.pipeline import Pipeline
from curate.pipeline_data import check_structure, from_model, to_data
from curate.pipeline_mistakes import Mistakes, Positions
from curate.pipeline_sets import apply_sets, escape, substitute
from curate.registry import suggest
from curate.yaml_tree import CORE, read_tree

MAX_BYTES = 4 << 20
_FLOW_WIDTH = 90
_ESCAPED = re.compile("[^\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Loaded:
    """A pipeline file: what it says, where it says it, and its text as read."""

    pipeline: Pipeline
    positions: Positions
    text: str


def load_pipeline(path: str | Path, sets: Sequence[str] = ()) -> Loaded:
    """Read a pipeline file; `sets` are overrides such as `clean.length.min_chars=300`.

    Raises `PipelineError` with one line per mistake, each beginning with `file:line`. Operators and the graph are
    looked at by `curate.pipeline_validate.validate`.
    """
    file = Path(path)
    return parse_pipeline(read_text(file), str(path), file.absolute().parent, sets)


def parse_pipeline(text: str, file: str, folder: Path, sets: Sequence[str] = ()) -> Loaded:
    """Read a pipeline from a text; `file` is what messages call it, `folder` where its relative paths start."""
    data, positions = read_tree(text, file)
    mistakes = Mistakes(positions)
    apply_sets(data, sets, positions, mistakes)
    model = check_structure(substitute(data, mistakes), mistakes)
    mistakes.raise_any()
    assert model is not None  # otherwise there were mistakes
    return Loaded(from_model(model, folder), positions, text)


def to_yaml(pipeline: Pipeline) -> str:
    """Write the pipeline in a stable, readable form; reading it gives an equal pipeline, apart from `folder`."""
    return yaml.dump(_escaped(to_data(pipeline)), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def read_text(file: Path) -> str:
    """Return the text of a pipeline file; raise `PipelineError` for what is none."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise PipelineError(f"{file}: larger than {MAX_BYTES >> 20} MiB, which no pipeline is")
        return file.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        raise PipelineError(f"pipeline file not found: {file}", _similar(file)) from None
    except IsADirectoryError:
        raise PipelineError(f"{file}: this is a folder, not a pipeline file", _similar(file / "?")) from None
    except UnicodeDecodeError as error:
        raise PipelineError(f"{file}: not UTF-8 text at byte {error.start}") from None
    except (OSError, ValueError) as error:
        raise PipelineError(f"cannot read the pipeline file {file}: {error}") from None


def _similar(file: Path) -> str | None:
    try:
        names = sorted(p.name for p in file.parent.iterdir() if p.suffix in (".yaml", ".yml"))
    except (OSError, ValueError):
        return None
    return suggest(file.name, names) or (f"pipelines in that folder: {', '.join(names[:10])}" if names else None)


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        return {key: _escaped(inner) for key, inner in value.items()}
    return [_escaped(inner) for inner in value] if isinstance(value, list) else value


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.1 or 1.2 would read as something else than a string; short lists stay on one line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _list(dumper: _Dumper, value: list[Any]) -> yaml.nodes.SequenceNode:
    plain = all(isinstance(v, str | int | float | None) for v in value)
    flow = plain and sum(len(str(v)) + 2 for v in value) <= _FLOW_WIDTH
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flow)


def _text(dumper: _Dumper, value: str) -> yaml.nodes.ScalarNode:
    """Double quotes where PyYAML would fold a character that its reader takes for a line break or a mark."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"' if _ESCAPED.search(value) else None)


_Dumper.add_representer(list, _list)
_Dumper.add_representer(str, _text)
for _kind, (_pattern, _first) in CORE.items():
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", _pattern, _first)
