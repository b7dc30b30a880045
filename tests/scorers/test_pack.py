"""`pack`: every token in one place, the same bytes however the work is cut, and rows as full as best fit makes them."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.dataset import Dataset
from curate.errors import CurateError, OperatorError, PipelineError
from curate.pipeline import Pipeline, Stage, Step
from curate_scorers.proxy import packing, token_order, tokenizer_files
from curate_scorers.proxy.pack import Pack
from curate_scorers.proxy.packed import read_packed
from tests.engine import small
from tests.scorers.small_tokenizers import documents, made, pipeline, save_tokenizer, tokens_of

LENGTH = 32


def packed(folder: Path, shards: int = 3, count: int = 150, **params: Any) -> Pipeline:
    """Return a pipeline that packs documents."""
    save_tokenizer(folder / "tokenizer")
    stage = Stage(["crawl", "tokens"], use="pack", params={"tokenizer": "tokenizer", "length": LENGTH, **params})
    return pipeline(folder, documents(count), {"packed": stage}, shards)


def parts(dataset: Dataset) -> list[tuple[Any, Any, Any]]:
    """Return the mapped files of each part."""
    number = len(orjson.loads(Path(dataset.url, "pack.json").read_bytes())["parts"])
    kinds = ("tokens", "first", "lengths")
    return [tuple(np.load(Path(dataset.url, f"{kind}-{part:05d}.npy"), mmap_mode="r") for kind in kinds) for part in range(number)]


def bytes_of(dataset: Dataset) -> dict[str, str]:
    """Return the hash of each file of an artifact."""
    return {file.name: file.sha256 for file in dataset.manifest.files}


@pytest.mark.parametrize("method", ["best_fit", "concatenate"])
def test_every_token_of_every_document_is_in_exactly_one_place(tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_order, "PART_BYTES", 2000)
    pipe = packed(tmp_path, method=method)
    found = made(pipe, tmp_path / "ws", "packed")
    files = parts(found)
    assert len(files) > 2
    pieces: dict[str, dict[int, list[int]]] = defaultdict(dict)
    places = Counter()
    for row in small.rows(found):
        tokens, _, _ = files[row["part"]]
        piece = tokens[row["row"], row["offset"] : row["offset"] + row["length"]].tolist()
        assert len(piece) == row["length"] and row["start"] not in pieces[row["id"]]
        pieces[row["id"]][row["start"]] = piece
        places.update((row["part"], row["row"], row["offset"] + i) for i in range(row["length"]))
    assert max(places.values()) == 1
    assert sum(places.values()) == sum(int(lengths.sum()) for _, _, lengths in files) == found.manifest.about["tokens"]
    assert {id_: [token for _, piece in sorted(cut.items()) for token in piece] for id_, cut in pieces.items()} == tokens_of(
        pipe, tmp_path / "ws"
    )


@pytest.mark.parametrize("method", ["best_fit", "concatenate"])
def test_lengths_tell_where_documents_begin_and_the_rest_is_padding(tmp_path: Path, method: str) -> None:
    found = made(packed(tmp_path, method=method), tmp_path / "ws", "packed")
    [(tokens, first, lengths)] = parts(found)
    about = found.manifest.about
    assert (tokens.dtype, first.dtype, lengths.dtype) == (np.uint16, np.int64, np.int32)
    assert tokens.shape == (about["rows"], LENGTH) and len(first) == len(tokens) + 1 and first[-1] == len(lengths)
    rows = sorted(small.rows(found), key=lambda row: (row["row"], row["offset"]))
    assert [row["length"] for row in rows] == lengths.tolist()
    for number, row in enumerate(tokens):
        own = [one for one in rows if one["row"] == number]
        edges = np.cumsum([0, *(one["length"] for one in own)])
        assert [one["offset"] for one in own] == edges[:-1].tolist()
        assert set(row[edges[-1] :].tolist()) <= {about["eos"]}
    assert about["waste_ratio"] == pytest.approx(1 - lengths.sum() / tokens.size)
    assert about["cut_documents"] == sum(count > 1 for count in Counter(row["id"] for row in rows).values())


def test_nothing_depends_on_workers_or_the_layout_of_shards(tmp_path: Path) -> None:
    one = made(packed(tmp_path / "one"), tmp_path / "one" / "ws", "packed")
    other = made(packed(tmp_path / "other", shards=7), tmp_path / "other" / "ws", "packed", workers=2)
    assert bytes_of(one) == bytes_of(other) and "tokens-00000.npy" in bytes_of(one) and "tokenizer.json" in bytes_of(one)
    assert small.rows(one) == small.rows(other)
    assert one.manifest.notes == other.manifest.notes
    seeded = made(packed(tmp_path / "seeded", seed=1), tmp_path / "seeded" / "ws", "packed")
    assert bytes_of(seeded)["tokens-00000.npy"] != bytes_of(one)["tokens-00000.npy"]


def test_the_report_compares_with_plain_concatenation(tmp_path: Path) -> None:
    found = made(packed(tmp_path), tmp_path / "ws", "packed")
    [note] = found.manifest.notes
    ways = note["measures"]
    plain = made(packed(tmp_path / "plain", method="concatenate"), tmp_path / "plain" / "ws", "packed")
    [told] = plain.manifest.notes
    assert ways["concatenate"] == told["measures"]["concatenate"]
    assert ways["best_fit"]["cut documents"] < ways["concatenate"]["cut documents"] / 2
    assert ways["best_fit"]["padding"] < 0.1
    assert "1 document without tokens" in note["message"]


LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=40)


@given(LENGTHS, st.integers(2, 20), st.sampled_from(["best_fit", "concatenate"]))
def test_pieces_fill_rows_and_documents(lengths: list[int], size: int, method: packing.Method) -> None:
    pieces = packing.lay(np.array(lengths), size, method, 3)
    assert pieces.row.tolist() == sorted(pieces.row.tolist()) and set(pieces.row.tolist()) == set(range(pieces.rows))
    assert np.bincount(pieces.document, pieces.length).tolist() == lengths
    used = np.bincount(pieces.row, pieces.length)
    assert used.max() <= size
    for row in range(pieces.rows):
        own = slice(*pieces.first[row : row + 2])
        assert pieces.offset[own].tolist() == (np.cumsum(pieces.length[own]) - pieces.length[own]).tolist()
    if method == "concatenate":
        assert (used[:-1] == size).all()
    else:
        assert (np.bincount(pieces.document) == -(-np.array(lengths) // size)).all()
        assert (np.sort(used)[1:2] * 2 > size).all() or pieces.rows == 1  # at most one row is half empty


@given(st.lists(st.integers(1, 12), max_size=40))
def test_the_best_fit_is_that_of_a_plain_search(lengths: list[int]) -> None:
    rows: list[list[int]] = []  # what is free, and pieces; of equal ones the latest to become so
    expected = [0] * len(lengths)
    for clock, piece in enumerate(sorted(range(len(lengths)), key=lambda i: -lengths[i])):
        fitting = [row for row in range(len(rows)) if rows[row][0] >= lengths[piece]]
        row = min(fitting, key=lambda r: (rows[r][0], -rows[r][1]), default=len(rows))
        if row == len(rows):
            rows.append([12, clock])
        rows[row] = [rows[row][0] - lengths[piece], clock]
        expected[piece] = row
    assert packing.fitted(lengths, 12) == expected


def test_a_large_vocabulary_has_tokens_of_four_bytes(tmp_path: Path) -> None:
    pipe = packed(tmp_path, count=20)
    path = tmp_path / "tokenizer" / "tokenizer.json"
    told = orjson.loads(path.read_bytes())
    told["added_tokens"].append(told["added_tokens"][0] | {"id": 70_000, "content": "<|far|>"})
    path.write_bytes(orjson.dumps(told))
    found = made(pipe, tmp_path / "ws", "packed")
    assert parts(found)[0][0].dtype == np.uint32
    assert found.manifest.about["vocab_size"] == 70_001


def mistake(pipe: Pipeline, workspace: Path) -> CurateError:
    """Return the error of a run."""
    with pytest.raises(CurateError) as caught:
        small.run(pipe, workspace)
    assert caught.value.hint
    return caught.value


def test_mistakes_are_told_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="length is not from 2"):
        Pack("tokenizer", 1)
    with pytest.raises(PipelineError, match="seed"):
        Pack("tokenizer", 8, seed=-1)
    save_tokenizer(tmp_path / "tokenizer")
    save_tokenizer(tmp_path / "tiny", size=270)
    save_tokenizer(tmp_path / "endless", eos=None)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "tokenizer.json").write_text("{")

    def error(docs: list[dict[str, Any]], **params: Any) -> str:
        stage = Stage(["crawl", "tokens"], use="pack", params={"tokenizer": "tokenizer", "length": 8, **params})
        return mistake(pipeline(tmp_path, docs, {"packed": stage}), tmp_path / "ws").message

    docs = documents(10)
    assert "without a single token" in error(docs[-1:])
    assert "the tokenizer has 270" in error(docs, tokenizer="tiny")
    assert "names no token that ends documents" in error(docs, tokenizer="endless")
    assert "has no token `</s>`" in error(docs, eos="</s>")
    assert "cannot be read" in error(docs, tokenizer="broken")
    assert "no such" in error(docs, tokenizer="missing")
    assert "not a list of tokens" in error(docs, column="tokens.tokens")
    with pytest.raises(PipelineError, match="pack: it reads one set of documents"):
        Pack("tokenizer", 8).verify_sources({"tokens": "attributes"})


@pytest.mark.parametrize("use", ["pack", "export_tokens"])
def test_a_tokenizer_of_another_stage_is_told_at_check(tmp_path: Path, use: str) -> None:
    params = {"pack": {"length": LENGTH}, "export_tokens": {"format": "megatron"}}[use]
    words = {name: Stage("crawl", use="train_tokenizer") for name in ("words", "others")}
    tokens = Stage("crawl", [Step("tokenize", {"tokenizer": "stage:words"}, into="tokens")])
    for name in ("words", "others"):
        stage = Stage(["crawl", "tokens"], use=use, params={"tokenizer": f"stage:{name}", **params})
        pipe = small.pipeline(small.write_jsonl(tmp_path / "docs.jsonl", documents(3)), {**words, "tokens": tokens, "made": stage})
        if name == "words":
            small.plan(pipe, tmp_path / "ws")
            continue
        with pytest.raises(PipelineError, match=f"`{use}`: `tokens` makes its tokens with `stage:words`, not with `stage:others`"):
            small.plan(pipe, tmp_path / "ws")


def test_a_tokenizer_without_an_end_may_be_given_one(tmp_path: Path) -> None:
    save_tokenizer(tmp_path / "tokenizer", eos=None)
    step = Step("tokenize", {"tokenizer": "tokenizer", "eos": "<|endoftext|>"}, into="tokens")
    stage = Stage(["crawl", "tokens"], use="pack", params={"tokenizer": "tokenizer", "length": 8, "eos": "<|endoftext|>"})
    pipe = pipeline(tmp_path, documents(10), {"tokens": Stage("crawl", operators=[step]), "packed": stage})
    assert made(pipe, tmp_path / "ws", "packed").manifest.about["eos"] == 0


def test_the_trainer_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_order, "PART_BYTES", 2000)
    pipe = packed(tmp_path)
    found = made(pipe, tmp_path / "ws", "packed")
    read = read_packed(found.url, [file.name for file in found.manifest.files])
    about = found.manifest.about
    assert (read.rows, read.tokens, read.length, read.vocabulary, read.eos) == (
        about["rows"],
        about["tokens"],
        LENGTH,
        about["vocab_size"],
        0,
    )
    taken = read.take(range(read.rows))
    pieces = Counter(map(tuple, np.split(taken.targets, np.cumsum(taken.lengths)[:-1])))
    tokens = tokens_of(pipe, tmp_path / "ws")
    assert pieces == Counter(tuple(tokens[row["id"]][row["start"] : row["start"] + row["length"]]) for row in small.rows(found))
    assert len(read.tokenizer) == 2


def test_tokens_may_be_a_column_of_the_documents(tmp_path: Path) -> None:
    params = {"tokenizer": "tokenizer", "length": LENGTH}
    steps = [Step("normalize"), Step("tokenize", {"tokenizer": "tokenizer"}, into="tokens")]
    beside = made(packed(tmp_path, count=30), tmp_path / "ws", "packed")
    stages = {"both": Stage("crawl", operators=steps), "inside": Stage("both", use="pack", params={**params, "column": "tokens.ids"})}
    inside = made(pipeline(tmp_path, documents(30), stages), tmp_path / "ws", "inside")
    assert bytes_of(inside) == bytes_of(beside)


def test_a_run_that_failed_goes_on_and_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = made(packed(tmp_path / "whole", count=30), tmp_path / "whole" / "ws", "packed")
    pipe = packed(tmp_path / "twice", count=30)

    def full(*given: Any) -> None:
        raise OperatorError("no space is left", "make some")

    with monkeypatch.context() as broken:
        broken.setattr(tokenizer_files, "keep", full)
        assert "no space is left" in mistake(pipe, tmp_path / "twice" / "ws").message
    events: list[Any] = []
    planned = small.plan(pipe, tmp_path / "twice" / "ws")
    assert small.execute(planned, events=events).status == "done"
    assert not [event for event in events if event["event"] == "shard_done" and event["stage"] == "packed"]
    assert bytes_of(planned.dataset("packed")) == bytes_of(whole)
