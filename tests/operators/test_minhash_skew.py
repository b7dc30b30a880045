"""Hot buckets and long groups are shared out: no task of a phase has much more to do than the others, and the marks are the same."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import orjson
import pytest

from curate.plan import Plan
from curate_operators import minhash_dedup, minhash_search
from tests.engine import small
from tests.operators.test_minhash_dedup import Docs, corpus, dies, jaccard, marks, pipe, shingles, told

PARAMS = {"bands": 14, "rows": 8, "planted": None}
GROUP = 1500


def others(count: int) -> Docs:
    """Return documents that are alike to none."""
    return [{"id": f"o{i:05d}", "text": " ".join(f"o{i}x{k}" for k in range(40))} for i in range(count)]


def star() -> Docs:
    """Return one text with a word changed in each, among others: a bucket holds a tenth of all documents, a group a third."""
    words = [f"w{k}" for k in range(80)]
    alike = [{"id": f"s{i:05d}", "text": " ".join([*words[: i % 80], f"new{i}", *words[i % 80 + 1 :]])} for i in range(GROUP)]
    return [doc for pair in zip(alike, others(GROUP), strict=True) for doc in pair] + others(2 * GROUP)[GROUP:]


def chain() -> Docs:
    """Return windows over one text: each is alike to the ones around it, and all are one group."""
    return [{"id": f"c{i:05d}", "text": " ".join(f"w{k}" for k in range(3 * i, 3 * i + 60))} for i in range(GROUP)]


def results(folder: Path, phase: str) -> list[dict[str, Any]]:
    return [orjson.loads(path.read_bytes())["result"] for path in sorted(folder.rglob(f"{phase}/part-*.json"))]


def cut_finely(patch: pytest.MonkeyPatch) -> None:
    """Make pieces of buckets, and blocks of groups, as small against these corpora as real ones are against large corpora."""
    patch.setattr(minhash_search, "PIECE_BYTES", 30_000)
    patch.setattr(minhash_search, "BLOCK_BYTES", 60_000)
    patch.setattr(minhash_search, "AT_ONCE", 1)


def stopped_before_writing(docs: Docs, folder: Path) -> Plan:
    """Run all phases but the last, so that their results can be looked at."""
    planned = small.plan(pipe(corpus(folder, docs, 8), PARAMS), folder / "ws")
    with pytest.MonkeyPatch.context() as patch:
        cut_finely(patch)
        patch.setattr(minhash_dedup, "mark_shard", dies)
        assert small.execute(planned).error is not None
    return planned


def even(work: list[int]) -> bool:
    return len(work) >= 8 and max(work) <= 3 * statistics.median(work)


def test_a_hot_bucket_and_a_large_star_are_shared_out(tmp_path: Path) -> None:
    stopped_before_writing(star(), tmp_path)
    group = results(tmp_path, "group")[0]
    assert group["groups"] == 1 and group["documents"] == GROUP
    assert len(group["units"]) == 2 and len(group["starts"]) > 8  # one unit of many blocks
    assert even([result["count"] for result in results(tmp_path, "pair")])
    assert even([result["compared"] for result in results(tmp_path, "compare")])
    assert (len(results(tmp_path, "settle")), len(results(tmp_path, "decide"))) == (1, len(group["starts"]) - 1)


def test_what_one_task_reads_of_a_star_is_places_of_similar_pairs_alone(tmp_path: Path) -> None:
    stopped_before_writing(star(), tmp_path)
    similar = sum(result["similar"] for result in results(tmp_path, "compare"))
    links, edges = (sum(path.stat().st_size for path in tmp_path.rglob(f"compare/*.{name}.arrow")) for name in ("links", "edges"))
    files = len(results(tmp_path, "compare"))
    assert 4 * similar < links < 4 * similar + 24 * GROUP + 1500 * files
    assert edges > 16 * similar


def test_a_long_chain_is_shared_out(tmp_path: Path) -> None:
    stopped_before_writing(chain(), tmp_path)
    group = results(tmp_path, "group")[0]
    assert group["documents"] > 0.95 * GROUP and len(group["starts"]) > 8
    assert even([result["compared"] for result in results(tmp_path, "compare")])


@pytest.mark.parametrize("docs", [star(), chain()], ids=["star", "chain"])
def test_marks_do_not_depend_on_how_it_is_shared_out(docs: Docs, tmp_path: Path) -> None:
    whole = told(marks(tmp_path / "whole", docs, PARAMS, shards=1))
    with pytest.MonkeyPatch.context() as patch:
        cut_finely(patch)
        assert told(marks(tmp_path / "cut", docs, PARAMS, shards=8)) == whole
    text = {doc["id"]: shingles(doc["text"]) for doc in docs}
    gone = [row for row in whole if not row[1]]
    assert len(gone) > GROUP / 3
    assert all(similarity == jaccard(text[doc_id], text[kept_id or ""]) >= 0.8 for doc_id, _, kept_id, similarity in gone)
