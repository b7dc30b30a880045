"""What the pages of proofs say: effects with intervals over time, and what was trained for one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from curate.report.markup import Child, Column, Row, code, element, table
from curate.report.notes import measure, measured
from curate.report.stage import badge
from curate.report.units import count, number
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
    Column("Model"),
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
    interval = f"{judgement.low:+.4f} to {judgement.high:+.4f}"
    passed = badge("done" if proof["passed"] else "failed")
    return (link, answer, f"{judgement.value:+.4f}", interval, passed, code(str(proof["run"])))


def proof_address(proof: Mapping[str, Any], workspace: str) -> str:
    """Return the page of a proof; its id is its own in its workspace only."""
    return f"/proofs/{proof['id']}?{urlencode({'workspace': workspace})}"


def proof_part(proof: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template `proof.html` shows."""
    facts: list[tuple[str, Child]] = [
        ("Verdict", badge("done" if proof["passed"] else "failed")),
        ("Judged", moment(str(proof["time"]))),
        ("Pipeline", visible(str(proof["pipeline"]))),
        ("Check", visible(str(proof["check"]))),
        ("Run", code(str(proof["run"]))),
        ("Confidence", number(proof["confidence"])),
    ]
    recipe = {str(name): value for name, value in proof["recipe"].items()}
    return {
        "proof": proof,
        "facts": facts,
        "measures": measured(f"Proof {proof['id']}", proof["measures"]),
        "recipe": table("The recipe of the trainings", (Column("Setting"), Column("Value", wide=True)), _settings(recipe)),
        "trials": table("Trainings", _TRIALS, [_trial(name, trial) for name, trial in proof["trials"].items()]),
    }


def _settings(recipe: Mapping[str, Any]) -> Sequence[Row]:
    return [(name, visible(measure(value))) for name, value in recipe.items() if value is not None]


def _trial(name: str, trial: Mapping[str, Any]) -> Row:
    numbers = [str(trial["seed"]), count(trial["tokens"]), number(trial["epochs"]), number(trial["loss"])]
    return (code(str(name)[:16]), visible(str(trial["corpus"])), *numbers)
