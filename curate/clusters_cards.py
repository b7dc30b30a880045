"""Cards of clusters: what is known of each cluster of a corpus, as `cards.json` of an artifact holds it.

| field                 | is                                                                                                |
|-----------------------|---------------------------------------------------------------------------------------------------|
| `format`              | 1                                                                                                 |
| `clustering`          | 16 hex digits: which clusters these are, whatever else is measured of them                        |
| `documents`           | documents that have a cluster; `without_cluster` have none                                         |
| `scores`              | the names of the scores that there are means of                                                   |
| `clusters`            | a card each, by ascending number:                                                                 |
| › `cluster`           | its number                                                                                        |
| › `documents`, `characters`, `share` | its size; `share` of all documents that have a cluster                            |
| › `words`             | `{word, count, weight}`, the most characteristic first                                            |
| › `nearest`, `farthest` | `{id, distance, url, opening}`, nearest to and farthest from the centroid first                 |
| › `mean_distance`     | mean of 1 - cosine to the centroid                                                                |
| › `pairwise_similarity` | mean cosine of all its pairs of documents, null for one document                                |
| › `line_repetition`   | share of the characters of its lines that stand in lines that it has more than once, in one       |
|                       | document or in several; lines that differ in case only are the same                               |
| › `sites`, `site_entropy`, `site_evenness` | how many, bits, and bits as a share of those of as many even ones (1 = even, 0 = one)|
| › `languages`, `language_entropy`, `language_evenness` | the same of languages                                            |
| › `scores`            | `{name: mean}`, null where no document has the score                                              |
| › `place`             | `[x, y]` from -1 to 1: its centroid on the two main axes of all centroids                         |

What was not measured is null. Texts come from documents: whoever shows them escapes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from curate.errors import DatasetError
from curate.report.units import clip, count, number, plural, printable, share

FILE, FORMAT = "cards.json", 1
NUMBERS: Mapping[str, pa.DataType] = {
    "documents": pa.int64(),
    "characters": pa.int64(),
    "share": pa.float64(),
    "mean_distance": pa.float64(),
    "pairwise_similarity": pa.float64(),
    "line_repetition": pa.float64(),
    "sites": pa.int64(),
    "site_entropy": pa.float64(),
    "site_evenness": pa.float64(),
    "languages": pa.int64(),
    "language_entropy": pa.float64(),
    "language_evenness": pa.float64(),
}
OPENING_CHARS, SHOWN_WORDS = 160, 10
Card = Mapping[str, Any]


@dataclass(frozen=True)
class Cards:
    """The cards of one clustering, by ascending number."""

    clustering: str
    documents: int
    without_cluster: int
    scores: Sequence[str]
    clusters: Sequence[Card]

    @property
    def numbers(self) -> list[int]:
        """The numbers of all clusters that have documents."""
        return [card["cluster"] for card in self.clusters]

    @property
    def range(self) -> str:
        """A hint for whoever named a cluster that is not there."""
        return f"there are {plural(len(self.clusters), 'cluster')}, from {min(self.numbers, default=0)} to {max(self.numbers, default=0)}"


def read_cards(path: str | Path) -> Cards:
    """Read `cards.json`; raise `DatasetError` for a file that is something else."""
    try:
        data = orjson.loads(Path(path).read_bytes())
        if data["format"] == FORMAT and all(isinstance(card["cluster"], int) for card in data["clusters"]):
            return Cards(data["clustering"], data["documents"], data["without_cluster"], data["scores"], data["clusters"])
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        pass
    raise DatasetError(f"{path} holds no cluster cards", "name an artifact of `cluster_cards`, such as `stage:cards`")


def numbers_of(cards: Sequence[Card], scores: Sequence[str]) -> pa.RecordBatch:
    """Return the numbers of cards, a row each with `id` and `cluster` first: what rules compare."""
    columns: dict[str, pa.Array] = {
        "id": pa.array([str(card["cluster"]) for card in cards], pa.string()),
        "cluster": pa.array([card["cluster"] for card in cards], pa.int64()),
    }
    columns |= {name: pa.array([card[name] for card in cards], kind) for name, kind in NUMBERS.items()}
    columns |= {name: pa.array([card["scores"][name] for card in cards], pa.float64()) for name in scores}
    return pa.RecordBatch.from_pydict(columns)


def headline(card: Card) -> str:
    """Return a card's number and size: `cluster 17: 532 documents, 3.1%, 1,234,567 characters`."""
    size = f"{plural(card['documents'], 'document')}, {share(card['share'], 1)}"
    return f"cluster {card['cluster']}: {size}, {plural(card['characters'], 'character')}"


def told(card: Card, chars: int | None = OPENING_CHARS) -> Iterator[str]:
    """Yield the lines of a card: measures, words, and how its documents begin (None = all that the card has of them).

    Nothing in them moves a cursor.
    """
    yield ", ".join(measures(card))
    if card["words"]:
        yield "words: " + ", ".join(printable(word["word"]) for word in card["words"][:SHOWN_WORDS])
    for side in ("nearest", "farthest"):
        for example in card[side]:
            yield f"{side}: {number(example['distance'])} {printable(example['id'])}: {opening(example, chars)}"


def measures(card: Card) -> Iterator[str]:
    """Yield what was measured of a cluster, in words."""
    for name, noun in (("pairwise_similarity", "similarity of pairs"), ("mean_distance", "mean distance")):
        if card[name] is not None:
            yield f"{noun} {number(card[name])}"
    if card["line_repetition"] is not None:
        yield f"repeated lines {share(card['line_repetition'], 1)}"
    for name, noun in (("site", "site"), ("language", "language")):
        if card[f"{name}_entropy"] is not None:
            yield f"{count(card[f'{name}s'])} {noun}{'s' if card[f'{name}s'] != 1 else ''} ({number(card[f'{name}_entropy'])} bits)"
    for name, mean in card["scores"].items():
        yield f"{name} {number(mean) if mean is not None else '–'}"


def opening(example: Mapping[str, Any], chars: int | None = OPENING_CHARS) -> str:
    """Return how a document begins, on one line."""
    line = printable(" ".join(str(example["opening"]).split()))
    return line if chars is None else clip(line, chars)
