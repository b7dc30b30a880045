"""semantic_dedup marks what a plain double loop marks, on any blocks and shards, and names a document that stays."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate import shuffle
from curate.errors import CurateError, PipelineError
from curate.hashing import hash64
from curate.pipeline import Input, Pipeline, Stage
from curate.plan import Plan
from curate_scorers import semantic_dedup_blocks as blocks
from curate_scorers import semantic_dedup_vectors as vectors
from curate_scorers.semantic_dedup import SemanticDedup
from tests.contracts.duplicates import workplace
from tests.engine import small

Docs = list[dict[str, Any]]
VECTORS = pa.list_(pa.float32())
SCHEMA = pa.schema({"id": pa.string(), "vector": VECTORS, "cluster": pa.int64(), "distance": pa.float32()})
COLUMNS = {"column": "vector", "cluster": "cluster"}


@pytest.fixture
def folder() -> Iterator[Path]:
    with workplace() as place:
        yield place


def pipeline(folder: Path, docs: Docs, params: dict[str, Any], shards: int = 2, use: str = "semantic_dedup") -> Pipeline:
    path = small.write_shards(folder / f"crawl-{shards}", docs, shards, SCHEMA)
    stages = {"dedup": Stage("crawl", use=use, params=COLUMNS | params), "kept": Stage(["crawl", "dedup"], apply=["dedup"])}
    return small.pipeline(path, stages, inputs={"crawl": Input(str(path))}, shard_bytes=1)


def run(folder: Path, docs: Docs, params: dict[str, Any], shards: int = 2, use: str = "semantic_dedup") -> Plan:
    return small.run(pipeline(folder, docs, params, shards, use), folder / f"ws-{shards}")[0]


def marks(folder: Path, docs: Docs, params: dict[str, Any], shards: int = 2) -> dict[str, dict[str, Any]]:
    """Return each document's marks; and the ledger must account for every document."""
    plan = run(folder, docs, params, shards)
    rows = small.rows(plan.dataset("dedup"))
    assert [row["id"] for row in rows] == [doc["id"] for doc in docs]
    kept = plan.dataset("kept")
    kept.manifest.counts.verify("kept")
    told = {row["id"]: (row["reason"], row["value"], row["kept_id"], row["similarity"]) for row in small.ledger(kept, "drops")}
    assert told == {row["id"]: (row["reason"], row["value"], row["kept_id"], row["similarity"]) for row in rows if not row["keep"]}
    return {row["id"]: row for row in rows}


def at(degrees: float) -> list[float]:
    """Return a vector in the plane; the cosine of two is that of the angle between them."""
    return [math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]


# One cluster, in order of their distance: a (farthest), b, c, d at 0°, 10°, 20° and 60°. cos 10° = 0.985, cos 20° = 0.940, cos 40° = 0.766,
# cos 50° = 0.643, cos 60° = 0.5. With ε = 0.03 what is within 14° of an earlier one goes.
CHAIN = [
    {"id": "d", "vector": at(60), "cluster": 7, "distance": 0.1},
    {"id": "c", "vector": at(20), "cluster": 7, "distance": 0.2},
    {"id": "a", "vector": at(0), "cluster": 7, "distance": 0.4},
    {"id": "b", "vector": at(10), "cluster": 7, "distance": 0.3},
    {"id": "e", "vector": at(0), "cluster": 8, "distance": 0.3},  # equal to `a`, and in another cluster
    {"id": "f", "vector": None, "cluster": None, "distance": None},
]


def test_removed_documents_knock_out_later_ones(folder: Path) -> None:
    found = marks(folder, CHAIN, {"eps": 0.03})
    # b is 10° from a and goes. c is 10° from b, which goes; c goes too, and what stays nearest to it is a, at 20°.
    assert {name: row["keep"] for name, row in found.items()} == {"a": True, "b": False, "c": False, "d": True, "e": True, "f": True}
    assert [found[name]["kept_id"] for name in "abcdef"] == [None, "a", "a", None, None, None]
    assert found["b"]["similarity"] == found["b"]["value"] == pytest.approx(math.cos(math.radians(10)), abs=1e-7)
    assert found["c"]["value"] == pytest.approx(math.cos(math.radians(10)), abs=1e-7)
    assert found["c"]["similarity"] == pytest.approx(math.cos(math.radians(20)), abs=1e-7)
    assert found["d"]["value"] == pytest.approx(math.cos(math.radians(40)), abs=1e-7)
    assert [found[name]["cluster"] for name in "abcdef"] == ["a", "a", "a", None, None, None]
    assert [found[name]["reason"] for name in "abc"] == [None, "semantic_duplicate", "semantic_duplicate"]
    assert found["a"]["value"] is None and found["e"]["value"] is None and found["f"]["value"] is None


