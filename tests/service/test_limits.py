"""What one client may cost: large bodies, slow bodies, slow heads, answers that nobody takes."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.servers import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("limits")
    started = Server(folder, body_bytes=20_000, request_s=1.0)
    yield started
    started.stop()


def connected(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=30)


def head(server: Server, *lines: str) -> bytes:
    given = [
        "POST /api/v1/pipelines/check HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {server.token}",
        "Content-Type: application/json",
    ]
    return "\r\n".join([*given, *lines, "", ""]).encode()


def answer(connection: socket.socket) -> tuple[int, dict[str, object]]:
    data = b""
    while part := connection.recv(65536):
        data += part
        top, found, body = data.partition(b"\r\n\r\n")
        if found and body.endswith(b"}"):
            return int(top.split()[1]), json.loads(body)
    return 0, {}


def test_a_body_that_says_it_is_large_is_refused_unread(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(head(server, "Content-Length: 50000000"))
        assert answer(connection)[0] == 413


def test_a_large_body_in_chunks_is_refused_on_the_way(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(head(server, "Transfer-Encoding: chunked"))
        for _ in range(6):
            connection.sendall(b"1000\r\n" + b" " * 4096 + b"\r\n")
        status, problem = answer(connection)
    assert (status, problem["detail"]) == (413, "the body is larger than 20,000 bytes")


def test_a_body_that_drips_is_not_waited_for(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(head(server, "Content-Length: 100") + b'{"te')
        began = time.monotonic()
        assert answer(connection)[0] == 408
        assert 0.9 < time.monotonic() - began < 10


def test_heads_that_drip_are_not_waited_for_and_keep_nobody_waiting(server: Server) -> None:
    slow = [connected(server) for _ in range(100)]
    began = time.monotonic()
    for connection in slow:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
    with pytest.raises(OSError):
        for _ in range(60):
            assert server.answers(), "the others wait"
            time.sleep(0.5)
            slow[0].sendall(b"X: y\r\n")
            if slow[0].recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) == b"":
                raise ConnectionResetError
    assert 8 < time.monotonic() - began < 25
    for connection in slow:
        assert ended(connection)
        connection.close()


def ended(connection: socket.socket) -> bool:
    """Wait until the other side has ended a connection without an answer."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
