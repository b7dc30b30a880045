"""`python -m tests.benchmarks.proxy_lm_eval [--work FOLDER] [--data FOLDER] [--write]`: our answers' bits beside lm-evaluation-harness.

Both score the same multiple-choice questions (ARC, OpenBookQA, HellaSwag of the shared data) under the same random network in float32,
whose logits are as wide as a trained one's. Every answer's log-likelihood, and accuracy raw and per byte, have to agree. Time is CPU time
of scoring, after loading. `make_env.py lm_eval` makes the peer's environment.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from curate_scorers.lm_loss_model import read_model
from curate_scorers.proxy.benchmarks import marks, questions
from curate_scorers.proxy.evaluate import answer_bits
from tests.benchmarks import readme
from tests.benchmarks.peers import make_env

SETS = ("arc_easy", "arc_challenge", "openbook_qa", "hellaswag")
EACH = 150
END = "<|end|>"
GRANTED = 1e-4  # relative, of float32 sums in another order


def main() -> int:
    """Score with both, compare, print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, default=make_env.WORK)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("CURATE_TEST_DATA", "../shared/data")))
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    peer = make_env.interpreter(chosen.work, "lm_eval")
    if peer is None:
        print("lm-eval's environment is not there: python tests/benchmarks/peers/make_env.py lm_eval", file=sys.stderr)
        return 1
    folder = chosen.work / "proxy_lm_eval"
    folder.mkdir(parents=True, exist_ok=True)
    rows = asked(chosen.data)
    file = folder / "asked.jsonl"
    file.write_bytes(b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows))
    model = make_model(folder / "model", [row["text"] for row in rows])
    ours, theirs = scored(model, rows), harness(peer, model, file)
    text = table(ours, theirs)
    print(text)
    if chosen.write:
        readme.write("proxy_lm_eval", text)
    return 0 if ours["differs"](theirs) <= GRANTED else 1


def asked(data: Path) -> list[dict[str, Any]]:
    """Return the first questions of each set that have choices."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in SETS}
    with pa.input_stream(str(data / "benchmarks" / "docs.jsonl.zst"), compression="zstd") as file:
        lines = file.read().splitlines()
    for line in lines:
        row = orjson.loads(line)
        own = found.get(row["benchmark"])
        if own is not None and len(own) < EACH and row.get("choices"):
            own.append({name: row[name] for name in ("id", "choices", "gold")} | {"text": row["text"].strip()})
    return [row for rows in found.values() for row in rows]


def make_model(folder: Path, texts: list[str]) -> Path:
    """Write a random Llama whose tokenizer puts the end token before each text where special tokens are asked for."""
    import tokenizers
    import torch
    import transformers

    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        texts, tokenizers.trainers.BpeTrainer(vocab_size=4096, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    )
    made.post_processor = tokenizers.processors.TemplateProcessing(single=f"{END} $A", special_tokens=[(END, made.token_to_id(END))])
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, eos_token=END, bos_token=END).save_pretrained(folder)
    torch.manual_seed(1)
    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 4}
    config = transformers.LlamaConfig(vocab_size=len(made.get_vocab()), max_position_embeddings=512, initializer_range=0.2, **sizes)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def scored(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Score with ours."""
    model = read_model(str(folder))
    batch = pa.RecordBatch.from_pylist(rows)
    begun = time.process_time()
    items = list(questions(batch, "asked"))
    bits, tokens = answer_bits(model, items)
    seconds = time.process_time() - begun
    found = marks(items, bits, tokens)
    nats = {item.id: -each * math.log(2) for item, each in zip(items, bits, strict=True)}

    def differs(theirs: dict[str, Any]) -> float:
        """Return the greatest relative difference of a log-likelihood."""
        pairs = [(nats[name], np.array(other)) for name, other in theirs["loglikelihoods"].items()]
        return float(max((np.abs(own - other) / np.abs(other)).max() for own, other in pairs))

    accuracy = {"acc": float(found.right.mean()), "acc_bytes": float(found.right_per_byte.mean())}
    return {"seconds": seconds, "differs": differs, "answers": sum(map(len, bits)), **accuracy}


def harness(peer: str, model: Path, file: Path) -> dict[str, Any]:
    """Score with lm-eval; torch and transformers are those of this environment."""
    script = Path(__file__).parent / "peers" / "lm_eval_scores.py"
    environment = os.environ | {
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(file.parent / "cache"),
    }
    done = subprocess.run([peer, "-P", str(script), str(model), str(file)], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"lm-eval failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def table(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """Return the comparison as Markdown."""
    lines = [
        "| | lm-eval | `evaluate_proxy` |",
        "|---|---|---|",
        *(f"| {name} | {theirs[name]:.4f} | {ours[name]:.4f} |" for name in ("acc", "acc_bytes")),
        f"| seconds of CPU | {theirs['seconds']:.1f} | {ours['seconds']:.1f} |",
        "",
        f"{ours['answers']:,} answers; the greatest relative difference of a log-likelihood is {ours['differs'](theirs):.1e}.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
