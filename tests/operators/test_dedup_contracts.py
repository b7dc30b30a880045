"""What holds of every operator that marks duplicates: no row is lost, every mark is true, and neither shards nor partitions matter."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.hashing import hash64
from curate.pipeline import Stage
from tests.contracts import duplicates
from tests.engine import small
from tests.operators.test_minhash_dedup import jaccard, shingles

Doc = dict[str, Any]
Marks = dict[str, list[dict[str, Any]]]
EARLIER: dict[str, Callable[[Doc], Any]] = {  # what the rules of `keep` put first has the lowest rank
    "exact": lambda doc: (-doc["score"], -len(doc["text"])),
    "by_url": lambda doc: -int(doc["date"].replace("-", "")),
    "best": lambda doc: (-doc["score"], -len(doc["text"])),
    "semantic": lambda doc: -doc["distance"],
    "settled": lambda doc: int(hash64(pa.array([doc["id"]]), seed=0)[0]),
}
WHOLE = tuple(name for name, stage in duplicates.EVERY.items() if stage["use"] in ("exact_dedup", "minhash_dedup", "semantic_dedup"))
"""The stages that remove whole documents, each for one other."""


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder; in this module, operators have several partitions, pieces and blocks."""
    with duplicates.workplace() as folder, duplicates.shrunken():
        yield folder


@pytest.fixture(scope="module")
def marked(place: Path) -> Marks:
    """What every stage says of the corpus with planted duplicates."""
    return marks(duplicates.write(place / "crawl", duplicates.documents(), 4), place / "ws")


def marks(path: Path, workspace: Path) -> Marks:
    planned, _ = small.run(duplicates.pipeline(path), workspace)
    return {name: small.rows(planned.dataset(name)) for name in duplicates.EVERY}


def test_duplicates_of_every_kind_are_found(marked: Marks) -> None:
    for name, rows in marked.items():
        assert 0 < sum(bool(row.get("kept_id") or row.get("lines")) for row in rows) < len(rows), name
    verify(duplicates.documents(), marked)


@pytest.mark.parametrize(("shards", "partitions", "block"), [(1, 1, 1 << 26), (7, 5, 3000)])
def test_shards_and_partitions_do_not_matter(shards: int, partitions: int, block: int, place: Path, marked: Marks) -> None:
    path = duplicates.write(place / f"crawl-{shards}", duplicates.documents(), shards)
    with duplicates.shrunken(partitions, block, block):
        assert marks(path, place / f"ws-{shards}") == marked


WORDS = st.sampled_from(
    ["a", "b", "A", "c d e f g h i", "b c\nd", "\n\n", "k l m n o p q r s t u v w x y z", "one two three four five six"]
)
DOCS = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.lists(WORDS, max_size=8).map(" ".join),
            "url": st.sampled_from(["https://a.example/1", "https://a.example/2", "http://b.example/", "no address", None]),
            "score": st.integers(0, 2),
            "date": st.sampled_from(["2026-01-01", "2026-02-01"]),
        }
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(drawn=DOCS, shards=st.sampled_from([1, 3]))
def test_every_mark_is_true(drawn: list[Doc], shards: int, place: Path) -> None:
    docs = [{"id": f"d{number:02}"} | doc for number, doc in enumerate(drawn)]
    with duplicates.workplace() as folder:
        verify(docs, marks(duplicates.write(folder / "crawl", docs, shards), folder / "ws"))


def verify(docs: list[Doc], found: Marks) -> None:
    """Assert what must hold of any marks: a row per document, and who is named stays, stands before, and is alike."""
    place = {doc["id"]: number for number, doc in enumerate(docs)}
    for name, rows in found.items():
        assert [row["id"] for row in rows] == list(place), name
        stays = {row["id"] for row in rows if row["keep"]}
        for row in rows:
            assert row["keep"] == (row["reason"] is None)
            kept_id = row.get("kept_id")
            if kept_id is None:
                continue
            assert kept_id in stays
            own, other = docs[place[row["id"]]], docs[place[kept_id]]
            rank = EARLIER.get(name, lambda doc: 0)
            assert (rank(other), place[kept_id]) < (rank(own), place[row["id"]])
            if name in WHOLE:
                assert not row["keep"]
                verify_alike(name, own, other, row)
        if name in WHOLE:
            assert all(row["keep"] == (row["kept_id"] is None) for row in rows)


def verify_alike(name: str, own: Doc, other: Doc, row: dict[str, Any]) -> None:
    if name == "component":
        assert (row["reason"] == "unverified_duplicate") == (row["similarity"] is None)
    elif duplicates.EVERY[name]["use"] == "semantic_dedup":
        assert own["topic"] == other["topic"] and row["value"] > 0.9 and row["value"] >= row["similarity"] - 1e-6
        assert row["similarity"] == pytest.approx(cosine(own["vector"], other["vector"]), abs=1e-6)
        assert name == "semantic" or row["value"] == row["similarity"]
    elif name == "by_url":
        assert row["similarity"] == 1.0 and own["url"].partition("://")[2] == other["url"].partition("://")[2]
    elif name == "exact":
        assert row["similarity"] == 1.0 and own["text"].lower().split() == other["text"].lower().split()
    else:
        target = duplicates.EVERY[name]["params"]["similarity"]
        assert target <= row["similarity"] == jaccard(shingles(own["text"]), shingles(other["text"]))


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))


def test_what_goes_is_in_the_ledger_with_what_stays(place: Path, marked: Marks) -> None:
    pipe = duplicates.pipeline(place / "crawl", ("exact", "near"))
    stages = dict(pipe.stages) | {"corpus": Stage(["crawl", "exact", "near"], apply=["exact", "near"])}
    planned, _ = small.run(small.pipeline(place / "crawl", stages, inputs=pipe.inputs, shard_bytes=1), place / "ws")
    corpus = planned.dataset("corpus")
    corpus.manifest.counts.verify("corpus")
    evidence = {name: {row["id"]: row for row in marked[name]} for name in ("exact", "near")}
    drops = small.ledger(corpus, "drops")
    for row in drops:
        wanted = evidence[row["step"]][row["id"]]
        assert all(row[key] == wanted[key] for key in ("reason", "kept_id", "similarity"))
    left = {row["id"] for row in small.rows(corpus)}
    gone = {doc_id for rows in evidence.values() for doc_id, row in rows.items() if not row["keep"]}
    assert {row["id"] for row in drops} == gone and left | gone == set(evidence["near"]) and not left & gone
