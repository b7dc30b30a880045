"""Marks agree with plain Python that compares every run with every other, however documents are cut into shards and partitions."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import dataset, shuffle
from curate.errors import OperatorError, PipelineError
from curate.pipeline import Input, Pipeline, Stage, Step
from curate_operators import substring_windows
from curate_operators.remove_spans import RemoveSpans
from curate_operators.substring_dedup import SubstringDedup
from tests.engine import small
from tests.operators.test_boilerplate_lines import digest

SCHEMA = pa.schema({"id": pa.string(), "text": pa.large_string()})
WORDS = st.sampled_from(["a", "a", "b", "bb", "ccc", "dé", "中", "文"])
BLANKS = st.sampled_from([" ", " ", " ", "  ", "\n", "\n\n", "\u3000"])
TEXTS = st.lists(st.tuples(WORDS, BLANKS), max_size=24).map(lambda pairs: "".join(word + blank for word, blank in pairs))


def corpus(folder: Path, docs: list[dict[str, Any]], shards: int) -> Path:
    return small.write_shards(folder / "in", docs, shards, SCHEMA)


def pipe(path: Path, params: dict[str, Any], shard_bytes: int = 1) -> Pipeline:
    stages = {
        "repeats": Stage("crawl", use="substring_dedup", params=params),
        "clean": Stage(["crawl", "repeats"], [Step("apply", {"by": "repeats"}), Step("remove_spans", {"by": "repeats"})]),
    }
    return small.pipeline(path, stages, inputs={"crawl": Input(str(path))}, shard_bytes=shard_bytes)


def words(text: str) -> list[tuple[str, int, int]]:
    """Return the words of a text, and the bytes at which they start and end."""
    found = re.finditer(r"[中文]|[^\s中文]+", text)
    return [(m[0], len(text[: m.start()].encode()), len(text[: m.end()].encode())) for m in found]


def reference(docs: list[dict[str, Any]], operator: SubstringDedup) -> list[list[tuple[int, int, str, int]]]:
    """Return for each document its spans that go: start, end, first document, start in it. Compares all runs that are long enough."""
    cut = [words(doc["text"]) for doc in docs]
    runs: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for d, found in enumerate(cut):
        for i in range(len(found)):
            for j in range(i + 1, len(found) + 1):
                run = tuple(word for word, _, _ in found[i:j])
                if sum(len(word.encode()) if operator.unit == "bytes" else 1 for word in run) >= operator.min_length:
                    runs.setdefault(run, []).append((d, i))
    gone: list[set[int]] = [set() for _ in docs]
    for run, places in runs.items():
        for d, i in places:
            others = [place for place in places if place != (d, i) and (operator.within or place[0] != d)]
            if others if operator.first == "remove" else any(other < (d, i) for other in others):
                gone[d] |= set(range(i, i + len(run)))
    return [_spans(d, docs, (cut, gone, runs), operator) for d in range(len(docs))]


def _spans(d: int, docs: list[dict[str, Any]], known: Any, operator: SubstringDedup) -> list[tuple[int, int, str, int]]:
    cut, gone, runs = known
    found = []
    for i in sorted(gone[d]):
        if i - 1 not in gone[d]:
            j = i
            while j in gone[d]:
                j += 1
            first, place = next(places[0] for run, places in _runs_from(runs, cut[d][i:]) if (d, i) in places and len(places) > 1)
            found.append((cut[d][i][1], cut[d][j - 1][2], docs[first]["id"], cut[first][place][1]))
    return found


def _runs_from(runs: Any, found: list[tuple[str, int, int]]) -> Any:
    """Yield the known runs that begin as this does, the shortest first."""
    for size in range(1, len(found) + 1):
        run = tuple(word for word, _, _ in found[:size])
        if run in runs:
            yield run, runs[run]


def told(rows: list[dict[str, Any]]) -> list[list[tuple[int, int, str, int]]]:
    return [list(zip(row["starts"], row["ends"], row["first_ids"], row["first_starts"], strict=True)) for row in rows]


@settings(max_examples=40)
@given(
    texts=st.lists(TEXTS, min_size=1, max_size=8),
    shards=st.sampled_from([1, 2, 4]),
    partitions=st.sampled_from([1, 3]),
    batch_bytes=st.sampled_from([1, 8 << 20]),
    operator=st.builds(
        SubstringDedup,
        unit=st.sampled_from(["words", "bytes"]),
        min_length=st.integers(1, 7),
        first=st.sampled_from(["remove", "keep"]),
        within=st.booleans(),
    ),
)
def test_agrees_with_plain_python(
    texts: list[str], shards: int, partitions: int, batch_bytes: int, operator: SubstringDedup, tmp_path_factory: pytest.TempPathFactory
) -> None:
    docs = [{"id": f"d{i:03d}", "text": text} for i, text in enumerate(texts)]
    folder = tmp_path_factory.mktemp("spans")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffle, "partitions_for", lambda rows, row_bytes: partitions)
        patch.setattr(substring_windows, "TABLE_WINDOWS", 5)
        patch.setattr(dataset.read_shard, "__defaults__", (None, batch_bytes))
        pipeline = small.pipeline(
            corpus(folder, docs, shards),
            {"repeats": Stage("crawl", use="substring_dedup", params=dataclasses.asdict(operator))},
            inputs={"crawl": Input(str(folder / "in"))},
            shard_bytes=1,
        )
        plan, _ = small.run(pipeline, folder / "ws")
    rows = small.rows(plan.dataset("repeats"))
    assert told(rows) == reference(docs, operator)


def marks(folder: Path, texts: list[str], params: dict[str, Any], shards: int = 2, workers: int = 1) -> Any:
    """Return the attributes and the cleaned documents of a pipeline over these texts."""
    docs = [{"id": f"d{i}", "text": text} for i, text in enumerate(texts)]
    plan, _ = small.run(pipe(corpus(folder, docs, shards), params), folder / "ws", workers)
    return plan


PASSAGE = " ".join(f"w{n}" for n in range(60))


def test_the_first_copy_stays_and_the_rest_stays_readable(tmp_path: Path) -> None:
    texts = [f"Intro.\n\n{PASSAGE}\n\nEnd.", f"Other: {PASSAGE.replace(' ', '  ')} and more", PASSAGE, "short"]
    plan = marks(tmp_path, texts, {})
    rows = small.rows(plan.dataset("repeats"))
    assert [(row["keep"], row["reason"], row["kept_id"]) for row in rows] == [
        (True, None, None),
        (True, None, "d0"),
        (False, "only_repeated_spans", "d0"),
        (True, None, None),
    ]
    assert [row["text"] for row in small.rows(plan.dataset("clean"))] == [texts[0], "Other: and more", "short"]
    assert rows[1]["first_starts"] == [8]
    assert rows[1]["value"] == pytest.approx(1 - len("Other: and more") / len(texts[1]))
    assert [(row["id"], row["reason"], row["kept_id"]) for row in small.ledger(plan.dataset("clean"), "drops")] == [
        ("d2", "only_repeated_spans", "d0")
    ]


def test_all_copies_go_when_asked(tmp_path: Path) -> None:
    plan = marks(tmp_path, [f"one {PASSAGE}", f"{PASSAGE} two"], {"first": "remove"})
    assert [row["text"] for row in small.rows(plan.dataset("clean"))] == ["one", "two"]
    assert {row["kept_id"] for row in small.rows(plan.dataset("repeats"))} == {None}


def test_one_word_over_and_over_shrinks_to_it_and_does_not_explode(tmp_path: Path) -> None:
    plan = marks(tmp_path, ["ha " * 200_000, "no repeat"], {})
    assert [row["text"].strip() for row in small.rows(plan.dataset("clean"))] == ["ha", "no repeat"]
    assert [len(row["starts"]) for row in small.rows(plan.dataset("repeats"))] == [1, 0]


def test_only_other_documents_count_without_within(tmp_path: Path) -> None:
    plan = marks(tmp_path, [f"{PASSAGE} x {PASSAGE}", f"{PASSAGE} y"], {"within": False})
    assert [row["text"].strip() for row in small.rows(plan.dataset("clean"))] == [f"{PASSAGE} x {PASSAGE}", "y"]


@pytest.mark.parametrize(("params", "reason"), [({"max_removed_ratio": 0.9}, "repeated_text"), ({"min_rest_chars": 50}, "rest_too_short")])
def test_documents_of_which_too_little_is_left_go(params: dict[str, Any], reason: str, tmp_path: Path) -> None:
    plan = marks(tmp_path, [PASSAGE, f"{PASSAGE} some words", f"{PASSAGE} {'other ' * 40}"], params)
    assert [row["reason"] for row in small.rows(plan.dataset("repeats"))] == [None, reason, None]


def test_scripts_without_spaces_are_cut_between_letters(tmp_path: Path) -> None:
    passage = "".join(chr(0x4E00 + n) for n in range(60))
    plan = marks(tmp_path, [f"始{passage}终", f"我们{passage}他们"], {})
    assert [row["text"] for row in small.rows(plan.dataset("clean"))] == [f"始{passage}终", "我们他们"]


def test_same_marks_for_any_workers(tmp_path: Path) -> None:
    texts = [" ".join(f"w{(n * k) % 97}" for n in range(150)) + f" own{k}" for k in range(1, 13)]
    one, two = (marks(tmp_path / str(n), texts, {"min_length": 10}, 4, n) for n in (1, 2))
    assert digest(one, "clean") == digest(two, "clean")
    assert digest(one, "repeats") == digest(two, "repeats")
    again = marks(tmp_path / "shards", texts, {"min_length": 10}, 1)
    assert small.rows(again.dataset("repeats")) == small.rows(one.dataset("repeats"))
    assert any(row["starts"] for row in small.rows(one.dataset("repeats")))


def test_impossible_parameters_are_told() -> None:
    with pytest.raises(PipelineError, match="min_length is less than 1: 0"):
        SubstringDedup(min_length=0)
    with pytest.raises(PipelineError, match="max_removed_ratio is not between 0 and 1"):
        SubstringDedup(max_removed_ratio=2)


def _marked(texts: list[str | None], starts: Any, ends: Any) -> pa.RecordBatch:
    lists = [pa.array(values, pa.list_(pa.int64())) for values in (starts, ends)]
    columns = {"id": pa.array([str(i) for i in range(len(texts))]), "text": pa.array(texts, pa.large_string())}
    return pa.RecordBatch.from_pydict(columns | {"cut": pa.StructArray.from_arrays(lists, ["starts", "ends"])})


@pytest.mark.parametrize(
    ("text", "spans", "left"),
    [
        ("foo X bar", [(4, 5)], "foo bar"),
        ("X bar", [(0, 1)], "bar"),
        ("foo X", [(4, 5)], "foo"),
        ("foo\n\nX bar", [(5, 6)], "foo\n\nbar"),
        ("foo X\n\nbar", [(4, 5)], "foo\n\nbar"),
        ("foo X\n", [(4, 5)], "foo\n"),
        ("é中é", [(2, 5)], "é é"),
        ("中文中", [(3, 6)], "中中"),
        ("aéb", [(2, 3)], "aéb"),
        ("a X b Y c", [(2, 3), (6, 7)], "a b c"),
        ("ab", [(-5, 99)], ""),
        ("abc", [(2, 1)], "abc"),
    ],
)
def test_cuts_leave_one_blank_or_the_line_feeds_and_whole_characters(text: str, spans: list[tuple[int, int]], left: str) -> None:
    docs = _marked([None, text, text], [[0], [a for a, _ in spans], None], [[1], [b for _, b in spans], None])
    cut = RemoveSpans("cut").map(docs)
    assert cut.column("text").to_pylist() == [None, left, text]
    assert cut.schema.names == ["id", "text"]


def test_lists_of_other_lengths_are_told() -> None:
    with pytest.raises(OperatorError, match="other numbers of `starts` and `ends`"):
        RemoveSpans("cut").map(_marked(["a"], [[0, 1]], [[1]]))
    with pytest.raises(PipelineError, match="has no list of whole numbers `ends`"):
        RemoveSpans("cut").verify(pa.schema({"cut": pa.struct({"starts": pa.list_(pa.int64())})}))