def test_greedy_only_counts_what_stays(folder: Path) -> None:
    found = marks(folder, CHAIN, {"eps": 0.03, "greedy": True})
    # b goes for a; so c is compared with a alone, 20° away, and stays.
    assert {name: row["keep"] for name, row in found.items()} == {"a": True, "b": False, "c": True, "d": True, "e": True, "f": True}
    assert found["b"]["kept_id"] == "a" and found["c"]["value"] == pytest.approx(math.cos(math.radians(20)), abs=1e-7)


def test_easy_keeps_the_nearest_to_the_centroid(folder: Path) -> None:
    found = marks(folder, CHAIN, {"eps": 0.03, "keep": "easy"})
    # d, c, b, a: b goes for c; a goes since b is 10° away, and c is what stays, 20° away.
    assert {name for name, row in found.items() if not row["keep"]} == {"a", "b"}
    assert found["a"]["kept_id"] == "c" and found["a"]["similarity"] == pytest.approx(math.cos(math.radians(20)), abs=1e-7)


def test_a_share_is_kept_exactly(folder: Path) -> None:
    # 6 documents, 3 to stay: d goes as well, at 40° from c; that is the highest value that may not stay.
    found = marks(folder, CHAIN, {"keep_fraction": 0.5})
    assert {name for name, row in found.items() if row["keep"]} == {"a", "e", "f"}
    assert found["d"]["kept_id"] == "a" and found["d"]["similarity"] == pytest.approx(0.5, abs=1e-7)


def crowd(count: int, dim: int, clusters: int, seed: int) -> Docs:
    """Return documents of clusters of very different sizes, some of them equal or nearly so, some without vectors."""
    dice, rng = random.Random(seed), np.random.default_rng(seed)
    centres = rng.standard_normal((clusters, dim))
    docs: Docs = []
    for number in range(count):
        cluster = min(dice.randrange(clusters), dice.randrange(clusters))
        vector = centres[cluster] + rng.standard_normal(dim) * dice.choice([0.1, 0.5, 1.0])
        same = [doc for doc in docs if doc["cluster"] == cluster]
        if same and number % 5 == 0:
            vector = np.array(dice.choice(same)["vector"]) + (rng.standard_normal(dim) * 0.01 if number % 10 else 0.0)
        distance = dice.choice([0.0, 0.25, 0.5, float(np.float32(dice.random()))])  # ties too
        doc = {"id": f"d{number:04}", "vector": [float(np.float32(x)) for x in vector], "cluster": cluster, "distance": distance}
        docs.append(doc if number % 17 else doc | {"cluster": None})
    rest = [{"vector": None}, {"vector": [0.0] * dim}]
    return docs + [{"id": f"n{i}", "cluster": 0, "distance": None} | one for i, one in enumerate(rest)]


def reference(docs: Docs, threshold: float, keep: str, greedy: bool, seed: int = 0) -> dict[str, tuple[Any, ...]]:
    """Return whether each document stays, its value, the kept neighbour and the similarity: a plain double loop."""
    found: dict[str, tuple[Any, ...]] = {doc["id"]: (True, None, None, None) for doc in docs}
    known = [doc for doc in docs if doc["vector"] is not None and any(doc["vector"]) and doc["cluster"] is not None]

    def key(doc: dict[str, Any]) -> Any:
        hashed = int(hash64(pa.array([doc["id"]]), seed)[0])
        return {"hard": -(doc["distance"] or 0), "easy": doc["distance"], "random": hashed}[keep], doc["id"]

    unit = {doc["id"]: np.array(doc["vector"]) / np.linalg.norm(doc["vector"]) for doc in known}
    for cluster in {doc["cluster"] for doc in known}:
        order = [doc["id"] for doc in sorted((d for d in known if d["cluster"] == cluster), key=key)]
        for place, name in enumerate(order):
            before = [(float(unit[name] @ unit[other]), other) for other in order[:place]]
            stay = [(cosine, other) for cosine, other in before if found[other][0]]
            value = max((cosine for cosine, _ in (stay if greedy else before)), default=None)
            if value is None or value <= threshold:
                found[name] = (True, value, None, None)
            else:
                cosine = max(cosine for cosine, _ in stay)
                found[name] = (False, value, [other for c, other in stay if c > cosine - 1e-6], cosine)
    return found


