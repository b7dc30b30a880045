"""A service in this process, over SQLite and over PostgreSQL, and a pipeline that takes a second."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from curate.service.api.app import make_app
from curate.service.auth import Role, make_token
from curate.service.settings import ServiceSettings, load_settings
from tests.service.calls import Calls
from tests.service.commands import Curate
from tests.service.postgres import Postgres, reason_to_skip
from tests.service.servers import Server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    why = reason_to_skip()
    if why is not None:
        pytest.skip(why)
    with tempfile.TemporaryDirectory(prefix="curate-postgres-") as base:  # pytest's own folders are closed to the server's user
        Path(base).chmod(0o711)
        server = Postgres(Path(base) / "server")
        yield server
        server.stop()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'service.db'}"
    url: str = request.getfixturevalue("postgres").schema()
    return url


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder that the service may use, with a small input."""
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [{"id": str(i), "text": "word " * i} for i in range(1, 41)]
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def text(data: Path) -> str:
    """A pipeline that drops 19 of the 40 documents."""
    return small_pipeline(data)


def small_pipeline(data: Path, name: str = "small", min_chars: int = 100) -> str:
    return (
        f"name: {name}\n"
        f"inputs:\n  rows: {{ path: {data}/in.jsonl }}\n"
        f"stages:\n  long:\n    from: rows\n    operators:\n      - use: length\n        params: {{ min_chars: {min_chars} }}\n"
        f"outputs:\n  long: {{ path: {data}/out/{name} }}\n"
    )


@pytest.fixture
def settings(tmp_path: Path, data: Path, database_url: str) -> ServiceSettings:
    chosen: dict[str, Any] = {"home": tmp_path / "home", "database": database_url, "workspace": data / "workspace", "folder": data}
    return load_settings(None, {name: str(value) for name, value in chosen.items()} | {"workers": 1, "allow": (str(data),)})


@pytest.fixture
def app(settings: ServiceSettings) -> FastAPI:
    return make_app(settings, watching=False)


@pytest.fixture
def served(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, base_url="http://127.0.0.1:8300", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def calls(app: FastAPI, served: TestClient) -> Calls:
    """Calls by an admin."""
    return called_as(app, served, "admin")


def called_as(app: FastAPI, served: TestClient, role: Role) -> Calls:
    with app.state.service.database.writing() as session:
        token, _ = make_token(session, f"the {role}", role, None, "a test")
    return Calls(served, token)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pipeline and its input, for all tests of a file."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "in.jsonl").write_text("".join(f'{{"id": "{i}", "text": "{"word " * i}"}}\n' for i in range(1, 41)))
    (folder / "pipeline.yaml").write_text(small_pipeline(folder))
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    """A service of its own process that may use the folder."""
    started = Server(folder / "service", allow=[str(folder)], workspace=str(folder / "workspace"))
    yield started
    assert started.stop() == 0, started.log


@pytest.fixture
def curate(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Curate:
    """Calls of the command line in that folder, by somebody who has told it of the service."""
    monkeypatch.setenv("CURATE_SERVICE", server.url)
    monkeypatch.setenv("CURATE_TOKEN", server.token)
    monkeypatch.delenv("CURATE_WORKSPACE", raising=False)
    monkeypatch.chdir(folder)
    return Curate(capsys)
