"""Groups that are found by stars over partitions are those of one task: the marks are the same, however few documents are held at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import shuffle
from curate.storage import LocalStorage
from curate.work import Place
from curate_operators import minhash_groups, minhash_search
from curate_operators.minhash_sign import read
from tests.engine import small
from tests.operators import test_minhash_index as dumps
from tests.operators.test_minhash_dedup import THOROUGH, WORDS, Docs, corpus, dies, digest, marks, pipe, planted
from tests.operators.test_minhash_skew import chain, star

KEEPS = ["first", "longest", ["shortest", {"highest": "score"}]]


@contextmanager
def apart(partitions: int = 3, block: int = 1 << 20, piece: int = 1 << 20, held: int = 1 << 20) -> Iterator[None]:
    """Hold nothing at once: any pair makes the groups come from stars."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minhash_groups, "GROUPED_AT_ONCE", 0)
        patch.setattr(minhash_groups, "HELD_BYTES", held)
        patch.setattr(minhash_groups, "HELD_EDGES", held)
        patch.setattr(shuffle, "partitions_for", lambda rows, row_bytes: partitions)
        patch.setattr(minhash_search, "PIECE_BYTES", piece)
        patch.setattr(minhash_search, "BLOCK_BYTES", block)
        yield


@settings(max_examples=8)
@given(
    texts=st.lists(WORDS, min_size=1, max_size=24),
    shards=st.sampled_from([1, 2, 5]),
    partitions=st.sampled_from([1, 3]),
    piece=st.sampled_from([1, 1 << 20]),
    block=st.sampled_from([1, 300, 1 << 20]),
    held=st.sampled_from([1, 1 << 20]),
    heads=st.sampled_from([1, 2, 64]),
    keep=st.sampled_from(KEEPS),
    mode=st.sampled_from(["verified", "verified", "component"]),
    planted=st.sampled_from([None, 3]),
)
def test_marks_are_those_of_one_task(
    texts: list[str],
    shards: int,
    partitions: int,
    piece: int,
    block: int,
    held: int,
    heads: int,
    keep: Any,
    mode: str,
    planted: int | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    docs: Docs = [{"id": f"d{number}", "text": text, "score": float(len(text) % 3)} for number, text in enumerate(texts)]
    params = {"similarity": 0.5, "n": 2, "max_heads": heads, "keep": keep, "mode": mode, "planted": planted} | THOROUGH
    folder, shards = tmp_path_factory.mktemp("groups"), min(shards, len(docs))
    whole = marks(folder / "whole", docs, params, shards)
    with apart(partitions, block, piece, held):
        found = marks(folder / "apart", docs, params, shards)
    assert small.rows(found) == small.rows(whole)
    assert found.manifest.notes == whole.manifest.notes


@pytest.mark.parametrize("docs", [star(), chain(), planted(120)], ids=["star", "chain", "pages"])
@pytest.mark.parametrize("mode", ["verified", "component"])
def test_stars_chains_and_pages(docs: Docs, mode: str, tmp_path: Path) -> None:
    params = {"bands": 14, "rows": 8, "mode": mode, "planted": 10}
    whole = small.rows(marks(tmp_path / "whole", docs, params))
    with apart(block=60_000, piece=30_000, held=20_000):
        assert small.rows(marks(tmp_path / "apart", docs, params, shards=4)) == whole
    assert sum(not row["keep"] for row in whole) > 30


def test_dump_after_dump(tmp_path: Path) -> None:
    docs = planted(90)
    split = [docs[:50], docs[50:]]
    whole, _ = small.run(dumps.monthly(tmp_path, split, {}, [2, 3]), tmp_path / "whole")
    with apart(block=300, piece=1):
        found, _ = small.run(dumps.monthly(tmp_path, split, {}, [2, 3]), tmp_path / "apart")
    for stage in ("dedup0", "dedup1", "index1"):
        assert small.rows(found.dataset(stage)) == small.rows(whole.dataset(stage))


def test_same_bytes_for_any_workers_and_after_a_failure_in_every_phase(tmp_path: Path) -> None:
    work = pipe(corpus(tmp_path, chain()[:200], 3), {"bands": 14, "rows": 8})
    with apart():
        one, _ = small.run(work, tmp_path / "one")
        two, _ = small.run(work, tmp_path / "two", workers=2)
        assert digest(one) == digest(two)
        for name in ("link_members", "hang_on_first", "label_documents", "pack_groups", "place_documents"):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(minhash_groups, name, dies)
                assert "killed" in str(small.execute(small.plan(work, tmp_path / "ws")).error), name
        resumed, _ = small.run(work, tmp_path / "ws")
    assert digest(resumed) == digest(one)


def test_goes_on_in_the_middle_of_the_stars(tmp_path: Path) -> None:
    work = pipe(corpus(tmp_path, chain()[:200], 3), {"bands": 14, "rows": 8})
    with apart():
        clean, _ = small.run(work, tmp_path / "clean")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(minhash_groups, "hang_on_first", dies_in_the_fourth)
            assert "killed" in str(small.execute(small.plan(work, tmp_path / "ws")).error)
        done = {path.parent.name for path in (tmp_path / "ws").rglob("star-*/part-*.json")}
        assert {"star-2", "star-3"} <= done and "star-5" not in done
        resumed, _ = small.run(work, tmp_path / "ws")
    assert digest(resumed) == digest(clean)


HANG_ON_FIRST = minhash_groups.hang_on_first


def dies_in_the_fourth(item: Any, place: Place) -> Any:
    if "/star-4/part-00001" in place.prefix:
        raise RuntimeError("killed")
    return HANG_ON_FIRST(item, place)


class Alone:
    """Carries out phases here, one task after another, and remembers how many there were."""

    def __init__(self, folder: Path) -> None:
        self.storage = LocalStorage(folder)
        self.phases: list[str] = []

    def map(self, phase: str, fn: Any, items: list[Any]) -> list[Any]:
        self.phases.append(phase)
        return [fn(item, Place(self.storage, f"{phase}/{number}")) for number, item in enumerate(items)]


@settings(max_examples=60)
@given(edges=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60), partitions=st.sampled_from([1, 4]))
def test_everybody_hangs_on_the_first(edges: list[tuple[int, int]], partitions: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert stars(edges, partitions, tmp_path_factory.mktemp("stars"))[0] == least(edges)


def test_a_long_chain_takes_few_rounds(tmp_path: Path) -> None:
    order = np.random.default_rng(1).permutation(100_000).tolist()
    found, phases = stars(list(zip(order, order[1:], strict=False)), 2, tmp_path)
    assert set(found.values()) == {0} and len(found) == 99_999
    assert len(phases) <= 32


def stars(edges: list[tuple[int, int]], partitions: int, folder: Path) -> tuple[dict[int, int], list[str]]:
    """Return on what every node hangs in the end, and the phases that it took."""
    work, item = Alone(folder), {"partitions": partitions}
    pair = np.array(edges, np.uint64).reshape(-1, 2)
    pair = pair[pair[:, 0] != pair[:, 1]]
    first = Place(work.storage, "first").write_shuffle(
        partitions, minhash_groups.EDGES, minhash_groups.both_ways(pair[:, 0].copy(), pair[:, 1].copy(), item)
    )
    found: dict[int, int] = {}
    for parts in minhash_groups.stars(work, item, [asdict(first)]):  # type: ignore[arg-type]
        table = pa.Table.from_batches(read({"parts": parts}, Place(work.storage, ""), minhash_groups.EDGES), minhash_groups.EDGES)
        for node, other in zip(*(column.to_pylist() for column in table.columns), strict=True):
            if other < node:
                assert found.setdefault(node, other) == other
    return found, work.phases


def least(edges: list[tuple[int, int]]) -> dict[int, int]:
    """Return the same by giving every node the least label around it until nothing changes."""
    label = {node: node for edge in edges for node in edge}
    while True:
        before = dict(label)
        for one, other in edges:
            label[one] = label[other] = min(label[one], label[other])
        if label == before:
            return {node: first for node, first in label.items() if first != node}
