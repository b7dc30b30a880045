"""Turns what a model answered into text: lead-ins and marks taken away, pairs and lists taken apart.

Every answer that is not what its style asks for has a problem in place of a text: `truncated`, `no_lead_in`, `no_pairs`, `no_list`,
`no_tag`, `empty`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from curate.llm import Answer
from curate_operators.prompt_sets import Style

_FENCE = re.compile(r"^```\w*[ \t]*$\n?", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}[ \t]+", re.MULTILINE)
_STRONG = re.compile(r"(\*\*\*|\*\*|__)(?=\S)(.+?)(?<=\S)\1")
_EMPHASIS = re.compile(r"(?<![\w*])\*(?=[^\s*])([^*\n]+?)(?<=[^\s*])\*(?![\w*])")
_QUESTION = re.compile(r"^[ \t]*(?:[-*•]|\d+[.)])?[ \t]*(?:Question|Q)(?:[ \t]*\d+)?[ \t]*:[ \t]*", re.MULTILINE | re.IGNORECASE)
_ANSWER = re.compile(
    r"^[ \t]*(?:[-*•][ \t]*)?(?:Answer|A)(?:[ \t]*\d+)?[ \t]*:[ \t]*|(?<=[.?!)])[ \t]+Answer[ \t]*:[ \t]*", re.MULTILINE | re.IGNORECASE
)
_BULLET = re.compile(r"^[ \t]*(?:[-*•–]|\d+[.)])[ \t]+")
_TAGGED = re.compile(r"<text>(.*?)</text>", re.DOTALL | re.IGNORECASE)
_QUOTES = {'"': '"', "“": "”", "«": "»", "'": "'"}


@dataclass(frozen=True)
class Said:
    """The parts of a usable answer (one text, or pairs, or lines), or what is wrong with it."""

    parts: tuple[str, ...] = ()
    problem: str | None = None


def said(answer: Answer, style: Style) -> Said:
    """Return what an answer says; raise `Unanswered` where there is none."""
    text = answer.required().strip()
    if answer.finish == "length":
        return Said(problem="truncated")
    if not style.markdown:
        text = plain(text)
    if style.lead_in is not None:
        rest = _without_lead_in(text, style.lead_in)
        if rest is None:
            return Said(problem="no_lead_in")
        text = rest
    return _shaped(text, style)


def _shaped(text: str, style: Style) -> Said:
    match style.answer:
        case "pairs":
            return _some(pairs(text), "no_pairs")
        case "list":
            return _some(facts(text), "no_list")
        case "tagged":
            found = _TAGGED.search(text)
            return _some([found[1].strip()] if found else [], "no_tag")
    return _some([unquoted(text.strip())], "empty")


def _some(parts: Sequence[str], problem: str) -> Said:
    kept = tuple(part for part in parts if part)
    return Said(kept) if kept else Said(problem=problem)


def plain(text: str) -> str:
    """Return a text without the marks of Markdown for headings, emphasis and blocks of code; bullets stay."""
    text = _HEADING.sub("", _FENCE.sub("", text))
    return _EMPHASIS.sub(r"\1", _STRONG.sub(r"\2", text)).strip()


def _without_lead_in(text: str, lead_in: str) -> str | None:
    """Return what comes behind the words that an answer must begin with, in any case; None where it begins otherwise."""
    wanted = lead_in.rstrip(" :.")
    start = text.lstrip("\"'“ \n")
    if start[: len(wanted)].lower() != wanted.lower():
        return None
    return start[len(wanted) :].lstrip(" :.\n")


def unquoted(text: str) -> str:
    """Return a text without the quotation marks round the whole of it."""
    close = _QUOTES.get(text[:1])
    if close is None or len(text) < 2 or not text.endswith(close):
        return text
    inside = text[1:-1]
    return text if close in inside else inside.strip()


def pairs(text: str) -> list[str]:
    """Return each question that has an answer, as `Question: …` and `Answer: …` on two lines."""
    found = []
    for block in _QUESTION.split(text)[1:]:
        question, *answer = _ANSWER.split(block, maxsplit=1)
        if answer and question.strip() and answer[0].strip():
            found.append(f"Question: {question.strip()}\nAnswer: {answer[0].strip()}")
    return found


def facts(text: str) -> list[str]:
    """Return the lines of a list without their bullets.

    What comes before the first bullet is an introduction and goes, a later line without one belongs to the item before it.
    """
    found: list[str] = []
    for line in filter(str.strip, text.split("\n")):
        bullet = _BULLET.match(line)
        if bullet:
            found.append(line[bullet.end() :].strip())
        elif found:
            found[-1] = f"{found[-1]} {line.strip()}"
    return found
