"""Reads YAML into plain data and remembers where every key and list item stands.

Scalars follow the core schema of YAML 1.2: `no`, `on` and `2026-10-01` are strings, `1e-5` is a number, `1:30` is no number.
Anchors, aliases and merge keys work; repeated keys, tags and a file that expands beyond `MAX_NODES` are mistakes.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml
from yaml.composer import Composer
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from curate.errors import PipelineError
from curate.pipeline_mistakes import Mark, Mistakes, Place, Positions

MAX_NODES = 100_000
MAX_DEPTH = 100
_TAG = "tag:yaml.org,2002:"
_HINTS = {
    "\\t": "indent with spaces, not tabs",
    "mapping values are not allowed": "put a text with `: ` in quotes",
    "could not find expected ':'": "put a text with special characters in quotes",
    "found undefined alias": "an alias `*name` needs an anchor `&name` before it; a text that begins with `*` needs quotes",
    "single document": "a pipeline file holds one document: remove the line `---` in its middle",
    "expected alphabetic or numeric": "put a text that begins with `*` or `&` in quotes",
    "cannot start any token": "put a text that begins with a special character in quotes",
}

CORE: Final[dict[str, tuple[re.Pattern[str], list[str]]]] = {  # kind: pattern, first characters
    "bool": (re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")),
    "int": (re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"), list("-+0123456789")),
    "float": (
        re.compile(r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"),
        list("-+0123456789."),
    ),
    "null": (re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]),
    "merge": (re.compile(r"<<\Z"), ["<"]),
}


class _Core(BaseResolver):
    """Tells plain scalars apart by YAML 1.2's core schema."""


for _kind, (_pattern, _first) in CORE.items():
    _Core.add_implicit_resolver(_TAG + _kind, _pattern, _first)


class _Loader(Reader, Scanner, Parser, Composer, _Core):
    """Composes nodes and constructs nothing: the safest of loaders."""

    def __init__(self, stream: str) -> None:
        Reader.__init__(self, stream)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        _Core.__init__(self)


def read_tree(text: str, file: str) -> tuple[Any, Positions]:
    """Return the data of a YAML text and the positions in it; raise `PipelineError` with all mistakes at once."""
    positions = Positions(file)
    mistakes = Mistakes(positions)
    node = _compose(text, file)
    if node is None:
        raise PipelineError(f"{file}:1: the file is empty")
    data = _Builder(positions, mistakes).build(node, (), ())
    mistakes.raise_any()
    return data, positions


def parse_value(text: str) -> Any:
    """Return the data of one scalar or flow collection; raise `PipelineError` when it is no YAML."""
    return None if not text.strip() else read_tree(text, "value")[0]


def _compose(text: str, file: str) -> Node | None:
    try:
        return yaml.compose(text, Loader=_Loader)  # type: ignore[arg-type]  # the stubs know their own loaders only
    except yaml.MarkedYAMLError as error:
        line, problem = _problem(error)
        raise PipelineError(f"{file}:{line}: not valid YAML: {problem}", _syntax_hint(str(error))) from None
    except ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        raise PipelineError(f"{file}:{line}: not valid YAML: the character {error.character:#06x} is not allowed") from None
    except RecursionError:
        raise PipelineError(f"{file}:1: not valid YAML: nested too deeply") from None
    except (ValueError, IndexError, OverflowError) as error:  # PyYAML on hostile escapes such as "\UFFFFFFFF"
        raise PipelineError(f"{file}:1: not valid YAML: {error}") from None


def _problem(error: yaml.MarkedYAMLError) -> tuple[int, str]:
    """Return the line and the text of a syntax error; what is never closed is reported where it opens."""
    problem = error.problem or error.context or "cannot be parsed"
    mark = error.problem_mark or error.context_mark
    if error.context_mark and ("end of stream" in problem or "<stream end>" in problem):
        mark, problem = error.context_mark, "what opens here is never closed"
    return mark.line + 1 if mark else 1, problem


def _syntax_hint(problem: str) -> str | None:
    return next((hint for part, hint in _HINTS.items() if part in problem), None)


