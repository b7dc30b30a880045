"""Marks the documents of clusters that were decided to go, by a person, a model or a rule.

Emits attributes, one row per document, in its order:

| column  | type   | is                                                                                           |
|---------|--------|----------------------------------------------------------------------------------------------|
| id      | string | the document                                                                                 |
| keep    | bool   | whether its cluster stays                                                                    |
| reason  | string | null if `keep`, else `cluster 17: navigation bars`, or `no_cluster`                          |

The manifest's `about` has what became of every cluster, and who said so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from curate import beside
from curate.clusters_cards import FILE, NUMBERS, Card, Cards, read_cards
from curate.clusters_decisions import Decision, decide, read_opinions
from curate.clusters_review import read_review
from curate.clusters_rule import parse
from curate.dataset import Dataset
from curate.document import ID
from curate.errors import OperatorError, PipelineError
from curate.files import local_file
from curate.manifest import Kind
from curate.protocols import DatasetOperator
from curate.report.units import count, plural, share
from curate.work import Place, Verdict, Work
from curate_scorers import card_inputs as inputs_of
from curate_scorers.card_inputs import NONE, Item

NO_CLUSTER = "no_cluster"
SHOWN = 60
HINT = "write `from: [DOCUMENTS, CLUSTERS, CARDS]`, with a stage of `cluster_cards` last"


@dataclass(frozen=True)
class DropClusters(DatasetOperator):
    """Marks the documents of clusters that a review, a model or a rule drops.

    ## What it does
    Takes the cards that `cluster_cards` made, which are one of the stage's sources, and decides for each cluster: what a person wrote
    into `review` counts first, then a line of `verdicts`, then the rule `drop`; clusters of which nobody says anything stay. Every
    document gets its cluster's decision, and one that goes has the reason `cluster 17: ` and why. Nothing is removed here: `apply` on
    a later stage does that.

    ## Why
    Near-copies, navigation bars, product lists and adult pages lie in clusters of their own, so that a decision about some hundred
    clusters cleans a corpus that nobody could read. A rule is a start; ten documents of each cluster tell a person more.

    ## Example
        dropped:
          from: [text, clusters, cards]
          use: drop_clusters
          params: {drop: "pairwise_similarity > 0.9 or line_repetition > 0.5", review: review.yaml}
        kept: {from: [text, dropped], apply: [dropped]}

    ## Parameters
    - `drop`: a condition on the numbers of a card, in the language of `where`: `documents`, `characters`, `share`, `mean_distance`,
      `pairwise_similarity`, `line_repetition`, `sites`, `site_entropy`, `site_evenness`, `languages`, `language_entropy`,
      `language_evenness`, `cluster`, and the scores that the cards have. A number that was not measured makes nothing true.
    - `review`: a file of `curate clusters review`, edited by a person.
    - `verdicts`: JSON lines that a model wrote, as `curate.clusters_decisions` says.
    - `cluster`: the column that `cluster` made.
    - `drop_unclustered`: whether documents without a cluster, which had no vector, go too.

    ## Source
    Kaddour, *The MiniPile Challenge* (2023), whose author dropped 38 of 220 clusters by hand.
    """

    version: ClassVar[int] = 1
    files: ClassVar[tuple[str, ...]] = ("review", "verdicts")
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "attributes"

    drop: str | None = None
    review: str | None = None
    verdicts: str | None = None
    cluster: str = "clusters.cluster"
    drop_unclustered: bool = False

    def __post_init__(self) -> None:
        if self.drop is None and self.review is None and self.verdicts is None:
            raise PipelineError("drop_clusters: nothing decides", "give `drop`, a rule, or `review`, a file of `curate clusters review`")
        if self.drop is not None:
            parse(self.drop)

    def reads(self) -> tuple[str, ...]:
        return (self.cluster,)

    def verify(self, schema: pa.Schema) -> None:
        inputs_of.check_columns("drop_clusters", schema, self.cluster)

    def adds(self) -> Mapping[str, pa.DataType]:
        return {"keep": pa.bool_(), "reason": pa.string()}

    def verify_file(self, parameter: str, path: Path) -> None:
        if parameter == "review":
            read_review(path, None, self.review)
        else:
            read_opinions(path, None, self.verdicts)

    def verify_sources(self, sources: Mapping[str, Kind]) -> None:
        cards = [name for name, kind in sources.items() if kind == "artifact"]
        if len(cards) != 1:
            raise PipelineError(f"drop_clusters: it reads the cards of one clustering, not of {len(cards)}", HINT)
        beside.verify_sources("drop_clusters", {name: kind for name, kind in sources.items() if name not in cards}, "CLUSTERS, CARDS")

    def verify_tables(self, tables: Mapping[str, pa.Schema]) -> None:
        for name, schema in tables.items():
            if not {"cluster", *NUMBERS} <= set(schema.names):
                raise PipelineError(f"drop_clusters: `{name}` holds no cluster cards", HINT)
            if self.drop is not None:
                parse(self.drop).check_names(schema)

    def verify_artifacts(self, artifacts: Sequence[Dataset]) -> None:
        for artifact in artifacts:
            if not any(file.name.rpartition("/")[2] == FILE for file in artifact.manifest.files):
                raise PipelineError(f"drop_clusters: `{artifact.name}` holds no cluster cards", HINT)
        self.verify_tables({artifact.name: artifact.schema for artifact in artifacts})

    def run(self, inputs: list[Dataset], work: Work) -> None:
        artifacts = [dataset for dataset in inputs if dataset.manifest.kind == "artifact"]
        self.verify_sources({dataset.name: dataset.manifest.kind for dataset in inputs})
        self.verify_artifacts(artifacts)
        items = beside.shard_items("drop_clusters", [dataset for dataset in inputs if dataset not in artifacts], "CLUSTERS, CARDS")
        cards = read_cards(local_file(f"{artifacts[0].url}/{FILE}"))
        decisions = self._decisions(cards)
        shared = {
            "cluster": self.cluster,
            "known": cards.numbers,
            "reasons": {str(number): _reason(number, decision) for number, decision in decisions.items() if not decision.keep},
            "drop_unclustered": self.drop_unclustered,
        }
        work.write_shards(mark_shard, [item | shared for item in items], [shard.data.bytes for shard in inputs[0].manifest.shards])
        work.about = {"operator": "drop_clusters", "clustering": cards.clustering, "clusters": _about(cards, decisions)}
        work.note("dropped", _verdict(cards, decisions))

    def _decisions(self, cards: Cards) -> dict[int, Decision]:
        reviewed = read_review(local_file(self.review), cards, self.review).decisions if self.review else {}
        opinions = read_opinions(local_file(self.verdicts), cards, self.verdicts) if self.verdicts else {}
        return decide(cards, reviewed, opinions, parse(self.drop).reasons(cards) if self.drop else {})


def mark_shard(item: Item, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield one row of attributes per document of a shard, in its order."""
    known = np.array(item["known"], np.int64)
    reasons = {int(number): reason for number, reason in item["reasons"].items()}
    for docs in beside.read(item, place, [item["cluster"]]):
        clusters = inputs_of.clusters_of(docs, item["cluster"])
        numbers = np.unique(clusters)
        strange = numbers[(numbers != NONE) & ~np.isin(numbers, known)]
        if len(strange):
            raise OperatorError(
                f"cluster {strange[0]} in `{item['cluster']}` has no card", "give the cards that were made of this very clustering"
            )
        told = {number: reasons.get(number) for number in numbers.tolist()}
        told[NONE] = NO_CLUSTER if item["drop_unclustered"] else None
        reason = pa.array([told[number] for number in clusters.tolist()], pa.string())
        yield pa.RecordBatch.from_arrays([docs.column(ID).cast(pa.string()), reason.is_null(), reason], ["id", "keep", "reason"])


