"""What a model has answered in a workspace: `cache/llm/<model>/<attempt>.jsonl`, one line per answer, written as answers come.

A line is {"key", "text", "finish", "prompt_tokens", "output_tokens", "seconds", "xxh3"}, the last of them the hash of the others. The key
is a hash of the prompt and of how long its answer may be, the folder's name one of what else changes answers (model and sampling), so parts
of any run, stage or worker can be read together: equal keys have equal rights, and nothing is ever locked or changed. A line that a killed
process left half, or that is damaged, is no line: its prompt is asked again. The folder may be deleted between runs.

In memory each worker holds 20 bytes for every answer of its model, and what its present shard was answered.
"""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson
import xxhash

from curate.llm.prompts import Answer, Prompt
from curate.storage import Storage, join
from curate.storage.logs import Log

FOLDER = "cache/llm"
KEY_CHARS = 32
_HEAD = np.frombuffer(b'{"key":"', np.uint8)  # what stands before the key in a line
_START = len(_HEAD)
_HEX = np.isin(np.arange(256), np.frombuffer(b"0123456789abcdef", np.uint8))
_READ_CHARS = 16  # of the key, that the index holds
HELD_BYTES = 128 << 20  # of parts, in memory

Index = tuple[Any, Any, Any]  # beginnings of keys (uint64, sorted), number of the part (int32), where its line begins (int64)


def digest(value: Any) -> str:
    """Return 32 hex digits of the SHA-256 of JSON data."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:KEY_CHARS]


def key_of(prompt: Prompt, max_tokens: int) -> str:
    """Return the hash of what a prompt asks; `max_tokens` bounds answers where the prompt does not."""
    return digest([prompt.messages, prompt.max_tokens or max_tokens, prompt.stop, prompt.schema, prompt.sample])


class Answers:
    """The answers of one model (`identity`) in one workspace."""

    def __init__(self, storage: Storage, identity: Any) -> None:
        self.url = storage.url
        self._storage = storage
        self._folder = join(FOLDER, digest(identity)[:16])
        self._parts: dict[str, tuple[int, Any, Any]] = {}  # size, keys and places of what was read of each
        self._index: Index | None = None
        self._held: dict[str, bytes] = {}
        self._log: Log | None = None

    def find(self, keys: Iterable[str]) -> dict[str, Answer]:
        """Return what is known of these keys."""
        wanted = list(keys)
        if self._index is None:
            self._index = self._read_index()
        begins, numbers, places = self._index
        asked = _numbers("".join(key[:_READ_CHARS] for key in wanted))
        first, last = np.searchsorted(begins, asked, "left"), np.searchsorted(begins, asked, "right")
        names = list(self._parts)
        found: dict[str, Answer] = {}
        for at in np.flatnonzero(first < last).tolist():
            for hit in range(int(first[at]), int(last[at])):
                told = self._line(names[int(numbers[hit])], int(places[hit]))
                if told.get("key") == wanted[at]:
                    found[wanted[at]] = _answer(told)
        return found

    def keep(self, key: str, answer: Answer) -> None:
        """Write down an answer."""
        if self._log is None:
            self._log = self._storage.open_log(join(self._folder, f"{uuid.uuid4().hex}.jsonl"))
        told = {
            "key": key,
            "text": answer.text,
            "finish": answer.finish,
            "prompt_tokens": answer.prompt_tokens,
            "output_tokens": answer.output_tokens,
            "seconds": round(answer.seconds, 6),
        }
        self._log.append(orjson.dumps(told | {"xxh3": _hash(told)}, option=orjson.OPT_APPEND_NEWLINE))

    def flush(self) -> None:
        """Return once all that was kept outlives this process."""
        if self._log is not None:
            self._log.flush()

    def close(self) -> None:
        """End the part of this attempt; what others wrote meanwhile is looked for when something is asked again."""
        if self._log is not None:
            self._log.close()
            self._log = None
        self._index = None
        self._held.clear()

    def _read_index(self) -> Index:
        """Read the keys of parts that are new or have grown, and sort all."""
        listed = {info.path: info.size for info in self._storage.list(self._folder)}
        self._parts = {path: part for path, part in self._parts.items() if listed.get(path) == part[0]}
        for path, size in listed.items():
            if path not in self._parts:
                self._parts[path] = (size, *_lines(self._storage.read(path)))
        keys = np.concatenate([np.empty(0, np.uint64), *(part[1] for part in self._parts.values())])
        places = np.concatenate([np.empty(0, np.int64), *(part[2] for part in self._parts.values())])
        sizes = [len(part[1]) for part in self._parts.values()]
        order = np.argsort(keys, kind="stable")
        return keys[order], np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)[order], places[order]

    def _line(self, path: str, place: int) -> dict[str, Any]:
        """Return what a line says, nothing where it is damaged."""
        if path not in self._held:
            while self._held and sum(map(len, self._held.values())) > HELD_BYTES:
                del self._held[next(iter(self._held))]
            self._held[path] = self._storage.read(path)
        data = self._held[path]
        with contextlib.suppress(ValueError):
            told: dict[str, Any] = orjson.loads(data[place : data.index(b"\n", place)])
            if told.pop("xxh3", None) == _hash(told):
                return told
        return {}


def _lines(data: bytes) -> tuple[Any, Any]:
    """Return the beginning of the key of each whole line that has one, and where the line begins."""
    letters = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(letters == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1])[: len(ends)].astype(np.int64)
    starts = starts[ends - starts >= _START + _READ_CHARS]
    begun = letters[starts[:, None] + np.arange(_START + _READ_CHARS)]
    whole = (begun[:, :_START] == _HEAD).all(axis=1) & _HEX[begun[:, _START:]].all(axis=1)
    return _numbers(begun[whole, _START:].tobytes().decode("ascii")), starts[whole]


def _hash(told: dict[str, Any]) -> str:
    return str(xxhash.xxh3_64_hexdigest(orjson.dumps(told)))


def _numbers(digits: str) -> Any:
    return np.frombuffer(bytes.fromhex(digits), ">u8").astype(np.uint64)


def _answer(told: dict[str, Any]) -> Answer:
    tokens = told["prompt_tokens"], told["output_tokens"]
    return Answer(told["text"], told["finish"], *tokens, cached=True, seconds=told["seconds"])