class _Builder:
    """Turns nodes into data; an alias becomes a copy, so that a change to one use never reaches another."""

    def __init__(self, positions: Positions, mistakes: Mistakes) -> None:
        self.marks = positions.marks
        self.file = positions.file
        self.mistakes = mistakes
        self.nodes = 0

    def build(self, node: Node, place: Place, parents: tuple[Node, ...]) -> Any:
        """Return the data of a node; its key or list has noted its mark."""
        self._bound(node, parents)
        if isinstance(node, ScalarNode):
            return self._scalar(node, place)
        inside = (*parents, node)
        if isinstance(node, MappingNode):
            self._known_tag(node, place, "map")
            return self._mapping(node, place, inside)
        self._known_tag(node, place, "seq")
        return [self._item(child, (*place, i), inside) for i, child in enumerate(node.value)]

    def _item(self, node: Node, place: Place, parents: tuple[Node, ...]) -> Any:
        self.marks[place] = _mark(node)
        return self.build(node, place, parents)

    def _bound(self, node: Node, parents: tuple[Node, ...]) -> None:
        self.nodes += 1
        line = f"{self.file}:{_mark(node).line}"
        if any(parent is node for parent in parents):
            raise PipelineError(f"{line}: an alias stands inside what it names")
        if len(parents) > MAX_DEPTH:
            raise PipelineError(f"{line}: nested more than {MAX_DEPTH} levels deep")
        if self.nodes > MAX_NODES:
            raise PipelineError(f"{line}: the aliases of this file expand to more than {MAX_NODES:,} values")

    def _mapping(self, node: MappingNode, place: Place, parents: tuple[Node, ...]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == _TAG + "merge":
                merged |= self._merge(value, place, parents)
        own: dict[str, Any] = {}
        for key, value in node.value:
            name = None if key.tag == _TAG + "merge" else self._key(key, place)
            if name is not None and not self._repeated(name, own, key, place):
                self.marks[(*place, name)] = _mark(key)
                own[name] = self.build(value, (*place, name), parents)
        return merged | own

    def _key(self, key: Node, place: Place) -> str | None:
        if isinstance(key, ScalarNode) and key.tag.startswith(_TAG):
            return str(key.value)
        self._wrong((*place, ""), key, "a key must be plain text, not a list or a mapping")
        return None

    def _repeated(self, name: str, own: dict[str, Any], key: Node, place: Place) -> bool:
        if name not in own:
            return False
        self._wrong(
            (*place, name, "again"), key, f"key `{name}` stands here again; it is already on line {self.marks[(*place, name)].line}"
        )
        return True

    def _merge(self, node: Node, place: Place, parents: tuple[Node, ...]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for source in reversed(node.value if isinstance(node, SequenceNode) else [node]):  # the first one wins
            if isinstance(source, MappingNode):
                self._bound(source, parents)
                merged |= self._mapping(source, place, (*parents, source))
            else:
                self._wrong((*place, "<<"), node, "`<<` merges mappings, and this is none")
        return merged

    def _wrong(self, place: Place, node: Node, what: str) -> None:
        self.marks[place] = _mark(node)
        self.mistakes.add(place, what)

    def _known_tag(self, node: Node, place: Place, kind: str) -> None:
        if node.tag != _TAG + kind:
            self.mistakes.add(place, f"the tag `{node.tag.replace(_TAG, '!!')}` is not allowed", "pipelines are plain data: remove it")

    def _scalar(self, node: ScalarNode, place: Place) -> Any:
        kind = node.tag.removeprefix(_TAG)
        try:
            return _construct(kind, node.value)
        except KeyError:
            self._known_tag(node, place, "str")
        except ValueError:
            shown = node.value if len(node.value) <= 40 else node.value[:39] + "…"
            self.mistakes.add(place, f"`{shown}` is not a valid {kind}")
        return node.value


def _construct(kind: str, value: str) -> Any:
    match kind:
        case "str" | "merge":
            return value
        case "null":
            return None
        case "bool":
            return {"true": True, "false": False}.get(value.lower(), value)
        case "int":
            return int(value, 0) if value.startswith(("0o", "0x")) else int(value)
        case "float":
            return float(value.lower().replace(".inf", "inf").replace(".nan", "nan"))
    raise KeyError(kind)


def _mark(node: Node) -> Mark:
    start = node.start_mark
    return Mark(start.line + 1, start.column + 1) if start else Mark(1, 1)
