"""`python -m tests.benchmarks.refiner [--write]`: a refiner trained here on real pages, and how well it cleans pages of other sites.

The whole loop, as a user would run it: pages with programs become examples (`prox_examples`), a tokenizer and a small model are trained
from nothing on their text (`train_tokenizer`, `train_proxy`), the model learns to write programs (`train_refiner`), vLLM serves it
(`python -m tests.llm.environment` makes that environment), and `prox_chunk` cleans the pages of the held-out sites with it. Pages and
labels: `refiner_pages.py`. The table has lines that go (each counts as one) and words that stay; rules that see the page's HTML see
more than a refiner does. With `--base FOLDER` a model that was trained before takes the place of the one from nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import timeit
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from curate import Input, Pipeline, Resources, Stage, Step, load, run_pipeline
from tests.benchmarks import readme
from tests.benchmarks import refiner_pages as pages
from tests.benchmarks.refiner_pages import Lined

NAME = "refiner"
DATA = Path(os.environ.get("CURATE_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
PROMPTS = Path(__file__).with_name("refiner_prompts.yaml")
LET_PASS = (1, 10)  # errors of a page's programs: ProX's limit, and one that a weak model keeps more often
LENGTH = 1024  # tokens of an example
FROM_NOTHING: Mapping[str, Any] = {"epochs": 4, "batch_examples": 16, "rate": 1e-3, "matrix_rate": 0.005, "held_out": 0.05}
FROM_BASE: Mapping[str, Any] = {"epochs": 2, "batch_examples": 8, "rate": 3e-4, "held_out": 0.05}


def write(folder: Path, trained: Sequence[Lined], judged: Sequence[Lined]) -> None:
    """Write the pages as documents, those to train on with their programs."""
    for name, found in (("trained", trained), ("judged", judged)):
        rows = [
            {"id": f"{number:04d}", "url": each.page.url, "text": each.text, "program": each.program} for number, each in enumerate(found)
        ]
        (folder / f"{name}.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def fastest() -> str:
    """Return the type of numbers whose matrix products are fastest here: not every processor with instructions for bfloat16 gains by them."""
    import torch

    def seconds(kind: Any) -> float:
        rows, weights = torch.ones(2048, 576, dtype=kind), torch.ones(576, 1536, dtype=kind)
        return min(timeit.repeat(lambda: rows @ weights, number=1, repeat=10))

    return min(("float32", "bfloat16"), key=lambda name: seconds(getattr(torch, name)))


def training(folder: Path, base: str | None, size: str, tokens: int, epochs: int | None) -> Pipeline:
    """Return the pipeline from pages with programs to a refiner."""
    tokenizer = "stage:words" if base is None else f"{base}/tokenizer.json"
    precision = fastest()
    make = Step("prox_examples", {"program": "program", "prompt_file": str(PROMPTS), "tokenizer": tokenizer})
    stages = {"examples": Stage("trained", operators=[make])}
    if base is None:
        stages |= {
            "words": Stage("trained", use="train_tokenizer", params={"size": 4096}),
            "tokens": Stage("examples", operators=[Step("tokenize", {"tokenizer": tokenizer}, into="tokens")]),
            "packed": Stage(["examples", "tokens"], use="pack", params={"tokenizer": tokenizer, "length": LENGTH}),
            "base": Stage("packed", use="train_proxy", params={"size": size, "tokens": tokens, "max_epochs": 20, "precision": precision}),
        }
    params = {"base": "stage:base"} | dict(FROM_NOTHING) if base is None else {"base": base} | dict(FROM_BASE)
    params |= {"epochs": epochs} if epochs else {}
    params |= {"max_tokens": LENGTH, "precision": precision}
    stages["refiner"] = Stage("examples", use="train_refiner", params=params, resources=Resources(cpus=os.cpu_count() or 1))
    return Pipeline("refiner", {"trained": Input(str(folder / "trained.jsonl"))}, stages)


def cleaned(folder: Path, workspace: str, refiner: Path, tokenizer: str) -> dict[int, list[dict[str, Any]]]:
    """Serve the refiner by vLLM, clean the held-out pages with it, and return what was done to each, by the errors that are let pass."""
    from tests.llm.servers import VllmProcess

    with VllmProcess(refiner, max_model_len=LENGTH) as server:
        params = {"llm": server.settings, "trained": True, "prompt_file": str(PROMPTS), "tokenizer": tokenizer}
        stages = {
            f"errors_{most}": Stage("judged", operators=[Step("prox_chunk", params | {"max_program_errors": most})], max_errors=1000)
            for most in LET_PASS
        }
        pipeline = Pipeline("cleaned", {"judged": Input(str(folder / "judged.jsonl"))}, stages)
        report = run_pipeline(pipeline, workspace, on="local", workers=1)
    made = {stage["name"]: load(stage["dataset"]) for stage in report["stages"]}
    return {most: made[f"errors_{most}"].scan().collect().to_dicts() for most in LET_PASS}


def stays(judged: Sequence[Lined], rows: Sequence[Mapping[str, Any]]) -> list[list[bool]]:
    """Return which lines stay of each page; a page that the server refused is not there, and stays whole."""
    gone = {row["url"]: set(row["prox"]["lines"]) for row in rows}
    return [[number not in gone.get(each.page.url, ()) for number in range(len(each.lines))] for each in judged]


def table(judged: Sequence[Lined], kept: Mapping[str, Sequence[Sequence[bool]]]) -> Iterator[str]:
    """Yield the lines of a table in Markdown."""
    yield "| what goes | lines that go: precision | recall | F1 | words that stay: precision | recall | F1 |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for name, flags in kept.items():
        found = pages.scores(judged, flags)
        yield f"| {name} | {' | '.join(f'{value:.3f}' for value in (*found.removed, *found.kept))} |"


def told(about: Mapping[str, Any], trained: Sequence[Lined], judged: Sequence[Lined], made: Mapping[int, Any]) -> Iterator[str]:
    """Yield what the model is, and what became of the pages."""
    gold = sum(bool(each.page.text) for each in trained)
    best = next(each for each in about["judged"] if each["step"] == about["kept_step"])
    yield f"{about['parameters']:,} parameters learnt from {about['examples']:,} windows of {len(trained)} pages, {gold} of them gold. Of {about['held_out']} windows held"
    yield f"out, {best['exact']:.1%} are answered exactly, and {best['token_accuracy']:.1%} of the tokens are right. Judged on {len(judged)} gold pages of"
    yield f"{len({pages.site(each.page) for each in judged})} other sites, which became:"
    yield ""
    for most, rows in made.items():
        outcomes = Counter(row["prox"]["outcome"] for row in rows) + Counter({"without answer": len(judged) - len(rows)})
        yield f"- with {most} errors let pass: {', '.join(f'{count} {name}' for name, count in sorted(outcomes.items()))}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    parser.add_argument("--base", help="a Hugging Face folder to begin with, in place of a model from nothing")
    parser.add_argument("--size", default="128x4", help="of the model from nothing")
    parser.add_argument("--tokens", type=int, default=2_000_000, help="that the model from nothing reads before it learns to answer")
    parser.add_argument("--epochs", type=int, help="how often it reads each example; four times from nothing, twice from a base")
    parser.add_argument("--silver", type=int, default=pages.SILVER, help="pages to train on beside the gold ones")
    parser.add_argument("--keep", type=Path, help="a folder for pages, models and the workspace, to go on from")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        text = "\n".join(measured(args, args.keep or Path(temporary)))
    sys.stdout.write(text + "\n")
    if args.write:
        readme.write(NAME, text)


def measured(args: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Train, clean and compare; yield what is to be told."""
    folder.mkdir(parents=True, exist_ok=True)
    trained, judged = pages.read(DATA, args.silver)
    write(folder, trained, judged)
    workspace = str(folder / "workspace")
    report = run_pipeline(training(folder, args.base, args.size, args.tokens, args.epochs), workspace, on="local", workers=2)
    if report["error"]:
        raise SystemExit(report["error"]["message"])
    datasets = {stage["name"]: stage["dataset"] for stage in report["stages"]}
    tokenizer = args.base or datasets["words"]
    made = cleaned(folder, workspace, Path(datasets["refiner"]), f"{tokenizer}/tokenizer.json")
    kept: dict[str, Sequence[Sequence[bool]]] = {name: [rule(each) for each in judged] for name, rule in pages.rules(trained).items()}
    for most, rows in made.items():
        kept[f"**the refiner, from text alone**, {most} errors let pass"] = stays(judged, rows)
    yield from told(load(datasets["refiner"]).manifest.about, trained, judged, made)
    yield ""
    yield from table(judged, kept)


if __name__ == "__main__":
    main()
