"""`python -m tests.benchmarks.proxy_lm_eval [--work FOLDER] [--data FOLDER] [--write]`: our answers' bits beside lm-evaluation-harness.

A tokenizer and a small proxy are trained on the questions' texts; the folder that `train_proxy` leaves is then read by both as it is. They
score the same multiple-choice questions (ARC, OpenBookQA, HellaSwag of the shared data) and minimal pairs (BLiMP) in float32. Every
answer's log-likelihood, and accuracy raw and per byte, have to agree. Time is CPU time of scoring, after loading. `make_env.py lm_eval`
makes the peer's environment.
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

from curate import Input, Pipeline, Stage, Step, run_pipeline
from curate_scorers.lm_loss_model import read_model
from curate_scorers.proxy.benchmarks import marks, questions
from curate_scorers.proxy.evaluate import answer_bits
from tests.benchmarks import readme
from tests.benchmarks.peers import make_env

SETS = ("arc_easy", "arc_challenge", "openbook_qa", "hellaswag")
EACH = 150
LENGTH, TOKENS = 512, 400_000
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
    rows, pairs = asked(chosen.data), paired(chosen.data)
    files = [written(folder / "asked.jsonl", rows), written(folder / "pairs.jsonl", [as_choices(row) for row in pairs])]
    model = make_model(folder, written(folder / "texts.jsonl", rows))
    ours, theirs = scored(model, rows, pairs), harness(peer, model, files)
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


def paired(data: Path) -> list[dict[str, Any]]:
    """Return minimal pairs, every so many-th of all."""
    with pa.input_stream(str(data / "lm_blimp" / "docs.jsonl.zst"), compression="zstd") as file:
        rows = [orjson.loads(line) for line in file.read().splitlines()]
    return [{"id": row["id"], "text": row["text"], "bad": row["bad"]} for row in rows[:: len(rows) // EACH][:EACH]]


def as_choices(row: dict[str, Any]) -> dict[str, Any]:
    """Return a minimal pair as lm-eval has it."""
    return {"id": row["id"], "choices": [row["text"], row["bad"]], "gold": 0}


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write JSON lines."""
    path.write_bytes(b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows))
    return path


def make_model(folder: Path, texts: Path) -> Path:
    """Train a tokenizer and a model, and return the folder of the model."""
    tokenizer = "stage:words"
    stages = {
        "words": Stage("texts", use="train_tokenizer", params={"size": 4096}),
        "tokens": Stage("texts", operators=[Step("tokenize", {"tokenizer": tokenizer}, into="tokens")]),
        "packed": Stage(["texts", "tokens"], use="pack", params={"tokenizer": tokenizer, "length": LENGTH}),
        "proxy": Stage("packed", use="train_proxy", params={"size": "2M", "tokens": TOKENS, "batch_tokens": 4096, "max_epochs": 100}),
    }
    report = run_pipeline(Pipeline("lm_eval", {"texts": Input(str(texts))}, stages), str(folder / "workspace"), on="local", workers=2)
    if report["error"]:
        raise SystemExit(report["error"]["message"])
    return Path(next(stage["dataset"] for stage in report["stages"] if stage["name"] == "proxy"))


def scored(folder: Path, rows: list[dict[str, Any]], pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """Score with ours."""
    model = read_model(str(folder))
    begun = time.process_time()
    items = [list(questions(pa.RecordBatch.from_pylist(each), "asked")) for each in (rows, pairs)]
    measured = [answer_bits(model, each) for each in items]
    seconds = time.process_time() - begun
    found, told = (marks(each, bits, tokens) for each, (bits, tokens) in zip(items, measured, strict=True))
    nats = {
        item.id: -each * math.log(2) for own, (bits, _) in zip(items, measured, strict=True) for item, each in zip(own, bits, strict=True)
    }

    def differs(theirs: dict[str, Any]) -> float:
        """Return the greatest relative difference of a log-likelihood."""
        pairs = [(nats[name], np.array(other)) for name, other in theirs["loglikelihoods"].items()]
        return float(max((np.abs(own - other) / np.abs(other)).max() for own, other in pairs))

    means = {"acc": found.right, "acc_bytes": found.right_per_byte, "acc_pairs": told.right}
    accuracy = {name: float(values.mean()) for name, values in means.items()}
    return {"seconds": seconds, "differs": differs, "answers": sum(map(len, nats.values())), **accuracy}


def harness(peer: str, model: Path, files: list[Path]) -> dict[str, Any]:
    """Score with lm-eval; torch and transformers are those of this environment."""
    script = Path(__file__).parent / "peers" / "lm_eval_scores.py"
    environment = os.environ | {
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(files[0].parent / "cache"),
    }
    command = [peer, "-P", str(script), str(model), *map(str, files)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"lm-eval failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def table(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """Return the comparison as Markdown."""
    lines = [
        "| | lm-eval | `evaluate_proxy` |",
        "|---|---|---|",
        *(f"| {name} | {theirs[name]:.4f} | {ours[name]:.4f} |" for name in ("acc", "acc_bytes", "acc_pairs")),
        f"| seconds of CPU | {theirs['seconds']:.1f} | {ours['seconds']:.1f} |",
        "",
        f"{ours['answers']:,} answers; the greatest relative difference of a log-likelihood is {ours['differs'](theirs):.1e}.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
