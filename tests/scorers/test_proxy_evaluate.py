"""`evaluate_proxy` beside plain loops, and under a model whose every logit is known."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate.dataset import Dataset
from curate.errors import CurateError, OperatorError, PipelineError
from curate.launch import plan_for
from curate.pipeline import Input, Pipeline, Stage, Step
from curate.storage import open_storage
from curate_scorers.lm_loss import LmLoss
from curate_scorers.lm_loss_model import LanguageModel, read_model
from curate_scorers.proxy import evaluate_results as results
from curate_scorers.proxy.benchmarks import Question, marks, questions
from curate_scorers.proxy.evaluate import answer_bits, text_bits
from curate_scorers.proxy.pack import FIELDS
from tests.engine import small
from tests.s3_server import S3Server
from tests.scorers.test_lm_loss import CLOSE, TEXTS, VOCABULARY, save_model, save_tokenizer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

QUESTIONS = [
    {"id": "q0", "text": "The cat sat on", "choices": ["the mat", "a word", "nine words, and it was 9 o'clock"], "gold": 0, "kind": "cats"},
    {"id": "q1", "text": "Question: who?\nAnswer: ", "choices": ["the cat", "words"], "gold": 1, "kind": "cats"},
    {"id": "q2", "text": "word " * 30, "choices": ["word", "mat"], "gold": 0, "kind": "words"},
    {"id": "q3", "text": "an end, as the", "choices": None, "answer": "naïve ß", "kind": "words"},
    {"id": "q4", "text": "The cat sat.", "bad": "The cats sat.", "choices": None, "kind": "pairs"},
    {"id": "q5", "text": "", "choices": ["a", "word word " * 40], "gold": 0, "kind": "pairs"},
]
KINDS = {row["id"]: row["kind"] for row in QUESTIONS}


def bigram_model(folder: Path) -> tuple[Path, Any]:
    """Write a model without layers whose logits are a table that we choose: row = the token before, column = the next one."""
    save_tokenizer(folder)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=VOCABULARY, num_hidden_layers=0, num_attention_heads=1, intermediate_size=4, rms_norm_eps=0.0
    )
    model = transformers.LlamaForCausalLM(config)
    table = torch.randn(VOCABULARY, VOCABULARY, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.eye(VOCABULARY))  # a state is √vocabulary at its token's place, once normed
        model.lm_head.weight.copy_(table.T / math.sqrt(VOCABULARY))
    model.save_pretrained(folder)
    bits = -torch.log_softmax(table.double(), 1).numpy() / math.log(2)
    return folder, bits


@pytest.fixture(scope="module")
def bigram(tmp_path_factory: pytest.TempPathFactory) -> tuple[LanguageModel, Any]:
    folder, bits = bigram_model(tmp_path_factory.mktemp("bigram"))
    return read_model(str(folder)), bits


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "llama")


def walked(bits: Any, tokens: Sequence[int]) -> float:
    """Return what tokens cost, each known from the one before."""
    return float(sum(bits[one, two] for one, two in zip(tokens, tokens[1:], strict=False)))


def test_texts_cost_what_the_table_says(bigram: tuple[LanguageModel, Any]) -> None:
    model, bits = bigram
    start = model.start
    found, tokens = text_bits(model, TEXTS)
    for text, cost, count in zip(TEXTS, found, tokens, strict=True):
        ids = model.tokenizer.encode(text, add_special_tokens=False).ids
        assert count == len(ids)
        assert cost == pytest.approx(walked(bits, [start, *ids]), rel=CLOSE)


def test_answers_cost_what_the_table_says(bigram: tuple[LanguageModel, Any]) -> None:
    model, bits = bigram
    asked = [Question("q", "The cat sat on", ("the mat", "it", "a word"), 2)]
    [found], [tokens] = answer_bits(model, asked)
    before = model.tokenizer.encode("The cat sat on", add_special_tokens=False).ids
    for choice, cost, count in zip(asked[0].choices, found, tokens, strict=True):
        whole = model.tokenizer.encode(f"The cat sat on {choice}", add_special_tokens=False).ids
        assert whole[: len(before)] == before and count == len(whole) - len(before)
        assert cost == pytest.approx(walked(bits, whole[len(before) - 1 :]), rel=CLOSE)


def plain(folder: Path, prompt: str, choice: str) -> tuple[float, int]:
    """Return bits and tokens of an answer, by one forward pass without batches."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    between = " " if prompt and not prompt[-1].isspace() else ""
    known = tokenizer(prompt.rstrip(" "), add_special_tokens=False)["input_ids"]
    ids = tokenizer(prompt + between + choice, add_special_tokens=False)["input_ids"]
    count = len(ids) - len(known)
    seen = [tokenizer.eos_token_id, *ids][-65:]  # the model takes 64 and predicts one more
    with torch.inference_mode():
        logits = model(torch.tensor([seen[:-1]])).logits[0].double().log_softmax(-1)
    costs = [-float(logits[place - 1, seen[place]]) / math.log(2) for place in range(max(1, len(seen) - count), len(seen))]
    return sum(costs), count


