"""Marks agree with plain Python that goes through paragraphs one by one; planted text goes; a Bloom filter errs as often as it says."""

from __future__ import annotations

import dataclasses
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import kernels, shuffle
from curate.errors import OperatorError, PipelineError
from curate.pipeline import Input, Pipeline, Stage, Step
from curate_operators import paragraph_dedup
from curate_operators.paragraph_dedup import ParagraphDedup
from tests.engine import small
from tests.operators.test_boilerplate_lines import corpus, digest, pages

LINES = st.lists(st.sampled_from("abc"), max_size=5).map(" ".join)
Told = tuple[str, str | None, float | None, list[int], list[float]]


def words(lines: list[str]) -> list[list[bytes]]:
    """Return the words of each line that are not signs only, as the kernel finds them."""
    texts = kernels.Texts.of(pa.array(lines, pa.large_string()))
    found = kernels.words(texts)
    spans = [bytes(texts.data[start:end]) for start, end in zip(found.start, found.end, strict=True)]
    return [[word for word in spans[found.first[i] : found.first[i + 1]] if says(word.decode())] for i in range(len(lines))]


def says(word: str) -> bool:
    """Tell whether a word has a character that is no punctuation, symbol or control."""
    return any(unicodedata.category(char)[0] not in "PS" and unicodedata.category(char) != "Cc" for char in word)


def grams(line: list[bytes], size: int) -> list[tuple[bytes, ...]]:
    return [tuple(line[k : k + size]) for k in range(len(line) - size + 1)]


def reference(docs: list[dict[str, Any]], operator: ParagraphDedup) -> list[Told]:
    """Return (id, reason, share, lines, share of each) of every document, going through them one after another."""
    kept: set[tuple[bytes, ...]] = set()
    answers: list[Told] = []
    for doc in docs:
        lines = doc["text"].split("\n")
        here, gone, seen, every = set(kept), [], 0, 0
        for number, line in enumerate(words(lines), 1):
            found = grams(line, operator.ngram_words)
            before = sum(gram in here for gram in found)
            seen, every = seen + before, every + len(found)
            if found and before / len(found) > operator.max_seen_ratio:
                gone.append((number, before / len(found)))
            else:
                here.update(found)
        limit = operator.max_document_seen_ratio
        repeated = limit is not None and every > 0 and seen / every > limit
        emptied = bool(gone) and len(gone) == sum(bool(line.strip()) for line in lines)
        kept = kept if repeated else here
        reason = "repeated_text" if repeated else "only_repeated_paragraphs" if emptied else None
        answers.append((doc["id"], reason, seen / every if every else None, [n for n, _ in gone], [share for _, share in gone]))
    return answers


def pipe(path: Path, params: dict[str, Any], shard_bytes: int = 1) -> Pipeline:
    stages = {
        "repeats": Stage("crawl", use="paragraph_dedup", params=params),
        "clean": Stage(["crawl", "repeats"], [Step("apply", {"by": "repeats"}), Step("remove_lines", {"by": "repeats"})]),
    }
    return small.pipeline(path, stages, inputs={"crawl": Input(str(path))}, shard_bytes=shard_bytes)


def told(dataset: Any) -> list[Told]:
    rows = small.rows(dataset)
    assert all(row["keep"] == (row["reason"] is None) for row in rows)
    assert all(len(row["lines"]) == len(row["seen"]) == len(row["first_ids"]) for row in rows)
    return [(row["id"], row["reason"], row["value"], row["lines"], row["seen"]) for row in rows]


def documents(texts: list[str]) -> list[dict[str, Any]]:
    return [{"id": f"d{i:03d}", "url": None, "text": text} for i, text in enumerate(texts)]


