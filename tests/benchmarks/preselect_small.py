"""`python -m tests.benchmarks.preselect_small [--write]`: does PreSelect find the domains that are useful for a target?

For each seed: pools of planted domains are drawn, six models trained, and a tenth of the pool's characters is selected for each target
by `pipelines/preselect.yaml`, at random, by the loss under the model that is best at the target, and by
`pipelines/dclm_classifier.yaml`. What counts is the share of characters from the domains that are useful for the target, which
`preselect_small_pool.py` says. The seed varies the documents of pool and training text, the models, and thus the classifier's data.

Options of the recipe that a small pool needs were chosen with `--targets uspto_backgrounds hackernews enron_emails --seeds 101 102`,
never on the targets and seeds that are reported. A seed that is done stays in `--work`, and is not run again.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import orjson

from tests.benchmarks import preselect_small_figure as figure
from tests.benchmarks import preselect_small_methods as methods
from tests.benchmarks import preselect_small_pool as pools
from tests.benchmarks import preselect_small_table as tables
from tests.benchmarks import readme
from tests.benchmarks.fidelity_corpus import DATA
from tests.benchmarks.peers import make_env
from tests.benchmarks.preselect_small_table import Found

NAME = "PreSelect in small"


def folder_of(seed: int, names: Sequence[str], work: Path) -> Path:
    """Return the folder of a seed and its targets."""
    return work / f"{'+'.join(names)}-{seed}"


def spread(name: str, folders: Sequence[Path]) -> float:
    """Return by how many bits per byte of a target the best model is ahead of the worst, the mean of families."""
    families = [orjson.loads((folder / "family/family.json").read_bytes())["models"] for folder in folders]
    scores = [[model["scores"][name] for model in models] for models in families]
    return statistics.fmean(max(each) - min(each) for each in scores)


def measured(seed: int, names: Sequence[str], work: Path) -> list[Found]:
    """Return what every method selects of one seed's pool for each target, from the work folder if it is there."""
    folder = folder_of(seed, names, work)
    done = folder / "found.json"
    if not done.exists():
        done.write_bytes(orjson.dumps(measure(seed, names, folder), option=orjson.OPT_INDENT_2))
    return [Found(**row) for row in orjson.loads(done.read_bytes())]


def measure(seed: int, names: Sequence[str], folder: Path) -> list[Found]:
    """Run every method on the pool of one seed."""
    targets = {name: pools.TARGETS[name] for name in names}
    bench = methods.Bench(pools.draw(seed, folder, targets))
    family = methods.make_family(bench, names, seed, methods.models_of_recipe())
    told(seed, "models are trained")
    by_seed = {
        "random": methods.lowest(bench, methods.drawn(bench, seed)),
        "DCLM, instructions": methods.dclm(bench, bench.pool.instructions),
    }
    found: list[Found] = []
    for name, target in targets.items():
        scores = [model["scores"][name] for model in family["models"]]
        chosen = {**by_seed, **_for_target(bench, name, scores, family["models"][int(np.argmax(scores))]["folder"])}
        for method, ids in {**chosen, tables.POOL: [row["id"] for row in bench.pool.rows]}.items():
            found.append(Found(seed, name, method, *bench.pool.useful(ids, target), len(ids)))
        told(seed, f"{name} is done")
    return found


def _for_target(bench: methods.Bench, name: str, scores: Sequence[float], best: str) -> dict[str, list[str]]:
    """Return the ids that each method selects for a target; `best` is the model that is best at it."""
    recipe = methods.preselect(bench, scores)
    losses = methods.bits_per_byte(bench, best)
    middle = statistics.median(losses.values())
    return {
        "PreSelect": methods.ids_of(recipe["corpus"]),
        tables.TAUGHT: methods.ids_of(recipe["teaches"]),
        "lowest loss": methods.lowest(bench, losses),
        "middle loss": methods.lowest(bench, {document: abs(loss - middle) for document, loss in losses.items()}),
        "DCLM, the target": methods.dclm(bench, bench.pool.target(name)),
    }


def told(seed: int, words: str) -> None:
    """Tell how far a seed is."""
    print(f"seed {seed}: {words}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure, print, and on request write the table and the figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--targets", nargs="+", choices=list(pools.TARGETS), default=list(pools.REPORTED))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--work", type=Path, default=make_env.WORK / "preselect_small")
    parser.add_argument("--write", action="store_true", help="put the table into README.md and the figure beside it")
    args = parser.parse_args()
    if absent := pools.missing():
        sys.exit(f"no {', '.join(absent)} in {DATA} (set CURATE_TEST_DATA)")
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes to come: threads that wait for each other waste a shared machine
    with ProcessPoolExecutor(args.processes, get_context("spawn")) as executor:
        done = [executor.submit(measured, seed, tuple(args.targets), args.work) for seed in args.seeds]
        rows = [row for each in done for row in each.result()]
    folders = [folder_of(seed, args.targets, args.work) for seed in args.seeds]
    spreads = {name: spread(name, folders) for name in args.targets}
    text = tables.text(rows, {name: pools.TARGETS[name] for name in args.targets}, spreads)
    print(text)
    if args.write:
        readme.write(NAME, text)
        figure.FILE.write_text(figure.draw(rows))


if __name__ == "__main__":
    main()