def test_answers_are_those_of_a_plain_loop(folder: Path) -> None:
    asked = [
        Question("a", "The cat sat on", ("the mat", "nine words, and it was 9 o'clock"), 0),
        Question("b", "word " * 80, ("word", "a mat, and a mat"), 1),  # longer than the model: it loses its beginning
        Question("c", "", ("The cat.", "Cat the?", "x"), 1),
        Question("d", "Answer:\n", ("ß naïve",), 0),
    ]
    bits, tokens = answer_bits(read_model(str(folder)), asked)
    for question, some, counts in zip(asked, bits, tokens, strict=True):
        expected = [plain(folder, question.prompt, choice) for choice in question.choices]
        assert list(some) == pytest.approx([cost for cost, _ in expected], rel=1e-4)
        assert list(counts) == [count for _, count in expected]


def test_texts_are_those_of_lm_loss(folder: Path) -> None:
    texts = [*TEXTS, "The mat sat on the cat. " * 30]
    bits, tokens = text_bits(read_model(str(folder)), texts)
    rows = pa.RecordBatch.from_pydict({"id": [str(i) for i in range(len(texts))], "text": pa.array(texts, pa.large_string())})
    theirs = LmLoss(str(folder), window=64, stride=32).score(rows).to_pylist()
    assert list(tokens) == [row["tokens"] for row in theirs]
    assert list(bits) == pytest.approx(
        [row["bits_per_byte"] * len(text.encode()) for row, text in zip(theirs, texts, strict=True)], rel=CLOSE
    )


def test_marks_worked_by_hand() -> None:
    """Answers of 2, 4 and 1 bytes that cost 4, 6 and 3 bits in 2, 1 and 1 tokens; the second is right."""
    found = marks([Question("q", "?", ("ab", "abcd", "a"), 1)], [np.array([4.0, 6.0, 3.0])], [np.array([2, 1, 1])])
    assert (found.bits[0], found.bytes[0], found.tokens[0]) == (6, 4, 1)
    assert found.correct_prob[0] == 2**-1.5
    assert found.margin[0] == 2**-1.5 - 2**-2
    assert found.norm_correct_prob[0] == pytest.approx(2**-6 / (2**-4 + 2**-6 + 2**-3))
    assert (found.right[0], found.right_per_byte[0], found.right_per_token[0]) == (0, 1, 0)


def measuring(path: Path, folder: Path | None, texts: list[Any], questions: list[Any], **params: Any) -> Pipeline:
    inputs = {"crawl": Input(str(small.write_jsonl(path / "texts.jsonl", texts)))}
    inputs |= {"asked": Input(str(small.write_jsonl(path / "asked.jsonl", questions)))} if questions else {}
    given = {"questions": ("asked",) if questions else (), **({"model": str(folder)} if folder else {}), **params}
    return small.pipeline(path / "texts.jsonl", {"measured": Stage(tuple(inputs), use="evaluate_proxy", params=given)}, inputs=inputs)


def run(path: Path, folder: Path | None, texts: list[Any], questions: list[Any], workers: int = 1, **params: Any) -> Dataset:
    return small.run(measuring(path, folder, texts, questions, **params), path / "workspace", workers)[0].dataset("measured")


DOCS = [{"id": f"d{i}", "text": text, "domain": "even" if i % 2 == 0 else "odd"} for i, text in enumerate(TEXTS)]


def test_rows_and_means(tmp_path: Path, folder: Path) -> None:
    dataset = run(tmp_path, folder, [*DOCS, {"id": "none", "text": ""}], QUESTIONS, by={"crawl": "domain", "asked": "kind"})
    rows = small.rows(dataset)
    assert {row["item"] for row in rows} == {*KINDS, *(doc["id"] for doc in DOCS)}  # a text without bytes has no bits per byte
    assert [row["id"] for row in rows] == [f"model/{row['set']}/{row['item']}" for row in rows]
    found = dataset.manifest.about["models"]["model"]
    assert set(found) == {"crawl/even", "crawl/odd", "asked/cats", "asked/words", "asked/pairs"}
    for name, measures in found.items():
        own = [row for row in rows if row["set"] == name]
        assert measures["items"] == len(own)
        if name.startswith("crawl"):
            assert measures["bits_per_byte"] == pytest.approx(sum(r["bits"] for r in own) / sum(r["bytes"] for r in own))
            continue
        assert measures["bits_per_byte"] == pytest.approx(np.mean([row["bits"] / row["bytes"] for row in own]))
        chosen = [row["right"] for row in own if row["right"] is not None]
        assert measures["accuracy"] == pytest.approx(np.mean(chosen))
    assert next(row for row in rows if row["item"] == "q3")["right"] is None  # nothing to choose from


