"""Who gets in, how often and with how much; and that nothing secret gets out."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import time_machine
from limits import parse

from pokewatch.service import guard
from pokewatch.service.app import create_app
from pokewatch.service.rates import Windows, _network


def ask(service, client=("10.0.0.1", 1234), **options):
    """Send one request from an address, past the test client."""

    return ask_all(service, [options], client)[0]


def ask_all(service, asks, client=("10.0.0.1", 1234)):
    """Send requests one after the other from an address."""

    async def send():
        transport = httpx.ASGITransport(service.client.app, client=client)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as one:
            return [await one.request(**options) for options in asks]

    return asyncio.run(send())


def test_wrong_keys_close_an_address_and_no_other(serve):
    service = serve(service_failures="10/minute")
    asks = [{"headers": {"X-API-Key": f"pw_{number}"}} for number in range(1000)]
    wrong = ask_all(service, [{"method": "GET", "url": "/cards", **one} for one in asks])
    codes = [one.status_code for one in wrong]
    assert codes == [401] * 10 + [429] * 990
    assert int(wrong[-1].headers["Retry-After"]) > 0
    right = {"X-API-Key": service.keys["read"]}
    assert ask(service, method="GET", url="/cards", headers=right).status_code == 429
    other = ask(service, ("10.0.0.2", 1), method="GET", url="/cards", headers=right)
    assert other.status_code == 200
    assert ask(service, method="GET", url="/livez").status_code == 200


def test_a_damaged_file_of_keys_is_no_wrong_key(serve):
    service = serve(copy=True, service_failures="2/minute")
    kept = (service.settings.home / "keys.json").read_bytes()
    (service.settings.home / "keys.json").write_text("{")
    assert [service.get("/cards").status_code for _ in range(4)] == [503] * 4
    (service.settings.home / "keys.json").write_bytes(kept)
    assert service.get("/cards").status_code == 200


def test_addresses_that_sent_wrong_keys_are_forgotten():
    windows = Windows(parse("2/minute"))
    now = datetime.now(tz=UTC)
    with time_machine.travel(now, tick=False):
        assert [windows.hit("a") for _ in range(3)] == [True, True, False]
        assert windows.headers("a")["X-RateLimit-Remaining"] == "0"
        windows.hit("b")
    with time_machine.travel(now + timedelta(seconds=30), tick=False):
        windows.hit("b")
        assert windows.headers("b")["Retry-After"] == "30"
    with time_machine.travel(now + timedelta(seconds=60), tick=False):
        assert not windows.full("a")
        assert windows.hit("c")
        assert windows.headers("c")["X-RateLimit-Remaining"] == "1"
        assert list(windows._seen) == ["b", "c"]
    with time_machine.travel(now + timedelta(seconds=200), tick=False):
        assert windows.hit("b")
        assert list(windows._seen) == ["b"]


def test_a_household_of_ipv6_is_one_address():
    assert _network("2001:db8::1") == _network("2001:db8::ffff") != _network("2001:db8:0:1::1")
    assert _network("10.0.0.1") == "10.0.0.1"


async def _chunks(size: int, number: int):
    for _ in range(number):
        yield b" " * size


def test_a_body_without_length_is_counted_as_it_comes(service):
    key = {"X-API-Key": service.keys["read"], "Content-Type": "application/json"}
    found = ask(service, method="POST", url="/fair_price", headers=key, content=_chunks(9000, 40))
    assert found.status_code == 413
    announced = key | {"Content-Length": "999999999"}
    found = ask(service, method="POST", url="/fair_price", headers=announced, content=b"{}")
    assert found.status_code == 413


def test_a_body_that_lies_about_its_length_is_counted(service):
    key = {"X-API-Key": service.keys["read"], "Content-Length": "10"}
    found = ask(service, method="POST", url="/fair_price", headers=key, content=_chunks(9000, 40))
    assert found.status_code == 413


def test_a_slow_body_is_given_up(service, monkeypatch):
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.05)

    async def slow():
        yield b"{"
        await asyncio.Event().wait()

    key = {"X-API-Key": service.keys["read"]}
    found = ask(service, method="POST", url="/fair_price", headers=key, content=slow())
    assert found.status_code == 408


def test_size_comes_before_the_key_and_the_key_before_the_page(service):
    big = ask(service, method="POST", url="/fair_price", content=b"x" * 300_000)
    assert big.status_code == 413
    assert service.get("/nothing", scope="").status_code == 401
    missing = service.get("/nothing")
    assert missing.status_code == 404
    assert missing.headers["content-type"] == "application/problem+json"
    assert service.post("/cards").status_code == 405


@pytest.mark.parametrize("header", ["a\tb", "x" * 65, "ä", "", "a b"])
def test_a_foreign_request_id_is_replaced(service, header):
    found = service.get("/cards", headers={"X-Request-ID": header.encode("latin-1")})
    assert re.fullmatch("[0-9a-f]{16}", found.headers["X-Request-ID"])


def test_an_unexpected_error_tells_nothing_of_our_code(serve, monkeypatch, caplog):
    service = serve()

    def fail(*_):
        raise RuntimeError(f"secret in {service.settings.home}")

    monkeypatch.setattr(service.current.market, "signals", fail)
    found = service.get("/v1/signals")
    assert found.status_code == 500
    assert found.headers["content-type"] == "application/problem+json"
    assert "secret" not in found.text
    assert found.headers["X-Request-ID"] in caplog.text


PATHS = [
    "/v1/cards/..%2F..%2F..%2Fetc%2Fpasswd",
    "/v1/cards/..%2f..%2fkeys.json/prices",
    "/v1/cards/%00",
    "/v1/cards/%0d%0aX-Evil:%201/forecast",
    "/v1/cards?q=%27%20OR%201=1--&cursor=%0d%0a",
    "/docs/../keys.json",
    "//evil.example/%2f..",
    "/v1/signals?date=2025-06-09%27;DROP",
]


@pytest.mark.parametrize("path", PATHS)
def test_paths_reach_no_file_and_inject_no_header(service, path):
    found = service.get(path)
    assert found.status_code in (200, 400, 404, 422)
    assert "X-Evil" not in found.headers
    assert "root:" not in found.text
    assert "digest" not in found.text


def test_no_key_is_in_any_log_or_answer(serve, caplog):
    with caplog.at_level(logging.DEBUG):
        service = serve()
        answers = [
            service.get(f"/v1/cards?q={service.keys['read']}"),
            service.get("/v1/status"),
            service.get("/v1/model"),
            service.get("/cards", scope="", headers={"X-API-Key": "pw_wrong-and-secret"}),
            service.get("/openapi.json", scope=""),
            service.get("/docs", scope=""),
        ]
    ours = [one.getMessage() for one in caplog.records if one.name != "httpx"]
    texts = [*ours, *(f"{one.text} {one.headers}" for one in answers)]
    for secret in [*service.keys.values(), "pw_wrong-and-secret"]:
        assert [text for text in texts if secret in text] == []


def test_the_access_log_is_a_json_line_a_request(service, caplog):
    with caplog.at_level(logging.INFO, "pokewatch.access"):
        found = service.get("/v1/cards?q=secret-words", headers={"X-Request-ID": "mine"})
    (line,) = (json.loads(one.message) for one in caplog.records if one.name == "pokewatch.access")
    assert (line["method"], line["path"], line["status"]) == ("GET", "/v1/cards", 200)
    assert (line["request_id"], line["bytes"]) == ("mine", len(found.content))
    assert len(line["key"]) == 8


def test_the_access_log_names_the_key_that_was_refused(serve, caplog):
    service = serve(service_rate="2/minute")
    with caplog.at_level(logging.INFO, "pokewatch.access"):
        codes = [service.post(path).status_code for path in ("/reload", "/reload", "/fair_price")]
    lines = [json.loads(one.message) for one in caplog.records if one.name == "pokewatch.access"]
    assert codes == [403, 403, 429]
    assert len({line["key"] for line in lines} - {None}) == 1


def test_other_sites_may_call_only_where_they_are_listed(service, serve):
    evil = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    assert "access-control-allow-origin" not in service.get("/cards", headers=evil).headers
    listed = serve(service_origins=["https://cards.example"])
    asked = {"Origin": "https://cards.example", "Access-Control-Request-Method": "GET"}
    asked["Access-Control-Request-Headers"] = "X-API-Key"
    found = listed.client.options("/cards", headers=asked)
    assert found.status_code == 200
    assert found.headers["access-control-allow-origin"] == "https://cards.example"
    assert "access-control-allow-credentials" not in found.headers
    assert listed.client.options("/cards", headers=evil).status_code == 400


def test_https_is_asked_to_stay(service):
    async def send():
        transport = httpx.ASGITransport(service.client.app)
        async with httpx.AsyncClient(transport=transport, base_url="https://test") as one:
            return await one.get("/livez")

    assert "Strict-Transport-Security" in asyncio.run(send()).headers


def test_keys_share_their_limit_through_redis_and_go_on_without_it(serve, start_redis, caplog):
    server = start_redis()
    options = {"cache_url": server.url, "service_rate": "3/minute"}
    first = serve(**options)
    second = create_app(first.settings)
    key = {"X-API-Key": first.keys["read"]}
    from fastapi.testclient import TestClient

    with TestClient(second) as other:
        first.client.get("/v1/status", headers=key)
        codes = [one.get("/cards", headers=key).status_code for one in (other, first.client) * 3]
        assert codes.count(429) == 4
        assert codes[-1] == 429
        server.stop()
        assert first.client.get("/livez").status_code == 200
        after = [first.client.get("/cards", headers=key).status_code for _ in range(5)]
    assert after == [200, 200, 200, 429, 429]
    told = [one for one in caplog.records if "counts requests for itself" in one.message]
    assert len(told) == 1
    assert server.password not in caplog.text
