"""Counts tokens before a model sees them: with the model's tokenizer, or by an estimate that needs none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from curate.errors import CurateError, DatasetError
from curate.files import local_file

BYTES_PER_TOKEN = 4  # English prose under today's vocabularies; scripts of three bytes a letter come out as 0.75 tokens a letter
FILE = "tokenizer.json"


class Tokens(Protocol):
    """Counts the tokens of texts, and cuts them."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text."""

    def first(self, text: str, most: int) -> str:
        """Return the beginning of a text, of at most so many tokens."""


class Estimate:
    """One token for every four bytes of UTF-8, rounded up."""

    def count(self, texts: Sequence[str]) -> list[int]:
        return [-(-len(text.encode()) // BYTES_PER_TOKEN) for text in texts]

    def first(self, text: str, most: int) -> str:
        return text.encode()[: most * BYTES_PER_TOKEN].decode(errors="ignore")


class Tokenizer:
    """The tokens of a Hugging Face tokenizer, special ones left out."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(found) for found in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def first(self, text: str, most: int) -> str:
        if len(text.encode()) <= most:  # a token has a byte at least
            return text
        found = self._tokenizer.encode(text, add_special_tokens=False)
        return text if len(found) <= most else text[: found.offsets[most - 1][1]]


def read_tokens(path: str | None) -> Tokens:
    """Return the counter of a tokenizer in a folder or file, None = the estimate; raises `DatasetError` for one that cannot be read."""
    if path is None:
        return Estimate()
    try:
        import tokenizers
    except ModuleNotFoundError as missing:
        raise CurateError("counting tokens needs the package 'tokenizers'", "install curate with its extra `lm`") from missing
    file = Path(path) / FILE if Path(path).is_dir() else local_file(path)
    try:
        found = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises `Exception` itself
        raise DatasetError(f"{file} is no tokenizer: {error}", f"a folder with a {FILE}, as Hugging Face saves it") from error
    found.no_truncation()
    found.no_padding()
    return Tokenizer(found)
