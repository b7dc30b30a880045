"""What operators share that ask a language model by prompts of a file: the model, the prompts, and what counts tokens."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import orjson

from curate.errors import PipelineError
from curate.llm import Asked, Llm
from curate.protocols import Operator
from curate.registry import suggest
from curate_operators.prompt_sets import Style, read, read_file, read_shipped, without_query
from curate_operators.prompt_tokens import beginnings, pieces
from curate_operators.token_counts import Tokens, read_tokens


@dataclass(frozen=True)
class Prompted(Operator):
    """Asks the model `llm` by styles of `prompt_file`, or of the set that comes with curate; `tokenizer` counts its tokens."""

    cost = "costly"
    reproducible = "cached"
    files: ClassVar[tuple[str, ...]] = ("prompt_file", "tokenizer")
    folders: ClassVar[tuple[str, ...]] = ("tokenizer",)
    prompts: ClassVar[str]  # the name of the shipped set
    in_pieces: ClassVar[bool] = False  # documents are shown whole, in as many prompts as it takes, and not by their beginnings

    llm: Mapping[str, Any] = field(hash=False)
    prompt_file: str | None = field(default=None, kw_only=True)
    tokenizer: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        self.models()
        if self.prompt_file is None:
            self.chosen(read_shipped(self.prompts))

    @abstractmethod
    def chosen(self, styles: Mapping[str, Style]) -> Sequence[Style]:
        """Return the styles of a file that it asks by, one or more; raise `PipelineError` where one of them is missing."""

    def models(self) -> Mapping[str, Llm]:
        return {"llm": self._llm}

    def asks(self, text_bytes: int, documents: int) -> Mapping[str, Asked]:
        reckon = pieces if self.in_pieces else beginnings
        return {"llm": sum((reckon(style, text_bytes, documents) for style in self._styles), Asked())}

    def verify_file(self, parameter: str, path: Path) -> None:
        if parameter == "tokenizer":
            read_tokens(str(path))
        else:
            self.chosen(read_file(path))

    @functools.cached_property
    def _llm(self) -> Llm:
        return Llm(self.llm, bounded=True)

    @functools.cached_property
    def _styles(self) -> Sequence[Style]:
        return self.chosen(read(self.prompts, self.prompt_file))

    @property
    def _style(self) -> Style:
        """The only style, or the first."""
        return self._styles[0]

    @functools.cached_property
    def _tokens(self) -> Tokens:
        return read_tokens(self.tokenizer)


def without_thoughts(text: str) -> str:
    """Return what an answer says behind the thoughts in front of it; empty where they never end.

    Models that think write `<think>…</think>`; the first mark may be missing, where the server's template has it.
    """
    thoughts, end, said = text.partition("</think>")
    begun = thoughts.lstrip().startswith("<think>")
    if end and (begun or "<think>" not in thoughts):
        return said.lstrip()
    return "" if begun else text


def json_object(text: str) -> Mapping[str, Any]:
    """Return the JSON object in an answer, whatever stands round it: not every server knows of schemas. Empty where there is none."""
    text = without_thoughts(text)
    try:
        told = orjson.loads(text[text.find("{") : text.rfind("}") + 1])
    except orjson.JSONDecodeError:
        return {}
    return told if isinstance(told, dict) else {}


def named(styles: Mapping[str, Style], name: str, use: str, what: str = "style", asks_query: bool = False) -> Style:
    """Return a style by its name; raise `PipelineError` where there is none, which says what it is to the operator `use`.

    `asks_query`: the operator has a question beside each document, so that the prompt may have a place for it.
    """
    if name not in styles:
        raise PipelineError(f"{use}: there is no {what} `{name}`", suggest(name, list(styles)) or f"{what}s: {', '.join(styles)}")
    return styles[name] if asks_query else without_query(styles[name], use)