def test_results_do_not_depend_on_workers(tmp_path: Path, folder: Path) -> None:
    one, two = (run(tmp_path / name, folder, DOCS, QUESTIONS, workers) for name, workers in (("one", 1), ("two", 2)))
    assert small.rows(one) == small.rows(two)


def test_no_more_items_than_asked_for(tmp_path: Path, folder: Path) -> None:
    docs = small.documents(40)
    most = {row["item"] for row in small.rows(run(tmp_path / "all", folder, docs, []))}
    some = {row["item"] for row in small.rows(run(tmp_path / "some", folder, docs, [], max_items=7))}
    fewer = {row["item"] for row in small.rows(run(tmp_path / "fewer", folder, docs, [], max_items=3))}
    assert (len(most), len(some), len(fewer)) == (40, 7, 3) and fewer < some < most


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": "?", "choices": ["a", "b"], "gold": 2}, "gold is 2, and there are 2 choices"),
        ({"text": "?", "choices": ["a", ""], "gold": 0}, "an answer that is empty"),
        ({"text": "?"}, "neither `choices` nor an `answer`"),
        ({"text": "?", "choices": ["a", "b"], "gold": 1, "answer": "a"}, "its `answer` is not the right one of its choices"),
    ],
)
def test_questions_that_cannot_be_asked(tmp_path: Path, folder: Path, row: dict[str, Any], said: str) -> None:
    with pytest.raises(OperatorError, match=f"question `odd` of `asked`.*{said}"):
        run(tmp_path, folder, DOCS, [QUESTIONS[0], {"id": "odd"} | row])


def test_a_number_that_is_true_or_false_is_told() -> None:
    batch = pa.RecordBatch.from_pylist([{"id": "odd", "text": "?", "choices": ["a", "b"], "gold": True}])
    with pytest.raises(OperatorError, match="gold is True, and there are 2 choices"):
        list(questions(batch, "asked"))


def test_one_answer_behind_several_beginnings(folder: Path) -> None:
    """Winograd's schemas: the text is the right one of the choices, and the answer is what follows each."""
    row = {"id": "w", "text": "The cat", "choices": ["The mat", "The cat"], "gold": 1, "answer": "sat on words."}
    asked = list(questions(pa.RecordBatch.from_pylist([row]), "asked"))
    [bits], [tokens] = answer_bits(read_model(str(folder)), asked)
    expected = [plain(folder, prompt, "sat on words.") for prompt in ("The mat", "The cat")]
    assert list(bits) == pytest.approx([cost for cost, _ in expected], rel=1e-4)
    assert list(tokens) == [count for _, count in expected]
    found = marks(asked, [bits], [tokens])
    assert (found.bits[0], found.bytes[0]) == (bits[1], len("sat on words."))
    assert found.right[0] == float(bits[1] < bits[0])


def no_questions(path: Path, folder: Path) -> None:
    run(path, folder, DOCS, [], by={"asked": "kind"})


def no_model(path: Path, folder: Path) -> None:
    run(path, None, DOCS, [])


def no_folder(path: Path, folder: Path) -> None:
    run(path, path / "nowhere", DOCS, [])


def no_group(path: Path, folder: Path) -> None:
    run(path, folder, [{"id": "d", "text": "a", "domain": ["x"]}], [], by={"crawl": "domain"})


def no_column(path: Path, folder: Path) -> None:
    run(path, folder, DOCS, QUESTIONS, by={"crawl": "domain", "asked": "knd"})


def no_text(path: Path, folder: Path) -> None:
    run(path, folder, [{"id": f"d{i}", "text": ""} for i in range(3)], QUESTIONS)


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (no_questions, "by names `asked`, which is no documents of this stage"),
        (no_model, "there is no model to measure"),
        (no_folder, "no folder with a config.json"),
        (no_group, "no column `domain` of names"),
        (no_column, "`evaluate_proxy` reads the column `knd`, which is not there"),
        (no_text, "`crawl` has no text to measure on: all its texts are empty"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, folder: Path, break_it: Callable[[Path, Path], None], said: str) -> None:
    with pytest.raises(CurateError, match=said):
        break_it(tmp_path, folder)


