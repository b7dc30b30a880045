"""`lm_loss` beside a plain loop over tokens: windows, start tokens, batches; and the models that it refuses."""

from __future__ import annotations

import dataclasses
import math
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from curate.errors import OperatorError, PipelineError
from curate.pipeline import Stage, Step
from curate.testing import check_parameters, check_shape, documents
from curate_scorers.lm_loss import LmLoss
from curate_scorers.lm_loss_windows import Sequences, batches, windows
from tests.engine import small
from tests.scorers.spoilt_models import cut_short, posing, without

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

VOCABULARY = 300
END = "<|end|>"
TEXTS = ["The cat sat on the mat, and it was 9 o'clock.", "港 naïve ß\n\nwords", "a", "word " * 60 + "end", f"an {END} inside", " "]
CLOSE = 2e-5  # of float32 sums in another order


def save_tokenizer(folder: Path, start: str | None = END) -> Any:
    """Write a byte-level BPE tokenizer of 300 tokens."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(TEXTS, trainer)
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=made, eos_token=start)
    wrapped.save_pretrained(folder)
    return wrapped


def save_model(folder: Path, start: str | None = END, kind: str = "llama") -> Path:
    """Write a random model with its tokenizer."""
    save_tokenizer(folder, start)
    torch.manual_seed(1)
    if kind == "llama":
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
        config = transformers.LlamaConfig(vocab_size=VOCABULARY, max_position_embeddings=64, initializer_range=0.4, **sizes)
        model = transformers.LlamaForCausalLM(config)
    elif kind == "gpt2":
        model = transformers.GPT2LMHeadModel(
            transformers.GPT2Config(vocab_size=VOCABULARY, n_positions=64, n_embd=32, n_layer=2, n_head=2, initializer_range=0.4)
        )
    elif kind == "gemma2":  # its logits are no plain product: they are capped
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
        model = transformers.Gemma2ForCausalLM(
            transformers.Gemma2Config(
                vocab_size=VOCABULARY, max_position_embeddings=64, head_dim=16, final_logit_softcapping=1.0, initializer_range=0.4, **sizes
            )
        )
    else:
        model = transformers.BertLMHeadModel(
            transformers.BertConfig(
                vocab_size=VOCABULARY,
                hidden_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=64,
                initializer_range=0.4,
            )
        )
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "llama")


def docs(*texts: str | None) -> pa.RecordBatch:
    ids = pa.array([f"d{i}" for i in range(len(texts))], pa.string())
    return pa.RecordBatch.from_arrays([ids, pa.array(texts, pa.large_string())], ["id", "text"])


def scores(operator: LmLoss, *texts: str | None) -> list[float | None]:
    return [row and row["bits_per_byte"] for row in operator.score(docs(*texts)).to_pylist()]


class Plain:
    """The definition, one target after another, without batches: a forward pass for each first token that a target's context can have."""

    def __init__(self, folder: Path) -> None:
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    def bits(self, text: str, window: int, stride: int, max_tokens: int | None = None) -> tuple[float, int]:
        """Return bits and tokens of a text."""
        ids = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"][:max_tokens]
        start = self.tokenizer.eos_token_id
        sequence, bits = ([start, *ids], 0.0) if start is not None else (ids, math.log2(VOCABULARY))
        targets, seen = len(sequence) - 1, {}
        for number in range(1, len(sequence)):
            end = min(window + stride * max(0, math.ceil((number - window) / stride)), targets)
            begin = max(0, end - window)
            if (begin, end) not in seen:
                with torch.inference_mode():
                    seen[begin, end] = self.model(torch.tensor([sequence[begin:end]])).logits[0].double().log_softmax(-1)
            bits -= float(seen[begin, end][number - 1 - begin, sequence[number]]) / math.log(2)
        return bits, len(ids)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2"])
@pytest.mark.parametrize("start", [END, None])
def test_equals_a_loop_over_tokens(tmp_path: Path, kind: str, start: str | None) -> None:
    folder = save_model(tmp_path / kind, start, kind)
    plain = Plain(folder)
    for window, stride in ((1900, 512), (16, 16), (16, 5), (64, 1)):
        operator = LmLoss(str(folder), window=window, stride=stride, batch_tokens=100)
        assert operator._model.plain_head == (kind != "gemma2")
        found = operator.score(docs(*TEXTS)).to_pylist()
        limits = (window, stride) if window <= 64 else (64, 32)
        for text, row in zip(TEXTS, found, strict=True):
            bits, tokens = plain.bits(text, *limits)
            assert row["tokens"] == tokens > 0
            assert row["bits_per_byte"] == pytest.approx(bits / len(text.encode()), rel=CLOSE)


