"""What `quality_scorers` reads of `../shared/data`: the labelled sets that are judged, and the other data that classifiers are made of."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import xxhash

DATA = Path(os.environ.get("CURATE_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
TRAINED_ON = ("instruct", "web_c4_demo", "pile_slices", "wiki_en_wikitext2", "books_eltec", "benchmarks")
PROSE = ("wikipedia_(en)", "pubmed_abstracts", "nih_exporter")
PIECE_CHARS = 2500  # books and articles are cut into pieces about as long as a web page
MIXED = ("wikipedia_(en)", "stackexchange", "uspto_backgrounds", "nih_exporter", "pile_cc", "hackernews", "github", "pubmed_abstracts")
"""Domains of `pile_slices` with hundreds of documents: what the small models are trained on."""
ASKED = ("arc_easy", "arc_challenge", "hellaswag", "lambada_openai", "piqa", "siqa", "winogrande")
"""Those of PreSelect's benchmarks that are in the data: what the small models should be good at."""
PLACE = 5  # of the sentence of each text of `quality_real_or_fake` that is judged

Rows = list[dict[str, Any]]
Rule = Callable[[dict[str, Any]], bool | None]


@dataclass(frozen=True)
class Labelled:
    """A set: where it is, and the label of a row: true = good, None = not used."""

    name: str
    folder: str
    good: Rule


def _is(value: str, **others: str) -> Rule:
    """Return a rule by which rows with a label are good, those of another set unused."""
    return lambda row: str(row["label"]) == value if all(row[key] == other for key, other in others.items()) else None


SETS = (
    Labelled("web pages, by people (`quality_dclm_human`)", "quality_dclm_human", _is("1")),
    Labelled("mail, not spam (`spam_email_sa`)", "spam_email_sa", _is("ham")),
    Labelled("text messages, not spam (`spam_sms`)", "spam_sms", _is("ham")),
    Labelled("not hateful (`toxic`, hatecheck)", "toxic", _is("non-hateful", set="hatecheck")),
    Labelled("not toxic (`toxic`, surge)", "toxic", _is("non-toxic", set="surge")),
    Labelled("neither hate nor offence (`toxic`, davidson)", "toxic", _is("neither", set="davidson")),
    Labelled("acceptable sentences (`quality_cola`)", "quality_cola", _is("1")),
    Labelled("sentences by people (`quality_real_or_fake`)", "quality_real_or_fake", lambda row: row["human"]),
)


def read(folder: str) -> Rows:
    """Return the rows of a set; of `real_or_fake`, one sentence of each text."""
    with pa.input_stream(str(DATA / folder / "docs.jsonl.zst"), compression="zstd") as stream:
        rows = [orjson.loads(line) for line in stream.read().splitlines()]
    return [part for row in rows for part in sentence(row)] if folder == "quality_real_or_fake" else rows


def sentence(row: dict[str, Any]) -> Rows:
    """Return a text's sixth sentence, by people or by a machine as the text went over to it later or before; none if it has fewer.

    Texts begin by people and end by a machine: judged whole or in halves, a classifier of beginnings would win. In one place it cannot.
    """
    targets = ast.literal_eval(row["target_scores"]) if isinstance(row["target_scores"], str) else row["target_scores"]
    sentences = list(targets)
    if len(sentences) <= PLACE:
        return []
    return [{"id": row["id"], "text": sentences[PLACE].strip(), "human": sentences.index(max(targets, key=targets.__getitem__)) > PLACE}]


def labelled(one: Labelled) -> list[tuple[str, bool]]:
    """Return the texts of a set with their labels."""
    return [(row["text"], good) for row in read(one.folder) if (good := one.good(row)) is not None]


def pieces(texts: Iterable[str]) -> list[str]:
    """Cut texts into pieces that end with a paragraph, about as long as a web page."""
    found: list[str] = []
    for text in texts:
        held: list[str] = []
        for paragraph in text.split("\n"):
            held.append(paragraph)
            if sum(map(len, held)) >= PIECE_CHARS:
                found.append("\n".join(held))
                held = []
        found += ["\n".join(held)] if any(map(str.strip, held)) else []
    return found


def by_domain() -> dict[str, list[str]]:
    """Return the texts of `pile_slices`."""
    found: dict[str, list[str]] = {}
    for row in read("pile_slices"):
        found.setdefault(row["domain"], []).append(row["text"])
    return found


def wanted_and_web() -> dict[str, dict[str, list[str]]]:
    """Return for the classifiers `instructions` and `prose` what is wanted and what is not."""
    slices = by_domain()
    web = [row["text"] for row in read("web_c4_demo")] + slices["pile_cc"]
    prose = [text for domain in PROSE for text in slices[domain]]
    prose += pieces(row["text"] for row in read("wiki_en_wikitext2"))
    prose += pieces(row["text"] for row in read("books_eltec") if row["lang"] == "eng")
    return {
        "instructions": {"wanted": [row["text"] for row in read("instruct")], "web": web},
        "prose": {"wanted": prose, "web": web},
    }


def family_and_crawl() -> tuple[dict[str, list[str]], dict[str, list[str]], dict[str, list[str]]]:
    """Return texts by domain to train small models on, texts by benchmark to rank them by, and a crawl by domain.

    The models see one half of the domains, by a hash of the text; the crawl is the other half and web pages.
    """
    slices = by_domain()
    halves = [{domain: [text for text in slices[domain] if _half(text) == half] for domain in MIXED} for half in (0, 1)]
    asked: dict[str, list[str]] = {name: [] for name in ASKED}
    for row in read("benchmarks"):
        if row["benchmark"] in asked:
            asked[row["benchmark"]].append(row["text"])
    return halves[0], asked, {**halves[1], "c4": [row["text"] for row in read("web_c4_demo")]}


def _half(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode()) & 1
