"""`tokenize`: the tokens that the package itself gives of each whole text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curate import launch
from curate.errors import OperatorError
from curate.pipeline import Input, Output, Stage, Step
from curate.testing import check_operator, documents
from curate_scorers.proxy import tokenize
from curate_scorers.proxy.tokenize import Tokenize
from curate_scorers.proxy.tokenizer_files import describe
from tests.engine import small
from tests.scorers import small_tokenizers
from tests.scorers.small_tokenizers import END, pipeline, save_tokenizer

tokenizers = pytest.importorskip("tokenizers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tokenizer(tmp_path_factory.mktemp("tokenizer")))


def plain(folder: str, text: str) -> list[int]:
    """Return the tokens of a text as a loop over the package would."""
    found: list[int] = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json").encode(text, add_special_tokens=False).ids
    return found


def batch(texts: list[str | None]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"id": [str(i) for i in range(len(texts))], "text": pa.array(texts, pa.large_string())})


def test_it_passes_the_battery_and_gives_the_packages_tokens(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = documents()
    docs = docs.set_column(docs.schema.get_field_index("text"), "text", pc.utf8_slice_codeunits(docs.column("text"), 0, 3000))
    for add_eos in (True, False):
        check_operator(Tokenize(folder, add_eos), docs)
    expected = [None if text is None else plain(folder, text) for text in docs.column("text").to_pylist()]
    monkeypatch.setattr(tokenize, "BLOCK_BYTES", 1000)
    found = Tokenize(folder, add_eos=False).score(docs).to_pylist()
    assert [row and row["ids"] for row in found] == expected
    ended = Tokenize(folder).score(docs).to_pylist()
    assert [row and row["ids"] for row in ended] == [each and [*each, 0] for each in expected]
    assert all(row["count"] == len(row["ids"]) for row in ended if row)


def test_special_tokens_in_a_text_are_text(folder: str) -> None:
    [row] = Tokenize(folder).score(batch([f"a{END}b"])).to_pylist()
    assert row["ids"].count(0) == 1 and row["ids"][-1] == 0 and row["count"] > 5


def test_another_token_may_end_documents(folder: str) -> None:
    number = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json").token_to_id("!")
    assert Tokenize(folder, eos="!").score(batch(["wall"])).to_pylist()[0]["ids"] == [*plain(folder, "wall"), number]


def test_a_tokenizer_that_cuts_pads_and_surrounds_does_none_of_it(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    made = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    made.enable_truncation(2)
    made.enable_padding(length=9)
    made.post_processor = tokenizers.processors.TemplateProcessing(single=f"{END} $A {END}", special_tokens=[(END, 0)])
    made.save(str(tmp_path / "tokenizer.json"))
    rows = Tokenize(str(tmp_path), add_eos=False).score(batch(["the harbour wall"])).to_pylist()
    assert 0 not in rows[0]["ids"] and rows[0]["count"] > 2


def test_a_pipeline_tokenises_and_counts(tmp_path: Path) -> None:
    save_tokenizer(tmp_path / "tokenizer")
    docs = small_tokenizers.documents(12)
    pipe = pipeline(tmp_path, docs, {"long": Stage(["crawl", "tokens"], operators=[Step("where", {"keep": "tokens.tokens.count > 20"})])})
    planned, _ = small.run(pipe, tmp_path / "ws")
    counts = {row["id"]: row["tokens"]["count"] for row in small.rows(planned.dataset("tokens"))}
    assert counts == {doc["id"]: len(plain(str(tmp_path / "tokenizer"), doc["text"])) + bool(doc["text"]) for doc in docs}
    kept = {row["id"] for row in small.rows(planned.dataset("long"))}
    assert kept == {name for name, count in counts.items() if count > 20} and 0 < len(kept) < len(docs)


def test_an_artifact_of_an_earlier_run_is_a_tokenizer(tmp_path: Path) -> None:
    docs = small_tokenizers.documents(40)
    small.write_shards(tmp_path / "crawl", docs, 1, small.DOCUMENTS)
    crawl, train = {"crawl": Input(str(tmp_path / "crawl"))}, Stage("crawl", use="train_tokenizer", params={"size": 300})
    outputs = {"out": Output(str(tmp_path / "out"), stage="made")}
    pipe = small.pipeline(tmp_path, {"made": train}, inputs=crawl, folder=tmp_path, outputs=outputs)
    launch.run_pipeline(pipe, workspace=str(tmp_path / "ws"), workers=1)
    folder = small.plan(pipe, tmp_path / "ws").dataset("made").url
    for place in (folder, str(tmp_path / "out")):
        step = Step("tokenize", {"tokenizer": "stage:earlier"}, into="tokens")
        inputs = {**crawl, "earlier": Input(artifact=place)}
        again = small.pipeline(tmp_path, {"tokens": Stage("crawl", operators=[step])}, inputs=inputs, folder=tmp_path)
        rows = small.rows(small_tokenizers.made(again, tmp_path / "other", "tokens"))
        expected = [plain(folder, doc["text"]) for doc in docs]
        assert [row["tokens"]["ids"] for row in rows] == [each and [*each, 0] for each in expected]


def test_what_files_say_is_what_the_package_says(folder: str) -> None:
    described, made = describe(folder), tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")
    assert (described.size, described.eos, described.eos_number) == (made.get_vocab_size(), END, 0)
    assert described.numbers == made.get_vocab()
    assert describe(f"{folder}/tokenizer.json").files == described.files


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), "no such file"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "tokenizer.json").write_text("[]"), "holds no object"),
        (lambda folder: (folder / "tokenizer.json").write_text('{"model": {}}'), "has no vocabulary"),
        (lambda folder: (folder / "tokenizer.json").write_text('{"model": {"vocab": {"a": "x"}}}'), "cannot be read"),
        (lambda folder: (folder / "tokenizer.json").write_text('{"model": {"vocab": {}}}'), "cannot be read"),
        (lambda folder: (folder / "tokenizer_config.json").unlink(), "names no token that ends documents"),
        (lambda folder: (folder / "tokenizer_config.json").write_text('{"eos_token": "</s>"}'), "has no token `</s>`"),
    ],
)
def test_broken_folders_are_told_before_anything_runs(tmp_path: Path, spoil: Any, told: str) -> None:
    spoil(save_tokenizer(tmp_path))
    with pytest.raises(OperatorError, match=told) as caught:
        Tokenize(str(tmp_path)).verify_file("tokenizer", tmp_path)
    assert caught.value.hint


def test_what_only_the_package_finds_wrong_is_told_when_it_is_loaded(tmp_path: Path) -> None:
    path = save_tokenizer(tmp_path) / "tokenizer.json"
    told = orjson.loads(path.read_bytes())
    told["pre_tokenizer"] = {"type": "Unheard"}
    path.write_bytes(orjson.dumps(told))
    with pytest.raises(OperatorError, match="cannot be read") as caught:
        Tokenize(str(tmp_path)).score(batch(["a"]))
    assert caught.value.hint
