"""Dump after dump against an index gives the marks of all dumps at once, whatever the shards, partitions and blocks."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import shuffle
from curate.errors import CurateError, PipelineError
from curate.pipeline import Input, Pipeline, Stage
from curate.plan import Plan
from curate.run import Run
from curate_operators import minhash_index, minhash_known, minhash_search
from tests.engine import small
from tests.operators.test_minhash_dedup import THOROUGH, WORDS, Docs, dies, planted

SCHEMA = pa.schema({"id": pa.string(), "text": pa.large_string(), "dump": pa.string(), "score": pa.float64()})
MARKS = ("id", "keep", "kept_id", "similarity", "reason")


def by_dump(dumps: list[Docs]) -> list[Docs]:
    return [[doc | {"dump": f"dump{number}"} for doc in docs] for number, docs in enumerate(dumps)]


def at_once(folder: Path, dumps: list[Docs], params: dict[str, Any], shards: list[int]) -> list[dict[str, Any]]:
    """Return the marks of one deduplication of all dumps, older ones preferred."""
    for number, (docs, count) in enumerate(zip(by_dump(dumps), shards, strict=True)):
        small.write_shards(folder / f"all/{number}", docs, count, SCHEMA)
    rules = params.get("keep", "first")
    keep = [{"prefer": {"dump": [f"dump{n}" for n in range(len(dumps))]}}, *(rules if isinstance(rules, list) else [rules])]
    stages = {"dedup": Stage("crawl", use="minhash_dedup", params=params | {"keep": keep})}
    pipe = small.pipeline(folder, stages, inputs={"crawl": Input(str(folder / "all/**/*.parquet"))}, shard_bytes=1)
    plan, _ = small.run(pipe, folder / "at_once")
    return small.rows(plan.dataset("dedup"))


def monthly(folder: Path, dumps: list[Docs], params: dict[str, Any], shards: list[int]) -> Pipeline:
    """Return a pipeline in which every dump is deduplicated against the index of those before it."""
    inputs, stages = {}, {}
    for n, (docs, count) in enumerate(zip(by_dump(dumps), shards, strict=True)):
        inputs[f"crawl{n}"] = Input(str(small.write_shards(folder / f"monthly/{n}", docs, count, SCHEMA)))
        last = [f"index{n - 1}"] if n else []
        stages[f"dedup{n}"] = Stage([f"crawl{n}", *last], use="minhash_dedup", params=params)
        stages[f"index{n}"] = Stage([f"crawl{n}", f"dedup{n}", *last], use="minhash_index")
    return small.pipeline(folder, stages, inputs=inputs, shard_bytes=1)


def told(plan: Plan, dumps: int) -> list[dict[str, Any]]:
    return [row for n in range(dumps) for row in small.rows(plan.dataset(f"dedup{n}"))]


def marks(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: row[name] for name in MARKS} for row in rows]


@settings(max_examples=12)
@given(
    texts=st.lists(st.lists(WORDS, min_size=1, max_size=10), min_size=2, max_size=3),
    shards=st.sampled_from([1, 2, 3]),
    partitions=st.sampled_from([1, 3]),
    piece=st.sampled_from([1, 1 << 20]),
    block=st.sampled_from([1, 300, 1 << 20]),
    heads=st.sampled_from([1, 2, 64]),
    keep=st.sampled_from(["first", "longest", ["shortest", {"highest": "score"}]]),
)
def test_dump_after_dump_is_all_at_once(
    texts: list[list[str]],
    shards: int,
    partitions: int,
    piece: int,
    block: int,
    heads: int,
    keep: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    dumps = [[{"id": f"d{n}-{i}", "text": text, "score": len(text) % 3} for i, text in enumerate(own)] for n, own in enumerate(texts)]
    counts = [min(shards, len(docs)) for docs in dumps]
    params = {"similarity": 0.5, "n": 2, "max_heads": heads, "keep": keep} | THOROUGH
    folder = tmp_path_factory.mktemp("dumps")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffle, "partitions_for", lambda rows, row_bytes: partitions)
        patch.setattr(minhash_search, "PIECE_BYTES", piece)
        patch.setattr(minhash_search, "BLOCK_BYTES", block)
        plan, _ = small.run(monthly(folder, dumps, params, counts), folder / "ws")
        expected = at_once(folder, dumps, params, counts)
    assert marks(told(plan, len(dumps))) == marks(expected)


@pytest.mark.parametrize("keep", ["first", "longest"])
def test_real_texts_in_three_dumps(keep: str, tmp_path: Path) -> None:
    docs = planted(150)
    docs += [{"id": f"copy{doc['id']}", "text": doc["text"]} for doc in docs[::7]]
    random.Random(5).shuffle(docs)
    dumps = [docs[:60], docs[60:110], docs[110:]]
    plan, _ = small.run(monthly(tmp_path, dumps, {"keep": keep}, [2, 3, 1]), tmp_path / "ws")
    rows = told(plan, 3)
    assert marks(rows) == marks(at_once(tmp_path, dumps, {"keep": keep}, [3, 1, 2]))
    old = {doc["id"] for doc in dumps[0]}
    assert sum(row["kept_id"] in old for row in rows[60:]) > 20  # the index finds what is in it
    assert {row["reason"] for row in rows} == {None, "duplicate", "near_duplicate"}


def window(name: str, first: int, words: int = 60) -> dict[str, Any]:
    """Return a window over one long text: of two that are four words apart, 52 of 60 shingles are shared; eight words, 48 of 64."""
    return {"id": name, "text": " ".join(f"w{k}" for k in range(first, first + words))}


@pytest.mark.parametrize(
    ("order", "gone"),
    [
        ("a/b/c", {"b": "a"}),  # b went, so that c has nobody to go for
        ("b/a/c", {"a": "b", "c": "b"}),
        ("c/b/a", {"b": "c"}),
        ("a/c/b", {"b": "a"}),  # the first of two that stay
        ("ac/b", {"b": "a"}),
        ("b/ac", {"a": "b", "c": "b"}),
        ("ab/c", {"b": "a"}),
        ("a/bc", {"b": "a"}),
    ],
)
def test_a_chain_over_dumps(order: str, gone: dict[str, str], tmp_path: Path) -> None:
    windows = {"a": window("a", 0), "b": window("b", 4), "c": window("c", 8)}
    dumps = [[windows[name] for name in names] for names in order.split("/")]
    plan, _ = small.run(monthly(tmp_path, dumps, {"planted": None}, [1] * len(dumps)), tmp_path / "ws")
    rows = told(plan, len(dumps))
    assert {row["id"]: row["kept_id"] for row in rows if not row["keep"]} == gone
    assert {row["similarity"] for row in rows if not row["keep"]} == {52 / 60}


@pytest.mark.parametrize("keep", ["first", "longest"])
def test_a_hot_bucket_of_the_index_is_cut_and_its_heads_stay(keep: str, tmp_path: Path) -> None:
    words = [f"w{k}" for k in range(80)]
    alike = [{"id": f"s{i:04d}", "text": " ".join([*words[: i % 80], f"new{i}", *words[i % 80 + 1 :]])} for i in range(240)]
    dumps = [alike[:140], alike[140:]]
    params = {"similarity": 0.85, "bands": 14, "rows": 8, "max_heads": 3, "keep": keep, "planted": None}
    events: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minhash_search, "PIECE_BYTES", 2000)
        planned = small.plan(monthly(tmp_path, dumps, params, [2, 2]), tmp_path / "ws")
        assert small.execute(planned, events=events).status == "done"
        expected = at_once(tmp_path, dumps, params, [3, 1])
    cut = [event["shards"] for event in events if event["event"] == "stage_started" and event["phase"] == "heads"]
    assert len(cut) == 2 and all(cut)
    rows = told(planned, 2)
    assert marks(rows) == marks(expected)
    old = {doc["id"] for doc in dumps[0]}
    assert {row["kept_id"] in old for row in rows[140:] if not row["keep"]} >= {True}


def two_dumps() -> list[Docs]:
    docs = planted(60)
    return [docs[:35], docs[35:]]


def test_an_index_grows_by_shards_and_goes_on_after_a_failure_in_every_phase(tmp_path: Path) -> None:
    pipe = monthly(tmp_path, two_dumps(), {}, [2, 3])
    clean, _ = small.run(pipe, tmp_path / "clean", workers=2)
    old, new = (clean.dataset(f"index{n}").manifest for n in range(2))
    assert [shard.data.sha256 for shard in new.shards[:2]] == [shard.data.sha256 for shard in old.shards]
    assert [shard.data.path.startswith("../index0@") for shard in new.shards] == [True, True, False, False, False]
    for module, name in [(minhash_index, "index_shard"), (minhash_known, "remember_shard"), (minhash_known, "refill_shard")]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, name, dies)
            assert "killed" in str(small.execute(small.plan(pipe, tmp_path / "ws")).error), name
    resumed, _ = small.run(pipe, tmp_path / "ws")
    for stage in ("dedup0", "index0", "dedup1", "index1"):
        hashes = [[shard.data.sha256 for shard in plan.dataset(stage).manifest.shards] for plan in (clean, resumed)]
        assert hashes[0] == hashes[1]


def _last_byte(path: Path, column: str) -> int:
    """Return where the last byte of a column of the first row group is."""
    group = pq.read_metadata(path).row_group(0)
    [chunk] = [group.column(k) for k in range(group.num_columns) if group.column(k).path_in_schema == column]
    start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
    return int(start + chunk.total_compressed_size - 1)


@pytest.mark.parametrize("damage", ["cut", "gone", "altered"])
def test_a_damaged_index_fails_loudly(damage: str, tmp_path: Path) -> None:
    pipe = monthly(tmp_path, two_dumps(), {}, [2, 1])
    planned = small.plan(pipe, tmp_path / "ws")
    with small.local() as executor:
        Run(planned, executor, "first", lambda event: None).execute(["crawl0", "dedup0", "index0"])
    [found] = (tmp_path / "ws").glob("datasets/index0@*/part-00001.parquet")
    data = found.read_bytes()
    altered = bytearray(data)
    altered[_last_byte(found, "check")] ^= 4  # another number, which Parquet does not notice
    match damage:
        case "gone":
            found.unlink()
        case "cut":
            found.write_bytes(data[: len(data) // 2])
        case _:
            found.write_bytes(altered)
            assert pq.read_table(found).num_rows
    failed = small.execute(small.plan(pipe, tmp_path / "ws"))
    assert isinstance(failed.error, CurateError)
    assert found.name in failed.error.message
    assert {name: failed.stages[name].status for name in ("dedup1", "index1")} == {"dedup1": "failed", "index1": "blocked"}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"similarity": 0.7, "bands": 9, "rows": 13}, "was made with similarity 0.8, not 0.7"),
        ({"n": 3, "bands": 9, "rows": 13, "fold": True}, "n 5, not 3; fold false, not true"),
        ({"keep": "longest", "bands": 9, "rows": 13}, 'keep "first", not "longest"'),
        ({"mode": "component", "bands": 9, "rows": 13}, "cannot be used with an index"),
    ],
)
def test_other_parameters_than_those_of_the_index(params: dict[str, Any], message: str, tmp_path: Path) -> None:
    pipe = monthly(tmp_path, two_dumps(), {"bands": 9, "rows": 13}, [1, 1])
    stages = {**pipe.stages, "dedup1": replace(pipe.stages["dedup1"], params=params)}
    failed = small.execute(small.plan(replace(pipe, stages=stages), tmp_path / "ws"))
    assert isinstance(failed.error, PipelineError)
    assert message in failed.error.message


@pytest.mark.parametrize(
    ("stage", "sources", "message"),
    [
        ("index1", ["crawl1", "dedup1"], "`dedup1` is deduplicated against the index `index0`, and the index here is none"),
        ("dedup1", ["crawl1"], "`dedup1` is deduplicated against none, and the index here is the index `index0`"),
    ],
)
def test_an_index_that_only_one_of_both_stages_reads_is_told_before_anything_runs(
    stage: str, sources: list[str], message: str, tmp_path: Path
) -> None:
    pipe = monthly(tmp_path, two_dumps(), {}, [1, 1])
    with pytest.raises(PipelineError) as mistake:
        small.plan(replace(pipe, stages={**pipe.stages, stage: replace(pipe.stages[stage], from_=sources)}), tmp_path / "ws")
    assert message in mistake.value.message and mistake.value.message.count("minhash_index") == 1


def test_an_index_needs_the_marks_that_were_made_against_it(tmp_path: Path) -> None:
    third = [doc | {"id": f"third {doc['id']}"} for doc in two_dumps()[0]]
    pipe = monthly(tmp_path, [*two_dumps(), third], {}, [1, 1, 1])
    stages = {**pipe.stages, "index2": replace(pipe.stages["index2"], from_=["crawl2", "dedup2", "index0"])}
    error = small.execute(small.plan(replace(pipe, stages=stages), tmp_path / "ws")).error
    assert error is not None
    assert "was deduplicated against another one, and the index here is" in error.message


@pytest.mark.parametrize("sources", [["crawl1"], ["crawl1", "index0"], ["crawl1", "dedup1", "index0", "crawl0"]])
def test_other_sources_are_refused_before_anything_runs(sources: list[str], tmp_path: Path) -> None:
    pipe = monthly(tmp_path, two_dumps(), {}, [1, 1])
    stages = {**pipe.stages, "index1": replace(pipe.stages["index1"], from_=sources)}
    with pytest.raises(PipelineError, match="reads documents, what `minhash_dedup` said of them") as mistake:
        small.plan(replace(pipe, stages=stages), tmp_path / "ws")
    assert mistake.value.hint is not None
