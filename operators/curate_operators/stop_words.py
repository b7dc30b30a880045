"""The most frequent function words of many languages, as Gopher's eight are of English; `stop_words.json` holds them."""

from __future__ import annotations

import functools
from importlib import resources

import orjson

from curate.errors import PipelineError


@functools.cache
def stop_words(language: str) -> tuple[str, ...]:
    """Return the stop words of a language (ISO 639-1)."""
    lists = orjson.loads(resources.files(__package__).joinpath("stop_words.json").read_bytes())
    if language not in lists:
        raise PipelineError(f"there are no stop words for {language!r}", f"give your own with `stop_words`; known: {', '.join(sorted(lists))}")
    return tuple(lists[language])