def test_nan_is_told(tmp_path: Path) -> None:
    broken = save_model(tmp_path / "broken")
    model = transformers.AutoModelForCausalLM.from_pretrained(broken)
    with torch.no_grad():
        model.lm_head.weight.fill_(math.nan)
    model.save_pretrained(broken)
    with pytest.raises(OperatorError, match="its loss is no number"):
        text_bits(read_model(str(broken)), ["a cat"])


def test_settings_are_checked() -> None:
    from curate_scorers.proxy.evaluate_proxy import EvaluateProxy

    with pytest.raises(PipelineError, match="max_items is less than 1"):
        EvaluateProxy("m", max_items=0)
    with pytest.raises(PipelineError, match="checkpoints is less than 1"):
        EvaluateProxy("m", checkpoints=0)


def test_a_packed_corpus_is_no_model() -> None:
    from curate_scorers.proxy.evaluate_proxy import EvaluateProxy

    with pytest.raises(PipelineError, match="`packed` is a packed corpus, and no model"):
        EvaluateProxy().verify_tables({"packed": pa.schema({"id": pa.string(), **FIELDS})})


def test_empty_texts_do_not_take_the_place_of_others(tmp_path: Path, folder: Path) -> None:
    docs = [{"id": f"d{i}", "text": f"words {i}" if i % 4 == 0 else "", "kind": "one"} for i in range(40)]
    docs.append({"id": "alone", "text": "", "kind": "other"})
    dataset = run(tmp_path, folder, docs, [], max_items=7, by={"crawl": "kind"})
    assert len(small.rows(dataset)) == 7
    warned = {note["name"]: note["message"] for note in dataset.manifest.notes if not note["passed"]}
    assert warned == {"empty": "1 set without text left out: `crawl/other`"}


def varied(folder: Path, target: Path, seed: int) -> Path:
    """Write a copy of a model with other weights."""
    shutil.copytree(folder, target)
    model = transformers.AutoModelForCausalLM.from_pretrained(target)
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in model.parameters():
            weights += 0.1 * torch.randn(weights.shape, generator=dice)
    model.save_pretrained(target)
    return target


def test_checkpoints_are_averaged(tmp_path: Path, folder: Path) -> None:
    """A folder with three snapshots is measured by its last ones and its weights, item by item."""
    kept = Path(shutil.copytree(folder, tmp_path / "kept"))
    models = [varied(folder, tmp_path / f"model_{seed}", seed) for seed in range(3)]
    for step, model in enumerate(models):
        shutil.copy(model / "model.safetensors", kept / f"step-{step:06d}.safetensors")
    alone = {path: small.rows(run(tmp_path / f"by_{path.name}", path, DOCS, QUESTIONS)) for path in [*models, folder]}
    for most, measured_by in ((1, [folder]), (3, [*models[1:], folder]), (5, [*models, folder])):
        rows = small.rows(run(tmp_path / f"most_{most}", kept, DOCS, QUESTIONS, checkpoints=most))
        for number, row in enumerate(rows):
            for key in ("bits", "correct_prob", "right"):
                values = [alone[path][number][key] for path in measured_by]
                assert row[key] == (None if values[0] is None else pytest.approx(np.mean(values), rel=1e-6))
            assert row["bits_at"] == pytest.approx([alone[path][number]["bits"] for path in measured_by], rel=1e-6)


def test_questions_without_a_known_answer_are_left_out_and_counted(tmp_path: Path, folder: Path) -> None:
    unknown = [{"id": f"u{n}", "text": "Who?", "choices": ["the cat", "words"], "gold": None, "kind": kind} for n, kind in enumerate("ccd")]
    plain, mixed = (
        run(tmp_path / name, folder, DOCS, asked, by={"asked": "kind"}) for name, asked in (("a", QUESTIONS), ("b", QUESTIONS + unknown))
    )
    assert small.rows(mixed) == small.rows(plain)
    [note] = [note for note in mixed.manifest.notes if note["name"] == "unanswered"]
    assert note["message"] == "3 questions without a right answer (`gold` is null) left out: `asked/c`, `asked/d`" and not note["passed"]
    assert "unanswered" not in {note["name"] for note in plain.manifest.notes}
    with pytest.raises(OperatorError, match="`asked` has no question whose right answer is known"):
        run(tmp_path / "none", folder, DOCS, unknown)
    with pytest.raises(OperatorError, match="gold is 2, and there are 2 choices"):
        run(tmp_path / "wrong", folder, DOCS, [*unknown, unknown[0] | {"id": "w", "gold": 2}])


