"""Reads the programs that a refining model writes, one call a line, and runs nothing of them.

    remove_lines(line_start=0, line_end=4)
    normalize(source_str="| Share this", target_str="")
    keep_chunk()

A line is parsed as one Python call whose arguments are literal numbers and strings: a comma, a bracket or an equals sign inside a
string is part of the string. A line's number may stand as it was shown, `004`, which Python would refuse; so are they written here, for
models to copy. Whatever else stands there is an error that is told, counted, and has no effect.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

MAX_LINE_CHARS = 4000  # a longer line is no call; so much nesting Python's parser refuses without dying
MAX_LINES = 10_000
MAX_TOLD_CHARS = 60
KEEP = ("keep_chunk", "untouch_doc")
SHAPES: Mapping[str, tuple[tuple[str, type], ...]] = {
    "remove_lines": (("line_start", int), ("line_end", int)),
    "normalize": (("source_str", str), ("target_str", str)),
} | dict.fromkeys(KEEP, ())
OPTIONAL: Mapping[str, object] = {"target_str": ""}
_PADDED = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|(?<=[=(,\s])0+(?=\d+\s*[,)])""")  # a string, which stays, or zeros
_FENCE = re.compile(r"```\w*")


@dataclass(frozen=True)
class RemoveLines:
    """Takes out lines by their numbers in the document, from 0; both ends go."""

    start: int
    end: int


@dataclass(frozen=True)
class Replace:
    """Puts one string in the place of another wherever it stands in the document."""

    source: str
    target: str


Call = RemoveLines | Replace


@dataclass(frozen=True)
class Program:
    """What a program asks for, in its order, and a sentence for every line that asks for nothing that there is."""

    calls: tuple[Call, ...]
    errors: tuple[str, ...] = ()


def write_program(calls: Sequence[Call]) -> str:
    """Return calls as a program, one a line, numbers as they are shown, which `read_program` reads as the same calls; none = keep."""
    return "\n".join(map(_written, calls)) or f"{KEEP[0]}()"


def _written(call: Call) -> str:
    if isinstance(call, RemoveLines):
        return f"remove_lines(line_start={call.start:03d}, line_end={call.end:03d})"
    return f"normalize(source_str={_quoted(call.source)}, target_str={_quoted(call.target)})"


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()  # a string of JSON is one of Python


class _Wrong(Exception):
    """A line that is no call of a program."""


def read_program(text: str) -> Program:
    """Return the calls of a program; blank lines and the fences of code blocks count for nothing."""
    calls: list[Call] = []
    errors: list[str] = []
    lines = [line.strip() for line in text.split("\n")]
    lines = [line for line in lines if line and not _FENCE.fullmatch(line)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `"\d"` is a string, whatever Python thinks of it
        for line in lines[:MAX_LINES]:
            try:
                calls += _call(line)
            except _Wrong as wrong:
                errors.append(f"{wrong}: {_shortened(line)}")
    if len(lines) > MAX_LINES:
        errors.append(f"more than {MAX_LINES} lines")
    return Program(tuple(calls), tuple(errors))


def _shortened(line: str) -> str:
    return line if len(line) <= MAX_TOLD_CHARS else f"{line[: MAX_TOLD_CHARS - 1]}…"


def _call(line: str) -> list[Call]:
    """Return what one line asks for; of a call that keeps all, nothing."""
    call = _parsed(line)
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    if name not in SHAPES:
        raise _Wrong("no such function")
    values = _arguments(call, name)
    match name:
        case "remove_lines":
            return [RemoveLines(values["line_start"], values["line_end"])]  # type: ignore[arg-type]
        case "normalize":
            return [Replace(values["source_str"], values["target_str"])]  # type: ignore[arg-type]
    return []


def _parsed(line: str) -> ast.Call:
    if len(line) > MAX_LINE_CHARS:
        raise _Wrong("too long for a call")
    try:
        found = ast.parse(_PADDED.sub(r"\1", line), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _Wrong("no call") from None
    if not isinstance(found, ast.Call):
        raise _Wrong("no call")
    return found


def _arguments(call: ast.Call, name: str) -> dict[str, object]:
    """Return the arguments of a call by name, those left out by their defaults."""
    shape = SHAPES[name]
    if len(call.args) > len(shape):
        raise _Wrong("too many arguments")
    given: dict[str, ast.expr] = dict(zip((key for key, _ in shape), call.args, strict=False))
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg in given or keyword.arg not in dict(shape):
            raise _Wrong("wrong arguments")
        given[keyword.arg] = keyword.value
    missing = [key for key, _ in shape if key not in given and key not in OPTIONAL]
    if missing:
        raise _Wrong(f"without {' and '.join(missing)}")
    return {key: _literal(given[key], kind) if key in given else OPTIONAL[key] for key, kind in shape}


def _literal(value: ast.expr, kind: type) -> object:
    """Return a literal of exactly this type; a boolean is no number, and nothing is computed but a sign."""
    negative = isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.USub)
    constant = value.operand if isinstance(value, ast.UnaryOp) and negative else value
    if not isinstance(constant, ast.Constant) or type(constant.value) is not kind or (negative and kind is not int):
        raise _Wrong(f"an argument is no {'whole number' if kind is int else 'string'}")
    return -constant.value if negative else constant.value  # type: ignore[operator]