def test_a_known_model_gives_known_bits(folder: Path, tmp_path: Path) -> None:
    """With all weights of the last matrix 0 every token costs log2 of the vocabulary."""
    save_tokenizer(tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    torch.nn.init.zeros_(model.lm_head.weight)
    model.save_pretrained(tmp_path)
    row = LmLoss(str(tmp_path)).score(docs("þ€")).to_pylist()[0]  # 5 bytes, of which the tokenizer joins none
    assert row == {"bits_per_byte": pytest.approx(math.log2(VOCABULARY)), "tokens": 5}


def test_windows_predict_each_token_once() -> None:
    lengths = [0, 1, 2, 5, 6, 7, 9, 23]
    sequences = Sequences.of([list(range(n)) for n in lengths], 1000)
    for window, stride in ((5, 5), (5, 2), (1, 1), (100, 3)):
        cut = windows(sequences, window, stride)
        predicted: list[list[int]] = [[] for _ in lengths]
        for document, first, length, skipped in zip(cut.document, cut.first, cut.length, cut.skipped, strict=True):
            assert 0 <= skipped < length <= window
            inside = first - sequences.offsets[document]
            predicted[document] += range(inside + skipped + 1, inside + length + 1)
        assert predicted == [list(range(1, n + 1)) for n in lengths]


def test_batches_hold_like_lengths_within_the_budget() -> None:
    draw = np.random.default_rng(1)
    lengths = np.maximum(1, draw.lognormal(5, 1.2, 3000).astype(int))
    found = list(batches(lengths, 4096))
    assert sorted(np.concatenate(found).tolist()) == list(range(3000))
    assert all(len(rows) == 1 or len(rows) * lengths[rows].max() <= 4096 for rows in found)
    padded = sum(len(rows) * lengths[rows].max() for rows in found)
    assert padded < 1.05 * lengths.sum()
    assert list(batches(np.empty(0, int), 4096)) == []


def test_no_document_depends_on_its_batch(folder: Path) -> None:
    texts = [*TEXTS, *(f"{'more words ' * i}." for i in range(40))]
    operator = LmLoss(str(folder), batch_tokens=256)
    alone = [scores(operator, text)[0] for text in texts]
    assert scores(operator, *texts) == pytest.approx(alone, rel=CLOSE)
    assert scores(operator, *texts[::-1]) == pytest.approx(alone[::-1], rel=CLOSE)
    assert scores(dataclasses.replace(operator, batch_tokens=1), *texts) == pytest.approx(alone, rel=CLOSE)


def test_blocks_of_text_are_joined(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    operator = LmLoss(str(folder))
    whole = operator.score(docs(*TEXTS, None, "")).to_pylist()
    monkeypatch.setattr("curate_scorers.lm_loss.BLOCK_BYTES", 10)
    cut = operator.score(docs(*TEXTS, None, "")).to_pylist()
    assert [row and row["tokens"] for row in cut] == [row and row["tokens"] for row in whole]
    assert cut[3]["bits_per_byte"] == pytest.approx(whole[3]["bits_per_byte"], rel=CLOSE)


def test_what_the_engine_relies_on(folder: Path) -> None:
    operator, batch = LmLoss(str(folder), max_tokens=200), documents()
    check_parameters(operator)
    found = operator.score(batch)
    check_shape(operator, batch, found)
    check_shape(operator, batch.slice(0, 0), operator.score(batch.slice(0, 0)))
    copied = pa.RecordBatch.from_pylist(batch.slice(1).to_pylist(), schema=batch.schema)
    for left, right in zip(operator.score(copied).to_pylist(), found.to_pylist()[1:], strict=True):
        assert left == (right and {"bits_per_byte": pytest.approx(right["bits_per_byte"], rel=CLOSE), "tokens": right["tokens"]})


def test_texts_without_tokens_have_no_measure(folder: Path) -> None:
    assert LmLoss(str(folder)).score(docs("", None, "a")).is_null().to_pylist() == [True, True, False]
    assert LmLoss(str(folder)).score(docs()).to_pylist() == []


def test_first_tokens_only(folder: Path) -> None:
    text = "港ß and many more words " * 5
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for count in (1, 3, 7, 1000):
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        kept = encoded["input_ids"][:count]
        end = encoded["offset_mapping"][:count][-1][1]
        row = LmLoss(str(folder), max_tokens=count).score(docs(text)).to_pylist()[0]
        bits, _ = Plain(folder).bits(text, 64, 32, count)
        assert row["tokens"] == len(kept)
        assert row["bits_per_byte"] == pytest.approx(bits / len(text[:end].encode()), rel=CLOSE)


def test_a_loss_that_is_no_number_names_its_document(folder: Path, tmp_path: Path) -> None:
    tokenizer = save_tokenizer(tmp_path / "model")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    token = tokenizer("Q", add_special_tokens=False)["input_ids"][0]
    model.model.embed_tokens.weight.data[token] = float("nan")
    model.save_pretrained(tmp_path / "model")
    operator = LmLoss(str(tmp_path / "model"))
    assert None not in scores(operator, "fine", "also fine")
    with pytest.raises(ArithmeticError, match="loss of document `d1` under .* is nan"):
        operator.score(docs("fine", "Q is not"))
    planned = small.pipeline(
        small.write_jsonl(tmp_path / "in.jsonl", [{"id": f"d{i}", "text": text} for i, text in enumerate(["fine", "Q is not", "a"])]),
        {"scored": Stage("crawl", (Step("lm_loss", into="loss", params={"model": str(tmp_path / "model")}),), max_errors=1)},
    )
    plan, _ = small.run(planned, tmp_path / "workspace")
    assert [row["id"] for row in small.rows(plan.dataset("scored")) if row["loss"]] == ["d0", "d2"]
    assert [row["id"] for row in small.ledger(plan.dataset("scored"), "errors")] == ["d1"]


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickled(folder: Path) -> None:
    without_weights(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))


def classifier(folder: Path) -> None:
    config = orjson.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_bytes(orjson.dumps(config | {"architectures": ["LlamaForSequenceClassification"]}))


def unreadable(folder: Path) -> None:
    (folder / "config.json").write_bytes(b"{")


def spoilt_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_bytes(b"{}")


def without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without_weights, "it has no weights"),
        (pickled, r"its weights are a pickle, pytorch_model\.bin"),
        (posing, "is no safetensors file, whatever its name says"),
        (cut_short, "is damaged"),
        (without("model.layers.1.mlp.up_proj.weight"), r"no weights for model\.layers\.1\.mlp\.up_proj\.weight"),
        (classifier, "names LlamaForSequenceClassification, no causal language model"),
        (unreadable, r"config\.json cannot be read"),
        (without_tokenizer, "has no tokenizer.json"),
        (spoilt_tokenizer, "its tokenizer cannot be read"),
    ],
)
def test_models_that_are_refused(tmp_path: Path, spoil: Callable[[Path], None], said: str) -> None:
    folder = save_model(tmp_path / "model")
    spoil(folder)
    with pytest.raises(OperatorError, match=said):
        LmLoss(str(folder)).score(docs("text"))


def test_a_model_that_looks_ahead_is_refused(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "bert", kind="bert")
    with pytest.raises(OperatorError, match="its tokens see later ones"):
        LmLoss(str(folder)).score(docs("text"))


def test_missing_folders_and_packages(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OperatorError, match="there is no folder with a config.json"):
        LmLoss(str(tmp_path / "none")).score(docs("text"))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(OperatorError, match="torch, which is not installed") as caught:
        LmLoss(str(folder)).score(docs("text"))
    assert "[lm]" in str(caught.value.hint)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_ends_the_stage(folder: Path) -> None:
    with pytest.raises(OperatorError, match="torch sees no GPU here"):
        LmLoss(str(folder), device="cuda").score(docs("text"))


def test_bad_parameters() -> None:
    bad: list[dict[str, Any]] = [{"window": 0}, {"stride": 0}, {"max_tokens": 0}, {"batch_tokens": 0}]
    for params in bad:
        with pytest.raises(PipelineError, match=f"lm_loss: {next(iter(params))} is less than 1"):
            LmLoss("model", **params)
    with pytest.raises(PipelineError, match="stride 9 is more than window 8"):
        LmLoss("model", window=8, stride=9)
