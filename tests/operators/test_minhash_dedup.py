"""Every mark is true, nearly all duplicates are found, and neither shards, partitions, workers nor kills change a row."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import shuffle
from curate.dataset import Dataset
from curate.errors import CurateError, PipelineError
from curate.pipeline import Input, Pipeline, Stage
from curate.work import Place
from curate_operators import minhash_decide, minhash_dedup, minhash_pairs, minhash_recall, minhash_search, minhash_sign, minhash_verify
from curate_operators.minhash_curve import Bands, choose
from curate_operators.minhash_dedup import MinhashDedup
from tests.engine import small
from tests.kernels.conftest import sample_texts

SCHEMA = pa.schema({"id": pa.string(), "text": pa.large_string(), "score": pa.float64()})
THOROUGH = {"bands": 48, "rows": 1}  # finds every pair that is at all alike
Docs = list[dict[str, Any]]
Told = list[tuple[str, bool, str | None, float | None]]


def shingles(text: str, n: int = 5) -> frozenset[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return frozenset(tuple(words[k : k + n]) for k in range(max(len(words) - n, 0) + 1)) if words else frozenset()


def jaccard(one: frozenset[Any], other: frozenset[Any]) -> float:
    return len(one & other) / len(one | other) if one | other else 0.0


def reference(docs: Docs, similarity: float, n: int = 5) -> Told:
    """Return what is true of documents in the order in which they are to be kept."""
    kept: list[tuple[str, frozenset[Any]]] = []
    answers: Told = []
    for doc in docs:
        own = shingles(doc["text"], n)
        alike = [(jaccard(own, other), -place) for place, (_, other) in enumerate(kept) if own and jaccard(own, other) >= similarity]
        if alike:
            best, place = max(alike)
            answers.append((doc["id"], False, kept[-place][0], best))
        else:
            answers.append((doc["id"], True, None, None))
            kept.append((doc["id"], own))
    return answers


def corpus(folder: Path, docs: Docs, shards: int) -> Path:
    return small.write_shards(folder / "in", docs, shards, SCHEMA)


def pipe(path: Path, params: dict[str, Any]) -> Pipeline:
    stages = {"dedup": Stage("crawl", use="minhash_dedup", params=params), "corpus": Stage(["crawl", "dedup"], apply=["dedup"])}
    return small.pipeline(path, stages, inputs={"crawl": Input(str(path))}, shard_bytes=1)


def marks(folder: Path, docs: Docs, params: dict[str, Any], shards: int = 3, workers: int = 1) -> Dataset:
    plan, _ = small.run(pipe(corpus(folder, docs, shards), params), folder / "ws", workers)
    return plan.dataset("dedup")


def told(dataset: Dataset) -> Told:
    """Return the marks, after a look at what must hold of any."""
    rows = small.rows(dataset)
    stays = {row["id"] for row in rows if row["keep"]}
    causes = {row["kept_id"] for row in rows} - {None}
    for row in rows:
        assert row["keep"] == (row["kept_id"] is None) == (row["reason"] is None)
        assert row["keep"] or row["kept_id"] in stays
        assert row["cluster"] == (row["kept_id"] or (row["id"] if row["id"] in causes else None))
    return [(row["id"], row["keep"], row["kept_id"], row["similarity"]) for row in rows]


def planted(count: int = 120, seed: int = 3) -> Docs:
    """Return pages of the sample crawl and copies of them with words changed, more and more."""
    draw = random.Random(seed)
    pages = [text for text in sample_texts() if len(text.split()) > 150 and not re.search(r"[\u0300-\u1fff\u2e80-\uffff]", text)]
    docs = []
    for number in range(count):
        words = pages[number % len(pages)].split()[:400]
        for _ in range(number // len(pages) * len(words) // 200):
            words[draw.randrange(len(words))] = f"new{draw.randrange(1000)}"
        docs.append({"id": f"d{number:03d}", "text": " ".join(words)})
    draw.shuffle(docs)
    return docs


@pytest.mark.parametrize("similarity", [0.7, 0.8, 0.9])
def test_planted_duplicates(similarity: float, tmp_path: Path) -> None:
    docs = planted()
    wanted = reference(docs, similarity)
    gone = {row[0] for row in wanted if not row[1]}
    assert 20 < len(gone) < 110
    found = told(marks(tmp_path, docs, {"similarity": similarity}))
    text = {doc["id"]: shingles(doc["text"]) for doc in docs}
    for doc_id, keep, kept_id, measured in found:
        assert keep or measured == jaccard(text[doc_id], text[kept_id or ""]) >= similarity
    removed = {row[0] for row in found if not row[1]}
    assert len(gone & removed) / len(gone) >= 0.95
    assert len(gone & removed) / len(removed) >= 0.95


WORDS = st.lists(st.sampled_from(["a", "b", "c", "A"]), max_size=9).map(" ".join) | st.sampled_from(["", "...", "a b c d e f g"])


@settings(max_examples=12)
@given(
    texts=st.lists(WORDS, min_size=1, max_size=24),
    shards=st.sampled_from([1, 2, 5]),
    partitions=st.sampled_from([1, 3]),
    piece=st.sampled_from([1, 1 << 20]),
    block=st.sampled_from([1, 300, 1 << 20]),
    at_once=st.sampled_from([1, 2, 8]),
    similarity=st.sampled_from([0.4, 0.6, 1.0]),
)
def test_agrees_with_plain_python(
    texts: list[str],
    shards: int,
    partitions: int,
    piece: int,
    block: int,
    at_once: int,
    similarity: float,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    docs = [{"id": f"d{number}", "text": text} for number, text in enumerate(texts)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffle, "partitions_for", lambda rows, row_bytes: partitions)
        patch.setattr(minhash_search, "PIECE_BYTES", piece)
        patch.setattr(minhash_search, "BLOCK_BYTES", block)
        patch.setattr(minhash_search, "AT_ONCE", at_once)
        params = {"similarity": similarity, "n": 2} | THOROUGH
        found = told(marks(tmp_path_factory.mktemp("minhash"), docs, params, min(shards, len(docs))))
    assert found == reference(docs, similarity, n=2)


def digest(plan: Any) -> list[Any]:
    return [(stage, shard.data.path, shard.data.sha256) for stage in ("dedup", "corpus") for shard in plan.dataset(stage).manifest.shards]


def test_same_bytes_for_any_workers_and_same_rows_for_any_shards(tmp_path: Path) -> None:
    docs = planted(60)
    one, _ = small.run(pipe(corpus(tmp_path, docs, 4), {}), tmp_path / "one")
    two, _ = small.run(pipe(tmp_path / "in", {}), tmp_path / "two", workers=2)
    assert digest(one) == digest(two)
    assert told(marks(tmp_path / "other", docs, {}, shards=1)) == told(one.dataset("dedup"))
    drops = small.ledger(one.dataset("corpus"), "drops")
    gone = [row for row in small.rows(one.dataset("dedup")) if not row["keep"]]
    evidence = ("id", "reason", "kept_id", "similarity")
    assert [[row[key] for key in evidence] for row in drops] == [[row[key] for key in evidence] for row in gone]
    assert len(gone) > 10


def dies(item: Any, place: Place) -> Any:
    raise RuntimeError("killed")


PHASES = [
    *[(minhash_sign, name) for name in ("sign_shard", "join_classes", "spread_shard")],
    (minhash_recall, "plant_copies"),
    *[(minhash_pairs, name) for name in ("find_heads", "pair_piece", "group_documents")],
    *[(minhash_verify, name) for name in ("route_pairs", "gather_shard", "compare_block")],
    *[(minhash_decide, name) for name in ("settle_unit", "decide_blocks")],
    (minhash_recall, "count_found"),
    *[(minhash_decide, name) for name in ("name_shard", "inherit_shard")],
    (minhash_dedup, "mark_shard"),
]


def test_goes_on_after_a_failure_in_every_phase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = planted(40)
    monkeypatch.setattr(minhash_search, "PIECE_BYTES", 1000)
    monkeypatch.setattr(minhash_search, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(minhash_search, "AT_ONCE", 1)
    work = pipe(corpus(tmp_path, docs, 2), {})
    clean, _ = small.run(work, tmp_path / "clean")
    for module, name in PHASES:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, name, dies)
            failed = small.execute(small.plan(work, tmp_path / "ws"))
            assert "killed" in str(failed.error), name
    resumed, _ = small.run(work, tmp_path / "ws")
    assert digest(resumed) == digest(clean)


def test_a_damaged_intermediate_file_is_an_error(tmp_path: Path) -> None:
    work = pipe(corpus(tmp_path, planted(40), 2), {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minhash_verify, "route_pairs", dies)
        assert small.execute(small.plan(work, tmp_path / "ws")).error is not None
    (nodes,) = (tmp_path / "ws").rglob("group/part-00000.nodes.arrow")
    nodes.write_bytes(nodes.read_bytes()[:100])
    assert isinstance(small.execute(small.plan(work, tmp_path / "ws")).error, CurateError)


def test_a_bucket_with_many_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand documents that share most of their bands and are not alike enough: each is compared with the heads, and stays."""
    notice = " ".join(f"notice{k}" for k in range(200))
    docs = [{"id": f"d{i:04d}", "text": f"{notice} " + " ".join(f"w{i}x{k}" for k in range(40))} for i in range(1000)]
    docs += [{"id": f"e{i:04d}", "text": docs[i]["text"]} for i in range(0, 1000, 10)]
    monkeypatch.setattr(minhash_search, "PIECE_BYTES", 1000)
    folder, params = tmp_path / "ws", {"bands": 8, "rows": 1, "max_heads": 16, "planted": None}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minhash_dedup, "mark_shard", dies)
        small.execute(small.plan(pipe(corpus(tmp_path, docs, 5), params), folder))
    pairs = [orjson.loads(path.read_bytes())["result"]["count"] for path in folder.rglob("pair/part-*.json")]
    assert len(pairs) == 5  # one per shard
    assert 50_000 < sum(pairs) < 8 * 16 * 1000
    plan, _ = small.run(pipe(tmp_path / "in", params), folder)
    gone = {row[0]: row[2] for row in told(plan.dataset("dedup")) if not row[1]}
    assert gone == {f"e{i:04d}": f"d{i:04d}" for i in range(0, 1000, 10)}


