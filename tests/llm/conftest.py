"""The stub server for the tests that share one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.llm.servers import StubProcess


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProcess]:
    with StubProcess() as process:
        yield process
