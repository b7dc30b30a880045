"""`python lm_eval_scores.py MODEL QUESTIONS.jsonl`: lm-evaluation-harness on multiple-choice questions of a local file.

Runs in lm-eval's environment, with torch and transformers of ours beside it, so that both score the same network. Prints one JSON object:
`loglikelihoods` of every answer by question, `acc` and `acc_bytes`, and `seconds` of CPU.
"""

from __future__ import annotations

import json
import logging
import sys
import time


def main(model: str, questions: str) -> None:
    """Score the questions and print what came out."""
    from lm_eval import evaluator
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.models.huggingface import HFLM

    logging.disable(logging.WARNING)
    task = ConfigurableTask(
        config={
            "task": "asked",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": questions}},
            "test_split": "test",
            "output_type": "multiple_choice",
            "doc_to_text": "{{text}}",
            "doc_to_choice": "{{choices}}",
            "doc_to_target": "{{gold}}",
            "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}, {"metric": "acc_bytes"}],
        }
    )
    loaded = HFLM(pretrained=model, device="cpu", dtype="float32", batch_size=8, add_bos_token=True)
    begun = time.process_time()
    found = evaluator.evaluate(loaded, {"asked": task}, bootstrap_iters=0, log_samples=True)
    seconds = time.process_time() - begun
    samples = {sample["doc"]["id"]: [resp[0] for resp in sample["filtered_resps"]] for sample in found["samples"]["asked"]}
    scores = {name.partition(",")[0]: value for name, value in found["results"]["asked"].items() if isinstance(value, float)}
    print(json.dumps({"loglikelihoods": samples, "seconds": seconds, **scores}))


if __name__ == "__main__":
    main(*sys.argv[1:])
