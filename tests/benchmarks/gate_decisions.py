"""`python -m tests.benchmarks.gate_decisions [--write]`: does the gate see what it should, and nothing else?

Doses: a clean corpus against the same with 5 to 50 % of its documents spoilt in four ways. Nothing: two disjoint halves of the clean
corpus, drawn anew each time, of which neither is better; how often the gate tells them apart should be its level, one in twenty.
Every comparison is what a user runs: `tokenize`, `pack`, `proxy_trials` and `proxy_compare` in one pipeline. All of them train models of
one size with one budget and one tokenizer; each repetition of nothing has seeds of its own, as few as are allowed. The workspace under
`--work` keeps what was trained, so that a benchmark that was stopped goes on. With `--write` the answers are written down as they come,
`gate_decisions.json`, and those that are there for the same settings are not asked for again. Two hours on two cores; products are in
bfloat16, which halves them where the processor has it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import curate
from curate.pipeline import Check, Input, Pipeline, Stage, Step
from tests.benchmarks import gate_corpora as corpora
from tests.benchmarks import gate_figure as figure
from tests.benchmarks import readme
from tests.benchmarks.gate_table import Found, Record, text_of
from tests.benchmarks.peers import make_env

NAME = "decisions of the gate"
DOSES = (0.05, 0.1, 0.25, 0.5)
HELD_OUT, HELD_OUT_LONGEST = 280, 800  # documents, a tenth, and the characters that are measured of each
CLEAN = "clean"


@dataclass(frozen=True)
class Bench:
    """Where it all lies, and how models are trained."""

    work: Path
    size: str
    tokens: int
    seeds: int
    fewest: int
    precision: str
    workers: int

    def file(self, name: str) -> Path:
        """Return the file of a corpus."""
        return self.work / "corpora" / f"{name}.jsonl"


def judged(bench: Bench, name: str, files: Mapping[str, Path], seeds: range) -> list[Found]:
    """Train on every corpus, and compare the first with each of the others."""
    inputs = {"pool": bench.file("pool"), "held_out": bench.file("held_out"), **files}
    stages = {"words": Stage("pool", use="train_tokenizer", params={"size": 4096})}
    for corpus in files:
        tokens = Step("tokenize", into="tokens", params={"tokenizer": "stage:words"})
        stages[f"{corpus}_tokens"] = Stage(corpus, operators=[tokens], emits="attributes")
        packed = {"tokenizer": "stage:words", "length": 256, "column": f"{corpus}_tokens.tokens.ids"}
        stages[f"{corpus}_packed"] = Stage([corpus, f"{corpus}_tokens"], use="pack", params=packed)
    params = {"size": bench.size, "tokens": bench.tokens, "seeds": len(seeds), "seed": seeds[0], "precision": bench.precision}
    stages["trials"] = Stage([*(f"{corpus}_packed" for corpus in files), "held_out"], use="proxy_trials", params=params)
    clean, *others = files
    checks = {other: Check("proxy_compare", "trials", {"candidate": f"{other}_packed", "against": [f"{clean}_packed"]}) for other in others}
    pipe = Pipeline(name, {key: Input(str(path)) for key, path in inputs.items()}, stages, checks=checks, folder=bench.work)
    report = curate.run_pipeline(pipe, workspace=str(bench.work / "workspace"), workers=bench.workers)
    if report["status"] == "failed":
        sys.exit(f"{name}: {report['error']}")
    return [Found.of(name, check) for check in report["checks"]]


def doses(bench: Bench, clean: list[str]) -> list[Found]:
    """Compare the clean corpus with each dose of each kind."""
    files = {CLEAN: corpora.write(bench.file(CLEAN), clean)}
    given = {f"{kind.replace(' ', '_')}_{round(100 * dose)}": (kind, dose) for kind in corpora.KINDS for dose in DOSES}
    for name, (kind, dose) in given.items():
        files[name] = corpora.write(bench.file(name), corpora.spoil(clean, kind, dose, seed=1))
    answers = judged(bench, "doses", files, range(1, 1 + bench.seeds))
    found = [each.with_dose(*one) for each, one in zip(answers, given.values(), strict=True)]
    for kind in corpora.KINDS:
        told(f"{kind}: {', '.join(each.answer for each in found if each.kind == kind)}")
    return found


def nothing(bench: Bench, clean: list[str], numbers: range) -> Iterator[Found]:
    """Yield comparisons of halves of the clean corpus, each number another draw."""
    for i in numbers:
        order = corpora.drawn(clean, 1000 + i)
        half = len(order) // 2
        files = {f"half_{i}a": order[:half], f"half_{i}b": order[half : 2 * half]}
        written = {name: corpora.write(bench.file(name), texts) for name, texts in files.items()}
        first = 1 + bench.seeds + i * bench.fewest
        [found] = judged(bench, f"nothing_{i}", written, range(first, first + bench.fewest))
        told(f"nothing {i}: {found.answer}, p = {found.p:.2f}")
        yield found


def told(words: str) -> None:
    """Tell how far the benchmark is."""
    print(words, file=sys.stderr, flush=True)


def main() -> None:
    """Measure, print, and on request write the table and the figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", default="2M")
    parser.add_argument("--tokens", type=int, default=100_000, help="of each training")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--fewest-seeds", type=int, default=3, help="of nothing against nothing: where a level is hardest to keep")
    parser.add_argument("--precision", default="bfloat16", help="of matrix products")
    parser.add_argument("--times", type=int, default=20, help="how often nothing is compared with nothing")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", type=Path, default=make_env.WORK / "gate_decisions")
    parser.add_argument("--write", action="store_true", help="put the table into README.md and the figure beside it")
    args = parser.parse_args()
    if absent := corpora.missing():
        sys.exit(f"no {', '.join(absent)} in {corpora.DATA} (set CURATE_TEST_DATA)")
    bench = Bench(args.work, args.size, args.tokens, args.seeds, args.fewest_seeds, args.precision, args.workers)
    texts = corpora.prose(seed=1)
    held_out, clean = texts[:HELD_OUT], texts[HELD_OUT:]
    corpora.write(bench.file("held_out"), [text[:HELD_OUT_LONGEST] for text in held_out])
    corpora.write(bench.file("pool"), clean)
    how = f"{args.size}, {args.tokens:,} tokens, {args.seeds} seeds ({args.fewest_seeds} of halves), {len(held_out)} documents held out"
    record = Record.read(how) if args.write else Record(how)
    record.spoilt = record.spoilt or doses(bench, clean)
    for found in nothing(bench, clean, range(len(record.nothing) + 1, args.times + 1)):
        record.nothing.append(found)
        if args.write:
            record.write()
    text = text_of(record.spoilt, record.nothing, how)
    print(text)
    if args.write:
        record.write()
        readme.write(NAME, text)
        figure.FILE.write_text(figure.draw(record.spoilt, record.nothing))


if __name__ == "__main__":
    main()
