"""Exact deduplication agrees with a few lines of plain Python, however the documents are cut into shards and partitions."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import shuffle
from curate.errors import PipelineError
from curate.pipeline import Input, Stage, Step
from tests.engine import small

WHITE = " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2009\u2028\u2029\u202f\u205f\u3000"
TEXTS = st.none() | st.text(alphabet="aAäÄ." + WHITE, max_size=5) | st.sampled_from(["same", "Same ", "\u3000SAME", "", "d0001"])

SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "text": pa.large_string(),
        "url": pa.string(),
        "source": pa.string(),
        "date": pa.string(),
        "score": pa.float64(),
        "meta": pa.struct({"host": pa.string(), "words": pa.int64()}),
    }
)

FORMS = {"exact": lambda value: value, "layout": lambda value: " ".join(value.lower().split())}
Marks = list[tuple[str, bool, str | None]]


def reference(docs: list[dict[str, Any]], by: str = "text", compare: str = "layout", best: Any = lambda doc: 0) -> Marks:
    """Return (id, keep, kept_id) for every document; of equal ones that with the lowest `best` stays, the first of them."""
    groups: dict[Any, list[dict[str, Any]]] = {}
    for doc in docs:
        key = (doc["id"],) if doc[by] is None else FORMS[compare](doc[by])
        groups.setdefault(key, []).append(doc)
    stays = {doc["id"]: min(group, key=best)["id"] for group in groups.values() for doc in group}
    return [(doc["id"], stays[doc["id"]] == doc["id"], None if stays[doc["id"]] == doc["id"] else stays[doc["id"]]) for doc in docs]


def marks(folder: Path, docs: list[dict[str, Any]], params: dict[str, Any], shards: int = 1, partitions: int = 1, workers: int = 1) -> Any:
    """Run the operator on documents cut into so many files, each a shard."""
    small.write_shards(folder / "in", docs, shards, SCHEMA)
    # `normalize` gives documents without a text an empty one elsewhere; here nulls must arrive, so nothing but reading comes first
    pipe = small.pipeline(
        folder / "in",
        {"mark": Stage("crawl", use="exact_dedup", params=params)},
        inputs={"crawl": Input(str(folder / "in"))},
        shard_bytes=1,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffle, "partitions_for", lambda rows, row_bytes: partitions)
        plan, _ = small.run(pipe, folder / "ws", workers)
    return plan.dataset("mark")


def told(dataset: Any) -> Marks:
    rows = small.rows(dataset)
    having_copies = {row["kept_id"] for row in rows}
    for row in rows:
        assert (row["similarity"], row["reason"]) == ((None, None) if row["keep"] else (1.0, "duplicate"))
        assert row["cluster"] == (row["kept_id"] or (row["id"] if row["id"] in having_copies else None))
    return [(row["id"], row["keep"], row["kept_id"]) for row in rows]


@settings(max_examples=40)
@given(
    values=st.lists(TEXTS, min_size=1, max_size=30),
    shards=st.sampled_from([1, 2, 3, 7]),
    partitions=st.sampled_from([1, 2, 5, 64]),
    by=st.sampled_from(["text", "url"]),
    compare=st.sampled_from(["exact", "layout"]),
)
def test_agrees_with_plain_python(
    values: list[str | None], shards: int, partitions: int, by: str, compare: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if by == "text":
        values = [value or "" for value in values]  # a document without a text never gets so far
    docs = [{"id": f"d{i:04d}", "text": f"t{i}", "url": None} | {by: value} for i, value in enumerate(values)]
    dataset = marks(tmp_path_factory.mktemp("dedup"), docs, {"by": by, "compare": compare}, shards, partitions)
    assert told(dataset) == reference(docs, by, compare)


RULES: list[tuple[Any, Any]] = [
    ("longest", lambda doc: -len(doc["text"])),
    ("shortest", lambda doc: len(doc["text"])),
    ({"highest": "score"}, lambda doc: math.inf if doc["score"] is None else -doc["score"]),
    ({"lowest": "meta.words"}, lambda doc: math.inf if doc["meta"] is None else doc["meta"]["words"]),
    ({"latest": "date"}, lambda doc: -int((doc["date"] or "0").replace("-", ""))),
    ({"prefer": {"source": ["wiki", "web"]}}, lambda doc: {"wiki": 0, "web": 1}.get(doc["source"], 2)),
    (
        [{"prefer": {"source": ["web"]}}, {"earliest": "date"}, "longest"],
        lambda doc: (doc["source"] != "web", doc["date"] or "9", -len(doc["text"])),
    ),
]
COPIES = st.fixed_dictionaries(
    {
        "text": st.sampled_from(["a", "a ", "A  ", "b", " B", "c"]),
        "source": st.sampled_from(["wiki", "web", "blog", None]),
        "date": st.sampled_from(["2024-01-01", "2024-01-02", "2023-12-31", None]),
        "score": st.sampled_from([0.5, -1.0, 0.25, None]),
        "meta": st.sampled_from([{"host": None, "words": 3}, {"host": None, "words": -7}, None]),
    }
)


@pytest.mark.parametrize("rule", range(len(RULES)), ids=[str(keep) for keep, _ in RULES])
@settings(max_examples=6)
@given(copies=st.lists(COPIES, min_size=1, max_size=25), shards=st.sampled_from([1, 3, 8]), partitions=st.sampled_from([1, 2, 7]))
def test_which_copy_stays(
    rule: int, copies: list[dict[str, Any]], shards: int, partitions: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    keep, best = RULES[rule]
    docs = [copy | {"id": f"d{i:04d}"} for i, copy in enumerate(copies)]
    assert told(marks(tmp_path_factory.mktemp("dedup"), docs, {"keep": keep}, shards, partitions)) == reference(docs, best=best)


@pytest.mark.parametrize(("shards", "workers"), [(1, 1), (5, 2), (24, 2)])
def test_neither_workers_nor_shards_matter(shards: int, workers: int, tmp_path: Path) -> None:
    docs = [{"id": f"d{i:03d}", "text": f"t{i * i % 17}", "score": float(i * 7 % 5)} for i in range(120)]
    found = told(marks(tmp_path, docs, {"keep": {"highest": "score"}}, shards, partitions=3, workers=workers))
    assert found == reference(docs, best=lambda doc: -doc["score"])


def test_words_alone(tmp_path: Path) -> None:
    same = ["“Don’t!” said the ﬁsh.", "Don't said the fish", "DON'T — said; the ＦＩＳＨ", "don't said the fi\u00adsh…"]
    other = ["dont said the fish", "don't said a fish", "...", "…", "?!", "", "\u00ad"]
    docs = [{"id": f"d{i}", "text": text} for i, text in enumerate([*same, *other])]
    found = told(marks(tmp_path, docs, {"compare": "words"}, shards=3))
    assert [kept for _, _, kept in found] == [None, "d0", "d0", "d0", *[None] * len(other)]


def test_addresses(tmp_path: Path) -> None:
    urls = [
        "http://a.org/x?b=1&a=2",
        "HTTPS://A.org/x/?a=2&utm_source=rss&b=1#top",
        "http://a.org/X?a=2&b=1",
        None,
        "http://www.a.org/x?a=2&b=1",
    ]
    docs = [{"id": f"d{i}", "text": "t" * (i + 1), "url": url} for i, url in enumerate(urls)]
    assert [kept for _, _, kept in told(marks(tmp_path / "1", docs, {"by": "url"}, shards=2))] == [None, "d0", None, None, None]
    same = {"by": "url", "ignore_www": True, "keep": "longest"}
    assert [kept for _, _, kept in told(marks(tmp_path / "2", docs, same, shards=2))] == ["d4", "d4", None, None, None]
    other = {"by": "url", "tracking": [], "ignore_scheme": False}
    assert [kept for _, _, kept in told(marks(tmp_path / "3", docs, other))] == [None] * 5


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"keep": "newest"}, "does not know the rule 'newest'"),
        ({"keep": {"highest": "quality"}}, "quality"),
        ({"keep": {"highest": "source"}}, "needs a number, and column `source` is string"),
        ({"compare": "near"}, "must be one of"),
    ],
)
def test_mistakes_are_found_before_anything_runs(params: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=message):
        marks(tmp_path, [{"id": "d", "text": "t"}], params)


def test_every_white_space_of_unicode_is_a_blank(tmp_path: Path) -> None:
    assert all(character.isspace() for character in WHITE)
    docs = [{"id": f"d{i}", "text": f"{white}one{white}{white}Two{white}"} for i, white in enumerate(WHITE)]
    assert [keep for _, keep, _ in told(marks(tmp_path, docs, {}, shards=3))] == [True] + [False] * (len(WHITE) - 1)


def test_without_a_value_nothing_is_repeated(tmp_path: Path) -> None:
    docs = [{"id": f"d{i}", "text": "x", "url": url} for i, url in enumerate([None, "u", None, "d0", "u", None])]
    found = told(marks(tmp_path, docs, {"by": "url"}, shards=2))
    assert [keep for _, keep, _ in found] == [True, True, True, True, False, True]


def test_a_nested_column(tmp_path: Path) -> None:
    docs = [
        {"id": f"d{i}", "text": str(i), "meta": meta} for i, meta in enumerate([{"host": "a"}, {"host": "b"}, None, {"host": "a"}, None])
    ]
    assert [keep for _, keep, _ in told(marks(tmp_path, docs, {"by": "meta.host"}, shards=2))] == [True, True, True, False, True]


def test_all_equal_leave_one(tmp_path: Path) -> None:
    docs = [{"id": f"d{i:04d}", "text": "the same"} for i in range(200)]
    dataset = marks(tmp_path, docs, {}, shards=5, partitions=3)
    assert told(dataset) == [("d0000", True, None)] + [(f"d{i:04d}", False, "d0000") for i in range(1, 200)]


def test_no_document_at_all(tmp_path: Path) -> None:
    source = small.write_jsonl(tmp_path / "in/a.jsonl", small.documents(3))
    stages = {
        "none": Stage("crawl", [Step("length", {"min_chars": 10**6})]),
        "mark": Stage("none", use="exact_dedup"),
        "corpus": Stage(["none", "mark"], apply=["mark"]),
    }
    plan, _ = small.run(small.pipeline(source, stages), tmp_path / "ws")
    assert plan.dataset("mark").rows == plan.dataset("corpus").rows == 0
    assert len(plan.dataset("mark").manifest.shards) == 1


def test_the_evidence_reaches_the_ledger(tmp_path: Path) -> None:
    docs = [{"id": f"d{i}", "text": text} for i, text in enumerate(["a", "b", "A", "b ", "c"])]
    source = small.write_jsonl(tmp_path / "in/a.jsonl", docs)
    stages = {"mark": Stage("crawl", use="exact_dedup"), "corpus": Stage(["crawl", "mark"], apply=["mark"])}
    plan, _ = small.run(small.pipeline(source, stages, shard_bytes=40), tmp_path / "ws")
    evidence = {"step": "mark", "reason": "duplicate", "value": None, "similarity": 1.0}
    assert small.ledger(plan.dataset("corpus"), "drops") == [
        {"id": "d2", "kept_id": "d0"} | evidence,
        {"id": "d3", "kept_id": "d1"} | evidence,
    ]
    assert [row["id"] for row in small.rows(plan.dataset("corpus"))] == ["d0", "d1", "d4"]


@pytest.mark.parametrize("name", ["spam_email_sa", "reviews_ko_nsmc"])
def test_real_documents(shared_data: Path, tmp_path: Path, name: str) -> None:
    if not (shared_data / name).is_dir():
        pytest.skip(f"no {name} in {shared_data}")
    with pa.input_stream(shared_data / name / "docs.jsonl.zst", compression="zstd") as stream:
        texts = [orjson.loads(line)["text"] for line in stream.read().splitlines()[:4000]]
    docs = [{"id": f"d{i:05d}", "text": text} for i, text in enumerate(texts)]
    docs += [{"id": f"copy{i:05d}", "text": f"\n{text}  "} for i, text in enumerate(texts[::7])]
    plain = [doc for doc in docs if doc["text"].lower() == "".join(map(str.lower, doc["text"]))]  # Python's final sigma looks at neighbours
    found = told(marks(tmp_path, plain, {}, shards=4, partitions=3, workers=2))
    assert found == reference(plain)
    assert sum(not keep for _, keep, _ in found) >= len(texts[::7]) - 50
    other = told(marks(tmp_path / "other", plain, {}, shards=9, partitions=1))
    assert other == found


def test_parameters_are_identity(tmp_path: Path) -> None:
    source = small.write_jsonl(tmp_path / "in/a.jsonl", small.documents(3))
    pipe = small.pipeline(source, {"mark": Stage("crawl", use="exact_dedup")})
    other = dataclasses.replace(pipe, stages={"mark": Stage("crawl", use="exact_dedup", params={"by": "id"})})
    assert small.plan(pipe, tmp_path / "ws").stages["mark"].fingerprint != small.plan(other, tmp_path / "ws").stages["mark"].fingerprint
