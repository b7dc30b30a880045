"""`python -m tests.benchmarks.rewrite_guards [--write]`: what `rewrite_guard` catches of planted faults, and what it costs of honest work.

Documents are the English paragraphs of XQuAD. Each fault is made by rule on every one of them, so that the right verdict is known; so is
a rewriting that says the same: sentences in another order, common words replaced, numbers written otherwise. Beside it stand revisions
that people made of pages in Django's documentation, sharing between 40 and 80 % of their runs of five words: these do change what a
page says. A document is dropped for whatever reason; the one given most often stands beside the share.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate_operators import leaked_text
from curate_operators.prompt_sets import read_shipped
from curate_operators.rewrite import ABOUT
from curate_operators.rewrite_guard import RewriteGuard
from tests.benchmarks import readme
from tests.benchmarks.rewrite_plants import HELD_OUT, KNOWN, Plant

NAME = "rewrite_guards"
DATA = Path(os.environ.get("CURATE_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
STYLE = "medium"
REVISED = (0.4, 0.8)
SIZES = (500, 8000)  # characters of a page that is taken for a document
OTHER_WORDS = {
    "and": "as well as", "in": "within", "the": "that", "was": "had been", "is": "remains", "a": "one such", "of": "belonging to",
    "to": "towards", "by": "through", "with": "along with", "but": "yet", "also": "too", "after": "following", "first": "initial",
    "many": "numerous", "however": "still", "because": "since", "large": "big", "which": "that", "from": "out of", "for": "on behalf of",
}  # fmt: skip
SMALL = {"1": "one", "2": "two", "3": "three", "4": "four", "5": "five", "6": "six", "7": "seven", "8": "eight", "9": "nine"}
SAME, REVISION = "the same in other words", "a human revision"
REAL = ("web_c4_demo", "neardup_doc_versions", "wiki_en_demo", "pile_slices", "docs_react_multiling")
PLANTED = ("planted, obeyed", "planted, obeyed besides", "planted, passed on", "words of the prompt")
Pair = tuple[str, str]  # source and text


@dataclass(frozen=True)
class Row:
    """One fault: how many documents have it, the share that is dropped, and the reason most often given."""

    plant: str
    documents: int
    caught: float
    reason: str


def read(data: Path, name: str, file: str = "docs") -> list[dict[str, Any]]:
    """Return the rows of a set."""
    with pa.input_stream(data / name / f"{file}.jsonl.zst", compression="zstd") as stream:
        return [json.loads(line) for line in stream.read().splitlines()]


def revisions(data: Path, limit: int) -> list[Pair]:
    """Return pages of documentation with a later revision of the same page."""
    texts = {row["id"]: row["text"] for row in read(data, "neardup_doc_versions")}
    found = []
    for row in read(data, "neardup_doc_versions", "pairs"):
        a, b = sorted((row["a"], row["b"]))
        same_page = a.partition("/")[2] == b.partition("/")[2]
        if same_page and REVISED[0] <= row["jaccard"] <= REVISED[1] and all(SIZES[0] <= len(texts[i]) <= SIZES[1] for i in (a, b)):
            found.append((texts[a], texts[b]))
    return found[:limit]


def paragraphs(data: Path, limit: int) -> list[tuple[str, str]]:
    """Return English paragraphs, each with its German translation."""
    rows = read(data, "wiki_xquad_parallel")
    by = {
        language: {row["id"].partition("/")[2]: row["text"].strip() for row in rows if row["lang"] == language} for language in ("en", "de")
    }
    keys = [key for key, text in by["en"].items() if len(text) > 400 and key in by["de"]]
    return [(by["en"][key], by["de"][key]) for key in keys[:limit]]


def in_other_words(text: str) -> str:
    """Return a text that says the same: its sentences turned round in order, common words replaced, numbers written otherwise."""
    sentences = re.split(r"(?<=[a-z\d)][.!?]) (?=[A-Z])", text)
    words = [re.sub(r"(?<![\w.,])[a-z]+(?![\w'-])", lambda found: OTHER_WORDS.get(found[0], found[0]), each) for each in sentences]
    plain = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", " ".join(reversed(words)))
    return re.sub(r"(?<![\w.,:–-])[1-9](?![\w.,:%–-])", lambda found: SMALL[found[0]], plain)


def faults(found: Sequence[tuple[str, str]]) -> Iterator[tuple[str, list[Pair]]]:
    """Yield each fault by name with its sources and texts."""
    english = [text for text, _ in found]
    middle = len(english) // 2
    others = english[middle:] + english[:middle]  # paragraphs that follow each other are of one article
    made: dict[str, Callable[[str], str]] = {
        "refusal": lambda text: f"I'm sorry, but I can't help with rewriting this passage about {text.split()[3]}.",
        "preamble": lambda text: f"Sure! Here's a clear version of the text:\n\n{text}",
        "half of it": lambda text: " ".join(text.split()[: len(text.split()) // 3]),
        "loop": lambda text: f"{text} {(text.split('. ')[-1] + ' ') * 8}",
        "numbers changed": lambda text: re.sub(r"\d+", lambda n: str(int(n[0]) * 3 + 1), text),
        "names changed": lambda text: re.sub(r"(?<=[a-z,] )[A-Z]\w+", "somebody", text),
    }
    yield "another document", list(zip(english, others, strict=True))
    yield "translation", list(found)
    yield "copy", [(text, text) for text in english]
    for name, change in made.items():
        pairs = [(text, change(text)) for text in english]
        if name == "numbers changed":
            pairs = [(source, text) for source, text in pairs if len(set(re.findall(r"\d+", source))) >= 3]
        if name == "names changed":
            pairs = [(source, text) for source, text in pairs if text.count("somebody") >= 3]
        yield name, pairs


def planted(english: Sequence[str], plants: Sequence[Plant]) -> Iterator[tuple[str, list[Pair]]]:
    """Yield documents that hold an instruction, with what a model makes of them that obeys it, or passes it on."""
    held = [(_planted(text, plants[n % len(plants)][0]), text, plants[n % len(plants)]) for n, text in enumerate(english)]
    prompt = read_shipped("wrap")[STYLE].words
    yield PLANTED[0], [(source, said) for source, _, (_, said) in held]
    yield PLANTED[1], [(source, f"{text} {said}") for source, text, (_, said) in held]
    yield PLANTED[2], [(source, source) for source, _, _ in held]
    yield PLANTED[3], [(text, f"{text} {' '.join(prompt.split()[n % 20 : n % 20 + 12])}") for n, text in enumerate(english)]


def _planted(text: str, instruction: str) -> str:
    """Put an instruction into the middle of a text, where a sentence ends."""
    sentences = text.split(". ")
    middle = len(sentences) // 2
    return ". ".join(sentences[:middle]) + (". " if middle else "") + f"{instruction} " + ". ".join(sentences[middle:])


def judged(pairs: Sequence[Pair], copies: bool) -> list[str | None]:
    """Return the reason for which each text is dropped; `copies` = being a copy is none."""
    guard = RewriteGuard(max_copy_ratio=None) if copies else RewriteGuard()
    about = {"style": STYLE, "segments": 1, "lost": 0, "problem": None, "faithful": True}
    docs = pa.record_batch(
        {
            "text": pa.array([text for _, text in pairs], pa.large_string()),
            "source_text": pa.array([source for source, _ in pairs], pa.large_string()),
            "rewrite": pa.array([about] * len(pairs), ABOUT),
        }
    )
    return [row and row["reason"] for row in guard.drop(docs).to_pylist()]


def measured(data: Path, limit: int) -> list[Row]:
    """Return a row for honest work and each fault; planted instructions are those that the patterns were written with."""
    found = paragraphs(data, limit)
    english = [text for text, _ in found]
    rows = [_row(SAME, [(text, in_other_words(text)) for text in english], False), _row(REVISION, revisions(data, limit), False)]
    rows += [_row(name, pairs, name != "copy") for name, pairs in faults(found)]
    return rows + [_row(name, pairs, True) for name, pairs in planted(english, KNOWN)]


def _row(name: str, pairs: Sequence[Pair], copies: bool) -> Row:
    reasons = Counter(judged(pairs, copies))
    dropped = len(pairs) - reasons.pop(None, 0)
    return Row(name, len(pairs), dropped / max(len(pairs), 1), reasons.most_common(1)[0][0] or "" if reasons else "")


def unplanted(data: Path) -> Row:
    """Return how many documents of five sets, at most 300 of each, hold a sentence that looks like an instruction to a model."""
    texts = [row["text"] for name in REAL for row in read(data, name)[:300]]
    held = sum(bool(leaked_text.planted(text)) for text in texts)
    return Row("(nothing planted: looks as if it were)", len(texts), held / len(texts), "")


def table(data: Path, limit: int) -> Iterator[str]:
    """Yield the lines of a table in Markdown."""
    yield "| made of the source | documents | dropped | most often for |"
    yield "|---|---|---|---|"
    rows = measured(data, limit)
    english = [text for text, _ in paragraphs(data, limit)]
    rows += [_row(f"{name}, held out", pairs, True) for name, pairs in planted(english, HELD_OUT) if name != PLANTED[3]]
    rows.append(unplanted(data))
    for row in rows:
        yield f"| {row.plant} | {row.documents} | {row.caught:.1%} | {f'`{row.reason}`' if row.reason else '–'} |"


def main() -> None:
    """Print the table, or write it into README.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--limit", type=int, default=240, help="documents of each kind")
    arguments = parser.parse_args()
    text = "\n".join(table(DATA, arguments.limit))
    print(text)
    if arguments.write:
        readme.write(NAME, text)


if __name__ == "__main__":
    main()
