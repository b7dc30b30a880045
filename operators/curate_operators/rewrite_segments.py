"""Cuts documents into segments that a model can take: lines, joined as long as they fit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from curate_operators.prompt_sets import Style
from curate_operators.token_counts import Tokens

SPARE = 2  # tokens for what stands between prompt and text
_SENTENCE_END = re.compile(r"([.!?。！？…][\"'”’)\]]*)\s+|(?<=[。！？])")
_WORD = re.compile(r"\S+\s*")


@dataclass(frozen=True)
class Cut:
    """The segments of one document, its tokens, and how many lines that are too long and segments that are too short were left out."""

    segments: tuple[str, ...]
    tokens: int
    left_out: int = 0


def segments(texts: Sequence[str], style: Style, tokens: Tokens) -> list[Cut]:
    """Return the segments of each text under a style's lengths; a text without any is not asked about."""
    room = max(style.room(tokens) - SPARE, 1)
    return [_cut(text, size, style, tokens, room) for text, size in zip(texts, tokens.count(texts), strict=True)]


def _cut(text: str, size: int, style: Style, tokens: Tokens, room: int) -> Cut:
    if size < style.min_document_tokens or not text.strip():
        return Cut((), size)
    if size <= room:
        return Cut((text,), size) if size >= style.min_segment_tokens else Cut((), size, 1)
    lines = [line for line in text.split("\n") if line.strip()]
    pieces, dropped = _pieces(lines, style, tokens, room)
    whole = _joined(pieces, room, tokens)
    kept = tuple(segment for segment, n in whole if n >= style.min_segment_tokens)
    return Cut(kept, size, dropped + len(whole) - len(kept))


def _pieces(lines: Sequence[str], style: Style, tokens: Tokens, room: int) -> tuple[list[tuple[str, int, str]], int]:
    """Return lines, or parts of those that are too long, with their tokens and what stands before them; and how many were dropped."""
    found, dropped = [], 0
    for line, size in zip(lines, tokens.count(lines), strict=True):
        if size <= room:
            found.append((line, size, "\n"))
        elif style.long_segments == "split":
            parts = _split(line, tokens, room)
            found += [(part, n, " " if i else "\n") for i, (part, n) in enumerate(zip(parts, tokens.count(parts), strict=True))]
        else:
            dropped += 1
    return found, dropped


def _split(line: str, tokens: Tokens, room: int) -> list[str]:
    """Return a line in sentences, those that are too long in words, and words that are too long in pieces."""
    parts = [part for part in _SENTENCE_END.sub(r"\1\n", line).split("\n") if part]
    for finer in (_words, lambda part: _letters(part, tokens, room)):
        parts = [piece for part, n in zip(parts, tokens.count(parts), strict=True) for piece in ([part] if n <= room else finer(part))]
    return parts


def _words(sentence: str) -> list[str]:
    return [word.strip() for word in _WORD.findall(sentence)]


def _letters(word: str, tokens: Tokens, room: int) -> list[str]:
    pieces = []
    while word:
        piece = tokens.first(word, room) or word[:1]
        pieces.append(piece)
        word = word[len(piece) :]
    return pieces


def _joined(pieces: Sequence[tuple[str, int, str]], room: int, tokens: Tokens) -> list[tuple[str, int]]:
    """Join pieces as long as they fit, and return the segments with their tokens, each joint counted as one."""
    found: list[tuple[str, int]] = []
    parts: list[str] = []
    size = 0
    for piece, n, before in pieces:
        if parts and size + 1 + n > room:
            found.append(("".join(parts), size))
            parts, size = [], 0
        size += n + (1 if parts else 0)
        parts += [before, piece] if parts else [piece]
    if parts:
        found.append(("".join(parts), size))
    return found
