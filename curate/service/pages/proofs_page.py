"""What the pages of proofs say: effects with intervals over time, and what was trained for one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from curate.report.markup import Child, Column, Markup, Row, code, element, table
from curate.report.notes import measure, measured
from curate.report.units import count, number
from curate.service.pages.badges import state
from curate.service.pages.hostile import visible
from curate.service.pages.render import day, moment
from curate.service.pages.traces import Effect, intervals
from curate.service.views.proofs import History, Judgement

_MOST_DRAWN = 24
_COLUMNS = (
    Column("When"),
    Column("Answer"),
    Column("Difference", numeric=True),
    Column("Interval", numeric=True),
    Column("Check"),
    Column("Run", minor=True),
)
_TRIALS = (
    Column("Corpus"),
    Column("Seed", numeric=True),
    Column("Tokens", numeric=True),
    Column("Epochs", numeric=True),
    Column("Loss", numeric=True),
)


def history_part(history: History, workspace: str) -> dict[str, Any]:
    """Return what the template `proofs.html` shows of one history."""
    title = f"{history.candidate} against {history.against}"
    drawn = history.judgements[-_MOST_DRAWN:]
    effects = [_effect(judgement, workspace) for judgement in drawn]
    return {
        "title": title,
        "check": history.check,
        "pipeline": history.pipeline,
        "workspace": workspace,
        "drawn": intervals(f"{title}, {len(drawn)} comparisons over time", effects, "bits per byte; below zero is better"),
        "table": table(f"{title}: every comparison", _COLUMNS, [_row(judgement, workspace) for judgement in reversed(history.judgements)]),
    }


def _effect(judgement: Judgement, workspace: str) -> Effect:
    proof = judgement.proof
    told = "passed" if proof["passed"] else "did not pass"
    spread = (judgement.value, judgement.low, judgement.high)
    return Effect(day(str(proof["time"])), told, *spread, judgement.answer, proof_address(proof, workspace))


def _row(judgement: Judgement, workspace: str) -> Row:
    proof = judgement.proof
    link = element("a", moment(str(proof["time"])), {"href": proof_address(proof, workspace)})
    answer = element("span", judgement.answer, {"class": f"badge {judgement.answer.split()[0]}"})
    interval = f"{_signed(judgement.low)} to {_signed(judgement.high)}"
    return (link, answer, _signed(judgement.value), interval, _verdict(proof), code(str(proof["run"])))


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")


def _verdict(proof: Mapping[str, Any]) -> Markup:
    return state("passed" if proof["passed"] else "failed")


def proof_address(proof: Mapping[str, Any], workspace: str) -> str:
    """Return the page of a proof; its id is its own in its workspace only."""
    return f"/proofs/{proof['id']}?{urlencode({'workspace': workspace})}"


def proof_part(proof: Mapping[str, Any], run_page: str | None) -> dict[str, Any]:
    """Return what the template `proof.html` shows; `run_page` is the address of its run, None for one that the service does not know."""
    run = code(str(proof["run"]))
    facts: list[tuple[str, Child]] = [
        ("Verdict", _verdict(proof)),
        ("Judged", moment(str(proof["time"]))),
        ("Pipeline", visible(str(proof["pipeline"]))),
        ("Check", visible(str(proof["check"]))),
        ("Confidence", number(proof["confidence"])),
        ("Run", element("a", run, {"href": run_page}) if run_page else run),
    ]
    recipe = {str(name): value for name, value in proof["recipe"].items()}
    return {
        "proof": proof,
        "facts": facts,
        "measures": measured(f"Proof {proof['id']}", proof["measures"]),
        "recipe": table("The recipe of the trainings", (Column("Setting"), Column("Value", wide=True)), _settings(recipe)),
        "trials": table("Trainings", _TRIALS, [_trial(trial) for trial in proof["trials"].values()]),
    }


def _settings(recipe: Mapping[str, Any]) -> Sequence[Row]:
    said = {name: str(value).lower() if isinstance(value, bool) else measure(value) for name, value in recipe.items() if value is not None}
    return [(name, visible(value)) for name, value in said.items()]


def _trial(trial: Mapping[str, Any]) -> Row:
    return (visible(str(trial["corpus"])), str(trial["seed"]), count(trial["tokens"]), number(trial["epochs"]), f"{trial['loss']:.4f}")
