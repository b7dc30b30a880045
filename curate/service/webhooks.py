"""Posts notices to addresses that others chose, so that they can tell who posts and cannot use us to reach what we reach.

    POST <url>
    X-Curate-Signature: t=1700000000,v1=<hex of HMAC-SHA256 of "<t>.<body>" under the webhook's key>

A name is looked up once, what it means must be a public address, and that address is called: a name cannot mean something else
a moment later. Redirects are not followed.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit

import orjson

from curate.errors import CurateError, PipelineError, TransientError
from curate.service.settings import secret
from curate.service.state import tables

ANSWER_S = 10.0
HEADER: Final = "X-Curate-Signature"
_TRANSLATED = [ipaddress.ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96")]


def check_url(url: str, allowed: Sequence[str]) -> SplitResult:
    """Return the parts of a webhook's address; raise `PipelineError` for one that is never called.

    `allowed` are hosts that may lie on a private network and be called without TLS.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise PipelineError(f"not an address: {error}") from None
    del port
    if not host or parts.scheme not in ("http", "https"):
        raise PipelineError(f"not the address of a webhook: {url[:200]}", "such as https://hooks.example.org/curate")
    if parts.username is not None or any(ord(sign) < 33 for sign in url):
        raise PipelineError("a webhook's address holds no credentials, blanks or control characters")
    if parts.scheme == "http" and host not in allowed:
        raise PipelineError(f"{host} is called by https", "or name it under `hooks_allow` in the settings")
    if host not in allowed and _is_private_literal(host):
        raise PipelineError(f"{host} is no public address", "name it under `hooks_allow` in the settings if it is meant")
    return parts


def post(notice: tables.Notice, webhook: tables.Webhook, allowed: Sequence[str]) -> None:
    """Post a notice; anything but an answer of success raises."""
    parts = check_url(webhook.url, allowed)
    assert parts.hostname is not None, "checked"
    port = parts.port or (443 if parts.scheme == "https" else 80)
    body = orjson.dumps({"id": notice.id, "event": notice.event, **notice.payload})
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "curate",
        HEADER: signature(secret(webhook.secret), body, int(time.time())),
    }
    address = _resolved(parts.hostname, port, parts.hostname in allowed)
    connection = _connected(parts, port, address)
    try:
        connection.request("POST", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, headers)
        status = connection.getresponse().status
    except http.client.HTTPException as error:
        raise TransientError(f"{parts.hostname} answered no HTTP: {error}") from None
    finally:
        connection.close()
    if not 200 <= status < 300:
        raise CurateError(f"{parts.hostname} answered {status}")


def signature(key: str, body: bytes, moment: int) -> str:
    """Return the header that proves who posted a body, and when."""
    digest = hmac.new(key.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


def is_public(address: str) -> bool:
    """Tell whether an address can be reached by everybody, and is not a private one in disguise."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if any(ip in net for net in _TRANSLATED):
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _is_private_literal(host: str) -> bool:
    try:
        return not is_public(host)
    except ValueError:
        return False  # a name: what it means is looked at when it is called


def _resolved(host: str, port: int, allowed: bool) -> str:
    try:
        found = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as error:
        raise TransientError(f"no address for {host}: {error}") from None
    if not allowed and not all(map(is_public, found)):
        raise CurateError(f"{host} leads to a private network", "name it under `hooks_allow` in the settings if it is meant")
    return found[0]


def _connected(parts: SplitResult, port: int, address: str) -> http.client.HTTPConnection:
    assert parts.hostname is not None, "checked"
    plain = socket.create_connection((address, port), timeout=ANSWER_S)
    connection = http.client.HTTPConnection(parts.netloc, timeout=ANSWER_S)
    connection.sock = plain
    if parts.scheme == "https":
        connection.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=parts.hostname)
    return connection