def check_firsts(docs: list[dict[str, Any]], wanted: list[Told], rows: list[dict[str, Any]], operator: ParagraphDedup) -> None:
    """Every document that is told to keep what another repeats is kept, is no later, and has an n-gram of it in a kept paragraph."""
    texts = {doc["id"]: words(doc["text"].split("\n")) for doc in docs}
    goes = {doc_id: (reason, set(lines)) for doc_id, reason, _, lines, _ in wanted}
    for row in rows:
        for number, first_id in zip(row["lines"], row["first_ids"], strict=True):
            if first_id is None:
                assert row["reason"] == "repeated_text"  # it repeats only itself
                continue
            reason, gone = goes[first_id]
            assert reason != "repeated_text"
            assert first_id <= row["id"]
            kept = {gram for n, line in enumerate(texts[first_id], 1) if n not in gone for gram in grams(line, operator.ngram_words)}
            assert kept & set(grams(texts[row["id"]][number - 1], operator.ngram_words))
        assert row["kept_id"] in {None, *row["first_ids"][:1]}


@settings(max_examples=15)
@given(
    texts=st.lists(st.lists(LINES, max_size=4).map("\n".join), min_size=1, max_size=14),
    shards=st.sampled_from([1, 2, 5]),
    partitions=st.sampled_from([1, 3]),
    flush=st.sampled_from([1, 64 << 20]),
    operator=st.builds(
        ParagraphDedup,
        ngram_words=st.sampled_from([1, 2, 3]),
        max_seen_ratio=st.sampled_from([0.0, 0.5, 0.8]),
        max_document_seen_ratio=st.sampled_from([None, 0.5, 0.8]),
        index=st.sampled_from(["exact", "bloom"]),
        false_positive_rate=st.just(1e-6),
        bloom_bytes=st.just(1 << 12),
    ),
)
def test_agrees_with_plain_python(
    texts: list[str], shards: int, partitions: int, flush: int, operator: ParagraphDedup, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows, folder = documents(texts), tmp_path_factory.mktemp("paragraphs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffle, "partitions_for", lambda rows, row_bytes: partitions)
        patch.setattr(shuffle, "FLUSH_BYTES", flush)
        patch.setattr(paragraph_dedup, "ROUNDS", 100)
        plan, _ = small.run(pipe(corpus(folder, rows, shards), dataclasses.asdict(operator)), folder / "ws")
    wanted = reference(rows, operator)
    assert told(plan.dataset("repeats")) == wanted
    check_firsts(rows, wanted, small.rows(plan.dataset("repeats")), operator)
    assert [row["id"] for row in small.rows(plan.dataset("clean"))] == [doc_id for doc_id, reason, *_ in wanted if reason is None]


def edited(docs: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], set[str]]:
    """Return documents, some of which take a long line from an earlier one with its first word changed; and these lines."""
    rows, lines = [], set()
    for i, doc in enumerate(docs):
        text = doc["text"]
        long = [line for line in docs[i - 10]["text"].split("\n") if len(line.split()) > 40] if i % 5 == 0 and i >= 10 else []
        if long:
            line = " ".join(["Changed", *long[0].split(" ")[1:]])
            text = f"{text}\n{line}"
            lines.add(line)
        rows.append(doc | {"text": text})
    copy = docs[1] | {
        "id": "copy",
        "text": docs[1]["text"] + "\nAnd a line of fourteen words or a few more, which nobody else in this sample has.",
    }
    return [*rows, copy], lines


def test_planted_text_of_the_sample_crawl(tmp_path: Path) -> None:
    docs, lines = edited(pages("handbook_en-US", "help_en-US", "pydoc_en"))
    plan, _ = small.run(pipe(corpus(tmp_path, docs, 4), {}), tmp_path / "ws", workers=2)
    assert told(plan.dataset("repeats")) == reference(docs, ParagraphDedup())
    after = [row["text"].split("\n") for row in small.rows(plan.dataset("clean"))]
    assert len(lines) >= 10
    assert not [line for line in lines if any(line in text for text in after)]
    drops = {row["id"]: row for row in small.ledger(plan.dataset("clean"), "drops")}
    assert (drops["copy"]["reason"], drops["copy"]["kept_id"]) == ("repeated_text", docs[1]["id"])
    assert 0.95 < drops["copy"]["value"] < 1


def test_same_bytes_for_any_workers_and_same_rows_for_any_shards(tmp_path: Path) -> None:
    docs, _ = edited(pages("handbook_de-DE", "pydoc_en"))
    for index in ("exact", "bloom"):
        params = {"index": index, "bloom_bytes": 1 << 19}
        one, _ = small.run(pipe(corpus(tmp_path, docs, 4), params), tmp_path / f"{index}1")
        two, _ = small.run(pipe(tmp_path / "in", params), tmp_path / f"{index}2", workers=2)
        assert digest(one, "repeats") == digest(two, "repeats")
        other, _ = small.run(pipe(corpus(tmp_path / "other", docs, 1), params), tmp_path / f"{index}3")
        assert told(other.dataset("repeats")) == told(one.dataset("repeats"))
        assert any(lines for _, _, _, lines, _ in told(one.dataset("repeats")))


def test_paragraphs_between_blank_lines(tmp_path: Path) -> None:
    docs = documents(["\n a b c\nd e f\n\nx y z", "p q r\n\n\na b c\nd e f\n\ns t u"])
    params = {"unit": "paragraph", "ngram_words": 3}
    plan, _ = small.run(pipe(corpus(tmp_path, docs, 2), params), tmp_path / "ws")
    assert told(plan.dataset("repeats")) == [("d000", None, 0.0, [], []), ("d001", None, 4 / 6, [4, 5], [1.0, 1.0])]
    assert [row["text"] for row in small.rows(plan.dataset("clean"))] == [docs[0]["text"], "p q r\n\n\n\ns t u"]


def test_rulers_are_no_text_that_repeats(tmp_path: Path) -> None:
    docs = documents([f"title {k}\n{'=' * 40}\nbody {k} of its own here\n{'- ' * 30}" for k in "abc"])
    plan, _ = small.run(pipe(corpus(tmp_path, docs, 2), {"ngram_words": 3}), tmp_path / "ws")
    assert [row["text"] for row in small.rows(plan.dataset("clean"))] == [doc["text"] for doc in docs]


def test_what_only_a_dropped_document_has_is_not_seen(tmp_path: Path) -> None:
    """The second goes, so that its own words are new in the third: no text leaves the corpus with its last copy."""
    first, own = "a b c d e f g h i j k l m n o p q r s t", "u v w"
    docs = documents([first, f"{first}\n{own}", f"{own}\nx y z"])
    plan, _ = small.run(pipe(corpus(tmp_path, docs, 3), {"ngram_words": 3}), tmp_path / "ws")
    assert told(plan.dataset("repeats")) == reference(docs, ParagraphDedup(ngram_words=3))
    assert [row["text"] for row in small.rows(plan.dataset("clean"))] == [first, f"{own}\nx y z"]


def test_a_filter_errs_as_often_as_it_says(tmp_path: Path) -> None:
    """Of words that nobody repeats, a filter as full as it may be takes about the promised share for seen."""
    docs = documents([" ".join(f"w{i}x{k}" for k in range(1000)) for i in range(100)])
    params = {"index": "bloom", "ngram_words": 3, "bloom_bytes": 1 << 17, "false_positive_rate": 0.01, "max_document_seen_ratio": None}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paragraph_dedup, "WORD_BYTES", 6)  # about what these words have
        plan, _ = small.run(pipe(corpus(tmp_path, docs, 2), params), tmp_path / "ws")
    rates = [value or 0.0 for _, _, value, _, _ in told(plan.dataset("repeats"))]
    assert rates[0] == 0.0
    assert 0 < sum(rates) / len(rates) < 0.01
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paragraph_dedup, "WORD_BYTES", 60)
        with pytest.raises(OperatorError, match="more than 1.00%"):
            small.run(pipe(tmp_path / "in", params | {"bloom_bytes": 1 << 14}), tmp_path / "full")


def test_mistakes() -> None:
    for params, message in (
        ({"ngram_words": 0}, "ngram_words is less than 1"),
        ({"max_seen_ratio": 1.5}, "max_seen_ratio is not between"),
        ({"false_positive_rate": 0.0}, "false_positive_rate is not between"),
    ):
        with pytest.raises(PipelineError, match=message):
            ParagraphDedup(**params)
