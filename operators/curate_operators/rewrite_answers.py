"""Turns what a model answered into text: thoughts, labels, lead-ins, notes and marks taken away, pairs and lists taken apart.

Every answer that is not what its style asks for has a problem in place of a text: `truncated`, `no_lead_in`, `no_pairs`, `no_list`,
`no_tag`, `empty`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from curate.llm import Answer
from curate_operators.prompt_sets import Style
from curate_operators.prompted import without_thoughts

_LABEL = re.compile(r"\A\**assistant\**[ \t]*:[ \t*]*", re.IGNORECASE)
_NOTE = re.compile(
    r"\n\s*[*_]?[(\[](?:please )?note\b[^()\[\]]*\b(?:passage|original|version|text|re(?:writ|phras|word)\w*|paraphras\w*)\b[^()\[\]]*"
    r"[)\]][*_]?\Z",
    re.IGNORECASE,
)
_LETTERS = "\u3000-\u9fff\uff00-\uffef"  # of scripts without spaces, and their punctuation
_OPEN, _CLOSE = rf"(?<![^\s(\[{{\"'“‘«—–…{_LETTERS}])", rf"(?![^\s)\]}}\"'”’»—–….,:;!?{_LETTERS}])"
_WRAPPED = re.compile(r"\A```\w*[ \t]*\n((?:(?!```).)*)```\Z", re.DOTALL)
_MARKS = re.compile(
    r"^```[^`\n]*\n(?P<block>.*?)(?:^```[ \t]*$\n?|\Z)"
    r"|(?P<code>`[^`\n]+`)"
    r"|\A#[ \t]+|^#{2,6}[ \t]+"  # one sign within a text begins comments, too
    rf"|{_OPEN}(\*{{1,3}})(?=[^\s*])(?P<starred>[^\n]{{1,1000}}?)(?<=[^\s*])\3{_CLOSE}"
    rf"|{_OPEN}__(?=\S)(?P<strong>[^_\n]{{1,1000}}\s[^_\n]{{1,1000}})(?<=\S)__{_CLOSE}",
    re.MULTILINE | re.DOTALL,
)
_MARKED = r"(?:[ \t]*\d+)?[ \t]*:[ \t]*|[ \t]*\d+[.)][ \t]+"  # what stands behind `Question`
_QUESTION = re.compile(rf"^[ \t]*(?:[-*•]|\d+[.)])?[ \t]*(?:Question|Q)(?:{_MARKED})", re.MULTILINE | re.IGNORECASE)
_ANSWER = re.compile(rf"^[ \t]*(?:[-*•][ \t]*)?Answer(?:{_MARKED})|(?<=[.?!)])[ \t]+Answer[ \t]*:[ \t]*", re.MULTILINE | re.IGNORECASE)
_A = re.compile(rf"^[ \t]*(?:[-*•][ \t]*)?A(?:{_MARKED})", re.MULTILINE | re.IGNORECASE)
_CHOICE = re.compile(r"^[ \t]*(?:[-*•][ \t]*)?B[ \t]*[:.)]", re.MULTILINE)
_BULLET = re.compile(r"^[ \t]*(?:[-*•–]|\d+[.)])[ \t]+")
_BEHIND_LEAD_IN = re.compile(r"\A(?:[ \t]*:|\.)?\s*")
_TAGGED = re.compile(r"<text>(.*?)</text>", re.DOTALL | re.IGNORECASE)
_QUOTES = {'"': '"', "“": "”", "«": "»", "'": "'"}


@dataclass(frozen=True)
class Said:
    """The parts of a usable answer (one text, or pairs, or lines), or what is wrong with it."""

    parts: tuple[str, ...] = ()
    problem: str | None = None


def said(answer: Answer, style: Style) -> Said:
    """Return what an answer says; raise `Unanswered` where there is none."""
    whole = answer.required().strip()
    text = without_thoughts(whole)
    if answer.finish == "length" or (whole and not text):
        return Said(problem="truncated")
    text = _NOTE.sub("", _LABEL.sub("", text))
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
    """Return a text without the marks of Markdown for headings, emphasis and blocks of code; bullets stay.

    Only clear pairs go: a mark beside a letter or digit belongs to a word (`2**10`, `__init__`), and code stays as it is.
    """
    wrapped = _WRAPPED.match(text)
    return _MARKS.sub(_unmarked, wrapped[1] if wrapped else text).strip()


def _unmarked(found: re.Match[str]) -> str:
    code = found["block"] if found["code"] is None else found["code"]
    if code is not None:
        return code
    return _MARKS.sub(_unmarked, found["starred"] or found["strong"] or "")


def _without_lead_in(text: str, lead_in: str) -> str | None:
    """Return what comes behind the words that an answer must begin with, in any case; None where it begins otherwise."""
    wanted = lead_in.rstrip(" :.")
    start = text.lstrip("\"'“ \n")
    if start[: len(wanted)].lower() != wanted.lower():
        return None
    return _BEHIND_LEAD_IN.sub("", start[len(wanted) :])


def unquoted(text: str) -> str:
    """Return a text without the quotation marks round the whole of it."""
    close = _QUOTES.get(text[:1])
    if close is None or len(text) < 2 or not text.endswith(close):
        return text
    inside = text[1:-1]
    return text if close in inside else inside.strip()


def pairs(text: str) -> list[str]:
    """Return each question that has an answer, as `Question: …` and `Answer: …` on two lines.

    `A:` begins an answer only where no `B:` follows, which makes it the first of several choices.
    """
    found = []
    for block in _QUESTION.split(text)[1:]:
        question, *answer = _ANSWER.split(block, maxsplit=1)
        if not answer and not _CHOICE.search(block):
            question, *answer = _A.split(block, maxsplit=1)
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
