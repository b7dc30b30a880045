"""`python -m tests.benchmarks.fasttext_speed [--work FOLDER] [--write]`: the operator `fasttext` beside the official binding and datatrove.

Everyone scores the same web pages with the same models, in turn, on one thread; CPU time, medians over rounds, and every probability is
compared. The operator gets an Arrow column and gives one; loading a model is not counted. The binding gets what is best for it: a list of
Python strings whose line feeds, which it refuses, are spaces already, and answers for all of them in one call. Models are trained on
other documents, each in a process of its own (`tests/scorers/fasttext_models.py` says why).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from curate_operators.language import SHIPPED_MODEL
from curate_scorers.fasttext_score import FastText
from tests.benchmarks import readme
from tests.benchmarks.peers import make_env
from tests.scorers import fasttext_models

NAME = "fastText speed"
HERE = Path(__file__).parent
DATA = Path(os.environ.get("CURATE_TEST_DATA", HERE.parents[2] / "shared" / "data"))
WEB = "pile_cc"  # scored, the other domains of `pile_slices` are trained on
WANTED = ("wikipedia_(en)", "pubmed_abstracts", "nih_exporter")
EVERY = 4  # one document of so many is trained on
OPTIONS: Mapping[str, Any] = {"dim": 100, "bucket": 200_000, "epoch": 1}  # as in pipelines/preselect.yaml, which has more epochs
QUANTISED: Mapping[str, Any] = {"quantise": {"qnorm": True, "cutoff": 50_000}}
LARGE: Mapping[str, Any] = {"wordNgrams": 2, "bucket": 2_000_000}  # fastText's default
PARTS: Mapping[str, Any] = {"minn": 3, "maxn": 6}
CLOSE = 2e-5  # the official library adds 1e-5 to probabilities, along a tree at every step
OURS, OFFICIAL, DATATROVE = "`fasttext`", "official, a list", "datatrove's filter"

Scores = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Model:
    """A model to measure: how it is trained, and the label whose probability is asked for; None = the likeliest."""

    name: str
    file: str
    options: Mapping[str, Any]
    label: str | None = "wanted"
    chars: int | None = None  # of a page that are scored; None = all

    @property
    def grams(self) -> bool:
        """Whether it is of words and word n-grams alone."""
        return "maxn" not in self.options and self.file != SHIPPED_MODEL.name


def models() -> list[Model]:
    """Return what is measured."""
    grams = [Model(f"words, n-grams to {n}" if n > 1 else "words", f"grams{n}.bin", {"wordNgrams": n}) for n in (1, 2, 3)]
    found = [*grams, *(Model(f"{one.name}, quantised", f"{one.file[:-4]}.ftz", {**one.options, **QUANTISED}) for one in grams)]
    found += [Model("words, n-grams to 2, `bucket: 2000000`", "large.bin", LARGE)]
    found += [Model("the same, the first 100 characters of pages", "large.bin", LARGE, chars=100)]
    found += [Model("words and parts of 3–6 characters", "parts.bin", PARTS)]
    found += [Model("words and parts, quantised", "parts.ftz", {**PARTS, **QUANTISED})]
    found += [Model("n-grams to 2, hierarchical softmax", "tree.bin", {"wordNgrams": 2, "loss": "hs"}, None)]
    return [*found, Model("`lid.176.ftz`: parts, a tree of 176", SHIPPED_MODEL.name, {}, None)]


def rows(folder: str) -> list[dict[str, Any]]:
    """Return the rows of a set."""
    with pa.input_stream(str(DATA / folder / "docs.jsonl.zst"), compression="zstd") as stream:
        return [orjson.loads(line) for line in stream.read().splitlines()]


def corpus() -> tuple[list[str], list[tuple[str, str]]]:
    """Return web pages to score, and documents to train on with their domains."""
    slices = rows("pile_slices")
    web = [row["text"] for row in slices if row["domain"] == WEB] + [row["text"] for row in rows("web_c4_demo")]
    return web, [(row["text"], row["domain"]) for row in slices if row["domain"] != WEB][::EVERY]


def train(model: Model, documents: Sequence[tuple[str, str]], folder: Path) -> Path:
    """Return the file of a model."""
    path = SHIPPED_MODEL if not model.options else folder / model.file
    if path.exists():
        return path
    names = {domain: "wanted" if domain in WANTED else "other" for _, domain in documents} if model.label else {}
    lines = [f"__label__{names.get(domain, domain)} {' '.join(text.split())}\n" for text, domain in documents]
    text = folder / f"{model.file}.txt"
    text.write_text("".join(lines))
    return fasttext_models.train(text, path, **{**OPTIONS, **model.options})


def ours(model: Model, path: Path, texts: Sequence[str]) -> Callable[[], Any]:
    """Return a pass of the operator over a column."""
    operator = FastText(str(path), model.label)
    batch = pa.record_batch([pa.array(map(str, range(len(texts)))), pa.array(texts, pa.large_string())], ["id", "text"])
    return lambda: operator.score(batch)


def official(model: Model, path: Path, texts: Sequence[str]) -> Callable[[], Any]:
    """Return a pass of the binding over a list; it has no way to ask for one label but to ask for all."""
    from fasttext.FastText import _FastText  # not fasttext.load_model, which some builds let print to stderr

    binding, lines = _FastText(model_path=str(path)), [one_line(text) for text in texts]
    return lambda: binding.predict(lines, k=-1 if model.label else 1)


def one_line(text: str) -> str:
    """Return a text as fastText takes it; a carriage return or a zero byte is white space to it already."""
    return text.replace("\n", " ")


class Peer:
    """datatrove's filter in a process of its own, which answers round by round."""

    def __init__(self, python: str, path: Path, texts: Sequence[str]) -> None:
        command = [python, str(HERE / "fasttext_speed_peer.py")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._request = json.dumps({"model": str(path), "texts": list(texts)})

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def scores(self) -> list[dict[str, float]]:
        """Return the probabilities of each text's labels."""
        return list(self._answer(self._request)["scores"])

    def seconds(self) -> float:
        """Return the CPU seconds of one pass."""
        return float(self._answer("")["seconds"])

    def _answer(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found


def chosen(model: Model, labels: Sequence[str], probabilities: Sequence[float]) -> float:
    """Return the probability that was asked for, of labels and their probabilities."""
    return float(max(probabilities) if model.label is None else dict(zip(labels, probabilities, strict=True))[f"__label__{model.label}"])


def compare(model: Model, answers: Mapping[str, Any]) -> None:
    """Raise `AssertionError` where a probability differs from ours by more than what the official library adds."""
    found = answers[OURS]
    own = np.array(found.fill_null(0.0) if model.label else found.field("probability").fill_null(0.0), np.float64)
    for name, answer in answers.items():
        if name != OURS:
            told = zip(*answer, strict=True) if name == OFFICIAL else ((list(one), list(one.values())) for one in answer)
            theirs = np.array([chosen(model, labels, values) if len(labels) else 0.0 for labels, values in told])
            np.testing.assert_allclose(theirs, own, rtol=0, atol=CLOSE, err_msg=f"{model.name}: {name}")


def seconds(work: Callable[[], Any]) -> float:
    """Return the CPU seconds of one call."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def measure(model: Model, path: Path, texts: Sequence[str], rounds: int, python: str | None) -> dict[str, list[float]]:
    """Return the seconds of everyone in every round, in turn, after a first one that warms up and is compared."""
    passes = {OURS: ours(model, path, texts), OFFICIAL: official(model, path, texts)}
    taken: dict[str, list[float]] = {name: [] for name in passes}
    with ExitStack() as stack:
        peer = stack.enter_context(Peer(python, path, texts)) if python else None
        answers = {name: work() for name, work in passes.items()}
        compare(model, answers | ({DATATROVE: peer.scores()} if peer else {}))
        for _ in range(rounds):
            for name, work in passes.items():
                taken[name].append(seconds(work))
            if peer:
                taken.setdefault(DATATROVE, []).append(peer.seconds())
    return taken


def line(model: Model, path: Path, texts: Sequence[str], taken: Mapping[str, Sequence[float]]) -> str:
    """Return a model's row: speeds, and how many times ours is faster, the median over rounds."""
    size = sum(len(text.encode()) for text in texts) / 1e6
    speeds = [f"{size / statistics.median(times):.1f}" for times in taken.values()]
    faster = [f"{ratio(taken[OURS], taken[name]):.2f} ×" for name in taken if name != OURS]
    return f"| {model.name} | {path.stat().st_size / 1e6:,.0f} MB | {' | '.join([*speeds, *faster])} |"


def ratio(own: Sequence[float], theirs: Sequence[float]) -> float:
    """Return how many times as long they take, the median over rounds."""
    return statistics.median(b / a for a, b in zip(own, theirs, strict=True))


def verdict(ratios: Sequence[tuple[Model, float]]) -> str:
    """Say in words whether the goal is met, and where not."""
    missed = [f"{one.name} ({found:.2f} ×)" for one, found in ratios if found < (1.2 if one.grams else 1.0)]
    told = f"missed on {', '.join(missed)}" if missed else "met"
    return f"Goal, 1.2 × the binding on words and their n-grams and never slower elsewhere: {told}."


def report(python: str | None, rounds: int) -> str:
    """Train, measure, and return the table; `python` is that of datatrove's environment."""
    texts, documents = corpus()
    columns = [OURS, OFFICIAL, *([DATATROVE] if python else [])]
    heads = ["model", "file", *(f"{name}, MB/s" for name in columns), *(f"faster than {name}" for name in columns[1:])]
    lines, ratios = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"], []
    with tempfile.TemporaryDirectory() as folder:
        for model in models():
            path, asked = train(model, documents, Path(folder)), [text[: model.chars] for text in texts]
            taken = measure(model, path, asked, rounds, python)
            ratios.append((model, ratio(taken[OURS], taken[OFFICIAL])))
            lines.append(line(model, path, asked, taken))
            print(lines[-1], file=sys.stderr)
    size = sum(len(text.encode()) for text in texts)
    told = f"{len(texts):,} web pages, {size / 1e6:.1f} MB of text; one thread, CPU time, medians of {rounds} rounds in turn."
    absent = [] if python else ["datatrove's filter is left out: its environment is not there, or has no `fasttext` (`make peers`)."]
    return "\n\n".join([told, *absent, "\n".join(lines), verdict(ratios)])


def peer_python(work: Path) -> str | None:
    """Return the interpreter of datatrove's environment if fastText is in it."""
    python = make_env.interpreter(work, "datatrove")
    found = python and not subprocess.run([python, "-c", "import fasttext"], stderr=subprocess.DEVNULL, check=False).returncode
    return python if found else None


def main() -> None:
    """Measure, print, and on request write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=make_env.WORK)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    options = parser.parse_args()
    if absent := [name for name in ("pile_slices", "web_c4_demo") if not (DATA / name).is_dir()]:
        print(f"skipped: no {', '.join(absent)} in {DATA} (set CURATE_TEST_DATA)", file=sys.stderr)
        return
    told = report(peer_python(options.work), options.rounds)
    print(told)
    if options.write:
        readme.write(NAME, told)


if __name__ == "__main__":
    main()
