"""Opens a Hugging Face tokenizer: a folder, or what a stage trained. What its JSON says is read without the package `tokenizers`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from curate.errors import CurateError, DatasetError, OperatorError
from curate.files import local_file
from curate.storage import join
from curate.work import Work
from curate_scorers.lm_loss_model import package

TOKENIZER, CONFIG, SPECIAL = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
FILES = (TOKENIZER, CONFIG, SPECIAL)  # what stands in a folder beside a model
LARGEST_SHORT = 1 << 16  # vocabularies up to here have tokens of two bytes
HINT = "name the folder of a fast tokenizer, or `stage:NAME` of a stage that uses `train_tokenizer`"


@dataclass(frozen=True)
class Tokenizer:
    """What a tokenizer's files say: `size` is its largest token number and one, `eos` the token that ends documents."""

    where: str
    files: Mapping[str, Path]
    size: int
    eos: str | None
    numbers: Mapping[str, int]

    @property
    def eos_number(self) -> int | None:
        """The number of the token that ends documents."""
        return None if self.eos is None else self.numbers[self.eos]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest type that holds every token."""
        return np.dtype("<u2" if self.size <= LARGEST_SHORT else "<u4")


def describe(place: str, eos: str | None = None) -> Tokenizer:
    """Return what the files of a tokenizer say; raise `OperatorError` when they are none.

    `eos` is the text of the token that ends documents; None = what the tokenizer's configuration says.
    """
    files = dict(_files(place))
    found = _object(files[TOKENIZER], place)
    model = found.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), (dict, list)):
        raise OperatorError(f"tokenizer {place}: {TOKENIZER} has no vocabulary", HINT)
    try:
        numbers = _numbers(model["vocab"], found.get("added_tokens") or [])
        size = max(numbers.values()) + 1
    except (KeyError, TypeError, ValueError) as error:
        raise OperatorError(f"tokenizer {place}: the vocabulary of {TOKENIZER} cannot be read", HINT) from error
    if eos is None and CONFIG in files:
        eos = _named(_object(files[CONFIG], place).get("eos_token"))
    if eos is not None and eos not in numbers:
        raise OperatorError(f"tokenizer {place} has no token `{eos}`, which is to end documents", "name one that it has with `eos`")
    return Tokenizer(place, files, size, eos, numbers)


def load(tokenizer: Tokenizer) -> Any:
    """Return a tokenizer of the package `tokenizers` that neither cuts nor pads, and takes special tokens in a text for text."""
    try:
        loaded = package("tokenizers").Tokenizer.from_file(str(tokenizer.files[TOKENIZER]))
    except CurateError:
        raise
    except Exception as error:
        raise OperatorError(f"tokenizer {tokenizer.where} cannot be read: {str(error).strip()[:500]}", HINT) from error
    loaded.no_truncation()
    loaded.no_padding()
    loaded.encode_special_tokens = True
    return loaded


def keep(tokenizer: Tokenizer, work: Work) -> None:
    """Put copies of a tokenizer's files beside the shards of a stage."""
    for name, path in tokenizer.files.items():
        keep_bytes(name, path.read_bytes(), work)


def keep_bytes(name: str, data: bytes, work: Work) -> None:
    """Put a small file beside the shards of a stage."""
    path = join(work.scratch, f"kept-{name}")
    work.storage.write(path, data)
    work.write_file(name, path)


def _files(place: str) -> Iterator[tuple[str, Path]]:
    """Yield the files of a tokenizer that are there; only the first one must be."""
    folder = place.rstrip("/").removesuffix(f"/{TOKENIZER}")
    for name in FILES:
        try:
            yield name, local_file(f"{folder}/{name}")
        except DatasetError as error:
            if name != TOKENIZER:
                continue
            raise OperatorError(f"tokenizer {place}: {error.message}", HINT) from error
        except CurateError as error:
            raise OperatorError(f"tokenizer {place}: {error.message}", error.hint or HINT) from error


def _object(path: Path, place: str) -> dict[str, Any]:
    try:
        found = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise OperatorError(f"tokenizer {place}: {path.name} cannot be read: {error}", "copy it again") from error
    if not isinstance(found, dict):
        raise OperatorError(f"tokenizer {place}: {path.name} holds no object", "copy it again")
    return found


def _numbers(vocabulary: Any, added: list[Any]) -> dict[str, int]:
    """Return the number of each token; a Unigram model lists its tokens in their order, others name them."""
    if isinstance(vocabulary, dict):
        numbers = {token: int(number) for token, number in vocabulary.items()}
    else:
        numbers = {entry[0]: number for number, entry in enumerate(vocabulary)}
    return numbers | {entry["content"]: int(entry["id"]) for entry in added}


def _named(token: Any) -> str | None:
    """Return a special token's text, which a configuration gives as such or as an object."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None
