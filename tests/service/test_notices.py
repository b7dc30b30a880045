"""Telling others: webhooks that are signed, that reach public addresses only, and that arrive in the end; mail."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from curate.errors import CurateError, PipelineError
from curate.service import mail, webhooks
from curate.service.api.app import make_app
from curate.service.notices import WAITS_S
from curate.service.settings import Mail, ServiceSettings
from curate.service.state import tables
from curate.service.state.types import now
from tests.service.calls import Calls
from tests.service.clocks import Hands
from tests.service.conftest import called_as

KEY = "a key that nobody guesses"


class Listener:
    """An HTTP server that remembers what it was sent, and answers as it is told to."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answer = 200
        heard = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                heard.got.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(heard.answer)
                self.send_header("Location", "http://127.0.0.1:1/")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?a=b"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Mailbox(socketserver.StreamRequestHandler):
    """An SMTP server's side of a conversation; the server remembers what it took, and refuses bodies as it is told to."""

    def handle(self) -> None:
        self._say("220 here")
        while line := self.rfile.readline().decode().strip():
            match line.split(" ")[0].upper():
                case "DATA":
                    self._say("354 go on")
                    got = b"".join(iter(self.rfile.readline, b".\r\n"))
                    self._say(self.server.answer)  # type: ignore[attr-defined]
                    self.server.got.append(got.decode())  # type: ignore[attr-defined]
                case "QUIT":
                    self._say("221 bye")
                    return
                case _:
                    self._say("250 well")

    def _say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")


@pytest.fixture
def mailbox() -> Iterator[Any]:
    with socketserver.TCPServer(("127.0.0.1", 0), Mailbox) as server:
        server.got, server.answer = [], "250 taken"  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    monkeypatch.setenv("CURATE_HOOK_TEST", KEY)
    made = Listener()
    yield made
    made.close()


@pytest.fixture
def app(settings: ServiceSettings) -> FastAPI:
    return make_app(settings.model_copy(update={"hooks_allow": ("127.0.0.1",)}), watching=False)


def test_the_end_of_a_run_is_posted_signed_and_until_it_arrives(
    app: FastAPI, calls: Calls, listener: Listener, text: str, data: Path
) -> None:
    hook = calls.post("/webhooks", {"url": listener.url, "events": ["run.failed"], "secret": "env:CURATE_HOOK_TEST"})
    run = calls.post("/runs", {"text": text})["id"]
    (data / "in.jsonl").unlink()
    calls.watched_to_end(app.state.service.watch, run)
    post, moment = app.state.service.post, now()
    for answer in (500, 302):
        listener.answer = answer
        post.step(moment)
        post.step(moment)  # not due again yet
        moment += timedelta(seconds=max(WAITS_S))
    listener.answer = 204
    post.step(moment)
    post.step(moment + timedelta(days=30))
    assert len(listener.got) == 3, "a failure is repeated, a success is not, a redirect is a failure"
    headers, body = listener.got[-1]
    told = json.loads(body)
    assert (told["event"], told["run"], told["status"]) == ("run.failed", run, "failed")
    assert told["error"]["message"].startswith("no such file or folder")
    assert {json.loads(other)["id"] for _, other in listener.got} == {told["id"]}
    moment_said, _, digest = headers["X-Curate-Signature"].removeprefix("t=").partition(",v1=")
    assert hmac.compare_digest(digest, hmac.new(KEY.encode(), f"{moment_said}.".encode() + body, hashlib.sha256).hexdigest())
    [delivery] = calls.get(f"/webhooks/{hook['id']}/deliveries")["items"]
    assert (delivery["attempts"], delivery["error"], delivery["due_at"]) == (3, None, None)


def test_a_notice_is_given_up_in_the_end(app: FastAPI, calls: Calls, listener: Listener, text: str) -> None:
    hook = calls.post("/webhooks", {"url": listener.url, "events": ["run.cancelled"], "secret": "env:CURATE_HOOK_TEST"})["id"]
    listener.answer = 500
    with app.state.service.database.writing() as session:
        session.add(tables.Notice(webhook_id=hook, event="run.cancelled", payload={}))
    moment = now()
    for _ in range(len(WAITS_S) + 5):
        app.state.service.post.step(moment)
        moment += timedelta(days=1)
    assert len(listener.got) == len(WAITS_S) + 1
    calls.delete(f"/webhooks/{hook}")
    assert calls.get("/webhooks") == []


