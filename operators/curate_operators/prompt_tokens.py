"""Reckons what prompts of a style take, before any document is read: by bytes of text and numbers of documents."""

from __future__ import annotations

from curate.llm import Asked
from curate_operators.prompt_sets import Style
from curate_operators.token_counts import BYTES_PER_TOKEN


def beginnings(style: Style, text_bytes: int, documents: int) -> Asked:
    """Return what it takes to ask about the beginning of each document, as many tokens as the style's `max_input_tokens`."""
    shown = min(_tokens(text_bytes), documents * style.max_input_tokens)
    return Asked(documents, documents * _own(style) + shown, documents * style.max_output_tokens)


def pieces(style: Style, text_bytes: int, documents: int) -> Asked:
    """Return what it takes to ask about all of each document, in as many prompts as the style's `max_input_tokens` makes of it."""
    room = max(style.max_input_tokens - _own(style), 1)
    prompts = documents + _tokens(text_bytes) // room if documents else 0
    return Asked(prompts, prompts * _own(style) + _tokens(text_bytes), prompts * style.max_output_tokens)


def _own(style: Style) -> int:
    """Return the tokens of what a prompt says beside the document."""
    return _tokens(len(style.words.encode()))


def _tokens(text_bytes: int) -> int:
    return text_bytes // BYTES_PER_TOKEN