def test_one_head_and_many_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = planted(60)
    whole = told(marks(tmp_path / "whole", docs, {"max_heads": 1}))
    monkeypatch.setattr(minhash_search, "PIECE_BYTES", 1)
    assert told(marks(tmp_path / "pieces", docs, {"max_heads": 1})) == whole
    assert sum(not row[1] for row in whole) > 10


def test_a_chain_of_resemblances(tmp_path: Path) -> None:
    """Each of these is like the next: what FineWeb's way makes one of, verification keeps half of."""
    words = [f"w{k}" for k in range(100)]
    docs = [{"id": f"d{i}", "text": " ".join(words[4 * i : 4 * i + 40])} for i in range(15)]
    params = {"similarity": 0.75, "n": 1} | THOROUGH
    found = told(marks(tmp_path, docs, params))
    assert found == reference(docs, 0.75, n=1)
    assert [row[1] for row in found] == [i % 2 == 0 for i in range(15)]
    rows = small.rows(marks(tmp_path / "component", docs, params | {"mode": "component"}))
    assert [row["kept_id"] for row in rows] == [None] + ["d0"] * 14
    assert {row["reason"] for row in rows[1:]} == {"unverified_duplicate"}
    assert {row["similarity"] for row in rows} == {None}


def test_which_one_stays(tmp_path: Path) -> None:
    base = " ".join(f"w{k}" for k in range(60))
    docs: Docs = [
        {"id": "a", "text": base, "score": 0.5},
        {"id": "b", "text": base + " more", "score": -1.0},
        {"id": "c", "text": base, "score": 0.7},
        {"id": "d", "text": "of another kind altogether, this one", "score": None},
    ]
    for rules, stays in (("first", "a"), ("longest", "b"), ({"highest": "score"}, "c"), (["shortest", {"highest": "score"}], "c")):
        found = told(marks(tmp_path / stays / str(len(rules)), docs, {"keep": rules}))
        assert {row[0] for row in found if row[1]} == {stays, "d"}
        assert {row[2] for row in found if not row[1]} == {stays}


