"""Trials of planted corpora, the gate that judges them, and the ledger: what is worse by construction is found to be worse."""

from __future__ import annotations

import re
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import yaml
from starlette.testclient import TestClient

import curate
from curate.errors import CurateError, OperatorError, PipelineError
from curate.manifest import Kind
from curate.pipeline_yaml import load_pipeline
from curate_scorers.proxy import proxy_trials
from curate_scorers.proxy.compare_cost import announced, told_cost, vocabulary_of
from curate_scorers.proxy.compare_effects import Comparison, Results, compare, read_results
from curate_scorers.proxy.pack import Pack
from curate_scorers.proxy.proxy_compare import ProxyCompare
from curate_scorers.proxy.proxy_trials import ProxyTrials
from curate_scorers.proxy.recipe import Recipe
from curate_scorers.proxy.statistics import Effect
from curate_scorers.proxy.train_tokenizer import TrainTokenizer
from curate_scorers.train_family import TrainFamily
from tests.conftest import ROOT
from tests.contracts.workspaces import run
from tests.engine import small
from tests.service.pages import logged_in, looked_at

pytest.importorskip("torch")
pytest.importorskip("transformers")

SEEDS, HELD, ASKED = 3, 30, 20
WORDS = [f"{first}{second}" for first in ("ba", "ke", "li", "mo", "nu", "ri", "so") for second in ("d", "lan", "st", "ve", "x")]
TRIALS = {"size": "32x1", "tokens": 24_000, "batch_tokens": 512, "seeds": SEEDS, "snapshots": 1, "questions": ["asked"], "max_epochs": 20}
TOLD = ("packed_text", "packed_noise", "held", "asked")


def sentence(dice: np.random.Generator) -> list[str]:
    """Return a dozen words, each of which is one of two that may follow the one before."""
    words = [int(dice.integers(len(WORDS)))]
    while len(words) < 12:
        words.append((words[-1] * 5 + int(dice.integers(2)) + 1) % len(WORDS))
    return [WORDS[word] for word in words]


def write(folder: Path) -> None:
    """Write text, the same words in a random order, text held out, and questions how a sentence goes on."""
    dice = np.random.default_rng(1)
    texts = [sentence(dice) for _ in range(240)]
    small.write_jsonl(folder / "text.jsonl", [{"id": f"t{i}", "text": " ".join(words)} for i, words in enumerate(texts)])
    noise = [{"id": f"n{i}", "text": " ".join(dice.permutation(words))} for i, words in enumerate(texts)]
    small.write_jsonl(folder / "noise.jsonl", noise)
    held = [sentence(dice) for _ in range(HELD)]
    small.write_jsonl(folder / "held.jsonl", [{"id": f"h{i}", "text": " ".join(words)} for i, words in enumerate(held)])
    asked = [
        {"id": f"q{i}", "text": " ".join(words[:8]), "choices": _choices(words, dice), "gold": 0} for i, words in enumerate(held[:ASKED])
    ]
    small.write_jsonl(folder / "asked.jsonl", asked)


def _choices(words: list[str], dice: np.random.Generator) -> list[str]:
    return [" ".join(words[8:]), " ".join(dice.permutation(WORDS)[:4])]


def pipeline(folder: Path, checks: dict[str, Any], length: int = 64, **params: Any) -> Path:
    """Write a pipeline that trains on both corpora."""
    words = {"tokenizer": "stage:words"}
    stages: dict[str, Any] = {"words": {"from": "text", "use": "train_tokenizer", "params": {"size": 300}}}
    for name in ("text", "noise"):
        tokens = {"use": "tokenize", "into": "tokens", "params": words}
        stages[f"tokens_{name}"] = {"from": name, "operators": [tokens], "emits": "attributes"}
        own = {"length": length if name == "noise" else 64, "column": f"tokens_{name}.tokens.ids"}
        stages[f"packed_{name}"] = {"from": [name, f"tokens_{name}"], "use": "pack", "params": words | own}
    stages["trials"] = {"from": list(TOLD), "use": "proxy_trials", "params": TRIALS | params}
    inputs = {name: {"path": f"{name}.jsonl"} for name in ("text", "noise", "held", "asked")}
    path = folder / "pipeline.yaml"
    path.write_text(yaml.safe_dump({"name": "planted", "inputs": inputs, "stages": stages, "checks": checks}, sort_keys=False))
    return path


