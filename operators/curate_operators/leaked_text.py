"""Finds what has no place in a rewritten text: refusals, talk around the answer, words of the prompt, and instructions that a document
held for whoever would rewrite it.

What the source says itself is no leak: a page about chatbots may say *as an AI language model*. An instruction planted in a document is
the exception: it is data, to be told by no text that is made of it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence

from curate_operators.prompt_sets import FOLDER
from curate_operators.rewrite_measures import Grams, grams, words

PROMPT_WORDS = 6  # so many words in a row of a prompt are no accident
PLANTED_WORDS = 4
MARKS = ("<document>", "</document>", "[doc]", "[/doc]")
_SENTENCE = re.compile(r"[^\n.!?]+(?:[.!?]+(?![\s\"'”’)\]])[^\n.!?]*)*[.!?]*[\"'”’)\]]*")
_QUOTED = re.compile(r"[\"“]([^\"”\n]{3,200})[\"”]|(?<!\w)['‘]([^'’\n]{3,200})['’](?!\w)|`([^`\n]{3,200})`")
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_SAY = re.compile(
    r"\b(?:say|print|output|write|respond|reply|answer|return|repeat)\b(?:\s+(?:only|exactly|just|with|the\s+words?|the\s+phrase))+\s*:?\s+(.{3,200})",
    re.IGNORECASE,
)


def phrase(text: str, source: str, file: str) -> str | None:
    """Return the first phrase of a list (`refusals.txt`, `preambles.txt`) that a text has and its source has not."""
    text, source = (" ".join(value.lower().replace("’", "'").split()) for value in (text, source))
    for said, pattern, anywhere in _phrases(file):
        if said in text and pattern.search(text) and not anywhere.search(source):
            return said
    return None


@functools.cache
def _phrases(file: str) -> list[tuple[str, re.Pattern[str], re.Pattern[str]]]:
    """Return the phrases of a list, each with the pattern of where it may stand, and with that of where it stands at all.

    They are whole words, but in scripts without spaces.
    """
    found = []
    for line in _lines(file):
        said = line.removeprefix("^").removesuffix("$")
        begin, end = "" if _UNSPACED.match(said[0]) else r"(?<!\w)", "" if _UNSPACED.match(said[-1]) else r"(?!\w)"
        before, after = "^" if line.startswith("^") else begin, "$" if line.endswith("$") else end
        found.append((said, re.compile(f"{before}{re.escape(said)}{after}"), re.compile(f"{begin}{re.escape(said)}{end}")))
    return found


@functools.cache
def _injections() -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{line})" for line in _lines("injections.txt")), re.IGNORECASE)


def _lines(file: str) -> list[str]:
    text = (FOLDER / file).read_text(encoding="utf-8")
    return [line for line in text.split("\n") if line and not line.startswith("#")]


def planted(source: str) -> list[str]:
    """Return the sentences of a document that speak to a model that reads it, and those that follow them on their line."""
    found = []
    for line in source.split("\n"):
        before = False
        for sentence in (match.group().strip() for match in _SENTENCE.finditer(line)):
            speaks = bool(_injections().search(sentence))
            if speaks or before:
                found.append(sentence)
            before = speaks
    return found


def leaked_words(text: str, source: str, prompt: Grams) -> str | None:
    """Return what a text has that it must not have; None = nothing leaked.

    That is a mark or words of the prompt, words of an instruction that the source holds, or an instruction of the text's own.
    `prompt` are runs of `PROMPT_WORDS` words of what the model was told.
    """
    if mark := next((mark for mark in MARKS if mark in text and mark not in source), None):
        return mark
    own = words(text)
    if prompt and (leaked := grams(own, PROMPT_WORDS) & prompt - grams(words(source), PROMPT_WORDS)):
        return " ".join(min(leaked))
    return _leaked_instruction(own, source) or next((sentence for sentence in planted(text) if sentence not in source), None)


def _leaked_instruction(own: Sequence[str], source: str) -> str | None:
    found = planted(source)
    if not found:
        return None
    rest = source
    for sentence in found:
        rest = rest.replace(sentence, "\n")
    line, elsewhere = f" {' '.join(own)} ", f" {' '.join(words(rest))} "
    made = grams(list(own), PLANTED_WORDS) - grams(words(rest), PLANTED_WORDS)
    for sentence in found:
        if leaked := made & grams(words(sentence), PLANTED_WORDS):
            return " ".join(min(leaked))
        for payload in _payloads(sentence):
            if f" {payload} " in line and f" {payload} " not in elsewhere:
                return payload
    return None


def _payloads(sentence: str) -> Iterator[str]:
    """Yield what an instruction wants to be said, as words in lower case."""
    wanted = [next(filter(None, groups)) for groups in _QUOTED.findall(sentence)] + _SAY.findall(sentence)
    yield from filter(None, (" ".join(words(value)) for value in wanted))


@functools.cache
def prompt_grams(text: str) -> Grams:
    """Return the runs of words by which a prompt is known in a text."""
    return grams(words(text), PROMPT_WORDS)