def verify(found: dict[str, dict[str, Any]], expected: dict[str, tuple[Any, ...]]) -> None:
    for name, (keep, value, near, similarity) in expected.items():
        row = found[name]
        assert row["keep"] == keep, name
        assert row["value"] == (pytest.approx(value, abs=1e-6) if value is not None else None)
        assert row["similarity"] == (pytest.approx(similarity, abs=1e-6) if similarity is not None else None)
        assert row["kept_id"] in (near or [None]), name


@pytest.mark.parametrize("greedy", [False, True])
@pytest.mark.parametrize("keep", ["hard", "easy", "random"])
@pytest.mark.parametrize(("partitions", "rows", "shards"), [(1, 10**6, 1), (3, 16, 4)])
def test_marks_are_those_of_a_plain_loop(
    keep: str, greedy: bool, partitions: int, rows: int, shards: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = crowd(220, 8, 6, seed=3)
    monkeypatch.setattr(shuffle, "partitions_for", lambda rows, row_bytes: partitions)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", rows * 64)
    found = marks(folder, docs, {"eps": 0.1, "keep": keep, "greedy": greedy}, shards)
    expected = reference(docs, 0.9, keep, greedy)
    verify(found, expected)
    gone = [row for row in found.values() if not row["keep"]]
    assert 20 < len(gone) < 200
    assert {row["kept_id"] for row in gone} == {row["id"] for row in found.values() if row["keep"] and row["cluster"] is not None}


def both(folder: Path, docs: Docs, eps: float, shards: int) -> dict[str, Docs]:
    """Return the marks of both variants."""
    path = small.write_shards(folder / "crawl", docs, shards, SCHEMA)
    variants = {"plain": False, "greedy": True}
    stages = {n: Stage("crawl", use="semantic_dedup", params=COLUMNS | {"eps": eps, "greedy": greedy}) for n, greedy in variants.items()}
    planned, _ = small.run(small.pipeline(path, stages, inputs={"crawl": Input(str(path))}, shard_bytes=1), folder / "ws")
    return {name: small.rows(planned.dataset(name)) for name in variants}


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), eps=st.sampled_from([0.02, 0.1, 0.4]), rows=st.integers(4, 40))
def test_blocks_change_no_bit_and_greedy_keeps_more(seed: int, eps: float, rows: int) -> None:
    docs = crowd(60, 5, 3, seed)
    with workplace() as folder, pytest.MonkeyPatch.context() as patch:
        whole = both(folder / "whole", docs, eps, 1)
        patch.setattr(blocks, "BLOCK_BYTES", rows * 40)
        patch.setattr(shuffle, "partitions_for", lambda rows, row_bytes: 2)
        patch.setattr(vectors, "TILE_ROWS", 7)
        patch.setattr(vectors, "TILE_COLUMNS", 5)
        patch.setattr(vectors, "LEAF_ROWS", 3)
        assert both(folder / "cut", docs, eps, 3) == whole
    kept = {name: {row["id"] for row in found if row["keep"]} for name, found in whole.items()}
    assert kept["greedy"] >= kept["plain"]


@pytest.mark.parametrize("fraction", [0.9, 0.75, 0.5, 1])
def test_the_threshold_of_a_share_is_exact(fraction: float, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = crowd(200, 8, 6, seed=5)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 30 * 64)
    plan = run(folder, docs, {"keep_fraction": fraction})
    rows = small.rows(plan.dataset("dedup"))
    values = sorted((row["value"] for row in rows if row["value"] is not None), reverse=True)
    may_go = math.floor((1 - fraction) * len(docs) + 1e-9)
    about = plan.dataset("dedup").manifest.about
    assert about["threshold"] == values[may_go] and about["removed"] == sum(value > values[may_go] for value in values) <= may_go
    assert {row["id"] for row in rows if not row["keep"]} == {row["id"] for row in rows if (row["value"] or -2) > values[may_go]}
    assert plan.dataset("dedup").manifest.notes[0]["passed"]


