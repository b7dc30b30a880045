"""The page of the API: what the OpenAPI document says of every route, and of all that goes in and comes out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from markupsafe import Markup

Found = Mapping[str, Any]
_BOUNDS = {
    "minimum": "at least {:,.12g}",
    "exclusiveMinimum": "more than {:,.12g}",
    "maximum": "at most {:,.12g}",
    "exclusiveMaximum": "less than {:,.12g}",
    "maxLength": "at most {:,} characters",
    "maxItems": "at most {:,} items",
}


def api_part(document: Found) -> dict[str, Any]:
    """Return the context of the page."""
    routes = list(_routes(document["paths"]))
    groups = [(tag, list(found)) for tag, found in groupby(routes, key=lambda route: route["tag"])]
    return {"groups": groups, "schemas": [_schema(name, found) for name, found in sorted(document["components"]["schemas"].items())]}


def _routes(paths: Found) -> Iterator[dict[str, Any]]:
    for path, operations in paths.items():
        for method, found in operations.items():
            yield {
                "tag": found["tags"][0],
                "method": method.upper(),
                "path": path,
                "told": found.get("description", ""),
                "fields": [_field(each["name"], each, each["in"], each["required"]) for each in _told_beside(found)],
                "takes": _content(found.get("requestBody")),
                "gives": [(status, _content(answer)) for status, answer in found["responses"].items() if status < "300"],
            }


def _told_beside(operation: Found) -> list[Found]:
    """Return the parameters that do not stand in the path."""
    return [each for each in operation.get("parameters", ()) if each["in"] != "path"]


def _content(body: Found | None) -> Markup:
    """Return what a body holds, by the name of its schema."""
    schemas = [found["schema"] for found in (body or {}).get("content", {}).values() if found.get("schema")]
    return Markup(" or ").join(map(_type, schemas))


def _schema(name: str, found: Found) -> dict[str, Any]:
    needed = found.get("required", ())
    fields = [_field(key, value, "", key in needed) for key, value in found.get("properties", {}).items()]
    return {"id": name, "title": _title(name), "told": found.get("description", ""), "fields": fields}


def _title(name: str) -> str:
    """Return the name of a schema; that of a page of something comes as `Page_Something_`."""
    return f"page of {name[5:].strip('_')}" if name.startswith("Page_") else name


def _field(name: str, found: Found, where: str, needed: bool) -> dict[str, Any]:
    schema = found.get("schema", found)
    told = [found.get("description", ""), "; ".join(_bounds(schema))]
    return {"name": name, "where": where, "needed": needed, "type": _type(schema), "told": [line for line in told if line]}


def _bounds(schema: Found) -> Iterator[str]:
    """Yield what a value must keep to, and what it is when it is not said."""
    for part in (schema, *schema.get("anyOf", ())):
        yield from (words.format(part[key]) for key, words in _BOUNDS.items() if key in part)
    if schema.get("default") not in (None, [], {}):
        yield f"{schema['default']} unless said"


def _type(schema: Found) -> Markup:
    """Return the type of a value in words; one that has a name leads to it."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return Markup('<a href="#{}">{}</a>').format(name, _title(name))
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return Markup(" or ").join(map(_type, schema[key]))
    if "enum" in schema or "const" in schema:
        return Markup.escape(", ".join(schema["enum"]) if "enum" in schema else schema["const"])
    if schema.get("type") == "array":
        return Markup("list of ") + _type(schema.get("items", {}))
    if schema.get("format") == "date-time":
        return Markup("time")
    return Markup.escape(schema.get("type", "anything"))
