"""Disks that fill up below the service: requests fail clearly, nothing is kept by halves, and all goes on once there is room."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from curate.service.api.app import make_app
from curate.service.settings import load_settings
from tests.service.calls import Calls
from tests.service.conftest import called_as, small_pipeline
from tests.service.pages import Browser, plain

MB = 1 << 20
PAGE = 4096


class Disk:
    """A small disk of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mount(self, size: int) -> bool:
        """Put it there; tell whether that is allowed here."""
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0711", "tmpfs", str(self.folder)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def resize(self, size: int) -> None:
        """Give it more room, or less."""
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.folder)], check=True)

    def fill(self, room: int) -> None:
        """Leave no more room than that."""
        with open(self.folder / "filler", "wb", buffering=0) as filler:
            with contextlib.suppress(OSError):
                while True:
                    filler.write(bytes(PAGE))
            filler.truncate(filler.tell() - room)


@pytest.fixture
def disk() -> Iterator[Disk]:
    with tempfile.TemporaryDirectory(prefix="curate-disk-") as base:  # pytest's own folders are closed to PostgreSQL's user
        Path(base).chmod(0o711)
        made = Disk(Path(base) / "disk")
        made.folder.mkdir()
        if not made.mount(12 * MB):
            pytest.skip("mounting a small disk needs root")
        yield made
        subprocess.run(["umount", "--lazy", str(made.folder)], check=True)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, disk: Disk) -> Iterator[str]:
    """An address on the small disk."""
    if request.param == "sqlite":
        disk.resize(2 * MB)
        yield f"sqlite:///{disk.folder / 'service.db'}"
        return
    (disk.folder / "tables").mkdir()
    server = request.getfixturevalue("postgres")
    yield (url := server.database(disk.folder / "tables"))
    disk.resize(64 * MB)
    server.drop(url)  # before the disk goes, which the server writes to until then


@pytest.mark.parametrize("database_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.service)], indirect=True)
def test_the_database_has_no_room(app: FastAPI, served: TestClient, calls: Calls, disk: Disk, text: str) -> None:
    person = Browser(served, calls.token or "")

    def large(number: int) -> str:
        return f"{text}# {number}: {os.urandom(100_000).hex()}\n"

    kept = 0
    while (answer := calls.ask("POST", "/pipelines", {"text": large(kept)})).status_code == 201:
        kept += 1
        assert kept < 200, "the disk does not fill up"
    problem = answer.json()
    assert (answer.status_code, problem["detail"]) == (507, "no space left for the database of the service: nothing was changed")
    assert problem["hint"].startswith("free some space where the database lies")
    page = plain(person.send("/pipelines", {"text": large(kept)}, 507).text)
    assert "no space left for the database" in page and "hint: free some space" in page
    assert [version["number"] for version in calls.get("/pipelines/small/versions?limit=1")["items"]] == [kept]
    assert served.get("/readyz").status_code == 200
    app.state.service.watch.step()
    disk.resize(64 * MB)
    assert calls.post("/pipelines", {"text": large(kept)})["number"] == kept + 1
    run = calls.post("/runs", {"text": text})
    assert calls.watched_to_end(app.state.service.watch, run["id"])["status"] == "succeeded"


@pytest.fixture
def roomy(tmp_path: Path, disk: Disk, data: Path) -> Any:
    """Makes services with a database elsewhere; the small disk has what is chosen."""
    clients = []

    def made(**chosen: Any) -> tuple[FastAPI, Calls]:
        said = {"home": str(tmp_path / "home"), "workspace": str(tmp_path / "workspace"), "folder": str(data), **chosen}
        database = f"sqlite:///{tmp_path / 'service.db'}"
        settings = load_settings(None, said | {"database": database, "workers": 1, "allow": (str(tmp_path), str(disk.folder))})
        app = make_app(settings, watching=False)
        clients.append(TestClient(app, base_url="http://127.0.0.1:8300", raise_server_exceptions=False).__enter__())
        return app, called_as(app, clients[-1], "admin")

    yield made
    for client in clients:
        client.__exit__(None, None, None)


def test_the_workspace_has_no_room(roomy: Any, disk: Disk, data: Path) -> None:
    disk.resize(MB // 2)
    app, calls = roomy(workspace=str(disk.folder / "workspace"))
    (data / "in.jsonl").write_text("".join(json.dumps({"id": str(i), "text": os.urandom(10_000).hex()}) + "\n" for i in range(100)))
    run = calls.watched_to_end(app.state.service.watch, calls.post("/runs", {"text": small_pipeline(data)})["id"])
    assert run["status"] == "failed"
    assert "no space left on the device" in run["error"]["message"] and str(disk.folder) in run["error"]["message"]
    assert run["error"]["hint"] == "free some space and run the same command again"
    disk.resize(64 * MB)
    again = calls.post(f"/runs/{run['id']}/again")
    assert calls.watched_to_end(app.state.service.watch, again["id"])["status"] == "succeeded"


@pytest.mark.parametrize(("room", "told"), [(0, "cannot start a run in "), (PAGE, "or the disk of the service's folder is full")])
def test_the_folder_of_the_service_has_no_room(roomy: Any, disk: Disk, text: str, room: int, told: str) -> None:
    """There is none for the pipeline, or none for anything that the run's process has to say."""
    app, calls = roomy(home=str(disk.folder / "home"))
    disk.fill(room)
    run = calls.watched_to_end(app.state.service.watch, calls.post("/runs", {"text": text})["id"])
    assert run["status"] in ("failed", "lost") and told in run["error"]["message"], run
    (disk.folder / "filler").unlink()
    again = calls.post(f"/runs/{run['id']}/again")
    assert calls.watched_to_end(app.state.service.watch, again["id"])["status"] == "succeeded"