def test_a_share_under_greedy_is_found_by_bisection(folder: Path) -> None:
    docs = crowd(300, 8, 6, seed=6)
    plan = run(folder, docs, {"keep_fraction": 0.7, "greedy": True})
    about = plan.dataset("dedup").manifest.about
    assert about["removed"] in (89, 90, 91)[:2] and plan.dataset("dedup").manifest.notes[0]["passed"]  # 302 documents
    found = {row["id"]: row for row in small.rows(plan.dataset("dedup"))}
    verify(found, reference(docs, about["threshold"], "hard", greedy=True))


@pytest.mark.parametrize("greedy", [False, True])
def test_a_share_that_cannot_be_reached_is_told(greedy: bool, folder: Path) -> None:
    docs = [{"id": f"d{i}", "vector": at(i), "cluster": i // 2, "distance": 0.5} for i in range(10)]
    plan = run(folder, docs, {"keep_fraction": 0.3, "greedy": greedy})
    [note] = plan.dataset("dedup").manifest.notes
    assert not note["passed"] and "`keep_fraction` is not reached" in note["message"]
    assert plan.dataset("kept").rows == 5  # one of each cluster


@pytest.mark.parametrize("greedy", [False, True])
def test_a_share_that_equal_documents_keep_from_being_met_is_told(greedy: bool, folder: Path) -> None:
    docs = [{"id": f"d{i}", "vector": at(45), "cluster": 0, "distance": 0.5} for i in range(10)]
    [note] = run(folder, docs, {"keep_fraction": 0.7, "greedy": greedy}).dataset("dedup").manifest.notes
    assert "removed 0 of 10 documents" in note["message"] and "asks for 3 more: documents of equal similarity go or stay" in note["message"]
    assert "alone or first" not in note["message"]


def test_a_note_tells_what_each_eps_would_remove(folder: Path) -> None:
    plan = run(folder, CHAIN, {"eps": 0.03})
    [note] = plan.dataset("dedup").manifest.notes
    assert note["message"] == (
        "similarity > 0.97 (eps 0.03): removed 2 of 6 documents (33.3%), 1 document without a vector or a cluster stay"
    )
    line = dict(note["curve"]["lines"]["removed"])
    # 10° is ε = 0.0152 and two documents are that close to an earlier one; 40° is ε = 0.234
    assert all(share == (0 if eps < 0.0152 else 2 / 6 if eps < 0.234 else 3 / 6) for eps, share in line.items())


TWINS = [{"id": f"d{i}", "vector": at(5 * (i % 2) + 12 * i), "cluster": i // 2, "distance": 0.5} for i in range(20)]
"""Ten clusters of two documents, 17° from each other: ε = 0.0437."""


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"eps": 0.01}, "removed 0 of 20 documents (0%); `eps` is too small to remove anything: `eps: 0.05` would remove 50.0%"),
        ({"eps": 0.01, "greedy": True}, "removed 0 of 20 documents (0%); `eps` is too small to remove anything"),
        ({"eps": 0.06}, None),
        ({"keep_fraction": 0.9}, None),
    ],
)
def test_an_eps_that_takes_nothing_is_a_warning(params: dict[str, Any], said: str | None, folder: Path) -> None:
    docs = [doc | ({"vector": at(90)} if doc["id"] in ("d0", "d1") else {}) for doc in TWINS] if "keep_fraction" in params else TWINS
    [note] = run(folder, docs, params).dataset("dedup").manifest.notes
    assert note["passed"] == (said is None) and note["message"].endswith(said or "")


def test_a_share_that_only_unlike_documents_make_up_is_a_warning(folder: Path) -> None:
    docs = [{"id": f"d{i}", "vector": at(40 * i), "cluster": 0, "distance": 0.5 - i / 100} for i in range(4)]
    docs += [{"id": "e", "vector": at(4), "cluster": 0, "distance": 0.1}]
    [note] = run(folder, docs, {"keep_fraction": 0.6}).dataset("dedup").manifest.notes
    assert not note["passed"] and note["message"].endswith("share a subject and are no copies: `eps: 0.2` would remove 20.0%")


