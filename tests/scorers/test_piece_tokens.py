"""Tokens that are remembered by piece are those that the package finds for the whole text, for every tokenizer that is taken for such a one."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import kernels
from curate.testing import documents
from curate_scorers.proxy import piece_tokens
from curate_scorers.proxy.piece_splits import Split, byte_letters, merges_of, split_of
from curate_scorers.proxy.piece_tokens import PieceTokens
from curate_scorers.proxy.tokenizer_patterns import PATTERNS
from tests.kernels.test_pieces import texts_of_parts

tokenizers = pytest.importorskip("tokenizers")

LLAMA_3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEXTS = ["It's 12345 o'clock,\r\n\r\n  isn't IT'LL  '\n", "naïve 港口的石头\u3000every winter's wall! (x)\t5\t\n y"]


def made(expression: str | None) -> Any:
    """Return a byte-level BPE tokenizer that splits by an expression, None = as the package's own byte level does."""
    pieces = tokenizers.pre_tokenizers
    found = tokenizers.Tokenizer(tokenizers.models.BPE())
    found.pre_tokenizer = pieces.ByteLevel(add_prefix_space=False)
    if expression is not None:
        split = pieces.Split(tokenizers.Regex(expression), "isolated")
        found.pre_tokenizer = pieces.Sequence([split, pieces.ByteLevel(add_prefix_space=False, use_regex=False)])
    alphabet = pieces.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=330, special_tokens=["<e>"], initial_alphabet=alphabet, show_progress=False)
    found.train_from_iterator(TEXTS * 3, trainer)
    found.encode_special_tokens = True
    return found


EXPRESSIONS = {"own": None, "llama": LLAMA_3, **PATTERNS}
MADE = {name: made(expression) for name, expression in EXPRESSIONS.items()}


def remembered(tokenizer: Any, texts: list[str], end: int | None = None) -> list[list[int]]:
    """Return the tokens of texts, twice the same: new pieces and known ones."""
    split = split_of(tokenizer)
    assert split is not None
    pieces, view = PieceTokens(tokenizer, split), kernels.Texts.of(pa.array(texts, pa.large_string()))
    (values, lengths), again = pieces.tokens(view, end), pieces.tokens(view, end)
    assert again[0].tolist() == values.tolist()
    flat, ends = values.tolist(), lengths.cumsum().tolist()
    return [flat[begin:stop] for begin, stop in zip([0, *ends], ends, strict=False)]


@pytest.mark.parametrize("name", EXPRESSIONS)
@given(st.one_of(texts_of_parts, st.lists(st.text(max_size=20), max_size=3)))
def test_tokens_are_those_of_the_whole_text(name: str, texts: list[str]) -> None:
    assert remembered(MADE[name], texts) == [each.ids for each in MADE[name].encode_batch(texts, add_special_tokens=False)]


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_of_awkward_documents_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piece_tokens, "MOST_PIECES", 5)
    texts = [*TEXTS, *(text[:3000] for text in documents().column("text").to_pylist() if text)]
    expected = [each.ids for each in MADE[name].encode_batch(texts, add_special_tokens=False)]
    assert remembered(MADE[name], texts, 7) == [[*each, 7] for each in expected]


def test_which_tokenizers_are_taken() -> None:
    assert {name: split_of(tokenizer) for name, tokenizer in MADE.items()} == {
        "own": Split("words"),
        "gpt2": Split("words"),
        "llama": Split("marked", 3),
        "gpt4": Split("marked", 3),
        "digits": Split("marked", 1),
    }
    pieces = tokenizers.pre_tokenizers

    def other(**parts: Any) -> Any:
        found = made(LLAMA_3)
        for name, part in parts.items():
            setattr(found, name, part)
        return found

    unknown = pieces.Split(tokenizers.Regex(r"\p{L}+"), "isolated")
    refused = [
        other(normalizer=tokenizers.normalizers.NFC()),
        other(pre_tokenizer=pieces.Whitespace()),
        other(pre_tokenizer=pieces.ByteLevel(add_prefix_space=True)),
        other(pre_tokenizer=pieces.ByteLevel(add_prefix_space=False, use_regex=False)),
        other(pre_tokenizer=pieces.Sequence([unknown, pieces.ByteLevel(add_prefix_space=False, use_regex=False)])),
        other(pre_tokenizer=pieces.Sequence([pieces.Digits(), pieces.ByteLevel(add_prefix_space=False)])),
        other(model=tokenizers.models.WordPiece({"a": 0}, unk_token="a")),
        other(model=tokenizers.models.BPE(dropout=0.1)),
    ]
    refused.append(other())
    refused[-1].add_tokens(["wall"])  # found in a text before it is split
    assert [split_of(tokenizer) for tokenizer in refused] == [None] * len(refused)


def test_pieces_that_the_kernel_leaves_out_are_asked_of_the_package() -> None:
    texts = ["a wall " + "ab" * 500 + " the wall", "wa" * 300, *TEXTS]
    tokenizer = MADE["gpt4"]
    assert remembered(tokenizer, texts) == [each.ids for each in tokenizer.encode_batch(texts, add_special_tokens=False)]
    whole = made(LLAMA_3)
    whole.model = tokenizers.models.BPE({"w": 0, "a": 1, "wa": 2, "wall": 3, "l": 4}, [("w", "a")], ignore_merges=True)
    assert merges_of(whole) is None
    assert remembered(whole, ["wall", "wal", "awa"]) == [[3], [2, 4], [1, 2]]


def test_letters_of_bytes_are_those_of_the_package() -> None:
    assert sorted(byte_letters()) == sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    split = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for text in ["".join(map(chr, range(128))), "éÿĀ港\U0010ffff"]:
        [(written, _)] = split.pre_tokenize_str(text)
        assert written == "".join(byte_letters()[byte] for byte in text.encode())


def test_a_package_that_fails_leaves_nothing_half_known(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = MADE["gpt4"]
    pieces, view = PieceTokens(tokenizer, Split("marked", 3)), kernels.Texts.of(pa.array(["the wall"]))
    with monkeypatch.context() as broken:
        broken.setattr(pieces, "_tokenizer", None)
        broken.setattr(pieces, "_merges", None)
        with pytest.raises(AttributeError):
            pieces.tokens(view, None)
    assert pieces.tokens(view, None)[0].tolist() == tokenizer.encode("the wall").ids