def test_it_is_told_how_far_a_model_is(tmp_path: Path, folder: Path) -> None:
    model = Path(shutil.copytree(folder, tmp_path / "model"))
    shutil.copy(model / "model.safetensors", model / "step-000001.safetensors")
    events: list[Mapping[str, Any]] = []
    small.execute(small.plan(measuring(tmp_path, model, DOCS, []), tmp_path / "workspace"), 1, events)
    told = [event["said"] for event in events if event["event"] == "task_told"]
    assert told[-1] == f"{len(DOCS)} items of `crawl` under `model`, checkpoint 2 of 2"


def test_signal_and_noise_of_each_set(tmp_path: Path, folder: Path) -> None:
    """The noise is how much a model's checkpoints differ, the signal how much the models do; one checkpoint tells of no noise."""
    models = [varied(folder, tmp_path / f"model_{seed}", seed) for seed in range(4)]
    for model, snapshot in ((models[0], models[1]), (models[2], models[3])):
        shutil.copy(snapshot / "model.safetensors", model / "step-000001.safetensors")
    alone = [run(tmp_path / f"alone_{n}", model, DOCS, QUESTIONS, checkpoints=1) for n, model in enumerate(models)]
    both = [run(tmp_path / f"both_{n}", models[n], DOCS, QUESTIONS) for n in (0, 2)]
    found = results.table({str(n): each.manifest.about["models"]["model"] for n, each in enumerate(both)}, ["0", "1"])
    assert set(found) == {"asked", "crawl"}
    for name, row in found.items():
        bits = np.array([each.manifest.about["models"]["model"][name]["bits_per_byte"] for each in alone]).reshape(2, 2)
        noise = np.sqrt((bits.std(axis=1, ddof=1) ** 2).mean())
        spread = bits.mean(axis=1).std(ddof=1)
        assert (row["noise"], row["spread"]) == (pytest.approx(noise, abs=1e-4), pytest.approx(spread, abs=1e-4))
        assert row["signal_to_noise"] == pytest.approx(spread / noise, rel=1e-3)
    assert all("noise" not in each.manifest.about["models"]["model"]["crawl"] for each in alone)


@pytest.mark.s3
def test_trained_models_are_measured_wherever_they_lie(tmp_path: Path, s3: S3Server) -> None:
    """A stage's model on disk, in an object store, and as an artifact among the sources."""
    trained = _trained(tmp_path, str(tmp_path / "ws"))
    away = _trained(tmp_path, f"s3://{s3.new_bucket()}/ws")
    assert trained == away
    assert {model for model, _ in trained} == {"model", "proxy"}
    assert {each: bits for (model, each), bits in trained.items() if model == "model"} == {
        each: bits for (model, each), bits in trained.items() if model == "proxy"
    }


def _trained(folder: Path, workspace: str) -> dict[tuple[str, str], float]:
    """Train a model in a workspace, measure it, and return the bits of each item under each name of it."""
    docs = small.write_jsonl(folder / "docs.jsonl", [{"id": f"d{i}", "text": text * 3} for i, text in enumerate(TEXTS * 4)])
    asked = small.write_jsonl(folder / "asked.jsonl", QUESTIONS)
    words = {"tokenizer": "stage:words"}
    stages = {
        "words": Stage(("crawl",), use="train_tokenizer", params={"size": VOCABULARY}),
        "tokens": Stage(("crawl",), (Step("tokenize", words, into="tokens"),), emits="attributes"),
        "packed": Stage(("crawl", "tokens"), use="pack", params=words | {"length": 64}),
        "proxy": Stage(("packed",), use="train_proxy", params={"size": "32x1", "tokens": 1000, "batch_tokens": 256}),
        "measured": Stage(("asked", "proxy"), use="evaluate_proxy", params={"model": "stage:proxy", "questions": ("asked",)}),
    }
    pipe = small.pipeline(docs, stages, inputs={"crawl": Input(str(docs)), "asked": Input(str(asked))})
    planned = plan_for(pipe, None, open_storage(workspace))
    result = small.execute(planned)
    assert result.error is None, result.error
    measured = planned.dataset("measured")
    warned = {note["name"]: note["message"] for note in measured.manifest.notes if not note["passed"]}
    assert warned == {"twice": "`proxy` in `from` is what `model` names too: measured twice; leave one of them out"}
    return {(row["model"], row["item"]): row["bits"] for row in small.rows(measured)}