@pytest.mark.parametrize("similarity", [0.7, 0.8, 0.9])
@pytest.mark.parametrize("name", ["neardup_doc_versions", "neardup_kernel_docs", "neardup_minhash"])
def test_real_duplicates(name: str, similarity: float, data: Path, tmp_path: Path) -> None:
    docs, pairs = (_lines(data / name / f"{kind}.jsonl.zst") for kind in ("docs", "pairs"))
    truth = {frozenset((pair["a"], pair["b"])): pair["jaccard"] for pair in pairs}
    gone: set[str] = set()
    kept: list[str] = []
    for doc in docs:
        alike = any(truth.get(frozenset((doc["id"], other)), 0) >= similarity for other in kept)
        (gone.add if alike else kept.append)(doc["id"])
    found = told(marks(tmp_path, [{"id": doc["id"], "text": doc["text"]} for doc in docs], {"similarity": similarity}))
    removed = {doc_id: kept_id for doc_id, keep, kept_id, _ in found if not keep}
    assert all(truth.get(frozenset(pair), 0) > similarity - 0.0001 for pair in removed.items())  # the truth has four digits
    assert len(gone & {*removed}) / len(gone) >= 0.98
    assert len(gone & {*removed}) / len(removed) >= 0.98


def _lines(path: Path) -> Docs:
    with pa.input_stream(path, compression="zstd") as stream:
        return [orjson.loads(line) for line in stream.read().splitlines()]


