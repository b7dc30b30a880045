"""Statistics, groups and samples of a shard do not depend on its batches, and add up over shards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import ledger as ledgers
from curate.hashing import hash64
from curate.ledger import OTHER, SAMPLES, VERDICT, Ledger, fold_groups, merge_samples
from curate.manifest import add_nested

SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "text": pa.large_string(),
        "site": pa.string(),
        "lang": pa.struct({"code": pa.string(), "confidence": pa.float64()}),
        "n": pa.int64(),
        "tags": pa.list_(pa.string()),
    }
)


def documents(sites: list[str | None]) -> pa.RecordBatch:
    rows = [
        {
            "id": f"d{i:04d}",
            "text": "x" * (i % 7) if i % 5 else None,
            "site": site,
            "lang": {"code": site, "confidence": i / 100},
            "n": i % 3,
        }
        for i, site in enumerate(sites)
    ]
    return pa.RecordBatch.from_pylist(rows, SCHEMA)


def cut(docs: pa.RecordBatch, size: int) -> list[pa.RecordBatch]:
    return [docs.slice(start, size) for start in range(0, docs.num_rows, size)]


def told(pieces: list[pa.RecordBatch], report_by: list[str], moved: bool = False) -> Ledger:
    """Every third document is dropped; `moved` gives the others a site of their own."""
    ledger = Ledger(["lang.confidence", "n", "absent"], report_by, lambda name, batch: None)
    for docs in pieces:
        ledger.came_in(docs)
        third = np.array([int(doc_id[1:]) % 3 == 0 for doc_id in docs.column("id").to_pylist()], dtype=bool)
        gone = docs.filter(pa.array(third))
        if gone.num_rows:
            verdict = pa.array([{"reason": "thirds" if n else "first"} for n in range(1, gone.num_rows + 1)], VERDICT)
            ledger.dropped("step", gone, verdict, np.flatnonzero(third))
        left = docs.filter(pa.array(~third))
        if left.num_rows:
            ledger.went_out(left.set_column(2, "site", left.column("id")) if moved else left)
        ledger.flush()
    return ledger


@settings(max_examples=30)
@given(
    sites=st.lists(st.none() | st.sampled_from(["a", "b", "other", ""]) | st.text(max_size=3), min_size=1, max_size=60),
    size=st.integers(1, 60),
    limit=st.sampled_from([1, 3, 1000]),
    moved=st.booleans(),
)
def test_batches_do_not_matter(sites: list[str | None], size: int, limit: int, moved: bool) -> None:
    docs = documents(sites)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledgers, "GROUP_LIMIT", limit)
        whole = told([docs], ["site", "lang.code"], moved)
        parts = told(cut(docs, size), ["site", "lang.code"], moved)
        statistics = whole.statistics()
        assert parts.statistics() == statistics
    assert parts.samples() == whole.samples()
    assert parts.counts == whole.counts
    for groups in statistics["groups"].values():
        assert len(groups) <= limit + 1
        assert sum(group.get("rows_in", 0) for group in groups.values()) == len(sites)
        assert sum(group.get("rows_out", 0) for group in groups.values()) == whole.counts.rows_out
        assert sum(group.get("text_bytes_in", 0) for group in groups.values()) == whole.counts.text_bytes_in


def test_every_value_is_counted_once() -> None:
    docs = documents([None, "a", "a", "b", None, "a"])
    statistics = told([docs], ["site", "tags", "lang", "absent", "lang.absent"]).statistics()
    assert {value: group["rows_in"] for value, group in statistics["groups"]["site"].items()} == {"": 2, "a": 3, "b": 1}
    assert set(statistics["groups"]) == {"site"}, "columns that are lists, structs or absent have no groups"
    assert sum(statistics["length"]["kept"].values()) + sum(statistics["length"]["dropped"].values()) == 6
    assert set(statistics["scores"]) == {"lang.confidence", "n"}
    assert sum(statistics["scores"]["n"]["kept"].values()) == 4


def test_a_column_of_bytes_has_groups_only_where_it_is_text() -> None:
    docs = documents(["a"]).set_column(2, "site", pa.array([b"\xff"], pa.binary()))
    assert "groups" not in told([docs], ["site"]).statistics()


def test_more_than_a_thousand_values_keep_the_largest() -> None:
    docs = documents([f"site{i}" for i in range(1500)] + ["big"] * 50)
    shards = [told(cut(docs, 700), ["site"]).statistics() for _ in range(2)]
    assert len(shards[0]["groups"]["site"]) == 1001
    whole: dict[str, Any] = {}
    for statistics in shards:
        add_nested(whole, statistics)
    add_nested(whole, {"groups": {"site": {f"late{i}": {"rows_in": 9, "text_bytes_in": 0} for i in range(600)}}})
    folded = fold_groups(whole)["groups"]["site"]
    assert len(folded) == 1001 and {f"late{i}" for i in range(600)} < set(folded)
    assert sum(group["rows_in"] for group in folded.values()) == 2 * 1550 + 9 * 600
    assert fold_groups({"groups": {"site": folded}})["groups"]["site"] == folded


def test_samples_are_the_lowest_hashes() -> None:
    docs = documents(["a"] * 100)
    samples = told(cut(docs, 9), []).samples()
    kept = [doc_id for doc_id in docs.column("id").to_pylist() if int(doc_id[1:]) % 3]
    order = np.argsort(hash64(pa.array(kept)))[:SAMPLES]
    assert [sample["id"] for sample in samples["kept"]] == [kept[i] for i in order]
    assert len(samples["dropped"]["step"]["thirds"]) == SAMPLES


def test_repeated_ids_are_no_trouble_until_the_reader_refuses_them() -> None:
    docs = pa.RecordBatch.from_pylist([{"id": "same", "text": str(i)} for i in range(9)], SCHEMA)
    samples = told(cut(docs.set_column(0, "id", pa.array(["d0001"] * 9)), 2), []).samples()
    assert [sample["excerpt"] for sample in samples["kept"]] == ["0", "1", "2"]


def test_the_first_errors_are_the_first_rows() -> None:
    ledger = Ledger([], [], lambda name, batch: None)
    for start in (0, 10):
        ledger.errored("late", [f"d{start + 5}"], ["x"], np.array([5]))
        ledger.errored("early", [f"d{start + 7}", f"d{start + 2}"], ["x", "x"], np.array([7, 2]))
        ledger.flush()
    assert [error["id"] for error in ledger.samples()["errors"]] == ["d2", "d5", "d7"]


def test_merged_samples_keep_the_first_of_each_list() -> None:
    whole: dict[str, Any] = {}
    for shard in range(4):
        merge_samples(whole, {"kept": [{"id": f"{shard}-{i}"} for i in range(3)], "dropped": {"a": {"x": [{"id": f"{shard}"}]}}})
    assert [sample["id"] for sample in whole["kept"]] == ["0-0", "0-1", "0-2", "1-0", "1-1"]
    assert [sample["id"] for sample in whole["dropped"]["a"]["x"]] == ["0", "1", "2", "3"]


def test_what_a_reader_drops_comes_in_and_goes_out() -> None:
    tables: list[tuple[str, list[dict[str, Any]]]] = []
    ledger = Ledger([], ["site"], lambda name, batch: tables.append((name, batch.to_pylist())))
    ledger.dropped_unread([("a", "not_html", None), ("b", "too_large", 9.0)], 0)
    ledger.flush()
    ledger.counts.verify("test")
    assert ledger.counts.dropped == {"read": {"not_html": 1, "too_large": 1}}
    nothing = {"step": "read", "kept_id": None, "similarity": None}
    assert tables == [
        ("drops", [nothing | {"id": "a", "reason": "not_html", "value": None}, nothing | {"id": "b", "reason": "too_large", "value": 9.0}])
    ]
    assert OTHER not in ledger.statistics().get("groups", {})
