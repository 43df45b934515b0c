"""The process: who may reach it, slow and huge requests, and a worker that dies."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
import uvicorn

from pokewatch.errors import UsageError
from pokewatch.service import server
from pokewatch.service.keys import Keys
from pokewatch.settings import load_settings


@pytest.fixture
def port(service, running, monkeypatch) -> Iterator[int]:
    """The shared service behind the bounded protocol, with little patience."""
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.3)
    with running(service.client.app, http=server.BoundedProtocol, ws="none") as port:
        yield port


def answer(port: int, *parts: bytes) -> bytes:
    """Send parts of a request and return all that comes until the server ends it."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
        for part in parts:
            with suppress(OSError):
                one.sendall(part)
        found = b""
        with suppress(ConnectionError):
            while more := one.recv(65536):
                found += more
        return found


START = b"GET /livez HTTP/1.1\r\nHost: x\r\n"


def test_a_request_is_answered_and_the_connection_kept(port):
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(3):
            assert client.get("/livez").json() == {"status": "ok"}


@pytest.mark.parametrize("parts", [(), (b"GET /liv",), (START,), (START, b"X-Slow: ")])
def test_slow_headers_are_given_up(port, parts):
    assert answer(port, *parts).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    "parts",
    [
        (START, b"X-Long: " + b"a" * 40_000 + b"\r\n\r\n"),
        (START, b"X-Long: " + b"a" * 200_000),
        (START, b"X: y\r\n" * 20_000, b"\r\n"),
        (b"GET /" + b"a" * 200_000,),
    ],
)
def test_huge_headers_are_refused(port, parts):
    found = answer(port, *parts)
    assert found.startswith(b"HTTP/1.1 431") or found == b""  # reset while we were sending
    assert b"200 OK" not in found


def test_a_connection_that_sends_empty_lines_is_given_up(port):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
        one.sendall(START + b"\r\n")
        assert one.recv(65536).startswith(b"HTTP/1.1 200")
        one.sendall(b"\r\n")
        assert one.recv(65536).startswith(b"HTTP/1.1 408")


def test_requests_sent_at_once_are_all_answered(port):
    asks = (START + b"\r\n") * 2 + START + b"Connection: close\r\n\r\n"
    assert answer(port, asks[:-20], asks[-20:]).count(b"HTTP/1.1 200") == 3


def test_headers_behind_a_body_are_not_kept(running):
    async def app(scope, receive, send):
        while (await receive())["more_body"]:
            pass
        told = b"%d" % len(scope["headers"])
        sent = [(b"content-length", b"%d" % len(told)), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": sent})
        await send({"type": "http.response.body", "body": told})

    with running(app, http=server.BoundedProtocol, ws="none") as port:
        head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        found = answer(port, head, b"2\r\n{}\r\n0\r\n", b"X: y\r\n" * 20_000, b"\r\n")
    assert found.endswith(b"\r\n\r\n1")


@pytest.mark.parametrize("text", [b"\x00\x01\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET\r\n\r\n"])
def test_what_is_no_http_is_refused(port, text):
    assert answer(port, text).startswith(b"HTTP/1.1 400")


def test_an_address_that_others_reach_needs_a_key(tmp_path, monkeypatch):
    monkeypatch.delenv("API_KEYS", raising=False)
    settings = load_settings(home=tmp_path, _env_file=None)
    started = []
    monkeypatch.setattr(uvicorn, "run", lambda *_, **options: started.append(options))
    for host in ("0.0.0.0", "192.168.1.5", "::", "cards.example"):
        with pytest.raises(UsageError, match="pokewatch keys create"):
            server.run(settings, host, 8000)
    for host in ("127.0.0.1", "::1", "localhost"):
        server.run(settings, host, 8000)
    Keys(settings).create("me", ["read"])
    server.run(settings, "0.0.0.0", 8000, proxies=["10.0.0.1"])
    assert started[-1]["forwarded_allow_ips"] == ["10.0.0.1"]
    assert started[0]["proxy_headers"] is False
    with pytest.raises(UsageError, match="anyone"):
        server.run(settings, "127.0.0.1", 8000, proxies=["*"])
