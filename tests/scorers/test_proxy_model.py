"""The proxy model: what it computes, that pieces are apart, and that transformers computes the same."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from tests.scorers import proxy_corpora, small_tokenizers
from tests.scorers.proxy_corpora import LENGTH, TINY, VOCABULARY
from tests.scorers.small_tokenizers import END

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

from curate_scorers.proxy import attention, batches, folder, losses, pointwise, projections, sizes  # noqa: E402
from curate_scorers.proxy.model import Proxy, Stream  # noqa: E402
from curate_scorers.proxy.packed import pieces, tokenizer_digest  # noqa: E402

CPU = torch.device("cpu")


def model(tied: bool = True, spread: float | None = None) -> Proxy:
    """Return a tiny model; with `spread`, all its weights are random numbers so wide apart."""
    made = Proxy(sizes.shape(TINY), VOCABULARY, LENGTH, tied)
    if spread is not None:
        generator = torch.Generator().manual_seed(3)
        for weight in made.parameters():
            torch.nn.init.normal_(weight, 0.1, spread, generator)
    return made


def logits(made: Proxy, tokens: np.ndarray, lengths: list[int]) -> torch.Tensor:
    """Return logits of pieces that stand one behind another."""
    places = np.concatenate([np.arange(length) for length in lengths])
    with torch.inference_mode():
        return made.head(made(torch.from_numpy(tokens), torch.from_numpy(places), lengths))


TOKENS = np.random.default_rng(5).integers(0, VOCABULARY, 60)


@pytest.mark.parametrize("name", sizes.SHAPES)
def test_sizes_have_as_many_parameters_as_they_say(name: str) -> None:
    shape, vocabulary = sizes.SHAPES[name], 32_768
    with torch.device("meta"):
        stream = Stream(shape, vocabulary, 8)
    found = sum(weight.numel() for weight in stream.parameters())
    assert found == shape.total(vocabulary, tied=True) == shape.parameters + vocabulary * shape.width
    assert shape.parameters == pytest.approx(float(name[:-1]) * 1e6, rel=0.05)
    assert f"{shape.parameters:,} | {found:,} | {sizes.BATCH_TOKENS[name]:,} |" in (sizes.__doc__ or "")


def test_packed_logits_are_those_of_each_piece_alone() -> None:
    made, lengths = model(spread=0.3), [1, 7, 30, 22]
    packed = logits(made, TOKENS, lengths)
    ends = np.cumsum(lengths)
    alone = [logits(made, TOKENS[end - length : end], [length]) for end, length in zip(ends, lengths, strict=True)]
    assert packed.abs().max() > 1
    torch.testing.assert_close(packed, torch.cat(alone), rtol=0, atol=1e-4)


def test_flex_attention_sees_what_a_call_a_piece_sees() -> None:
    lengths = [5, 1, 20, 6]
    q, k, v = torch.randn(3, 32, 2, 16, generator=torch.Generator().manual_seed(1))
    with pytest.warns(UserWarning, match="flex_attention called without torch.compile"):
        masked = attention.attend(q, k, v, attention.block_mask(lengths, CPU))
    torch.testing.assert_close(masked, attention.attend(q, k, v, lengths), rtol=0, atol=1e-5)


@pytest.mark.parametrize("tied", [True, False])
def test_transformers_computes_the_same_logits(tmp_path: Path, tied: bool) -> None:
    made = model(tied, spread=0.3)
    (tmp_path / "config.json").write_bytes(folder.config_of(made, 0))
    (tmp_path / "model.safetensors").write_bytes(folder.packed_weights(folder.weights_of(made)))
    theirs, info = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert type(theirs).__name__ == "Qwen3ForCausalLM"
    assert not info["missing_keys"] and not info["unexpected_keys"]
    with torch.inference_mode():
        expected = theirs(torch.from_numpy(TOKENS[None, :LENGTH])).logits[0]
    torch.testing.assert_close(logits(made, TOKENS[:LENGTH], [LENGTH]), expected, rtol=0, atol=1e-4)
    again = folder.read_proxy(str(tmp_path))
    assert torch.equal(logits(again, TOKENS, [30, 30]), logits(made, TOKENS, [30, 30]))
    assert orjson.loads((tmp_path / "config.json").read_bytes())["tie_word_embeddings"] is tied


PLAIN = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END}
ADDS = PLAIN | {"tokenizer_class": "LlamaTokenizerFast", "add_bos_token": True, "bos_token": "the"}


@pytest.mark.parametrize(
    ("post_processor", "config"),
    [
        (None, PLAIN),
        (None, None),
        (
            {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
            PLAIN | {"tokenizer_class": "GPT2Tokenizer"},
        ),
        ({"type": "BertProcessing", "sep": ["t", 5], "cls": ["h", 6]}, ADDS),
    ],
    ids=["none", "no_config", "offsets", "other_beginning"],
)
def test_texts_begin_with_the_end_token_as_they_do_in_training(tmp_path: Path, post_processor: Any, config: Any) -> None:
    """Whatever a corpus's tokenizer puts around texts, the folder's puts the end token before them and nothing else."""
    own = small_tokenizers.save_tokenizer(tmp_path / "own")
    path = own / "tokenizer.json"
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()) | {"post_processor": post_processor}))
    if config is None:
        (own / "tokenizer_config.json").unlink()
    else:
        (own / "tokenizer_config.json").write_bytes(orjson.dumps(config))
    plain = tokenizers.Tokenizer.from_file(str(path))
    eos = plain.token_to_id(END)
    made = tmp_path / "made"
    made.mkdir()
    (made / "config.json").write_bytes(folder.config_of(model(), eos))
    for name, data in folder.begun_tokenizer(list(own.iterdir()), eos):
        (made / name).write_bytes(data)
    read = transformers.AutoTokenizer.from_pretrained(made, local_files_only=True)
    for text in ("the harbour", "", "naïve ships"):
        alone = plain.encode(text, add_special_tokens=False).ids
        assert read(text)["input_ids"] == [eos, *alone]
        assert read(text, add_special_tokens=False)["input_ids"] == alone
        assert read(text, text)["input_ids"] == [eos, *alone, *alone]
    assert read.bos_token_id == read.eos_token_id == eos
    files = [[each / "tokenizer.json"] for each in (own, made)]
    assert tokenizer_digest(files[0]) == tokenizer_digest(files[1]) != ""


def test_the_first_loss_is_that_of_a_guess() -> None:
    packed = proxy_corpora.corpus(100)
    batch = batches.batch_of(packed.take(range(packed.rows)), CPU)
    made = model()
    _, summed = losses.losses(made(batch.inputs, batch.positions, batch.where), made.lm_head.weight, batch.targets, 1.0)
    assert float(summed) / len(batch.targets) == pytest.approx(math.log(VOCABULARY), rel=0.01)


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_losses_and_their_gradients_are_those_of_torch(monkeypatch: pytest.MonkeyPatch, scale: float) -> None:
    monkeypatch.setitem(losses.BLOCK_BYTES, "cpu", 7 * 4 * VOCABULARY)  # several blocks, the last one short
    states, weight = torch.randn(20, 32, requires_grad=True), torch.randn(VOCABULARY, 32, requires_grad=True)
    targets = torch.randint(VOCABULARY, (20,))
    targets[[3, 19]] = -1
    found, summed = losses.losses(states, weight, targets, scale)
    found.backward()
    ours = states.grad.clone(), weight.grad.clone()
    states.grad = weight.grad = None
    wanted = targets >= 0
    expected = torch.nn.functional.cross_entropy((states @ weight.T)[wanted], targets[wanted], reduction="sum")
    regular = (states @ weight.T)[wanted].logsumexp(1).square().sum()
    ((expected + losses.Z_LOSS * regular) * scale).backward()
    assert float(summed) == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(ours, (states.grad, weight.grad), rtol=1e-4, atol=1e-5)


def test_gradients_of_losses_in_bfloat16_are_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(losses.BLOCK_BYTES, "cpu", 3 * 4 * VOCABULARY)
    monkeypatch.setattr(losses, "TOGETHER", 2)  # of twenty: three times six, the last two alone
    states, weight = torch.randn(20, 32, requires_grad=True), torch.randn(VOCABULARY, 32, requires_grad=True)
    targets, found = torch.randint(VOCABULARY, (20,)), []
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            minimised, summed = losses.losses(states, weight, targets, 0.05)
        minimised.backward()
        found.append((summed.float(), states.grad, weight.grad))
        states.grad = weight.grad = None
    torch.testing.assert_close(found[1], found[0], rtol=0.05, atol=0.02)


LENGTHS = [1, 4, 9, 16, 5]
"""Pieces of less than a block of four, of a whole one, and of several."""


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_attention_in_blocks_is_attention_by_piece(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(attention, "BLOCK", 4)
    generator = torch.Generator().manual_seed(2)
    q, k, v, gradient = (torch.randn(sum(LENGTHS), 2, 32, generator=generator) for _ in range(4))
    found = []
    for exact in (True, False):
        given = [each.clone().requires_grad_() for each in (q, k, v)]
        if exact:
            made = attention.attend(*given, LENGTHS)
        else:
            ours = [each.transpose(0, 1).to(getattr(torch, kind)).contiguous() for each in given]
            made = attention._InBlocks.apply(*ours, LENGTHS).transpose(0, 1).float()
        made.backward(gradient)
        found.append((made.detach(), *(each.grad for each in given)))
    tolerance = 1e-5 if kind == "float32" else 0.05
    torch.testing.assert_close(found[1], found[0], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("kind", "lengths", "blocks"), [("bfloat16", [5, 7], True), ("float32", [5, 7], False), ("float32", [9, 3], True)])
def test_blocks_are_for_bfloat16_and_for_long_pieces(monkeypatch: pytest.MonkeyPatch, kind: str, lengths: list[int], blocks: bool) -> None:
    monkeypatch.setattr(attention, "SHORT", 8)
    q, k, v = torch.randn(3, 12, 2, 32, requires_grad=True).to(getattr(torch, kind))
    both = [attention.attend(q, k, v, lengths)]
    assert ("_InBlocks" in _history(both[0])) == blocks
    monkeypatch.setattr(attention, "LONGEST", 6)
    both.append(attention.attend(q, k, v, lengths))
    assert "_InBlocks" not in _history(both[1])
    torch.testing.assert_close(*both, rtol=0.02, atol=0.02)


def _history(made: torch.Tensor) -> str:
    """Return the names of what a tensor was made by, the last first."""
    names, step = [], made.grad_fn
    while step is not None:
        names.append(step.name())
        step = step.next_functions[0][0] if step.next_functions else None
    return " ".join(names)


def test_joined_projections_are_projections() -> None:
    generator = torch.Generator().manual_seed(4)
    x, weights = torch.randn(9, 16, generator=generator), [torch.randn(rows, 16, generator=generator) for rows in (8, 8, 24)]
    found = []
    for project in (projections.projected, lambda x, *weights: tuple(torch.nn.functional.linear(x, each) for each in weights)):
        given = [each.clone().requires_grad_() for each in (x, *weights)]
        with torch.autocast("cpu", torch.bfloat16):
            made = project(*given)
        sum((number + 1) * each.float().square().sum() for number, each in enumerate(made)).backward()
        found.append((*made, *(each.grad for each in given)))
    assert all((ours - theirs).norm() < 0.01 * theirs.norm() for ours, theirs in zip(*found, strict=True))


@pytest.mark.parametrize("width", [32, 7])
def test_written_out_gradients_are_those_of_autograd(width: int) -> None:
    generator = torch.Generator().manual_seed(1)
    x, gradient = torch.randn(2, 9, 3, width, generator=generator)
    weight, found = torch.randn(width, generator=generator), []
    for norm in (pointwise.rms_norm, lambda x, weight, epsilon: torch.nn.functional.rms_norm(x, weight.shape, weight, epsilon)):
        given, scale = x.clone().requires_grad_(), weight.clone().requires_grad_()
        made = norm(given, scale, 1e-3)
        made.backward(gradient)
        found.append((made.detach(), given.grad, scale.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


def test_turning_back_is_the_gradient_of_turning() -> None:
    x, cos, sin = torch.randn(3, 5, 2, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    cos, sin = torch.cat([cos[..., :4]] * 2, -1), torch.cat([-sin[..., :4], sin[..., :4]], -1)
    assert torch.autograd.gradcheck(lambda x: pointwise.turned(x, cos, sin), x.requires_grad_())


def test_what_a_model_sees_of_a_piece_begins_with_the_end_token() -> None:
    found = pieces(np.array([4, 5, 0, 6, 0]), np.array([3, 2]), 0, 10)
    assert found.inputs.tolist() == [0, 4, 5, 0, 6]
    assert found.targets.tolist() == [4, 5, 0, 6, 0]
    assert found.positions.tolist() == [0, 1, 2, 0, 1]
    more = batches.filled(found, 7)
    assert more.targets.tolist() == [4, 5, 0, 6, 0, -1, -1] and more.lengths.tolist() == [3, 2, 1, 1]
