"""Every command of the pages about images and installations: the program that it calls understands it, and what it names exists."""

from __future__ import annotations

import contextlib
import shlex

import click
import pytest

from tests.conftest import ROOT
from tests.deploy.cluster_commands import kubectl
from tests.deploy.pages import PAGES, Words, in_text, told
from tests.deploy.programs import CHECKS

KNOWN = CHECKS | {"kubectl": kubectl}
MADE = ("docker/.env", "docker/tls", "docker/tls/certificate.pem")
"""What `setup.sh` makes."""

ROOMS = ("deploy/", "docker/", "pipelines/", "tests/")


def every(commands: list[Words]) -> dict[str, Words]:
    return {shlex.join(words): words for words in commands}


IN_BLOCKS = every([words for page in PAGES for words in told(page)])
IN_TEXT = every([words for page in PAGES for words in in_text(page) if words[0] in KNOWN])


@pytest.mark.parametrize("words", IN_BLOCKS.values(), ids=IN_BLOCKS)
def test_a_line_of_a_block_is_understood(words: Words) -> None:
    assert words[0] in KNOWN, "no way to check this program: add one"
    KNOWN[words[0]](words)


@pytest.mark.parametrize("words", IN_TEXT.values(), ids=IN_TEXT)
def test_a_command_within_the_text_is_understood(words: Words) -> None:
    with contextlib.suppress(click.MissingParameter):  # the text may leave out what every call is about
        KNOWN[words[0]](words)


@pytest.mark.parametrize("words", (IN_BLOCKS | IN_TEXT).values(), ids=IN_BLOCKS | IN_TEXT)
def test_files_of_this_repository_exist(words: Words) -> None:
    missing = [word for word in words if word.startswith(ROOMS) and word not in MADE and not (ROOT / word).exists()]
    assert not missing


@pytest.mark.parametrize(
    "line",
    [
        "kubectl --namespace curat get pods",
        "kubectl --namespace curate exec deployment/curate-service --contaner service -- true",
        "kubectl --namespace curate create secret generic curate-databse --from-literal=a=b",
        "kubectl --namespace curate port-forward deployment/curate-service 8300:8301",
        "docker run --rm --gpu all curate:0.1.0",
        "docker compose -f docker/compose.yaml exec services true",
        "curl http://127.0.0.1:8300/api/v1/run",
        "systemctl start curat.service",
        "pip install '.[server]'",
        "make image",
        "pytest tests/deploy -k nothing_is_called_so",
    ],
)
def test_what_is_wrong_is_noticed(line: str) -> None:
    words = shlex.split(line)
    with pytest.raises((AssertionError, KeyError)):
        KNOWN[words[0]](words)
