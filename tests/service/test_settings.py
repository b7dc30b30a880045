"""Settings: from a file and the command line, mistakes told in words, and no door left open."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from curate.errors import CurateError, PipelineError, TransientError
from curate.service.server import serve
from curate.service.settings import ServiceSettings, load_settings, secret, secret_variables
from curate.service.state import Database


def test_paths_start_at_the_file_and_the_command_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "service.yaml"
    file.write_text("home: state\nport: 8400\nallow: [crawls, s3://bucket/]\nworkspace: s3://bucket/workspace\n")
    settings = load_settings(file, {"port": 8500, "host": None})
    assert (settings.home, settings.port, settings.workspace) == (tmp_path / "state", 8500, "s3://bucket/workspace")
    assert settings.allow == (str(tmp_path / "crawls"), "s3://bucket/")
    assert settings.database_url == f"sqlite:///{tmp_path}/state/service.db"
    assert load_settings(file, {}).folder == tmp_path
    places = [settings.workspace_of(asked) for asked in (None, "own", "/srv/own", "s3://bucket/own")]
    assert places == ["s3://bucket/workspace", str(tmp_path / "own"), "/srv/own", "s3://bucket/own"]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("prot: 8300", "unknown setting `prot`", "did you mean `port`?"),
        ("port: many", "`port`: input should be a valid integer", ""),
        ("- a", "settings are a mapping", "`port: 8300`"),
        ("port: 1\nport: 2", "key `port` stands here again", ""),
        ("tls_key: a.pem", "TLS needs `tls_certificate` and `tls_key`", "both, or neither"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, text: str, message: str, hint: str) -> None:
    file = tmp_path / "service.yaml"
    file.write_text(text)
    with pytest.raises(PipelineError) as raised:
        load_settings(file, {})
    assert message in raised.value.message and hint in (raised.value.hint or "")


@pytest.mark.parametrize(
    "chosen",
    [
        {"host": "0.0.0.0"},
        {"host": "::"},
        {"host": "192.168.1.5"},
        {"host": "curate.example.org"},
        {"host": "0.0.0.0", "behind_proxy": True},
        {"host": "0.0.0.0", "behind_proxy": True, "public_url": "http://curate.example.org"},
        {"behind_proxy": True, "public_url": "http://curate.example.org"},
        {"host": "0.0.0.0", "auth": "none", "tls_certificate": "a.pem", "tls_key": "b.pem"},
        {"auth": "none", "behind_proxy": True, "public_url": "https://curate.example.org"},
    ],
)
def test_a_public_address_needs_tokens_and_tls(chosen: dict[str, Any]) -> None:
    with pytest.raises(PipelineError, match="can be reached from outside|would let anybody in"):
        load_settings(None, chosen)


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"host": "::1"},
        {"host": "localhost", "auth": "none"},
        {"host": "0.0.0.0", "tls_certificate": "a.pem", "tls_key": "b.pem"},
        {"host": "0.0.0.0", "behind_proxy": True, "public_url": "https://curate.example.org"},
    ],
)
def test_other_addresses_do_not(chosen: dict[str, Any]) -> None:
    assert load_settings(None, chosen).secure == ("tls_key" in chosen or "public_url" in chosen)


def test_an_address_that_is_taken_is_told_before_anything_else(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = load_settings(None, {"home": str(tmp_path), "port": taken.getsockname()[1]})
        with pytest.raises(CurateError, match=r"cannot listen on 127\.0\.0\.1:\d+: Address already in use"):
            serve(settings, pytest.fail)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/none", "sqlite:////proc/service.db"])
def test_a_database_that_does_not_answer_is_told(url: str) -> None:
    with pytest.raises(TransientError, match="the database does not answer: "):
        Database(url).upgrade()


def test_secrets_are_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE", "postgresql://curate:word@host/curate")
    (tmp_path / "word").write_text("word\n")
    assert secret(f"file:{tmp_path}/word") == "word"
    settings = ServiceSettings(database="env:DATABASE")
    assert settings.database_url == "postgresql://curate:word@host/curate"
    assert "word" not in repr(settings) and secret_variables(settings) == ["DATABASE"]
    for missing in ("env:NOWHERE", f"file:{tmp_path}/nowhere"):
        with pytest.raises(PipelineError, match=r"has no variable|cannot read the secret"):
            secret(missing)
