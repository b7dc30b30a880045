"""A family of models, made in seconds: its order is that of its losses on the target, and documents like the target tell it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate_scorers.lm_loss import LmLoss
from curate_scorers.predictive_strength import PredictiveStrength
from tests.engine import small

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("tokenizers")

from curate_scorers import make_model_family
from curate_scorers.make_model_family_ranking import MEASURED_TOKENS
from curate_scorers.make_model_family_training import Recipe, recipes

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = ("--width", "32", "--layers", "1", "--vocabulary", "300", "--window", "64")
WORDS = {"trees": "oak elm ash fir yew bark leaf root twig seed", "metals": "iron zinc lead gold tin rust ore cast mint coil"}


def sentences(kind: str, count: int, seed: int) -> list[str]:
    """Return documents of the words of a kind."""
    draw = random.Random(f"{kind}{seed}")
    return [" ".join(draw.choices(WORDS[kind].split(), k=40)) for _ in range(count)]


def make(folder: Path, *options: str) -> dict[str, Any]:
    """Make a family of texts about trees and metals, for a target about metals, by the command; return its `family.json`."""
    for kind in WORDS:
        small.write_jsonl(folder / f"{kind}.jsonl", [{"text": text} for text in sentences(kind, 150, 1)])
    (folder / "target.txt").write_text("\n".join(sentences("metals", 20, 2)))
    text = [str(folder / f"{kind}.jsonl") for kind in WORDS]
    arguments = ["--out", str(folder / "family"), "--text", *text, "--target", str(folder / "target.txt"), *SMALL, *options]
    assert make_model_family.main(arguments) == 0
    family: dict[str, Any] = orjson.loads((folder / "family/family.json").read_bytes())
    return family


@pytest.fixture(scope="module")
def made(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("made")
    return folder, make(folder, "--models", "3", "--tokens", "80000")


def test_models_stand_in_the_order_of_their_scores(made: tuple[Path, dict[str, Any]]) -> None:
    folder, family = made
    models = family["models"]
    assert [model["folder"] for model in models] == ["1", "2", "3"] == sorted(p.name for p in (folder / "family").iterdir() if p.is_dir())
    scores = [model["scores"]["target"] for model in models]
    assert scores == sorted(scores) and len(set(scores)) == 3
    shares = [model["mixture"]["metals"] for model in models]
    assert shares == sorted(shares), "who read more of metals knows more of metals"
    assert all(sum(model["mixture"].values()) == pytest.approx(1) for model in models)
    assert sum(family["strengths"].values()) == 16, "a twentieth of each group is held out"


def test_scores_are_the_losses_that_lm_loss_finds(made: tuple[Path, dict[str, Any]]) -> None:
    folder, family = made
    text = (folder / "target.txt").read_text()
    for model in family["models"]:
        batch = pa.RecordBatch.from_pydict({"id": ["a"], "text": pa.array([text], pa.large_string())})
        row = LmLoss(str(folder / "family" / model["folder"]), max_tokens=MEASURED_TOKENS).score(batch).to_pylist()[0]
        assert -model["scores"]["target"] == pytest.approx(row["bits_per_byte"], abs=1e-4)


def test_documents_like_the_target_have_predictive_strength(made: tuple[Path, dict[str, Any]]) -> None:
    folder, family = made
    texts = sentences("metals", 30, 3) + sentences("trees", 30, 3)
    batch = pa.RecordBatch.from_pydict({"id": [str(i) for i in range(60)], "text": pa.array(texts, pa.large_string())})
    names = [model["folder"] for model in family["models"]]
    for name in names:
        batch = batch.append_column(name, LmLoss(str(folder / "family" / name)).score(batch))
    operator = PredictiveStrength(tuple(f"{name}.bits_per_byte" for name in names), family=str(folder / "family/family.json"))
    found = [row["score"] for row in operator.score(batch).to_pylist()]
    assert np.mean(found[:30]) > 0.8 > 0.3 > np.mean(found[30:])


def test_the_same_seed_makes_the_same_family(tmp_path: Path) -> None:
    options = ("--models", "2", "--tokens", "8000")
    families = [make(tmp_path / name, *options) for name in ("a", "b")]
    assert families[0] == families[1]
    weights = [(tmp_path / name / "family/1/model.safetensors").read_bytes() for name in ("a", "b")]
    assert weights[0] == weights[1]
    assert make(tmp_path / "c", *options, "--seed", "2") != families[0]


@pytest.mark.parametrize("vary", ["tokens", "size"])
def test_families_of_lengths_and_sizes(tmp_path: Path, vary: str) -> None:
    family = make(tmp_path, "--vary", vary, "--models", "2", "--tokens", "40000", "--width", "64")
    found = {(model["tokens"], model["parameters"]) for model in family["models"]}
    assert len(found) == 2
    if vary == "tokens":
        assert [model["tokens"] for model in family["models"]] == [19456, 39936], "whole steps of 1,024 tokens, half as many in the weaker"
        assert len({model["parameters"] for model in family["models"]}) == 1
    else:
        assert len({model["tokens"] for model in family["models"]}) == 1


def test_recipes_of_the_models() -> None:
    lengths = list(recipes(Recipe(vary="tokens", models=3, tokens=400), ["a"]))
    assert [each.tokens for each in lengths] == [100, 200, 400]
    sizes = list(recipes(Recipe(vary="size", models=4, width=128), ["a", "b"]))
    assert [each.width for each in sizes] == [32, 64, 96, 128]
    assert sizes[0].mixture == (("a", 0.5), ("b", 0.5))
    mixtures = [each.mixture for each in recipes(Recipe(models=5), ["a", "b", "c"])]
    assert len(set(mixtures)) == 5


def test_files_of_all_kinds_and_groups(tmp_path: Path) -> None:
    rows = [{"text": "one", "domain": "a"}, {"text": "two", "domain": "b"}, {"text": " ", "domain": "b"}, {"text": None}]
    with pa.output_stream(str(tmp_path / "x.jsonl.zst"), compression="zstd") as out:
        out.write(b"\n".join(orjson.dumps(row) for row in rows))
    pq.write_table(pa.table({"text": ["three"], "domain": ["a"]}), tmp_path / "y.parquet")
    (tmp_path / "z.txt").write_text("four")
    files = [str(tmp_path / name) for name in ("x.jsonl.zst", "y.parquet", "z.txt")]
    assert make_model_family.read(files, None) == {"x": ["one", "two"], "y": ["three"], "z": ["four"]}
    assert make_model_family.read(files[:2], "domain") == {"a": ["one", "three"], "b": ["two"]}
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/z.txt").write_text("five")
    assert list(make_model_family.read([files[2], str(tmp_path / "sub/z.txt")], None)) == [f"{tmp_path.name}/z", "sub/z"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--models", "1"), "two models at least"),
        (("--width", "40"), "a multiple of 32"),
        (("--vocabulary", "200"), "no room for 256 bytes"),
        (("--window", "100000"), "less than a window"),
        (("--text", "none.jsonl"), "none.jsonl cannot be read"),
        (("--by", "site"), "text.jsonl has no column `site`"),
        (("--vary", "mixture"), "makes no mixtures"),
        (("--out", "/dev/null/family"), "/dev/null/family cannot be made"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: str) -> None:
    text = small.write_jsonl(tmp_path / "text.jsonl", [{"text": each} for each in sentences("trees", 10, 1)])
    arguments = ["--out", str(tmp_path / "out"), "--text", str(text), "--target", str(text), "--vary", "tokens", *SMALL, *options]
    assert make_model_family.main(arguments) == 1
    assert said in capsys.readouterr().err


def test_a_folder_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("")
    text = small.write_jsonl(tmp_path / "in/text.jsonl", [{"text": "one"}, {"text": "two"}])
    assert make_model_family.main(["--out", str(tmp_path), "--text", str(text), "--target", str(text)]) == 1
    assert "is not empty" in capsys.readouterr().err
