"""Cards, dropped clusters and samples: stopped in every phase, damaged, and on an object store, they end in the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from curate.cli import cli
from curate.files import local_file
from curate.launch import plan_for
from curate.pipeline import Input, Pipeline, Stage
from curate.storage import open_storage
from curate.work import Place
from curate_scorers import card_counts, card_made, card_sums, cluster_cards, drop_clusters
from curate_scorers import sample_clusters_phases as sampling
from tests.contracts.workspaces import contents
from tests.engine import small
from tests.s3_server import S3Server
from tests.scorers import planted_clusters as planted
from tests.scorers.planted_clusters import HERE

PLACES = {"cluster": "cluster", "distance": "distance"}
PHASES: list[tuple[Any, str]] = [
    (cluster_cards, "measure_shard"),
    (card_sums, "sum_tables"),
    (card_counts, "reduce_counts"),
    (card_made, "make_cards"),
    (cluster_cards, "card_rows"),
    (drop_clusters, "mark_shard"),
    *[(sampling, name) for name in ("count_shard", "choose_shard", "find_limits", "split_shard", "find_ends", "mark_shard")],
]


def pipeline(path: Path) -> Pipeline:
    stages = {
        "cards": Stage("crawl", use="cluster_cards", params=HERE),
        "dropped": Stage(["crawl", "cards"], use="drop_clusters", params={"cluster": "cluster", "drop": "cluster = 1"}),
        "sample": Stage(
            ["crawl", "dropped"], use="sample_clusters", params=PLACES | {"documents": 20, "validation": 3, "test": 2, "dropped": "dropped"}
        ),
        "kept": Stage(["crawl", "sample"], apply=["sample"]),
    }
    return small.pipeline(path, stages, inputs={"crawl": Input(str(path))}, shard_bytes=1)


def dies(item: Any, place: Place) -> Any:
    raise RuntimeError("killed")


def test_goes_on_after_a_failure_in_every_phase(tmp_path: Path) -> None:
    pipe = pipeline(small.write_shards(tmp_path / "crawl", planted.documents((20, 10, 6), without=2), 3, planted.SCHEMA))
    small.run(pipe, tmp_path / "clean")
    for module, name in PHASES:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, name, dies)
            failed = small.execute(small.plan(pipe, tmp_path / "ws"))
            assert "killed" in str(failed.error), name
    small.run(pipe, tmp_path / "ws")
    assert contents(tmp_path / "ws") == contents(tmp_path / "clean")


@pytest.mark.s3
def test_the_store_does_not_matter(tmp_path: Path, s3: S3Server) -> None:
    pipe = pipeline(small.write_shards(tmp_path / "crawl", planted.documents((20, 10, 6), without=2), 3, planted.SCHEMA))
    alone, _ = small.run(pipe, tmp_path / "ws")
    bucket = f"s3://{s3.new_bucket()}"
    remote = plan_for(pipe, None, open_storage(f"{bucket}/ws"))
    assert small.execute(remote).status == "done"
    for name in ("dropped", "sample", "kept"):
        assert small.rows(remote.dataset(name)) == small.rows(alone.dataset(name))
    here, there = (local_file(f"{plan.dataset('cards').url}/cards.json").read_bytes() for plan in (alone, remote))
    assert here == there
    shown = CliRunner().invoke(cli, ["clusters", "show", remote.dataset("cards").url, "1"])
    assert shown.exit_code == 0 and shown.output.startswith("cluster 1: 10 documents")


def test_a_damaged_intermediate_file_is_told(tmp_path: Path) -> None:
    pipe = pipeline(small.write_shards(tmp_path / "crawl", planted.documents((20, 10, 6)), 3, planted.SCHEMA))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(card_made, "make_cards", dies)
        small.execute(small.plan(pipe, tmp_path / "ws"))
    damaged = 0
    for path in [*tmp_path.glob("ws/datasets/cards@*/.scratch/**/*.arrow")]:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        damaged += 1
    assert damaged > 4
    failed = small.execute(small.plan(pipe, tmp_path / "ws"))
    assert failed.error is not None and "damaged" in failed.error.message and failed.error.hint
