"""prototypes drops what is closest to the centroids, up to a share of all documents, and names the nearest document that stays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from curate import shuffle
from curate.errors import PipelineError
from curate_scorers import semantic_dedup_blocks as blocks
from curate_scorers.prototypes import Prototypes
from tests.contracts.duplicates import workplace
from tests.engine import small
from tests.scorers.test_semantic_dedup import at, crowd, run


@pytest.fixture
def folder() -> Iterator[Path]:
    with workplace() as place:
        yield place


def test_a_hand_made_set(folder: Path) -> None:
    # Seven documents, 4 to stay at least, so 3 may go: those with the lowest distances are g (0.1), c (0.2), and a tie of b and e (0.3)
    # that both stay, since with one of them four would go or which one would be a matter of chance; so two go.
    docs = [
        {"id": "a", "vector": at(0), "cluster": 1, "distance": 0.4},
        {"id": "b", "vector": at(10), "cluster": 1, "distance": 0.3},
        {"id": "c", "vector": at(7), "cluster": 1, "distance": 0.2},
        {"id": "d", "vector": at(90), "cluster": 2, "distance": 0.9},
        {"id": "e", "vector": at(50), "cluster": 2, "distance": 0.3},
        {"id": "f", "vector": None, "cluster": None, "distance": None},
        {"id": "g", "vector": at(8), "cluster": 3, "distance": 0.1},
    ]
    plan = run(folder, docs, {"keep_fraction": 4 / 7}, use="prototypes")
    found = {row["id"]: row for row in small.rows(plan.dataset("dedup"))}
    assert {name for name, row in found.items() if not row["keep"]} == {"c", "g"}
    assert found["c"]["kept_id"] == "b" and found["c"]["similarity"] == pytest.approx(math.cos(math.radians(3)), abs=1e-7)
    assert found["c"]["value"] == pytest.approx(0.8, abs=1e-7) and found["c"]["reason"] == "prototype"
    assert (found["g"]["kept_id"], found["g"]["similarity"]) == (None, None)  # alone in its cluster
    assert [found[name]["cluster"] for name in "abcdefg"] == [None, "b", "b", None, None, None, None]
    [note] = plan.dataset("dedup").manifest.notes
    assert note["message"].startswith("similarity to the centroid > 0.7: removed 2 of 7 documents (28.6%)")
    drops = {row["id"]: row for row in small.ledger(plan.dataset("kept"), "drops")}
    assert {name: row["reason"] for name, row in drops.items()} == {"c": "prototype", "g": "prototype"}


@pytest.mark.parametrize(("partitions", "rows", "shards"), [(1, 10**6, 1), (3, 16, 4)])
def test_the_farthest_stay(partitions: int, rows: int, shards: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = crowd(220, 8, 6, seed=9)
    monkeypatch.setattr(shuffle, "partitions_for", lambda rows, row_bytes: partitions)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", rows * 64)
    plan = run(folder, docs, {"keep_fraction": 0.6}, shards, use="prototypes")
    found = {row["id"]: row for row in small.rows(plan.dataset("dedup"))}
    known = [doc for doc in docs if doc["cluster"] is not None and doc["vector"] is not None and any(doc["vector"])]
    nearest_first = sorted(doc["distance"] for doc in known)
    limit = nearest_first[math.floor(0.4 * len(docs))]  # so many are strictly nearer at most
    gone = [doc for doc in known if doc["distance"] < limit]
    assert len(gone) > 40 and {name for name, row in found.items() if not row["keep"]} == {doc["id"] for doc in gone}
    unit = {doc["id"]: np.array(doc["vector"]) / np.linalg.norm(doc["vector"]) for doc in known}
    for doc in gone:
        stay = [o["id"] for o in known if o["cluster"] == doc["cluster"] and o["distance"] >= limit]
        best = max(float(unit[doc["id"]] @ unit[other]) for other in stay)
        row = found[doc["id"]]
        assert row["similarity"] == pytest.approx(best, abs=1e-6) == pytest.approx(float(unit[doc["id"]] @ unit[row["kept_id"]]), abs=1e-6)


def test_a_share_below_what_has_no_vector_is_told(folder: Path) -> None:
    docs = [{"id": f"d{i}", "vector": at(i) if i % 2 else None, "cluster": i % 2 or None, "distance": 0.1} for i in range(10)]
    plan = run(folder, docs, {"keep_fraction": 0.1}, use="prototypes")
    [note] = plan.dataset("dedup").manifest.notes
    assert not note["passed"] and "`keep_fraction` is not reached" in note["message"] and plan.dataset("kept").rows == 5


@pytest.mark.parametrize("fraction", [0, -1, 1.01, math.nan])
def test_a_share_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(PipelineError, match="`keep_fraction` is"):
        Prototypes(fraction)
