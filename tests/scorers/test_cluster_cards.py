"""Cards of planted clusters say what plain loops over the documents say, whatever the shards and workers."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curate.clusters_cards import Cards, read_cards, told
from curate.dataset import Dataset
from curate.errors import CurateError, DatasetError, OperatorError, PipelineError
from curate.pipeline import Input, Pipeline, Stage
from curate.pipeline_yaml import load_pipeline
from curate_scorers import card_counts, card_sums
from curate_scorers.cluster_cards import ClusterCards
from tests.engine import small
from tests.scorers import planted_clusters as planted
from tests.scorers.planted_clusters import HERE, Docs

SIZES = (40, 25, 12, 1)
PARAMS: dict[str, Any] = HERE | {"language": "lang", "scores": {"quality": "score"}, "examples": 3, "words": 6}


def stages(**params: Any) -> dict[str, Stage]:
    return {"cards": Stage("crawl", use="cluster_cards", params=PARAMS | params)}


def cards_of(dataset: Dataset) -> Cards:
    return read_cards(Path(dataset.url, "cards.json"))


@pytest.fixture(scope="module")
def docs() -> Docs:
    docs = planted.documents(SIZES, without=5)
    first = next(doc for doc in docs if doc.get("cluster") == 0)
    first["text"] += "flood " * 50  # of one document, so no word of its cluster
    return docs


@pytest.fixture(scope="module")
def dataset(docs: Docs, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return planted.made(tmp_path_factory.mktemp("cards"), docs, stages())["cards"]


def own(docs: Docs, cluster: int) -> Docs:
    return [doc for doc in docs if doc.get("cluster") == cluster]


def test_sizes_are_counted(docs: Docs, dataset: Dataset) -> None:
    cards = cards_of(dataset)
    assert (cards.documents, cards.without_cluster, cards.numbers) == (sum(SIZES), 5, [0, 1, 2, 3])
    for card in cards.clusters:
        mine = own(docs, card["cluster"])
        assert (card["documents"], card["characters"]) == (len(mine), sum(len(doc["text"]) for doc in mine))
        assert card["share"] == pytest.approx(len(mine) / sum(SIZES))
        assert card["mean_distance"] == pytest.approx(np.mean([doc["distance"] for doc in mine]), abs=1e-6)
        scored = [doc["score"] for doc in mine if doc["score"] is not None]
        assert card["scores"] == {"quality": pytest.approx(np.mean(scored)) if scored else None}


def test_similarity_of_pairs_is_that_of_every_pair(docs: Docs, dataset: Dataset) -> None:
    for card in cards_of(dataset).clusters:
        rows = np.array([doc["vector"] for doc in own(docs, card["cluster"])], np.float64)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        pairs = [one @ other for one, other in itertools.combinations(rows, 2)]
        assert card["pairwise_similarity"] == (pytest.approx(np.mean(pairs), abs=1e-6) if pairs else None)


def test_nearest_and_farthest_are_those_of_a_sort(docs: Docs, dataset: Dataset) -> None:
    for card in cards_of(dataset).clusters:
        order = [doc["id"] for doc in sorted(own(docs, card["cluster"]), key=lambda doc: float(doc["distance"]))]
        assert [entry["id"] for entry in card["nearest"]] == order[:3]
        assert [entry["id"] for entry in card["farthest"]] == order[3:][::-1][:3]
        by_id = {doc["id"]: doc for doc in docs}
        assert all(entry["url"] == by_id[entry["id"]]["url"] for entry in card["nearest"])
        assert all(by_id[entry["id"]]["text"].startswith(entry["opening"]) for entry in card["nearest"])


def test_repeated_lines_are_those_that_the_cluster_has_twice(docs: Docs, dataset: Dataset) -> None:
    for card in cards_of(dataset).clusters:
        lines = Counter(line.lower() for doc in own(docs, card["cluster"]) for line in doc["text"].splitlines() if line.strip())
        chars = {line: len(line) * n for line, n in lines.items()}
        repeated = sum(chars[line] for line, n in lines.items() if n > 1)
        assert card["line_repetition"] == pytest.approx(repeated / sum(chars.values()))
    assert cards_of(dataset).clusters[0]["line_repetition"] > 0  # the planted last line


def test_entropies_are_those_of_the_definition(docs: Docs, dataset: Dataset) -> None:
    for card in cards_of(dataset).clusters:
        mine = own(docs, card["cluster"])
        sites = Counter(re.sub("https://www.|/.*", "", doc["url"]) for doc in mine)
        assert card["sites"] == len(sites) == min(card["cluster"] + 1, len(mine))
        shares = [n / len(mine) for n in sites.values()]
        bits = -sum(share * math.log2(share) for share in shares)
        assert card["site_entropy"] == pytest.approx(bits, abs=1e-9)
        assert card["site_evenness"] == pytest.approx(bits / math.log2(len(sites)) if len(sites) > 1 else 0, abs=1e-9)
        assert card["languages"] == (1 if len(mine) > 1 else None)  # null is no language: the one of the last cluster has none
        assert card["language_entropy"] == (0 if len(mine) > 1 else None)


def test_words_have_the_weights_of_the_formula(docs: Docs, dataset: Dataset) -> None:
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    having: dict[int, Counter[str]] = defaultdict(Counter)
    for doc in docs:
        if "cluster" in doc:
            words = [word for word in re.findall("[a-z0-9]+", doc["text"].lower()) if len(word) > 1]
            counts[doc["cluster"]].update(words)
            having[doc["cluster"]].update(set(words))
    whole, used = sum(counts.values(), Counter()), {cluster: sum(counter.values()) for cluster, counter in counts.items()}
    average = sum(used.values()) / len(used)
    for card in cards_of(dataset).clusters:
        cluster = card["cluster"]
        expected = {}
        for word, n in counts[cluster].items():
            elsewhere = (whole[word] - n) / (whole.total() - used[cluster])
            enough = min(max(2, 0.05 * card["documents"]), card["documents"])
            others = sum(having[other][word] for other in having if other != cluster) / (sum(SIZES) - card["documents"])
            common = n / used[cluster] >= 2 * elsewhere and having[cluster][word] / card["documents"] >= 2 * others
            if having[cluster][word] >= enough and n > 1 and common:
                expected[word] = math.sqrt(n / used[cluster]) * math.log(1 + average / whole[word])
        best = sorted(expected, key=lambda word: -expected[word])[:6]
        assert [entry["weight"] for entry in card["words"]] == pytest.approx([expected[word] for word in best])
        assert {entry["word"]: entry["count"] for entry in card["words"]} == {w["word"]: counts[cluster][w["word"]] for w in card["words"]}
        assert not {entry["word"] for entry in card["words"]} & set(planted.COMMON) or len(own(docs, cluster)) == 1


def test_what_most_documents_have_is_characteristic_of_no_cluster_however_small() -> None:
    """Stop words of two long documents are more than twice as common there as elsewhere, and they stand in all documents."""
    texts = ["the cat and the dog"] * 30 + ["the of the of the of the of and brackets"] * 2
    clusters = np.array([0] * 30 + [1] * 2)
    table, words, _ = card_counts.of_texts(pa.array(texts, pa.large_string()), clusters)
    table = table.filter(pc.equal(table.column("kind"), card_counts.WORD))
    used = np.bincount(clusters, weights=words).astype(np.int64)
    found = card_counts.best_words(table, used, np.bincount(clusters), 10).to_pylist()
    assert {(row["cluster"], row["word"]) for row in found} == {(0, "cat"), (0, "dog"), (1, "of"), (1, "brackets")}


def test_without_a_column_of_sites_the_hint_says_how_to_do_without(docs: Docs, tmp_path: Path) -> None:
    schema = planted.SCHEMA.remove(planted.SCHEMA.get_field_index("url"))
    path = small.write_shards(tmp_path / "crawl", [{k: v for k, v in doc.items() if k != "url"} for doc in docs], 1, schema)

    def cards(**params: Any) -> Pipeline:
        return small.pipeline(
            path, {"cards": Stage("crawl", use="cluster_cards", params=HERE | params)}, inputs={"crawl": Input(str(path))}
        )

    with pytest.raises(PipelineError) as caught:
        small.plan(cards(), tmp_path / "ws")
    assert "reads the column `url`" in str(caught.value) and "in `site`, or write `site: null` to do without" in str(caught.value)
    made = small.run(cards(site=None), tmp_path / "ws")[0].dataset("cards")
    assert {card["sites"] for card in cards_of(made).clusters} == {None}


def test_words_of_scripts_without_spaces_and_of_one_letter() -> None:
    texts = ["森の木 a I don't 42 ----- the dog's tree’s " + "x" * 40] * 2
    table, words, _ = card_counts.of_texts(pa.array(texts, pa.large_string()), np.zeros(2, np.int64))
    found = {row["text"]: (row["count"], row["extent"]) for row in table.to_pylist() if row["kind"] == card_counts.WORD}
    assert found == dict.fromkeys(["森", "の", "木", "don't", "the", "dog", "tree"], (2, 2)) and words.tolist() == [7, 7]


def test_centroids_are_placed_on_their_main_axes(docs: Docs, dataset: Dataset) -> None:
    places = np.array([card["place"] for card in cards_of(dataset).clusters])
    rows = []
    for cluster in range(len(SIZES)):
        units = np.array([doc["vector"] for doc in own(docs, cluster)], np.float64)
        mean = (units / np.linalg.norm(units, axis=1, keepdims=True)).sum(axis=0)
        rows.append(mean / np.linalg.norm(mean))
    centred = np.array(rows) - np.mean(rows, axis=0)
    main = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :2]
    expected = centred @ main
    expected /= np.abs(expected).max()
    assert np.abs(np.abs(places) - np.abs(expected)).max() < 1e-3
    assert all(axis[np.argmax(np.abs(axis))] > 0 for axis in places.T)


def test_shards_and_workers_change_no_byte(docs: Docs, dataset: Dataset, tmp_path: Path) -> None:
    whole = Path(dataset.url, "cards.json").read_bytes()
    for shards, workers in ((1, 1), (7, 2)):
        other = planted.made(tmp_path, docs, stages(), shards, workers)["cards"]
        assert Path(other.url, "cards.json").read_bytes() == whole


def test_counts_that_do_not_fit_are_handed_on(docs: Docs, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_counts, "MAX_ROWS", 50)
    monkeypatch.setattr("curate_scorers.cluster_cards.SHARDS_PER_SUM", 2)
    monkeypatch.setattr("curate.shuffle.PARTITION_BYTES", 4000)
    other = planted.made(tmp_path, docs, stages(), 5)["cards"]
    assert Path(other.url, "cards.json").read_bytes() == Path(dataset.url, "cards.json").read_bytes()


def test_rows_notes_and_the_terminal_say_the_same(dataset: Dataset) -> None:
    cards = cards_of(dataset)
    rows = small.rows(dataset)
    assert [(row["cluster"], row["documents"], row["quality"]) for row in rows] == [
        (card["cluster"], card["documents"], card["scores"]["quality"]) for card in cards.clusters
    ]
    assert dataset.manifest.about["clustering"] == cards.clustering
    assert dataset.manifest.notes[0]["message"].startswith("4 clusters of 78 documents; 5 without a cluster are left out")
    lines = list(told(cards.clusters[0]))
    assert lines[0].startswith("similarity of pairs 0.") and lines[1].startswith("words: ") and lines[2].startswith("nearest: ")


def test_the_identity_is_of_the_clusters_alone(docs: Docs, dataset: Dataset, tmp_path: Path) -> None:
    other = planted.made(tmp_path, docs, stages(words=2, scores={}))["cards"]
    assert cards_of(other).clustering == cards_of(dataset).clustering
    moved = [doc | {"cluster": 1} if doc["id"] == "0-0000" else doc for doc in docs]
    other = planted.made(tmp_path / "moved", moved, stages())["cards"]
    assert cards_of(other).clustering != cards_of(dataset).clustering


def test_what_is_wrong_is_told(docs: Docs, tmp_path: Path) -> None:
    cases: list[tuple[Docs, dict[str, Any], type[CurateError], str]] = [
        (docs, {"cluster": "clusters.cluster"}, PipelineError, "reads the column `clusters.cluster`, which is not there"),
        (docs, {"vector": "distance"}, PipelineError, "column `distance` is float, not a vector (a list of float)"),
        (docs, {"cluster": "lang"}, PipelineError, "column `lang` is string, not a cluster's number"),
        (docs, {"scores": {"share": "score"}}, PipelineError, "cannot have the name `share`"),
        (docs, {"scores": {"a": "lang"}}, PipelineError, "column `lang` is string, not a number"),
        (docs, {"site": "vector"}, PipelineError, "column `vector` is"),
        (docs, {"language": "vector"}, PipelineError, "not a label"),
        ([doc | {"vector": None} for doc in docs], {}, OperatorError, "has a cluster, and no vector in `vector`"),
        ([doc | {"vector": [0.0] * 8} for doc in docs], {}, OperatorError, "has a cluster, and no vector in `vector`"),
        ([doc | {"vector": [1.0, float("nan")] * 4} for doc in docs], {}, OperatorError, "has a cluster, and no vector in `vector`"),
        ([doc | {"distance": None} for doc in docs], {}, OperatorError, "no distance in `distance`"),
        ([doc | {"cluster": -7} for doc in docs], {}, OperatorError, "has -7, which is no cluster's number"),
        ([doc | {"cluster": None} for doc in docs], {}, OperatorError, "no document has a cluster in `cluster`"),
    ]
    for number, (given, params, kind, message) in enumerate(cases):
        with pytest.raises(CurateError) as caught:
            planted.made(tmp_path / str(number), given, stages(**params), 1)
        assert isinstance(caught.value, kind) and message in caught.value.message, caught.value


def test_a_struct_for_a_label_is_told_with_its_fields() -> None:
    schema = pa.schema({"lang": pa.struct({"code": pa.string(), "confidence": pa.float32()})})
    with pytest.raises(PipelineError, match="column `lang` is struct") as told:
        ClusterCards(site=None, language="lang").verify(schema)
    assert told.value.hint == "name a field of it: `lang.code`, `lang.confidence`"
    ClusterCards(site=None, language="lang.code", scores={"sure": "lang.confidence"}).verify(schema)


def test_vectors_of_other_lengths_are_told(tmp_path: Path) -> None:
    ids, kind = ["a", "b", "c"], pa.list_(pa.float32())
    for lengths, block in (([2, 3, 2], 4096), ([2, 2, 3], 2)):
        vectors = pa.array([[1.0] * length for length in lengths], kind)
        docs = pa.RecordBatch.from_pydict({"id": ids, "vector": vectors})
        total = card_sums.Sums([])
        total.add(np.zeros(3, np.int64), {}, {})
        with pytest.MonkeyPatch.context() as patch, pytest.raises(OperatorError, match="vectors of 2 and of 3 numbers"):
            patch.setattr(card_sums, "BLOCK", block)
            for rows, found in card_sums.blocks_of(docs, "vector"):
                total.add_vectors(np.zeros(3, np.int64)[rows], found)


def test_other_files_are_no_cards(tmp_path: Path) -> None:
    for content in ("{}", "[1]", "no json", '{"format": 1, "clusters": 3}'):
        (tmp_path / "cards.json").write_text(content)
        with pytest.raises(DatasetError, match="holds no cluster cards"):
            read_cards(tmp_path / "cards.json")


def test_the_example_of_the_docstring_is_a_pipeline(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "name: a\ninputs:\n  crawl: {path: x.jsonl}\nstages:\n  cards:\n    from: crawl\n    use: cluster_cards\n"
        "    params: {vector: vectors.embedding, scores: {quality: scores.quality}}\n"
    )
    params = load_pipeline(tmp_path / "a.yaml").pipeline.stages["cards"].params
    assert ClusterCards(**params).reads()[:3] == ("text", "clusters.cluster", "clusters.distance")
