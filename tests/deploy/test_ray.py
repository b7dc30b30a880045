"""The file of Ray's cluster launcher, as Ray itself reads it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.conftest import ROOT
from tests.deploy.manifests import FOLDER as KUBERNETES
from tests.deploy.manifests import OVERLAYS, built, of_kind, rayjob
from tests.docs import blocks

FOLDER = ROOT / "deploy" / "ray"


def cluster() -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / "cluster.yaml").read_text()))


def test_ray_accepts_the_file() -> None:
    autoscaler = pytest.importorskip("ray.autoscaler")
    util = pytest.importorskip("ray.autoscaler._private.util")
    schema = json.loads((Path(autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(cluster(), schema)
    whole = util.prepare_config(cluster())
    util.validate_config(whole)
    assert not [key for key in whole if key.endswith("setup_commands") and whole[key]], "the launcher's own would install another Ray"


def test_workers_are_spot_machines_and_the_head_is_not() -> None:
    kinds = cluster()["available_node_types"]
    spot = {name for name, kind in kinds.items() if kind["node_config"].get("InstanceMarketOptions") == {"MarketType": "spot"}}
    assert spot == set(kinds) - {cluster()["head_node_type"]}
    assert kinds["head"]["resources"] == {"CPU": 0}
    assert {kinds[name]["resources"]["memory"] / kinds[name]["resources"]["CPU"] / 2**30 for name in spot} == {4.0}


def test_a_job_needs_a_token() -> None:
    options = cluster()["docker"]["run_options"]
    assert any(option.startswith("--env RAY_AUTH_MODE=token") for option in options)
    assert "/home/curate/.ray/auth_token" in cluster()["file_mounts"]


def test_every_command_of_ray_is_one_that_it_understands() -> None:
    scripts = pytest.importorskip("ray.scripts.scripts")
    lines = [line for name in ("head_start_ray_commands", "worker_start_ray_commands") for line in cluster()[name]]
    compose = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
    lines += [" ".join(compose[name]["command"]) for name in ("head", "worker")]
    assert len(lines) == 6
    for line in lines:
        words = line.split()
        assert words[0] == "ray"
        scripts.cli.commands[words[1]].make_context(line, words[2:])


def test_every_file_names_the_version_of_ray_that_we_install() -> None:
    wanted = re.search(r"^ray==([\d.]+)", (ROOT / "docker" / "requirements" / "cpu.txt").read_text(), re.MULTILINE)
    assert wanted
    found = [manifest["spec"]["rayVersion"] for overlay in OVERLAYS for manifest in of_kind(built(KUBERNETES / overlay), "RayCluster")]
    found.append(rayjob()["spec"]["rayClusterSpec"]["rayVersion"])
    assert set(found) == {wanted[1]}


def test_the_job_runs_what_curate_understands() -> None:
    words = rayjob()["spec"]["entrypoint"].split()
    assert words[0] == "curate"
    blocks.parse(words[1:])
