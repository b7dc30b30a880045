"""Clusters that a rule, a model or a person drops: every document has its reason, and the command line shows and asks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from curate.cli import cli
from curate.clusters_cards import read_cards
from curate.clusters_decisions import Opinion, write_opinions
from curate.dataset import Dataset
from curate.errors import CurateError, OperatorError, PipelineError
from curate.pipeline import Input, Stage, Step
from tests.engine import small
from tests.scorers import planted_clusters as planted
from tests.scorers.planted_clusters import HERE, Docs

SIZES = (30, 20, 10, 2)
CARDS = Stage("crawl", use="cluster_cards", params=HERE | {"scores": {"quality": "score"}, "examples": 2})


def stages(**params: Any) -> dict[str, Stage]:
    dropped = Stage(["crawl", "cards"], use="drop_clusters", params={"cluster": "cluster"} | params)
    return {"cards": CARDS, "dropped": dropped, "kept": Stage(["crawl", "dropped"], apply=["dropped"])}


@pytest.fixture(scope="module")
def docs() -> Docs:
    return planted.documents(SIZES, without=4)


@pytest.fixture(scope="module")
def cards(docs: Docs, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return planted.made(tmp_path_factory.mktemp("cards"), docs, {"cards": CARDS})["cards"]


def invoke(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, ["clusters", *words])
    assert (result.exit_code if result.exception is None else 1) == code, result.output
    return result


def reasons(made: dict[str, Dataset]) -> Counter[str]:
    """Return how many documents have which reason, in the attributes and in the ledger of the stage that applies them."""
    marked = Counter(row["reason"] for row in small.rows(made["dropped"]) if not row["keep"])
    assert marked == Counter(row["reason"] for row in small.ledger(made["kept"], "drops"))
    assert all((row["reason"] is None) == row["keep"] for row in small.rows(made["dropped"]))
    return marked


def test_a_rule_drops_with_its_reason(docs: Docs, tmp_path: Path) -> None:
    made = planted.made(tmp_path, docs, stages(drop="documents < 5 or cluster = 1", drop_unclustered=True))
    assert reasons(made) == {"cluster 1: cluster = 1": 20, "cluster 3: documents < 5": 2, "no_cluster": 4}
    assert [row["id"] for row in small.rows(made["dropped"])] == [doc["id"] for doc in docs]
    assert {row["id"] for row in small.rows(made["kept"])} == {doc["id"] for doc in docs if doc.get("cluster") in (0, 2)}
    [note] = made["dropped"].manifest.notes
    assert note["message"] == "2 of 4 clusters dropped, with 22 documents (35.5%); decided: 2 by rule"
    assert list(note["measures"]) == ["1", "3"] and note["passed"]


def test_a_person_is_heard_first_then_a_model(docs: Docs, cards: Dataset, tmp_path: Path) -> None:
    review, verdicts = tmp_path / "review.yaml", tmp_path / "verdicts.jsonl"
    invoke("review", cards.url, "--to", str(review))
    text = review.read_text().replace(
        "  0:\n    decision:\n    reason:", "  0:\n    decision: drop\n    reason: trees, of which we have enough"
    )
    review.write_text(text.replace("  3:\n    decision:", "  3:\n    decision: keep"))
    known = read_cards(Path(cards.url, "cards.json"))
    write_opinions(known, lambda card: Opinion("drop" if card["cluster"] in (2, 3) else "keep", None), verdicts)
    params = {"review": str(review), "verdicts": str(verdicts), "drop": "documents > 0"}
    made = planted.made(tmp_path, docs, stages(**params), workers=2)
    assert reasons(made) == {"cluster 0: trees, of which we have enough": 30, "cluster 2: dropped by verdicts": 10}
    said = {entry["cluster"]: (entry["keep"], entry["by"]) for entry in made["dropped"].manifest.about["clusters"]}
    assert said == {0: (False, "review"), 1: (True, "verdicts"), 2: (False, "verdicts"), 3: (True, "review")}


def test_an_edited_review_is_another_dataset(docs: Docs, cards: Dataset, tmp_path: Path) -> None:
    review = tmp_path / "review.yaml"
    invoke("review", cards.url, "--to", str(review))
    before = planted.made(tmp_path, docs, stages(review=str(review)))
    assert not reasons(before)
    review.write_text(review.read_text().replace("  2:\n    decision:", "  2:\n    decision: drop"))
    after = planted.made(tmp_path, docs, stages(review=str(review)))
    assert reasons(after) == {"cluster 2: dropped by review": 10}
    assert before["cards"].url == after["cards"].url and before["dropped"].url != after["dropped"].url


def test_nothing_left_is_a_warning(docs: Docs, tmp_path: Path) -> None:
    made = planted.made(tmp_path, docs, stages(drop="documents > 0"))
    assert not made["dropped"].manifest.notes[0]["passed"] and made["kept"].rows == 4


def test_what_is_wrong_is_told(docs: Docs, cards: Dataset, tmp_path: Path) -> None:
    def fails(kind: type[CurateError], message: str, given: Docs = docs, **params: Any) -> None:
        with pytest.raises(CurateError) as caught:
            planted.made(tmp_path / message.replace(" ", "")[:20], given, stages(**params), 1)
        assert isinstance(caught.value, kind) and message in caught.value.message and caught.value.hint, caught.value

    fails(PipelineError, "nothing decides")
    fails(PipelineError, "rule `documents >`, character 1: cannot read", drop="documents >")
    fails(PipelineError, "cards have no number `docs`", drop="docs > 3")
    fails(PipelineError, "reads the column `clusters.cluster`, which is not there", drop="documents > 3", cluster="clusters.cluster")
    fails(PipelineError, "`review`: there is no file", review=str(tmp_path / "none.yaml"))
    review = tmp_path / "review.yaml"
    invoke("review", cards.url, "--to", str(review))
    others = planted.documents(SIZES, seed=1)
    fails(PipelineError, "decisions of the clustering", others, review=str(review))
    review.write_text(review.read_text().replace("  2:\n    decision:", "  2:\n    decision: dorp"))
    line = review.read_text().splitlines().index("    decision: dorp") + 1
    fails(PipelineError, f"{review}:{line}: cluster 2: a decision is", review=str(review))
    verdicts = tmp_path / "verdicts.jsonl"
    verdicts.write_text('{"clustering": "0", "cluster": 2, "decision": "kep"}\n')
    fails(PipelineError, f"{verdicts}:1: a decision is", verdicts=str(verdicts))


def test_what_can_be_known_before_a_run_is_told_before_it(cards: Dataset, docs: Docs, tmp_path: Path) -> None:
    verdicts, review = tmp_path / "verdicts.jsonl", tmp_path / "review.yaml"
    verdicts.write_text('{"cluster": 2, "decision": "keep"}\n')
    review.write_text("format: 1\nclusters:\n")
    path = small.write_shards(tmp_path / "crawl", docs, 1, planted.SCHEMA)

    def told(params: dict[str, Any], **inputs: Input) -> PipelineError:
        made = {"cards": CARDS} if not inputs else {}
        stage = Stage(["crawl", *(inputs or made)], use="drop_clusters", params={"cluster": "cluster"} | params)
        with pytest.raises(PipelineError) as caught:
            small.plan(small.pipeline(path, made | {"dropped": stage}, inputs={"crawl": Input(str(path)), **inputs}), tmp_path / "ws")
        return caught.value

    for inputs in ({}, {"old": Input(artifact=cards.url)}):
        error = told({"drop": "share > 0.9 or pairwise_similarty > 0.9"}, **inputs)
        assert "character 16: cards have no number `pairwise_similarty`" in str(error) and "`pairwise_similarity`?" in str(error)
        assert "cards have no number `qualty`" in str(told({"drop": "qualty > 1"}, **inputs))  # of the scores of these cards
    assert "verdicts.jsonl:1: decisions of no clustering" in str(told({"verdicts": str(verdicts)}))
    assert "review.yaml:1: decisions of no clustering" in str(told({"review": str(review)}))
    small.plan(small.pipeline(path, stages(drop="quality > 1"), inputs={"crawl": Input(str(path))}), tmp_path / "ws")


def test_other_sources_are_told(docs: Docs, cards: Dataset, tmp_path: Path) -> None:
    path = small.write_shards(tmp_path / "crawl", docs, 1, planted.SCHEMA)

    def fails(kind: type[CurateError], message: str, given: Docs, sources: list[str], **inputs: Input) -> None:
        made = {"table": Stage("crawl", use="calibrate", params={"column": "score"}), "cards": CARDS}
        stage = Stage(sources, use="drop_clusters", params={"cluster": "cluster", "drop": "share > 0.9"})
        place = small.write_shards(tmp_path / message.replace(" ", "")[:20], given, 1, planted.SCHEMA)
        every = {name: made[name] for name in sources if name in made} | {"dropped": stage}
        with pytest.raises(CurateError) as caught:
            small.run(small.pipeline(path, every, inputs={"crawl": Input(str(place)), **inputs}), place / "ws")
        assert isinstance(caught.value, kind) and message in caught.value.message and caught.value.hint, caught.value

    fails(PipelineError, "`table` holds no cluster cards", docs, ["crawl", "table"])
    fails(PipelineError, "reads the cards of one clustering, not of 0", docs, ["crawl"])
    moved = [doc | {"cluster": 9} if doc["id"] == "0-0000" else doc for doc in docs]
    fails(OperatorError, "cluster 9 in `cluster` has no card", moved, ["crawl", "old"], old=Input(artifact=cards.url))


def test_cards_are_shown(cards: Dataset) -> None:
    shown = invoke("show", cards.url, "--limit", "2")
    assert shown.stdout.startswith("cluster 0: 30 documents, 48.4%") and "words: " in shown.stdout and "nearest: " in shown.stdout
    assert "cluster 1: 20" in shown.stdout and "cluster 2: 10" not in shown.stdout and "2 more" in shown.stderr
    assert invoke("show", cards.url, "2").stdout.startswith("cluster 2: 10 documents")
    ruled = invoke("show", cards.url, "--drop", "documents < 15").stdout
    assert "  drop: documents < 15\n" in ruled and ruled.endswith("the rule drops 2 clusters of 4: 12 documents, 19.4%\n")
    [card] = [orjson.loads(line) for line in invoke("show", cards.url, "3", "--json").stdout.splitlines()]
    assert card["cluster"] == 3 and card["documents"] == 2


def test_files_are_written_into_new_folders_and_nowhere_else(cards: Dataset, tmp_path: Path) -> None:
    """`--to` means the same for every command."""
    (tmp_path / "file").write_text("")
    for number, words in enumerate((["clusters", "review", cards.url], ["init", "minipile"])):
        new, no = (str(tmp_path / place) for place in (f"new{number}/a/x.yaml", "file/x.yaml"))
        made = CliRunner().invoke(cli, [*words, "--to", new])
        assert made.exit_code == 0 and Path(new).stat().st_size and new in made.output
        with pytest.raises(PipelineError) as caught:
            CliRunner().invoke(cli, [*words, "--to", no], catch_exceptions=False)
        assert caught.value.message == f"{no}: cannot be written: File exists"


def test_a_review_is_written_and_renewed(cards: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "review.yaml"
    told = invoke("review", cards.url, "--to", str(path), "--drop", "documents < 15")
    assert "4 clusters, 0 decided" in told.stderr and "suggested: drop 2 clusters (12 documents, 19.4%)" in told.stderr
    path.write_text(path.read_text().replace("  2:\n    decision:", "  2:\n    decision: keep"))
    assert "4 clusters, 1 decided" in invoke("review", cards.url, "--to", str(path)).stderr


def test_the_command_line_tells_what_is_wrong(cards: Dataset, docs: Docs, tmp_path: Path) -> None:
    for words, message in (
        (("show", cards.url, "77"), "no cluster 77"),
        (("show", str(tmp_path)), "no finished dataset at"),
        (("show", "cards", "-w", str(tmp_path)), "run"),
        (("show", cards.url, "--drop", "docs > 3"), "cards have no number `docs`"),
    ):
        assert message in str(invoke(*words, code=1).exception)
    path = small.write_shards(tmp_path / "crawl", docs, 1, planted.SCHEMA)
    stage = {"long": Stage("crawl", [Step("length", {"min_chars": 5})])}
    planned, _ = small.run(small.pipeline(path, stage, inputs={"crawl": Input(str(path))}), tmp_path / "ws")
    assert "holds no cluster cards" in str(invoke("show", planned.dataset("long").url, code=1).exception)