def test_the_curve() -> None:
    fineweb = MinhashDedup(bands=14, rows=8).curve()
    assert (fineweb.permutations, round(fineweb.probability(0.8), 3), round(fineweb.probability(0.5), 3)) == (112, 0.924, 0.053)
    for similarity in (0.5, 0.7, 0.8, 0.9):
        chosen = MinhashDedup(similarity=similarity).curve()
        assert chosen.probability(similarity) >= 0.95
        assert chosen.permutations <= 128
        for bands in range(1, 129):
            for rows in range(1, 128 // bands + 1):
                other = Bands(bands, rows)
                assert other.probability(similarity) < 0.95 or other.wasted(similarity) >= chosen.wasted(similarity)
    assert choose(0.8, 0.99, 256).probability(0.8) >= 0.99


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"similarity": 0.0}, "similarity is not above 0 and at most 1: 0.0"),
        ({"similarity": 1.5}, "similarity is not above 0 and at most 1: 1.5"),
        ({"recall": 1.0}, "recall is not above 0 and below 1: 1.0"),
        ({"bands": 3}, "both"),
        ({"bands": 0, "rows": 1}, "begin at 1"),
        ({"keep": "best"}, "keep"),
        ({"n": 0}, "begin at 1"),
        ({"planted": 1_000_000}, "planted is not from 1 to 10,000"),
        ({"permutations": 100_000}, "permutations is more than 4,096"),
        ({"bands": 1000, "rows": 1000}, "signatures of more than 4,096 values: 1,000,000"),
        ({"similarity": 0.5, "permutations": 4, "recall": 0.99}, "4 permutations find 0.938 of the pairs"),
    ],
)
def test_mistakes(params: dict[str, Any], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        MinhashDedup(**params).curve()


@pytest.mark.parametrize("params", [{"similarity": 1.5}, {"similarity": 0.5, "permutations": 4, "recall": 0.99}, {"keep": "best"}])
def test_a_mistake_names_the_operator_once(params: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as mistake:
        small.plan(pipe(corpus(tmp_path, planted(3), 1), params), tmp_path / "ws")
    assert mistake.value.message.count("minhash_dedup") == 1


def test_only_equal_sets_of_shingles_go_at_a_similarity_of_one(tmp_path: Path) -> None:
    text = " ".join(f"word{k}" for k in range(400))
    docs = [{"id": "a", "text": text}, {"id": "b", "text": f"{text} more"}, {"id": "c", "text": text.upper()}]
    assert [row[:3] for row in told(marks(tmp_path, docs, {"similarity": 1}))] == [("a", True, None), ("b", True, None), ("c", False, "a")]