BETTER = {"use": "proxy_compare", "from": "trials", "params": {"candidate": "packed_text"}}
WORSE = {"use": "proxy_compare", "from": "trials", "params": {"candidate": "packed_noise", "against": ["packed_text"]}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace `ws` in which text was tried against noise, and a gate that holds noise back."""
    folder = tmp_path_factory.mktemp("planted")
    write(folder)
    path = pipeline(folder, {"text_is_better": BETTER, "noise_is_better": WORSE})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # as workers have it; two threads of a busy machine wait for each other
        done = run("run", str(path), "-w", str(folder / "ws"), "--on", "local", "--workers", "1", "-q", code=3)
    assert "check text_is_better: passed: packed_text is better than packed_noise" in done.stdout
    assert "check noise_is_better: FAILED: packed_noise is worse than packed_text" in done.stdout
    return folder


@pytest.fixture(scope="module")
def trials(folder: Path) -> curate.Dataset:
    [place] = (folder / "ws" / "datasets").glob("trials@*")
    return curate.load(str(place))


def test_the_pages_of_a_service_tell_what_was_judged(folder: Path) -> None:
    app = looked_at(folder, "ws")
    with TestClient(app, base_url="http://127.0.0.1:8300") as client:
        browser = logged_in(app, client, "viewer")
        words = browser.words("/proofs")
        better = (
            r"packed_text against packed_noise Check text_is_better of planted, in \S+ .* better −0\.\d{4} −0\.\d{4} to −0\.\d{4} ✓ passed"
        )
        assert re.search(better, words) and re.search(r"worse \+0\.\d{4} \+0\.\d{4} to \+0\.\d{4} ✗ failed", words), words
        address = re.search(
            r'packed_text against packed_noise</h2>.*?<th scope="row"><a href="([^"]+)"', browser.html("/proofs"), re.DOTALL
        )
        assert address is not None
        told = browser.words(unescape(address[1]))
        assert "packed_text is better than packed_noise" in told and "tied_head true" in told
        assert re.search(r"Trainings Corpus Seed Tokens Epochs Loss packed_text 1 [\d,]+ [\d.]+ \d\.\d{4} packed_text 2 ", told), told


def test_every_model_is_measured_on_every_item(trials: curate.Dataset) -> None:
    rows = small.rows(trials)
    models = {f"{corpus}/{seed}" for corpus in TOLD[:2] for seed in range(1, SEEDS + 1)}
    assert set(trials.manifest.about["trials"]) == models == {row["model"] for row in rows}
    for model in models:
        own = [(row["set"], row["item"]) for row in rows if row["model"] == model]
        assert len(own) == len(set(own)) == HELD + ASKED
    tokens = [trial["tokens"] for trial in trials.manifest.about["trials"].values()]
    assert max(tokens) < 1.05 * min(tokens)
    assert [note["name"] for note in trials.manifest.notes] == ["trials", "epochs", "losses"]


def test_seeds_are_models_of_their_own(trials: curate.Dataset) -> None:
    losses = [trial["loss"] for trial in trials.manifest.about["trials"].values()]
    assert len(set(losses)) == len(losses)


def test_differences_are_those_of_plain_means(trials: curate.Dataset) -> None:
    found = compare(read_results(trials), "packed_text", "packed_noise", 0.95)
    rows = small.rows(trials)

    def bits(corpus: str, name: str, seed: int) -> float:
        own = [row for row in rows if row["model"] == f"{corpus}/{seed}" and row["set"] == name]
        if name == "held":
            return float(sum(row["bits"] for row in own) / sum(row["bytes"] for row in own))
        return float(np.mean([row["bits"] / row["bytes"] for row in own]))

    seeds = range(1, SEEDS + 1)
    of = {name: [bits("packed_text", name, seed) - bits("packed_noise", name, seed) for seed in seeds] for name in ("held", "asked")}
    for name, differences in of.items():
        assert found.single[name, "bits_per_byte"].difference == pytest.approx(np.mean(differences))
    assert found.overall.difference == pytest.approx(np.mean(list(of.values())))
    assert found.overall.high < 0 and found.overall.answer() == "better"
    assert all(found.adjusted[key] >= each.p for key, each in found.single.items())
    right = {seed: np.mean([r["right"] for r in rows if r["model"] == f"packed_text/{seed}" and r["set"] == "asked"]) for seed in seeds}
    wrong = {seed: np.mean([r["right"] for r in rows if r["model"] == f"packed_noise/{seed}" and r["set"] == "asked"]) for seed in seeds}
    assert found.single["asked", "accuracy"].difference == pytest.approx(np.mean([right[seed] - wrong[seed] for seed in seeds]))


def test_what_a_row_says_agrees_with_its_numbers(folder: Path) -> None:
    for proof in orjson.loads(run("proofs", "-w", str(folder / "ws"), "--json").stdout):
        for name, row in proof["measures"].items():
            assert (row["answer"] != "cannot tell") == (row["corrected p"] < 0.05), (name, row)
            assert (row["low"] > 0 or row["high"] < 0) == (row["p"] < 0.05) and row["corrected p"] >= row["p"], (name, row)


def test_one_of_many_metrics_is_not_called_better_by_its_own_interval() -> None:
    """The same numbers beside one corpus and beside four: what is told of each is corrected for all of them."""
    alone = Effect(-0.0944, -0.147, -0.0419, 0.009, 2.0, 0.01, 0.0)
    found = Comparison(alone, {("asked", "accuracy"): alone}, {("asked", "accuracy"): 0.078})
    rows = ProxyCompare("clean")._table({"raw": found})
    assert rows["against raw"] | {"corrected p": 0.009, "answer": "better"} == rows["against raw"]
    assert (
        rows["against raw: asked, accuracy"] | {"p": 0.009, "corrected p": 0.078, "answer": "cannot tell"}
        == (rows["against raw: asked, accuracy"])
    )
    rows = ProxyCompare("clean")._table(dict.fromkeys(["raw", "b", "c", "d"], found))
    assert (rows["against b"]["corrected p"], rows["against b: asked, accuracy"]["corrected p"]) == (0.036, 0.312)


def test_only_the_interval_that_decides_is_wider_beside_several_corpora(trials: curate.Dataset) -> None:
    results = read_results(trials)
    one, four = (compare(results, "packed_text", "packed_noise", 0.95, count) for count in (1, 4))
    assert four.overall.high > one.overall.high and four.overall.p == one.overall.p and four.single == one.single


def test_sets_of_few_items_count_for_nothing(trials: curate.Dataset, folder: Path) -> None:
    results = read_results(trials)
    rows = {key: table.slice(0, 4) if key[1] == "held" else table for key, table in results.rows.items()}
    some = Results(results.trials, rows)
    found, asked = compare(some, "packed_text", "packed_noise", 0.95), compare(results, "packed_text", "packed_noise", 0.95)
    assert some.too_small() == ["held"] and results.too_small() == []
    assert {name for name, _ in found.single} == {"asked"} and found.overall == asked.single["asked", "bits_per_byte"]
    none = Results(results.trials, {key: table.slice(0, 4) for key, table in rows.items()})
    with pytest.raises(OperatorError, match="no set has 5 items, too few to judge by"):
        compare(none, "packed_text", "packed_noise", 0.95)


def test_a_corpus_is_not_told_apart_from_itself(trials: curate.Dataset) -> None:
    results = read_results(trials)
    twins = {name: trial | {"corpus": "twin"} for name, trial in results.trials.items() if trial["corpus"] == "packed_text"}
    both = {f"twin/{name}": trial for name, trial in twins.items()}
    rows = {(f"twin/{model}", name): table for (model, name), table in results.rows.items() if model in twins}
    found = compare(Results({**results.trials, **both}, {**results.rows, **rows}), "twin", "packed_text", 0.95)
    assert found.overall.answer() == "cannot tell" and found.overall.p == 1


def test_the_ledger_has_each_judgement_once(folder: Path) -> None:
    ws = str(folder / "ws")
    listed = orjson.loads(run("proofs", "-w", ws, "--json").stdout)
    assert [(proof["check"], proof["passed"]) for proof in listed] == [("text_is_better", True), ("noise_is_better", False)]
    first = listed[0]
    assert first["pipeline"] == "planted" and first["recipe"]["size"] == "32x1" and set(first["corpora"]) == {"packed_text", "packed_noise"}
    page = (ROOT / "curate" / "README.md").read_text(encoding="utf-8")
    told = page.partition("### proofs/<id>.json")[2].partition("###")[0]
    fields = {*first, *first["against"]["packed_noise"], *next(iter(first["trials"].values()))}
    assert [field for field in sorted(fields) if f"`{field}`" not in told] == []
    before = {path.name: path.read_bytes() for path in (folder / "ws/proofs").iterdir()}
    run("run", str(folder / "pipeline.yaml"), "-w", ws, "--on", "local", "--workers", "1", "-q", code=3)
    assert {path.name: path.read_bytes() for path in (folder / "ws/proofs").iterdir()} == before
    lines = run("proofs", "-w", ws).stdout.splitlines()
    assert len(lines) == 2 and "packed_text against packed_noise" in lines[0] and lines[0].endswith("better  passed")
    shown = run("proofs", "show", first["id"][:6], "-w", ws).stdout
    assert "6 trainings of 32x1" in shown and "against packed_noise: asked, accuracy_per_byte" in shown
    assert "no proofs" in run("proofs", "show", "zzz", "-w", ws, code=1).stderr
    other = run("proofs", "-w", ws, "--pipeline", "other")
    assert other.stdout == "" and other.stderr == "no proofs of the pipeline `other`; there are some of: planted\n"
    assert re.search(r"difference +low +high +p +corrected p +answer", shown)


def test_the_report_shows_each_set_and_metric_in_a_table(folder: Path) -> None:
    page = next((folder / "ws/runs").glob("*/report.html")).read_text(encoding="utf-8")
    assert re.search(r"<th[^>]*>difference</th>", page) and "against packed_noise: asked, accuracy_per_byte" in page
    assert "&#x27;difference" not in page
    assert "losses of the trainings, each on its own corpus, means of the seeds" in page and "loss / ln(" in page


def dies(item: Any, place: Any) -> Any:
    raise OperatorError("killed")


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    write(tmp_path)
    pipe = load_pipeline(str(pipeline(tmp_path, {}, tokens=2000, batch_tokens=128, snapshots=0))).pipeline
    for name, said in (("measure_trial", "killed"), ("train_task", None)):  # the second time no training may begin
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(proxy_trials, name, dies)
            result = small.execute(small.plan(pipe, tmp_path / "ws"))
        assert (result.error and result.error.message) == said
    assert result.status == "done"


def test_a_damaged_proof_is_told(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "ws/proofs", tmp_path / "ws/proofs")
    next((tmp_path / "ws/proofs").iterdir()).write_bytes(b"{")
    assert "damaged" in run("proofs", "-w", str(tmp_path / "ws"), code=1).stderr


def test_the_cost_is_told_beforehand(folder: Path, tmp_path: Path) -> None:
    planned = run("plan", str(folder / "pipeline.yaml"), "-w", str(tmp_path / "new")).stdout
    assert "6 trainings of 32x1 on 24,000 tokens each, 144,000 in all" in planned
    assert "trainings of" not in run("plan", str(folder / "pipeline.yaml"), "-w", str(folder / "ws")).stdout  # it is done


def test_the_cost_worked_by_hand() -> None:
    """150M without embeddings and a head of 32,768 × 1,024, 100 tokens a parameter, 10 trainings: 6 × 185.4 M × 151.8 billion = 1.7e20."""
    told = told_cost(Recipe(size="150M", tokens_per_parameter=100), 10)
    assert told.startswith("10 trainings of 150M on 15.2 billion tokens each, 152 billion in all: about 170 exaFLOP, 120 hours of")


def test_the_cost_counts_the_vocabulary_that_the_pipeline_names() -> None:
    """A head of 4,096 × 192 beside 1.9 M parameters: 20 × 6 × 2.7 M × 75,000 = 2.4e13. Llamas: 2 × 6 × 1.05 M × 1 M = 1.3e13."""
    stages = {"words": [TrainTokenizer(size=4096)], "packed": [Pack("stage:words", 256)]}
    sources: dict[str, Kind] = {"packed": "artifact", "held": "documents"}
    assert vocabulary_of(sources, stages) == 4096 and vocabulary_of({"held": "documents"}, stages) is None
    told = announced(Recipe(size="2M", tokens=75_000), None, 20, sources, stages)
    assert told.endswith("in all: about 24 teraFLOP, less than a second of an H100 or 14 minutes of a CPU core")
    assert announced(Recipe(), "stage:earlier", 1, sources, stages) == "1 training of 2M, each on 20% of the tokens that the base read"
    family = TrainFamily(members=2, tokens=1_000_000, width=128, layers=4, vocabulary=2048).announce({}, {})
    assert family.endswith("on at most 1,000,000 tokens each: about 13 teraFLOP, less than a second of an H100 or 7 minutes of a CPU core")


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ({"candidate": "packed_txt"}, "the trials have no corpus `packed_txt`"),
        ({"candidate": "packed_text", "against": ["raw"]}, "the trials have no corpus `raw`"),
        ({"candidate": "packed_text", "against": ["packed_text"]}, "compared with itself"),
        ({"candidate": "packed_text", "confidence": 95}, "confidence is not from 0.5 to below 1"),
        ({"candidate": "packed_text", "max_loss": -1}, "max_loss is negative"),
    ],
)
def test_a_wrong_check_is_told_before_anything_runs(folder: Path, tmp_path: Path, check: dict[str, Any], said: str) -> None:
    shutil.copytree(folder, tmp_path / "p", ignore=shutil.ignore_patterns("ws"))
    path = pipeline(tmp_path / "p", {"gate": {"use": "proxy_compare", "from": "trials", "params": check}})
    with pytest.raises(PipelineError, match=re.escape(said)):
        small.plan(load_pipeline(str(path)).pipeline, tmp_path / "new")


def test_a_check_of_other_stages_is_told(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "p", ignore=shutil.ignore_patterns("ws"))
    path = pipeline(tmp_path / "p", {"gate": {"use": "proxy_compare", "from": ["tokens_text"], "params": {"candidate": "x"}}})
    with pytest.raises(PipelineError, match=r"judges the trials of one stage, not `tokens_text` \(attributes\)"):
        small.plan(load_pipeline(str(path)).pipeline, tmp_path / "new")


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"seeds": 2}, "seeds is less than 3"),
        ({"size": "3M"}, "no size `3M`"),
        ({"questions": ["held_out"]}, "questions names `held_out`"),
        ({"max_items": 0}, "max_items is less than 1"),
        ({"by": {"held": "domain"}}, "`proxy_trials` reads the column `domain`, which is not there"),
    ],
)
def test_wrong_trials_are_told_before_anything_runs(folder: Path, tmp_path: Path, params: dict[str, Any], said: str) -> None:
    shutil.copytree(folder, tmp_path / "p", ignore=shutil.ignore_patterns("ws"))
    with pytest.raises(PipelineError, match=re.escape(said)):
        small.plan(load_pipeline(str(pipeline(tmp_path / "p", {}, **params))).pipeline, tmp_path / "new")


def test_trials_need_two_corpora_and_something_to_measure() -> None:
    with pytest.raises(PipelineError, match="two packed corpora"):
        ProxyTrials().verify_sources({"one": "artifact", "held": "documents"})
    with pytest.raises(PipelineError, match="nothing to measure on"):
        ProxyTrials().verify_sources({"one": "artifact", "two": "artifact"})


@pytest.mark.parametrize(
    ("length", "params", "said"),
    [
        (128, {}, "`packed_noise` and `packed_text` are not packed alike"),
        (64, {"max_epochs": 1}, "corpus `packed_text`: a budget of 24,000 tokens"),
        (64, {"tokens": 2_000}, "models would read 2,166 tokens of `packed_text` and 1,810 of `packed_noise`, which differ in padding"),
    ],
)
def test_corpora_that_cannot_be_compared(folder: Path, tmp_path: Path, length: int, params: dict[str, Any], said: str) -> None:
    write(tmp_path)
    path = pipeline(tmp_path, {}, length, **params)
    planned = small.plan(load_pipeline(str(path)).pipeline, tmp_path / "ws")
    result = small.execute(planned)
    assert isinstance(result.error, CurateError) and said in result.error.message
    assert "train" not in {path.name for path in (tmp_path / "ws/datasets").rglob("*")}  # nothing was trained


@pytest.mark.parametrize(
    ("name", "row", "said"),
    [
        ("asked", {"id": "odd", "text": "?", "choices": ["a", "b"], "gold": 7}, "question `odd` of `asked`: gold is 7"),
        ("held", {"id": "none", "text": ""}, "`held` has no text to measure on"),
    ],
)
def test_what_cannot_be_measured_is_told_before_anything_is_trained(tmp_path: Path, name: str, row: dict[str, Any], said: str) -> None:
    write(tmp_path)
    small.write_jsonl(tmp_path / f"{name}.jsonl", [row])
    result = small.execute(small.plan(load_pipeline(str(pipeline(tmp_path, {}))).pipeline, tmp_path / "ws"))
    assert isinstance(result.error, CurateError) and said in result.error.message
    assert "train" not in {path.name for path in (tmp_path / "ws/datasets").rglob("*")}


def test_trials_of_a_model_are_told_before_anything_runs(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "p", ignore=shutil.ignore_patterns("ws"))
    told = yaml.safe_load(pipeline(tmp_path / "p", {}).read_text(encoding="utf-8"))
    told["stages"]["proxy"] = {"from": "packed_text", "use": "train_proxy", "params": {"size": "32x1"}}
    told["stages"]["trials"]["from"] = ["packed_text", "proxy", "held", "asked"]
    path = tmp_path / "p" / "pipeline.yaml"
    path.write_text(yaml.safe_dump(told, sort_keys=False))
    with pytest.raises(PipelineError, match="`proxy` is no packed corpus"):
        small.plan(load_pipeline(str(path)).pipeline, tmp_path / "new")


def test_the_gate_reads_trials_only(trials: curate.Dataset, folder: Path) -> None:
    [place] = (folder / "ws" / "datasets").glob("packed_text@*")
    with pytest.raises(OperatorError, match="holds no trials"):
        read_results(curate.load(str(place)))
    assert ProxyCompare("packed_text").against == ()
