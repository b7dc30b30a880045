"""Planted copies have the similarity that is said, are found as the S-curve promises, change no mark, and tell when something is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate import kernels
from curate.dataset import Dataset
from curate.document import TEXT
from curate_operators import minhash_canary, minhash_search, minhash_sign
from curate_operators.minhash_canary import LEVELS, SAMPLE, TOLERANCE
from curate_operators.minhash_curve import Bands
from curate_operators.minhash_recall import _tail, canary_note, curve_note, pairs_note
from tests.engine import small
from tests.operators.conftest import read_texts
from tests.operators.test_minhash_dedup import Docs, corpus, jaccard, pipe, planted, shingles

OPTIONS: list[dict[str, Any]] = [{"n": 5, "unit": "words", "fold": False}, {"n": 13, "unit": "characters", "fold": True}]


def pages(data: Path) -> Docs:
    texts = read_texts(data, "web_c4_demo", "wiki_en_demo", "books_eltec", limit=300)
    return [{"id": f"d{number:04d}", "text": text[:15_000]} for number, text in enumerate(texts)]


def notes(dataset: Dataset) -> dict[str, dict[str, Any]]:
    return {note["name"]: note for note in dataset.manifest.notes}


def marked(folder: Path, docs: Docs, shards: int = 3, workers: int = 1, **params: Any) -> Dataset:
    plan, _ = small.run(pipe(corpus(folder, docs, shards), params), folder / "ws", workers)
    return plan.dataset("dedup")


@pytest.mark.parametrize("options", OPTIONS)
def test_copies_are_as_similar_as_they_say(options: dict[str, Any], data: Path) -> None:
    texts = [doc["text"].encode() for doc in pages(data)[:200]] + [b"too short", "漢字仮名".encode() * 3, b"\xff\xfe broken", b"..."]
    sample = pa.table([range(len(texts)), range(len(texts)), texts], schema=SAMPLE)
    made = minhash_canary.copies(sample, options | {"planted": 20})
    assert {level: int((made.level == level).sum()) for level in LEVELS} == dict.fromkeys(LEVELS, 20)
    assert ((made.similarity >= made.level) & (made.similarity < made.level + TOLERANCE)).all()
    originals = [texts[k].decode("utf-8", "replace") for k in made.origin]
    left, right = (
        kernels.shingle_sets(kernels.shingles(kernels.texts(pa.array(side, pa.large_string())), *options.values()))
        for side in (originals, made.texts)
    )
    rows = np.arange(len(made.texts))
    assert (kernels.jaccard(left, right, rows, rows) == made.similarity).all()
    if options["unit"] == "words":
        for k in range(0, len(rows), 7):
            plain = jaccard(shingles(texts[made.origin[k]].decode()), shingles(made.texts[k]))
            assert plain == pytest.approx(made.similarity[k], abs=0.01)
    assert len({*zip(made.origin.tolist(), made.level.tolist(), strict=True)}) == len(rows)


def test_the_sample_does_not_depend_on_shards_and_batches() -> None:
    texts = pa.array([f"text {n}" for n in range(1000)], pa.large_string())

    def drawn(sizes: list[int], batch: int) -> list[Any]:
        rows, begin = [], 0
        for shard, size in enumerate(sizes):
            item = {"shard": shard, "begin": begin, "draw": minhash_canary.limits(1, 1000)}
            parts = [pa.record_batch({TEXT: texts.slice(begin + k, min(batch, size - k))}) for k in range(0, size, batch)]
            found: list[pa.RecordBatch] = []
            assert sum(part.num_rows for part in minhash_canary.drawn(iter(parts), item, found)) == size
            rows += [(row["hash"], row["text"]) for part in found for row in part.to_pylist()]
            begin += size
        return sorted(rows)

    whole = drawn([1000], 1000)
    assert whole == drawn([400, 0, 600], 70) == drawn([10] * 100, 3)
    assert 24 < len(whole) < 80  # 8 times 6 levels


@pytest.mark.parametrize(
    "params", [{}, {"similarity": 0.7, "bands": 14, "rows": 8}, {"mode": "component"}, {"keep": ["longest", {"lowest": "score"}]}]
)
def test_copies_change_no_mark_and_no_count(params: dict[str, Any], tmp_path: Path) -> None:
    docs = [doc | {"score": n % 3 / 2} for n, doc in enumerate(planted(90))]
    with_copies, without = (marked(tmp_path / str(count), docs, planted=count, **params) for count in (30, None))
    assert small.rows(with_copies) == small.rows(without)
    assert [shard.data.sha256 for shard in with_copies.manifest.shards] == [shard.data.sha256 for shard in without.manifest.shards]
    assert notes(with_copies)["pairs"] == notes(without)["pairs"]
    assert notes(with_copies)["canary"]["measures"] and "canary" not in notes(without)


def test_what_is_found_and_what_is_promised(data: Path, tmp_path: Path) -> None:
    docs = pages(data)
    found = notes(marked(tmp_path, docs, shards=5, similarity=0.75, bands=14, rows=8))
    levels = found["canary"]["measures"]
    assert found["canary"]["passed"] and list(levels) == ["0.7", "0.75", "0.8", "0.85", "0.9", "0.95"]
    for level, row in levels.items():
        assert row["planted"] == 100
        assert 0 <= row["similarity"] - float(level) < TOLERANCE
        assert row["promised"] == pytest.approx(100 * Bands(14, 8).probability(row["similarity"]), abs=1)
        assert abs(row["compared"] - row["promised"]) < 15
        assert row["found"] == (row["compared"] if level != "0.7" else 0)
    curve = found["curve"]["curve"]
    assert curve["dots"]["planted copies"] == [[row["similarity"], row["compared"] / 100] for row in levels.values()]
    assert curve["marks"] == {"goes from": 0.75}
    assert found["curve"]["measures"]["compared at 0.8"] == round(Bands(14, 8).probability(0.8), 4)


def test_the_same_notes_for_any_workers_shards_and_partitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = planted(80)
    one = marked(tmp_path / "1", docs, shards=4).manifest.notes
    assert one == marked(tmp_path / "2", docs, shards=4, workers=2).manifest.notes
    assert one == marked(tmp_path / "3", docs, shards=1).manifest.notes
    monkeypatch.setattr(minhash_search, "PIECE_BYTES", 1000)
    assert one == marked(tmp_path / "4", docs, shards=7).manifest.notes


def test_pairs_that_are_counted(tmp_path: Path) -> None:
    words = [f"w{k}" for k in range(100)]
    docs = [{"id": f"d{i}", "text": " ".join(words[4 * i : 4 * i + 40])} for i in range(15)]
    found = notes(marked(tmp_path, docs, similarity=0.75, n=1, bands=48, rows=1, max_heads=3))["pairs"]
    sets = [shingles(doc["text"], 1) for doc in docs]
    alike = sum(jaccard(sets[i], sets[j]) >= 0.75 for i in range(15) for j in range(i))
    assert found["measures"]["pairs similar"] == alike == 14
    assert 14 < found["measures"]["pairs compared"] < 105
    assert found["measures"]["largest group"] == 15
    assert 0 < found["measures"]["documents not compared with all of a bucket"] <= 12
    assert "behind its first 3 documents" in found["message"]


def test_lost_buckets_are_noticed(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shuffle that loses the rows of half of the bands: the job ends as if nothing had been, and the report warns."""
    whole = minhash_sign.signed_batches

    def forgets(item: Any, place: Any) -> Iterator[pa.RecordBatch]:
        begun = 0
        for batch in whole(item, place):
            begun += batch.num_rows
            alone = minhash_sign.numbers(item["shard"], begun)[-batch.num_rows :]
            lost = {f"bucket_{band}": pa.array(alone + np.uint64(band << 24)) for band in range(1, 99)}  # nobody shares these
            columns = [lost.get(name, column) for name, column in zip(batch.schema.names, batch.columns, strict=True)]
            yield pa.RecordBatch.from_arrays(columns, schema=batch.schema)

    monkeypatch.setattr(minhash_sign, "signed_batches", forgets)
    note = notes(marked(tmp_path, pages(data)[:400]))["canary"]
    assert not note["passed"] and "so few are compared by chance with probability" in note["message"]