def test_missed_ticks_and_paused_schedules_are_told(app: FastAPI, calls: Calls, listener: Listener, text: str) -> None:
    calls.post("/webhooks", {"url": listener.url, "events": ["schedule.missed", "schedule.paused"], "secret": "env:CURATE_HOOK_TEST"})
    calls.post("/pipelines", {"text": text})
    hands = Hands(app.state.service, "2026-12-01T12:00")
    hands.add("0 * * * *", misfire="once", pause_after=1)
    hands.move("3h")
    hands.end("failed")
    app.state.service.post.step(now() + timedelta(days=1))
    told = [json.loads(body) for _, body in listener.got]
    assert [(one["event"], one["schedule"], one["error"]["message"][:24]) for one in told] == [
        ("schedule.missed", "nightly", "2 ticks were missed, the"),
        ("schedule.paused", "nightly", "1 tick in a row failed, "),
    ]


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.org/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::ffff:169.254.169.254]/",
        "https://[fd00:ec2::254]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://127.0.0.1:8300/",
        "https://10.0.0.1/",
        "https://user:word@hooks.example.org/",
        "https://hooks.example.org/\r\nX: y",
        "file:///etc/passwd",
        "gopher://hooks.example.org/",
        "https://hooks.example.org:99999/",
        "https:///nowhere",
        "nonsense",
    ],
)
def test_addresses_that_are_never_called(url: str) -> None:
    with pytest.raises(PipelineError):
        webhooks.check_url(url, [])


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "localhost", "0"])
def test_private_addresses_in_disguise_are_not_called(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and odd spellings are looked up first; what they mean decides, and that is what is called."""
    monkeypatch.setattr(socket, "create_connection", lambda *a, **k: pytest.fail("called"))
    monkeypatch.setenv("CURATE_HOOK_TEST", KEY)
    webhook = tables.Webhook(url=f"https://{host}/", events=[], secret="env:CURATE_HOOK_TEST", created_by="a test")
    with pytest.raises(CurateError, match="private network|no address"):
        webhooks.post(tables.Notice(id=1, event="run.failed", payload={}), webhook, [])


def test_a_name_that_changes_its_meaning_is_called_where_it_was_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A public address the first time, a private one the second: there is no second time."""
    answers = iter([[(2, 1, 6, "", ("93.184.216.34", 443))], [(2, 1, 6, "", ("169.254.169.254", 443))]])
    called: list[str] = []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        called.append(address[0])
        raise OSError("no network in tests")

    monkeypatch.setenv("CURATE_HOOK_TEST", KEY)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: next(answers))
    monkeypatch.setattr(socket, "create_connection", connect)
    webhook = tables.Webhook(url="https://rebinding.example/", events=[], secret="env:CURATE_HOOK_TEST", created_by="a test")
    with pytest.raises(OSError, match="no network"):
        webhooks.post(tables.Notice(id=1, event="run.failed", payload={}), webhook, [])
    assert called == ["93.184.216.34"]


def test_keys_are_names_of_variables_and_nothing_else(calls: Calls, listener: Listener) -> None:
    for secret in ("plain text", "file:/etc/passwd", "env:PATH", "env:CURATE_HOOK_NOWHERE"):
        calls.post("/webhooks", {"url": listener.url, "events": ["run.failed"], "secret": secret}, 422)


def test_mail_says_what_happened_on_one_line_and_why_below() -> None:
    told = {
        "pipeline": "web\r\nBcc: all@example.org",
        "run": "r1",
        "error": {"message": "disk full", "hint": "make room"},
        "url": "https://c/runs/r1",
    }
    made = mail.message(tables.Notice(event="run.failed", payload=told), Mail(host="h", sender="curate@example.org", to=("a@example.org",)))
    assert made["Subject"] == "curate: web Bcc: all@example.org failed (r1)"
    assert made["Bcc"] is None
    assert made.get_content().splitlines()[-4:] == ["disk full", "hint: make room", "", "https://c/runs/r1"]


def test_people_get_mail_of_a_run_that_failed_as_soon_as_their_server_takes_it(settings: ServiceSettings, mailbox: Any, text: str) -> None:
    port = mailbox.server_address[1]
    address = Mail(host="127.0.0.1", port=port, starttls=False, sender="curate@example.org", to=("a@example.org", "b@example.org"))
    app = make_app(settings.model_copy(update={"mail": address}), watching=False)
    with TestClient(app) as client:
        run = called_as(app, client, "admin").post("/runs", {"text": text, "deadline_s": 1e-6})["id"]
        app.state.service.watch.step()
        post, moment = app.state.service.post, now()
        mailbox.answer = "451 later"
        post.step(moment)
        mailbox.answer = "250 taken"
        post.step(moment + timedelta(days=1))
        post.step(moment + timedelta(days=2))
    refused, taken = mailbox.got
    assert refused == taken
    assert f"Subject: curate: small failed ({run})" in taken and "To: a@example.org, b@example.org" in taken
    assert "the run was not done by its deadline" in taken