def test_an_eps_that_takes_most_is_a_warning(folder: Path) -> None:
    docs = [{"id": f"d{i}", "vector": at(4 * i if i < 4 else 60), "cluster": 0, "distance": 0.5} for i in range(6)]
    [note] = run(folder, docs, {"eps": 0.9}).dataset("dedup").manifest.notes
    assert not note["passed"] and note["message"].endswith("`eps` removes most of the documents: `eps: 0.001` would remove 16.7%")


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({1: {"vector": [1.0, math.nan]}}, VECTORS, "the vector of document `c` has a number that is not finite"),
        ({1: {"vector": [1.0, None]}}, VECTORS, "the vector of document `c` has a number that is not finite"),
        ({1: {"vector": [1.0, 2.0, 3.0]}}, VECTORS, "vectors are of different lengths: `d` has 2 dimensions, `c` has 3"),
        ({2: {"distance": None}}, VECTORS, "document `a` has a cluster, and in `distance` no distance"),
        ({}, pa.list_(pa.int64()), "column `vector` is list<item: int64>, not a vector (a list of float)"),
        ({}, pa.string(), "column `vector` is string, not a vector"),
    ],
)
def test_what_cannot_be_compared_is_told(changes: dict[int, Any], kind: pa.DataType, message: str, folder: Path) -> None:
    schema = SCHEMA.set(1, pa.field("vector", kind))
    plain = {} if kind == VECTORS else {"vector": "x" if kind == pa.string() else [1]}
    docs = [doc | plain | changes.get(i, {}) for i, doc in enumerate(CHAIN)]
    path = small.write_shards(folder / "crawl", docs, 1, schema)
    stages = {"dedup": Stage("crawl", use="semantic_dedup", params=COLUMNS | {"eps": 0.1})}
    with pytest.raises(CurateError) as told:
        small.run(small.pipeline(path, stages, inputs={"crawl": Input(str(path))}, shard_bytes=1), folder / "ws")
    assert message in str(told.value) and told.value.hint


def test_shards_of_different_lengths_are_told(folder: Path) -> None:
    docs = [{"id": f"d{i}", "vector": [1.0] * (2 + i // 2), "cluster": 0, "distance": 0.0} for i in range(4)]
    with pytest.raises(CurateError, match="those of shard 0 have 2 dimensions, those of shard 1 have 3"):
        run(folder, docs, {"eps": 0.1}, shards=2)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "give either `eps` or `keep_fraction`"),
        ({"eps": 0.1, "keep_fraction": 0.5}, "give either `eps` or `keep_fraction`"),
        ({"eps": 0.0}, "`eps` is 0.0, not above 0 and up to 1"),
        ({"eps": 1.5}, "`eps` is 1.5"),
        ({"eps": math.nan}, "`eps` is nan"),
        ({"keep_fraction": 0}, "`keep_fraction` is 0, not above 0 and up to 1"),
    ],
)
def test_parameters_out_of_range_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(PipelineError) as told:
        SemanticDedup(**params)
    assert message in told.value.message and (told.value.hint or "").startswith("`")


def test_a_missing_column_is_told_before_anything_runs(folder: Path) -> None:
    with pytest.raises(PipelineError, match="reads the column `topic`, which is not there"):
        run(folder, CHAIN, {"eps": 0.1, "cluster": "topic", "distance": "distance"})


@pytest.mark.parametrize("docs", [[], [{"id": "a", "vector": None, "cluster": None, "distance": None}]])
def test_nothing_to_compare_is_no_error(docs: Docs, folder: Path) -> None:
    for greedy in (False, True):
        assert all(row["keep"] for row in marks(folder / f"{greedy}", docs, {"keep_fraction": 0.5, "greedy": greedy}, 1).values())


def test_products_are_whole_numbers_and_lose_nothing() -> None:
    rng = np.random.default_rng(1)
    given = rng.standard_normal((50, 384)) * 10.0 ** rng.integers(-30, 30, 50)[:, None]
    units = vectors.unit_vectors(given)
    sums = [[sum(int(a) * int(b) for a, b in zip(one, other, strict=True)) for other in units[:9]] for one in units]
    rows = vectors.in_doubles(units)
    assert (rows @ rows[:9].T == np.array(sums) / 2**52).all()  # what Python's whole numbers say, to the last bit
    unit = given / np.linalg.norm(given, axis=1, keepdims=True)
    assert np.abs(rows @ rows[:9].T - unit @ unit[:9].T).max() < 1e-7
    assert (np.diag(vectors.told(rows[:9] @ rows[:9].T)) == 1.0).all()