def _reason(number: int, decision: Decision) -> str:
    return f"cluster {number}: {decision.reason or f'dropped by {decision.by}'}"


def _about(cards: Cards, decisions: Mapping[int, Decision]) -> list[dict[str, Any]]:
    return [
        {"cluster": number, "keep": decisions[number].keep, "reason": decisions[number].reason, "by": decisions[number].by}
        for number in cards.numbers
    ]


def _verdict(cards: Cards, decisions: Mapping[int, Decision]) -> Verdict:
    """Return what goes, largest clusters first; it does not pass when nothing stays."""
    dropped = [card for card in cards.clusters if not decisions[card["cluster"]].keep]
    documents = sum(card["documents"] for card in dropped)
    by = [decision.by for decision in decisions.values() if decision.by is not None]
    said = ", ".join(f"{count(by.count(who))} by {who}" for who in ("review", "verdicts", "rule") if who in by) or "none"
    message = f"{count(len(dropped))} of {plural(len(cards.clusters), 'cluster')} dropped, with {plural(documents, 'document')}"
    message += f" ({share(documents, cards.documents)}); decided: {said}"
    largest = sorted(dropped, key=lambda card: (-card["documents"], card["cluster"]))[:SHOWN]
    shown = {str(card["cluster"]): _row(card, decisions[card["cluster"]]) for card in largest}
    return Verdict(len(dropped) < len(cards.clusters), message, shown)


def _row(card: Card, decision: Decision) -> dict[str, Any]:
    words = ", ".join(word["word"] for word in card["words"][:5])
    return {"documents": card["documents"], "reason": decision.reason or "–", "by": decision.by, "words": words}