def test_wrong_comparisons_are_noticed(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = kernels.jaccard

    def careless(*args: Any) -> Any:
        return whole(*args) * 0.9

    monkeypatch.setattr(kernels, "jaccard", careless, raising=False)
    docs = pages(data)[:300]
    monkeypatch.setattr(minhash_canary, "copies", _with(whole, minhash_canary.copies))
    note = notes(marked(tmp_path, docs))["canary"]
    assert not note["passed"] and "were compared with another result than theirs" in note["message"]


def _with(jaccard: Any, copies: Any) -> Any:
    """Make copies with the right measure while everything else has a wrong one."""

    def made(*args: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kernels, "jaccard", jaccard, raising=False)
            return copies(*args)

    return made


def test_too_few_documents(tmp_path: Path) -> None:
    docs: Docs = [{"id": "a", "text": "a few words"}, {"id": "b", "text": ""}, {"id": "c", "text": "..."}]
    found = notes(marked(tmp_path, docs, shards=2))
    assert found["canary"]["passed"] and "no near-duplicates were planted" in found["canary"]["message"]
    assert found["curve"]["curve"]["dots"] == {}
    assert found["pairs"]["message"] == "no pair was compared: no two documents share a bucket, but for those with the same shingles"


@pytest.mark.parametrize("mode", ["verified", "component"])
def test_equal_documents_and_one_alone(mode: str, tmp_path: Path) -> None:
    """Where there is nothing to compare, the notes say so instead of counting to nothing."""
    text = " ".join(f"word{k}" for k in range(60))
    equal = notes(marked(tmp_path / "equal", [{"id": f"d{n}", "text": text} for n in range(500)], mode=mode, similarity=0.96))
    assert equal["pairs"]["message"].startswith("no pair was compared: no two documents share a bucket")
    why = "too few documents differ from those before them and are neither too short nor too long"
    highest = "no near-duplicates of 0.96 and above were planted: those that are planted have 0.95 at most"
    assert equal["canary"]["message"] == highest
    alone = notes(marked(tmp_path / "alone", [{"id": "d", "text": " ".join(f"word{k}" for k in range(12))}], mode=mode, similarity=0.9))
    assert alone["canary"]["passed"] and alone["canary"]["message"].startswith("no near-duplicates")
    assert alone["canary"]["message"].endswith(f"were planted: {why}")


def test_counts_of_one() -> None:
    counts = {"pairs compared": 1, "pairs similar": 1, "largest group": 2, "documents not compared with all of a bucket": 1}
    assert pairs_note(counts, 64, "verified").message == (
        "1 pair compared, 1 similar (0.0% refuted); the largest group has 2 documents; "
        "1 document is in a bucket behind its first 64 documents, and was paired there with those only"
    )
    assert curve_note(Bands(1, 1), 0.8, {}).message.startswith("1 band of 1 row: ")


def test_a_bucket_that_is_too_full_is_told_as_the_cause(tmp_path: Path) -> None:
    words = [f"word{k}" for k in range(160)]
    docs = [{"id": f"d{n:03d}", "text": " ".join([*words[:n], f"new{n}", *words[n + 1 :]])} for n in range(160)]
    few = notes(marked(tmp_path / "few", docs, max_heads=1, planted=20))["canary"]
    assert not few["passed"]
    assert few["message"].endswith(
        "documents are in a bucket behind its first document, and were paired there with that one only; a higher `max_heads` finds more"
    )
    assert notes(marked(tmp_path / "many", docs, max_heads=1000, planted=20))["canary"]["passed"]


def test_the_tail() -> None:
    assert _tail([0.5, 0.5], 0) == 0.25 and _tail([0.5, 0.5], 1) == 0.75 and _tail([0.9, 0.2, 0.4], 3) == pytest.approx(1)
    levels = {"0.9": {"planted": 100, "similarity": 0.9, "promised": 99.9, "compared": 97, "found": 97}}
    item = {"similarity": 0.8, "mode": "verified"}
    few = canary_note({"levels": levels, "wrong": 0, "cut": 0, "chance": _tail([0.999] * 100, 97)}, item)
    assert not few.passed and "found 97 of 100" in few.message
    assert canary_note({"levels": levels, "wrong": 0, "cut": 0, "chance": _tail([0.999] * 100, 99)}, item).passed


def test_documents_that_only_a_planted_copy_links_are_no_pair() -> None:
    counts = {"documents not compared with all of a bucket": 0, "largest group": 2, "pairs compared": 0, "pairs similar": 0}
    assert pairs_note(counts, 64, "verified").message.startswith("no pair was compared: no two documents share a bucket")
    assert pairs_note(counts, 64, "component").message == "no pair was compared; the largest group has 2 documents"
