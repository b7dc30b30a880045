"""`curate llm serve`: what it refuses before anything starts; `test_vllm.py` lets it serve."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from curate.errors import CurateError, PipelineError
from curate.llm import Settings, serve
from tests.llm.servers import StubProcess


def test_a_python_without_vllm_is_told(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="it has no vLLM") as told:
        serve.check(serve.Served(sys.executable, "small", "small", port=1), {})
    assert "without a GPU) in an environment of its own" in (told.value.hint or "")
    with pytest.raises(PipelineError, match="--python .*no-such-python"):
        serve.check(serve.Served(str(tmp_path / "no-such-python"), "small", "small", port=1), {})


def test_a_port_that_is_taken_is_told(stub: StubProcess) -> None:
    port = int(stub.url.split(":")[2].split("/")[0])
    with pytest.raises(PipelineError, match=f"--port {port}: something answers there already"):
        serve.check(serve.Served(sys.executable, "small", "small", port=port), {})


def test_a_public_address_needs_a_key() -> None:
    served = serve.Served(sys.executable, "small", "small", host="0.0.0.0", port=1)
    with pytest.raises(PipelineError, match="anybody could use the server") as told:
        serve.check(served, {})
    assert "VLLM_API_KEY" in (told.value.hint or "")
    with pytest.raises(PipelineError, match="it has no vLLM"):  # the key is there: the next thing is told
        serve.check(served, {"VLLM_API_KEY": "secret"})


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000/v1"),
        ("::1", "http://[::1]:8000/v1"),
        ("0.0.0.0", "http://127.0.0.1:8000/v1"),
        ("::", "http://[::1]:8000/v1"),
    ],
)
def test_the_address_that_is_told_can_be_asked(host: str, url: str) -> None:
    served = serve.Served(sys.executable, "small", "small", host=host)
    assert served.url == url and served.command[-3:-2] == [host]
    assert Settings.of({"model": "small", "endpoint": url}).endpoint == url


def test_a_server_that_ends_before_it_is_ready_is_told(tmp_path: Path) -> None:
    ends = tmp_path / "python"
    ends.write_text("#!/bin/sh\nexit 7\n")
    ends.chmod(0o755)
    with pytest.raises(CurateError, match="ended with 7 before it was ready"):
        serve.serve(serve.Served(str(ends), "small", "small", port=1), 30, lambda times: None)


def test_a_model_is_called_by_its_folder(tmp_path: Path) -> None:
    (tmp_path / "small-model").mkdir()
    assert serve.name_of(f"{tmp_path}/small-model/") == "small-model"
    assert serve.name_of("owner/model") == "owner/model"
