"""Proxies of the environment: what NO_PROXY means, and which variable is to blame."""

from __future__ import annotations

import sys
from typing import Any

import httpx
import pytest
from pytest_httpserver import HTTPServer
from web import Web
from werkzeug import Response

from pokewatch import sources
from pokewatch.errors import SourceError
from pokewatch.quality.ingest import collect
from pokewatch.settings import load_settings
from pokewatch.sources import tcgdex
from pokewatch.sources.http import Client
from pokewatch.sources.proxy import is_direct, proxy_of

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def broken(_: Any) -> Any:
    raise ImportError("no module of it")


@pytest.fixture
def web(httpserver: HTTPServer) -> Web:
    return Web(httpserver)


def client(url: str) -> Client:
    return Client(url, load_settings(request_interval=0, request_attempts=1, request_timeout=5))


@pytest.mark.parametrize(
    ("url", "no_proxy", "direct"),
    [
        ("http://127.0.0.1:80", "localhost,127.0.0.1,[::1]", True),
        ("http://127.0.0.1:80", "localhost,[::1]", False),
        ("http://[::1]:80", "[::1]", True),
        ("http://[::1]", "::1", True),
        ("http://[::1]:81", "[::1]:80", False),
        ("http://[fd07:b51a:cc66:f0::7]", "localhost,fd07:b51a:cc66:f0::/64", True),
        ("http://[fd07:b51a:cc66:f1::7]", "fd07:b51a:cc66:f0::/64", False),
        ("http://10.1.2.3", "10.0.0.0/8 192.168.0.0/16", True),
        ("http://11.1.2.3", "10.0.0.0/8", False),
        ("http://127.0.0.1", "fd07:b51a:cc66:f0::/64", False),
        ("https://tcgcsv.com", "tcgcsv.com", True),
        ("https://tcgcsv.com", ".TCGCSV.com", True),
        ("https://api.tcgdex.net/v2", "*.tcgdex.net", True),
        ("https://api.tcgdex.net/v2", "tcgdex.net:443", True),
        ("https://api.tcgdex.net/v2", "tcgdex.net:80", False),
        ("https://nottcgcsv.com", "tcgcsv.com", False),
        ("https://tcgcsv.com", "https://tcgcsv.com", True),
        ("https://tcgcsv.com", "*", True),
        ("https://tcgcsv.com", " , ,/,[,::/,x y", False),
        ("https://tcgcsv.com", "", False),
    ],
)
def test_no_proxy_lists_hosts_addresses_and_networks(url: str, no_proxy: str, direct: bool) -> None:
    assert is_direct(httpx.URL(url), no_proxy) == direct


def test_the_scheme_s_own_proxy_comes_before_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://all:1")
    monkeypatch.setenv("https_proxy", "tls:2")
    assert proxy_of(httpx.URL("http://x.org")) == ("ALL_PROXY", "http://all:1")
    assert proxy_of(httpx.URL("https://x.org")) == ("HTTPS_PROXY", "http://tls:2")
    monkeypatch.setenv("NO_PROXY", "x.org")
    assert proxy_of(httpx.URL("https://x.org")) == ("", "")


@pytest.mark.parametrize("no_proxy", ["[::1]", "fd07:b51a:cc66:f0::/64", "127.0.0.0/8", "::/bad"])
def test_any_no_proxy_can_be_set(web: Web, monkeypatch: pytest.MonkeyPatch, no_proxy: str) -> None:
    monkeypatch.setenv("NO_PROXY", no_proxy)
    web.pages["/data"] = {"a": 1}
    with client(web.url) as opened:
        assert opened.get_json("/data") == {"a": 1}


def test_a_proxy_is_used(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", web.url)
    web.pages["/data"] = {"a": 1}
    with client("http://cards.example") as opened:
        assert opened.get_json("/data") == {"a": 1}
    assert web.requests[0].headers["Host"] == "cards.example"


def test_the_variable_of_a_proxy_that_fails_is_named(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", web.url.replace("//", "//me:secret@"))
    web.pages["/data"] = Response(status=407)
    with client("http://cards.example") as opened:
        with pytest.raises(SourceError, match=r"HTTP_PROXY.*: the proxy refuses \(407\)") as raised:
            opened.get_json("/data")
        assert "secret" not in str(raised.value)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    words = r"by the proxy in HTTP_PROXY\): the connection failed"
    with client("http://cards.example") as opened, pytest.raises(SourceError, match=words):
        opened.get_json("/data")


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("socks4://me:secret@h:1", "ALL_PROXY=socks4://h:1 is no proxy that can be used"),
        ("ftp://h", "ALL_PROXY=ftp://h is no proxy"),
        ("http://h:port", "ALL_PROXY=http://h:port is no proxy"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, proxy: str, words: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(SourceError, match=f"{words}.* 'cards.example' in NO_PROXY") as raised:
        client("http://cards.example")
    assert "secret" not in str(raised.value)


def test_without_the_package_for_socks_the_fallback_is_asked(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)  # as where it is not installed
    monkeypatch.setenv("ALL_PROXY", "socks5h://me:secret@127.0.0.1:1080")
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    web.pages |= {
        "/en/sets": [{"id": "sv01"}],
        "/en/sets/sv01": {"id": "sv01", "cards": [{"id": "sv01-1"}]},
        "/en/cards/sv01-1": {
            "id": "sv01-1",
            "pricing": {
                "tcgplayer": {
                    "updated": "2026-07-23",
                    "unit": "USD",
                    "normal": {"productId": 7, "marketPrice": 1.5},
                }
            },
        },
    }
    settings = load_settings(
        tcgcsv_url="http://cards.example", tcgdex_url=web.url, sets=["sv1"], request_interval=0
    )
    with pytest.raises(
        SourceError, match=r"socks5h://127.0.0.1:1080 is a SOCKS proxy.*httpx\[sock"
    ):
        sources.check("tcgcsv", settings)
    counts = collect(settings, "tcgcsv", ["tcgdex"])
    assert "ALL_PROXY=socks5h" in counts.notes[0]
    assert "secret" not in " ".join(counts.notes)
    monkeypatch.setattr(tcgdex, "client", broken)
    with pytest.raises(SourceError, match="tcgdex cannot be asked: no module of it"):
        sources.check("tcgdex", settings)
    with pytest.raises(SourceError, match="no module of it"):
        collect(settings, "tcgdex", [])
