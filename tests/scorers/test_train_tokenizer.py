"""`train_tokenizer`: the tokenizer that the package itself trains, the same to the byte however the work is cut, and what it costs whom."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from curate.dataset import Dataset
from curate.errors import OperatorError, PipelineError
from curate.hashing import chances
from curate.pipeline import Input, Pipeline, Stage, Step
from curate_scorers.proxy import train_tokenizer
from curate_scorers.proxy.tokenizer_patterns import PATTERNS
from curate_scorers.proxy.train_tokenizer import TrainTokenizer
from tests.engine import small
from tests.scorers.small_tokenizers import END, made

tokenizers = pytest.importorskip("tokenizers")

ENGLISH = ["the", "harbour", "wall", "loses", "a", "few", "stones", "every", "winter", "and", "don't", "1999", "ships", "came"]
CHINESE = list("港口的石头每年冬天都掉落几块议会投票决定修补它们船只停在那里")
SCHEMA = pa.schema({"id": pa.string(), "text": pa.large_string(), "lang": pa.string()})


def documents(count: int = 200) -> list[dict[str, Any]]:
    """Return documents of which four in five are English."""
    dice = random.Random(7)
    docs = []
    for n in range(count):
        lang, words, mark = ("zh", CHINESE, "") if n % 5 == 0 else ("en", ENGLISH, " ")
        docs.append({"id": f"d{n}", "text": mark.join(dice.choices(words, k=dice.randrange(1, 60))), "lang": lang})
    return [*docs, {"id": "empty", "text": "", "lang": None}]


def pipeline(folder: Path, docs: list[dict[str, Any]], shards: int = 3, **params: Any) -> Pipeline:
    small.write_shards(folder / "crawl", docs, shards, SCHEMA)
    stage = Stage("crawl", use="train_tokenizer", params={"size": 330, "held_out": 0.3, "report_by": ["source", "lang"], **params})
    inputs = {"crawl": Input(str(folder / "crawl"))}
    return small.pipeline(folder, {"tokenizer": stage}, inputs=inputs, shard_bytes=1, folder=folder)


def train(folder: Path, docs: list[dict[str, Any]] | None = None, workers: int = 1, **params: Any) -> Dataset:
    return made(pipeline(folder, documents() if docs is None else docs, **params), folder / "ws", "tokenizer", workers)


def loaded(dataset: Dataset) -> Any:
    return tokenizers.Tokenizer.from_file(str(Path(dataset.url, "tokenizer.json")))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return train(tmp_path_factory.mktemp("one"))


def test_it_is_what_the_package_trains_on_the_documents_that_are_not_held_out(one: Dataset) -> None:
    held = {row["id"] for row in small.rows(one)}
    chance = dict(zip((doc["id"] for doc in documents()), chances(pa.array([doc["id"] for doc in documents()]), 0), strict=True))
    assert held == {name for name, value in chance.items() if value >= 0.7 and name != "empty"} and len(held) > 30
    pieces = tokenizers.pre_tokenizers
    plain = tokenizers.Tokenizer(tokenizers.models.BPE())
    split = pieces.Split(tokenizers.Regex(PATTERNS["gpt4"]), "isolated")
    plain.pre_tokenizer = pieces.Sequence([split, pieces.ByteLevel(add_prefix_space=False, use_regex=False)])
    plain.decoder = tokenizers.decoders.ByteLevel()
    options = {"vocab_size": 330, "min_frequency": 2, "special_tokens": [END], "initial_alphabet": pieces.ByteLevel.alphabet()}
    texts = [doc["text"] for doc in documents() if doc["id"] not in held]
    plain.train_from_iterator(texts, tokenizers.trainers.BpeTrainer(show_progress=False, **options))
    assert orjson.loads(loaded(one).to_str()) == orjson.loads(plain.to_str())
    assert one.manifest.about["tokens"] == 330 == loaded(one).get_vocab_size()
    assert one.manifest.about["trained_on"] == {"documents": len(texts) - 1, "bytes": sum(len(text.encode()) for text in texts)}


def test_every_text_comes_back(one: Dataset) -> None:
    tokenizer = loaded(one)
    for text in ["plain", " two  spaces\n\n\ttab ", "naïve 港 \U0001f469\u200d\U0001f680 \x00", "it's 12345 'LL", "  \r\n x"]:
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text


def test_rows_and_notes_say_what_held_out_documents_cost(one: Dataset) -> None:
    texts = {doc["id"]: doc for doc in documents()}
    tokenizer, rows = loaded(one), small.rows(one)
    for row in rows:
        assert row["tokens"] == len(tokenizer.encode(texts[row["id"]]["text"], add_special_tokens=False).ids)
        assert row["bytes"] == len(texts[row["id"]]["text"].encode())
    notes = {note["name"]: note for note in one.manifest.notes}
    english = [row for row in rows if texts[row["id"]]["lang"] == "en"]
    told = notes["by lang"]["measures"]["en"]
    assert told["documents"] == len(english)
    tokens = sum(row["tokens"] for row in english)
    assert told["bytes per token"] == pytest.approx(sum(row["bytes"] for row in english) / tokens)
    assert told["tokens per word"] == pytest.approx(tokens / sum(len(texts[row["id"]]["text"].split()) for row in english), rel=0.2)
    assert notes["by lang"]["measures"]["zh"]["bytes per token"] != told["bytes per token"]
    assert list(notes["by source"]["measures"]) == ["crawl"]
    assert notes["tokenizer"]["passed"] and notes["tokenizer"]["measures"] == one.manifest.about["held_out"]


def test_nothing_depends_on_how_the_work_is_cut(one: Dataset, tmp_path: Path) -> None:
    again = train(tmp_path, workers=2, shards=6)
    assert [file.sha256 for file in again.manifest.files] == [file.sha256 for file in one.manifest.files]
    assert again.manifest.notes == one.manifest.notes and again.manifest.about == one.manifest.about
    assert sorted(map(str, small.rows(again))) == sorted(map(str, small.rows(one)))


def test_transformers_reads_the_folder(one: Dataset) -> None:
    transformers = pytest.importorskip("transformers")
    read = transformers.AutoTokenizer.from_pretrained(one.url, local_files_only=True)
    assert read.eos_token == END and read("the harbour")["input_ids"] == loaded(one).encode("the harbour").ids


def test_a_stage_that_tokenises_takes_it(tmp_path: Path) -> None:
    pipe = pipeline(tmp_path, documents(40))
    step = Step("tokenize", {"tokenizer": "stage:tokenizer"}, into="tokens")
    stages = {**pipe.stages, "tokens": Stage("crawl", operators=[step])}
    both = small.pipeline(tmp_path, stages, inputs=pipe.inputs, folder=tmp_path)
    rows = small.rows(made(both, tmp_path / "ws", "tokens"))
    tokenizer = loaded(small.plan(both, tmp_path / "ws").dataset("tokenizer"))
    texts = {doc["id"]: doc["text"] for doc in documents(40)}
    assert all(row["tokens"]["ids"] == [*tokenizer.encode(texts[row["id"]]).ids, *[0][: len(texts[row["id"]])]] for row in rows)


@pytest.mark.parametrize(("pattern", "parts"), [("gpt2", [" 12345"]), ("gpt4", [" ", "123", "45"]), ("digits", [" ", *"12345"])])
def test_patterns_split_numbers(pattern: str, parts: list[str]) -> None:
    split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(PATTERNS[pattern]), "isolated")
    assert [part for part, _ in split.pre_tokenize_str("Don't 12345 'RE?\n\n  x")][2:-4][: len(parts)] == parts


def test_a_sample_is_bounded_and_a_short_corpus_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = documents(400)
    whole = sum(len(doc["text"].encode()) for doc in docs)
    sampled = train(tmp_path / "sampled", docs, max_bytes=whole // 4)
    assert 0.15 * whole < sampled.manifest.about["trained_on"]["bytes"] < 0.35 * whole
    short = train(tmp_path / "short", docs, size=5000)
    [note] = [note for note in short.manifest.notes if note["name"] == "tokenizer"]
    assert not note["passed"] and "5,000 were asked for" in note["message"]
    monkeypatch.setattr(train_tokenizer, "HELD_BYTES", 1)
    none = train(tmp_path / "none", docs[:2])
    [note] = none.manifest.notes
    assert not note["passed"] and "not measured" in note["message"] and none.rows == 0


def test_special_tokens_stand_first_and_come_of_no_text(tmp_path: Path) -> None:
    found = loaded(train(tmp_path, special_tokens=["<|user|>", "<|pad|>"]))
    assert [found.token_to_id(token) for token in (END, "<|user|>", "<|pad|>")] == [0, 1, 2]
    found.encode_special_tokens = True
    assert np.min(found.encode("<|user|>", add_special_tokens=False).ids) > 2


def test_mistakes_are_told_with_a_remedy(tmp_path: Path) -> None:
    for params, told in [
        ({"size": 256}, "size is less than 257"),
        ({"held_out": 0}, "held_out"),
        ({"pattern": "gpt5"}, "no such pattern"),
        ({"special_tokens": [END]}, "not all different"),
        ({"max_bytes": 0}, "max_bytes"),
    ]:
        with pytest.raises(PipelineError, match=told):
            TrainTokenizer(**params)
    with pytest.raises(OperatorError, match="no text to train on") as told:
        train(tmp_path, [{"id": "a", "text": ""}])
    assert told.value.hint == "none of the corpus's documents has any: look at what made them"


def test_a_long_run_of_letters_is_counted_in_pieces(tmp_path: Path) -> None:
    docs = [*documents(), *({"id": f"long{n}", "text": "a" * 3000, "lang": "en"} for n in range(4))]
    found = loaded(train(tmp_path, docs))
    longest = max(found.get_vocab(), key=len)
    assert set(longest) == {"a"} and 64 <= len(longest) <= 256  # one of 3,000 letters is the fewest tokens for all of it
    assert found.decode(found.encode("a" * 3000).ids) == "a" * 3000
