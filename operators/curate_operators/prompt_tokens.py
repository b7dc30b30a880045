"""Reckons what prompts of a style take, before any is asked: by bytes of text and numbers of documents, or by what is shown of some."""

from __future__ import annotations

from collections.abc import Sequence

from curate.llm import Asked
from curate_operators.prompt_sets import Style
from curate_operators.token_counts import BYTES_PER_TOKEN, Tokens


def beginnings(style: Style, text_bytes: int, documents: int) -> Asked:
    """Return what it takes to ask about the beginning of each document, as many tokens as the style's `max_input_tokens`."""
    shown = min(_tokens(text_bytes), documents * style.max_input_tokens)
    return Asked(documents, documents * _own(style) + shown, documents * style.max_output_tokens)


def pieces(style: Style, text_bytes: int, documents: int) -> Asked:
    """Return what it takes to ask about all of each document, in as many prompts as the style's `max_input_tokens` makes of it."""
    room = max(style.max_input_tokens - _own(style), 1)
    prompts = documents + _tokens(text_bytes) // room if documents else 0
    return Asked(prompts, prompts * _own(style) + _tokens(text_bytes), prompts * style.max_output_tokens)


def asked_about(style: Style, texts: Sequence[str], tokens: Tokens) -> Asked:
    """Return what it takes to ask about each of these pieces of documents."""
    [own] = tokens.count([style.words])
    return Asked(len(texts), len(texts) * own + sum(tokens.count(texts)), len(texts) * style.max_output_tokens)


def _own(style: Style) -> int:
    """Return the tokens of what a prompt says beside the document."""
    return _tokens(len(style.words.encode()))


def _tokens(text_bytes: int) -> int:
    return text_bytes // BYTES_PER_TOKEN
