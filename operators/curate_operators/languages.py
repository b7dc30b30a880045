"""What the rules need to know of a language: its most frequent function words, and limits that differ from English.

Both are by ISO 639-1 code where there is one, else ISO 639-3. `languages.json` holds the words; as Gopher's eight English ones,
the lists are short: articles, conjunctions, prepositions. `language_limits.json` holds the limits, measured on parallel texts
(`curate_operators.make_language_limits`). Scripts without spaces have one word per letter (`curate.kernels.word_spans`), so no least
mean length.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from curate.errors import PipelineError

WORDS = Path(__file__).with_name("languages.json")
LIMITS = Path(__file__).with_name("language_limits.json")


@functools.cache
def _languages() -> Mapping[str, Mapping[str, Any]]:
    found: dict[str, dict[str, Any]] = orjson.loads(WORDS.read_bytes())
    return found


@functools.cache
def _limits() -> Mapping[str, Mapping[str, Any]]:
    found: dict[str, dict[str, Any]] = orjson.loads(LIMITS.read_bytes())
    return found


def stop_words(language: str) -> tuple[str, ...]:
    """Return the stop words of a language."""
    known = _languages()
    if language not in known:
        raise PipelineError(f"there are no stop words for {language!r}", f"give your own with `stop_words`; known: {', '.join(known)}")
    return tuple(known[language]["stop_words"])


def has_stop_words(language: str) -> bool:
    """Say whether a language is known."""
    return language in _languages()


def limits(language: str) -> Mapping[str, Any]:
    """Return the limits of a language that differ from those published for English, by the name of the parameter."""
    return _limits().get(language, {})


def verify_language(schema: pa.Schema, path: str | None) -> None:
    """Raise `PipelineError` when the column of languages (None = none) is there and holds no strings."""
    if path is None:
        return
    head, *rest = path.split(".")
    fields = [schema.field(head)] if head in schema.names else []
    for name in rest:
        fields = [field for field in _fields(fields[0].type) if field.name == name] if fields else []
    if fields and not _is_text(fields[0].type):
        strings = [field.name for field in _fields(fields[0].type) if _is_text(field.type)]
        wanted = f"{path}.{'code' if 'code' in strings else strings[0]}" if strings else "lang.code"
        raise PipelineError(f"column `{path}` is {fields[0].type}", f"the column of languages holds strings: `{wanted}`")


def _fields(kind: pa.DataType) -> list[pa.Field]:
    return [kind.field(place) for place in range(kind.num_fields)] if pa.types.is_struct(kind) else []


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_null(kind))
