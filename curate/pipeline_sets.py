"""Changes to a pipeline's data before it is validated: `--set` overrides and `${name}` variables.

    vars.NAME=VALUE              inputs.NAME.FIELD=VALUE     outputs.NAME.FIELD=VALUE
    STAGE.STEP.PARAM=VALUE       a step of a chain           checks.NAME.PARAM=VALUE
    STAGE.PARAM=VALUE            a dataset operator          PARAM.KEY=VALUE, where a parameter is a mapping
    STAGE.resources.KEY=VALUE    what a stage's tasks need

Variables are texts and stand in strings only; `$${` is a plain `${`. A variable cannot use another one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from curate.errors import PipelineError
from curate.pipeline_mistakes import Mistakes, Place, Positions
from curate.registry import suggest
from curate.yaml_tree import parse_value

RESERVED = ("vars", "inputs", "outputs", "checks")
_FORMS = "STAGE.STEP.PARAM=VALUE, STAGE.PARAM=VALUE, vars.NAME=VALUE or inputs.NAME.FIELD=VALUE"
_VARIABLE = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class _Refused(Exception):
    """An override that names nothing; the text and a hint are its arguments."""


def apply_sets(data: object, sets: Sequence[str], positions: Positions, mistakes: Mistakes) -> None:
    """Carry out the overrides in order, in place; note those that have no target."""
    for override in sets:
        positions.sets[("--set", override)] = override
        if not isinstance(data, dict):
            return
        try:
            target, place, name, value = _parse(data, override)
        except _Refused as refused:
            mistakes.add(("--set", override), *refused.args)
            continue
        target[name] = value
        positions.sets[(*place, name)] = override


def substitute(data: object, mistakes: Mistakes) -> object:
    """Return the data with every `${name}` replaced; note the names that `vars` lacks."""
    if not isinstance(data, dict):
        return data
    given = data.get("vars")
    variables = {k: v for k, v in given.items() if isinstance(v, str)} if isinstance(given, dict) else {}
    resolved = {name: _replace(value, None, ("vars", name), mistakes) for name, value in variables.items()}
    rest = {key: _walk(value, resolved, (key,), mistakes) for key, value in data.items() if key != "vars"}
    return ({"vars": given} if "vars" in data else {}) | rest


def escape(text: str) -> str:
    """Write a text so that substitution gives it back."""
    return text.replace("${", "$${")


def _walk(value: Any, variables: dict[str, str], place: Place, mistakes: Mistakes) -> Any:
    if isinstance(value, str):
        return _replace(value, variables, place, mistakes)
    if isinstance(value, dict):
        return {key: _walk(inner, variables, (*place, key), mistakes) for key, inner in value.items()}
    if isinstance(value, list):
        return [_walk(inner, variables, (*place, i), mistakes) for i, inner in enumerate(value)]
    return value


def _replace(text: str, variables: dict[str, str] | None, place: Place, mistakes: Mistakes) -> str:
    def replacement(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        if variables is not None and match[2] and match[1] in variables:
            return variables[match[1]]
        mistakes.add(place, *_no_variable(match, variables))
        return match[0]

    return _VARIABLE.sub(replacement, text) if "${" in text else text


def _no_variable(match: re.Match[str], variables: dict[str, str] | None) -> tuple[str, str]:
    if variables is None:
        return f"a var cannot use another one: {match[0]}", "write `$${` for a plain `${`"
    if not match[2] or not _NAME.fullmatch(match[1]):
        return f"not the name of a var: {match[0][:40]}", "write `$${` for a plain `${`"
    hint = suggest(match[1], list(variables)) or (f"vars are: {', '.join(variables)}" if variables else "define it under `vars:`")
    return f"unknown var `{match[1]}`", hint


def _parse(data: dict[str, Any], override: str) -> tuple[dict[str, Any], Place, str, Any]:
    path, equals, raw = override.partition("=")
    parts = path.strip().split(".")
    if not equals or not all(parts):
        raise _Refused("not an override", f"write {_FORMS}")
    if parts[0] == "vars" and len(parts) == 2:
        return _section(data, "vars"), ("vars",), parts[1], raw
    try:
        value = parse_value(raw)
    except PipelineError as error:
        raise _Refused(f"the value is not valid YAML: {error.message.rpartition(': ')[2]}", "quote it for YAML: NAME='\"text\"'") from None
    target, place, name = _target(data, parts)
    return target, place, name, value


def _target(data: dict[str, Any], parts: list[str]) -> tuple[dict[str, Any], Place, str]:
    match parts:
        case ["inputs" | "outputs" as section, name, field]:
            return _named(_section(data, section), name, section.rstrip("s")), (section, name), field
        case ["checks", name, *path] if path:
            check = _named(_section(data, "checks"), name, "check")
            return _inside(_section(check, "params"), ("checks", name, "params"), path)
        case [stage, "resources", name] if stage not in RESERVED:
            return _section(_named(_section(data, "stages"), stage, "stage"), "resources"), ("stages", stage, "resources"), name
        case [stage, *rest] if stage not in RESERVED and rest:
            return _in_stage(_named(_section(data, "stages"), stage, "stage"), ("stages", stage), rest)
    raise _Refused(f"not the name of something to set: {'.'.join(parts)}", f"write {_FORMS}")


def _in_stage(stage: dict[str, Any], place: Place, rest: list[str]) -> tuple[dict[str, Any], Place, str]:
    steps = stage.get("operators")
    if "use" in stage and not steps:
        params = _section(stage, "params")
        if len(rest) > 1 and not isinstance(params.get(rest[0]), dict):
            raise _Refused(f"stage `{place[1]}` is a dataset operator and has no steps", f"write {place[1]}.{rest[-1]}=VALUE")
        return _inside(params, (*place, "params"), rest)
    labels = [_label(step) for step in steps] if isinstance(steps, list) else []
    if len(rest) < 2:
        raise _Refused(
            f"stage `{place[1]}` is a chain: name the step too", f"write {place[1]}.STEP.PARAM=VALUE; its steps are: {', '.join(labels)}"
        )
    index = _step(labels, rest[0], str(place[1]))
    return _inside(_section(stage["operators"][index], "params"), (*place, "operators", index, "params"), rest[1:])


def _inside(params: dict[str, Any], place: Place, path: list[str]) -> tuple[dict[str, Any], Place, str]:
    """Return the mapping that a path leads to, its place, and the last name."""
    for name in path[:-1]:
        params, place = _section(params, name), (*place, name)
    return params, place, path[-1]


def _step(labels: list[str], name: str, stage: str) -> int:
    if labels.count(name) > 1:
        raise _Refused(f"stage `{stage}` has more than one step `{name}`", "give them a `name:` each")
    if name not in labels:
        raise _Refused(f"stage `{stage}` has no step `{name}`", suggest(name, labels) or f"its steps are: {', '.join(labels)}")
    return labels.index(name)


def _label(step: object) -> str:
    if not isinstance(step, dict):
        return "?"
    use = str(step.get("use", "?"))
    return str(step.get("name") or use.rpartition(":")[2] or use)


def _named(section: dict[str, Any], name: str, kind: str) -> dict[str, Any]:
    if name not in section:
        hint = suggest(name, list(section)) or (f"there are: {', '.join(section)}" if section else None)
        raise _Refused(f"there is no {kind} `{name}`", hint)
    if not isinstance(section[name], dict):
        raise _Refused(f"{kind} `{name}` is not a mapping", None)
    inner: dict[str, Any] = section[name]
    return inner


def _section(data: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a mapping of the data, made when it is absent."""
    if data.get(name) is None:
        data[name] = {}
    if not isinstance(data[name], dict):
        raise _Refused(f"`{name}` is not a mapping in the file", None)
    section: dict[str, Any] = data[name]
    return section
