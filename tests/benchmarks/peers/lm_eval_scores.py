"""`python lm_eval_scores.py MODEL QUESTIONS.jsonl PAIRS.jsonl`: lm-evaluation-harness on questions and minimal pairs of local files.

Runs in lm-eval's environment, with torch and transformers of ours beside it, so that both score the same network. Of a pair nothing stands
before either sentence. Prints one JSON object: `loglikelihoods` of every answer by item, the accuracies, and `seconds` of CPU.
"""

from __future__ import annotations

import json
import logging
import sys
import time


def main(model: str, questions: str, pairs: str) -> None:
    """Score the files and print what came out."""
    from lm_eval import evaluator
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.models.huggingface import HFLM

    logging.disable(logging.WARNING)
    shared = {
        "dataset_path": "json",
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{gold}}",
    }
    metrics = [{"metric": "acc"}, {"metric": "acc_norm"}, {"metric": "acc_bytes"}]
    own = {
        "asked": {"doc_to_text": "{{text}}", "metric_list": metrics, "dataset_kwargs": {"data_files": {"test": questions}}},
        "pairs": {"doc_to_text": "", "target_delimiter": "", "metric_list": metrics[:1], "dataset_kwargs": {"data_files": {"test": pairs}}},
    }
    tasks = {name: ConfigurableTask(config={"task": name} | shared | told) for name, told in own.items()}
    loaded = HFLM(pretrained=model, device="cpu", dtype="float32", batch_size=8)
    begun = time.process_time()
    found = evaluator.evaluate(loaded, tasks, bootstrap_iters=0, log_samples=True)
    seconds = time.process_time() - begun
    every = [sample for samples in found["samples"].values() for sample in samples]
    samples = {sample["doc"]["id"]: [resp[0] for resp in sample["filtered_resps"]] for sample in every}
    scores = {name.partition(",")[0]: value for name, value in found["results"]["asked"].items() if isinstance(value, float)}
    scores["acc_pairs"] = found["results"]["pairs"]["acc,none"]
    print(json.dumps({"loglikelihoods": samples, "seconds": seconds, **scores}))


if __name__ == "__main__":
    main(*sys.argv[1:])
