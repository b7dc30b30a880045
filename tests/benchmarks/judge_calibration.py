"""`python -m tests.benchmarks.judge_calibration [--write]`: what a judge's numbers are worth, by labels that people gave.

Pages of `quality_dclm_human` are judged by `llm_judge` with each of its rubrics, three votes each, the model served by vLLM on this
machine's processor (`make test-llm` makes it). `calibrate_labels` fits the mean of the votes to the labels of half of the pages, chosen by
the hash of their ids, and measures on the other half. The length of a page is fitted and measured in the same way: a judge that says less
about quality than length does is not worth asking.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import yaml

import curate
from curate import run_pipeline
from curate.hashing import hash64
from curate_operators.prompt_sets import FOLDER
from tests.benchmarks import readme
from tests.benchmarks.quality_scorers_sets import Rows, read
from tests.llm.environment import SMOLLM2
from tests.llm.servers import VllmProcess

NAME = "judge_calibration"
RUBRICS = ("education", "cleanliness")
VOTES = 3
INPUT_TOKENS, CONTEXT = 500, 2048


def sample(count: int) -> Rows:
    """Return so many labelled pages, those of the lowest hashes."""
    rows = read("quality_dclm_human")
    order = hash64(pa.array([row["id"] for row in rows]), 0)
    return [row for _, row in sorted(zip(order.tolist(), rows, strict=True), key=lambda pair: pair[0])][:count]


def write(folder: Path, rows: Rows, llm: Mapping[str, Any]) -> Path:
    """Write the pages, rubrics with shorter windows, and the pipeline."""
    docs = [{"id": row["id"], "text": row["text"], "good": row["label"]} for row in rows]
    (folder / "docs.jsonl").write_bytes(b"".join(orjson.dumps(doc) + b"\n" for doc in docs))
    rubrics = yaml.safe_load((FOLDER / "judge.yaml").read_text())
    for rubric in rubrics["styles"].values():
        rubric["max_input_tokens"] = INPUT_TOKENS
    (folder / "rubrics.yaml").write_text(yaml.safe_dump(rubrics))
    stages: dict[str, Any] = {"length": {"from": "docs", "emits": "attributes", "operators": [{"use": "measure", "into": "of"}]}}
    stages["length_fitted"] = _fitted("length", "length.of.words")
    for rubric in RUBRICS:
        params = {"llm": dict(llm), "rubric": rubric, "votes": VOTES, "prompt_file": "rubrics.yaml"}
        judge = {"use": "llm_judge", "into": "judge", "params": params}
        stages[rubric] = {"from": "docs", "emits": "attributes", "max_errors": len(rows), "operators": [judge]}
        stages[f"{rubric}_fitted"] = _fitted(rubric, f"{rubric}.judge.score")
    pipeline = {"name": "judges", "inputs": {"docs": {"path": "docs.jsonl"}}, "stages": stages}
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    return folder / "pipeline.yaml"


def _fitted(stage: str, column: str) -> dict[str, Any]:
    return {"from": ["docs", stage], "use": "calibrate_labels", "params": {"column": column, "label": "good"}}


def table(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield a row for each judge, and for the length."""
    stages = {stage["name"]: stage for stage in report["stages"]}
    yield "| judged by | votes of use | agreement of these | fitted | held out | AUC (95 %) | rank correlation | labels agreed with | commonest label | chances off by |"
    yield "|---|--:|--:|--:|--:|---|--:|--:|--:|--:|"
    for name in (*RUBRICS, "length"):
        [note] = stages[f"{name}_fitted"]["notes"]
        found, documents = note["measures"], curate.load(stages[f"{name}_fitted"]["dataset"]).manifest.about
        votes = "– | –"
        if name != "length":
            judged = [row["judge"] for row in curate.load(stages[name]["dataset"]).scan().collect().to_dicts() if row["judge"]]
            agreement = statistics.fmean(row["agreement"] * VOTES / row["votes"] for row in judged if row["votes"])
            votes = f"{sum(row['votes'] for row in judged) / (VOTES * len(judged)):.1%} | {agreement:.1%}"
        auc = f"{found['auc']:.3f} ({found['low']:.3f}–{found['high']:.3f})"
        yield (
            f"| {name} | {votes} | {documents['documents'] - documents['held']} | {documents['held']} | {auc} "
            f"| {found['rank_correlation']:.3f} | {found['agreement']:.1%} | {found['commonest_label']:.1%} | {found['off']:.3f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--documents", type=int, default=160)
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    arguments = parser.parse_args()
    rows = sample(arguments.documents)
    with tempfile.TemporaryDirectory() as name, VllmProcess(SMOLLM2, max_model_len=CONTEXT) as server:
        llm = server.settings | {"temperature": 0.7, "max_tokens": 100, "concurrency": 32}
        report = run_pipeline(write(Path(name), rows, llm), str(Path(name) / "workspace"), on="local", workers=1)
        assert report["status"] == "done", report["error"]
        text = "\n".join([f"{server.name}, {VOTES} votes, the first {INPUT_TOKENS} tokens of {len(rows)} pages.", "", *table(report)])
    sys.stdout.write(text + "\n")
    if arguments.write:
        readme.write(NAME, text)


if __name__ == "__main__":
    main()
