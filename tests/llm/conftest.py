"""The stub server for the tests that share one, and real vLLM servers for those that ask for them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.llm.environment import SMOLLM2, TINY
from tests.llm.servers import StubProcess, VllmProcess


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProcess]:
    with StubProcess() as process:
        yield process


@pytest.fixture(scope="module")
def real() -> None:
    if not os.environ.get("CURATE_TEST_LLM"):
        pytest.skip("asks a real vLLM server, which takes minutes: `make test-llm`")


@pytest.fixture(scope="module")
def patient(real: None) -> None:
    if os.environ.get("CURATE_TEST_LLM") != "all":
        pytest.skip("a real model writes thousands of words, which takes minutes more: `make test-llm LLM=all`")


@pytest.fixture(scope="module")
def tiny(real: None) -> Iterator[VllmProcess]:
    with VllmProcess(TINY) as process:
        yield process


@pytest.fixture(scope="module")
def smollm2(real: None) -> Iterator[VllmProcess]:
    with VllmProcess(SMOLLM2, max_model_len=4096) as process:  # room for the windows of recipes
        yield process
