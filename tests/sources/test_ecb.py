"""The European Central Bank's rates: asked once a day, kept, and what amounts are shown with."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import time_machine
from pytest_httpserver import HTTPServer
from web import Web

from pokewatch.errors import SourceError, UsageError
from pokewatch.operations.doctor.environment import check_currency
from pokewatch.settings import Settings, load_settings
from pokewatch.sources import MARKET, ecb, home_of

ADDRESS = ecb.DAILY
RATES = {"USD": 1.25, "JPY": 187.5, "GBP": 0.85, "BRL": 6.25}


def document(day: str = "2026-07-09", **rates: Any) -> bytes:
    """Return the file as it is published."""
    cubes = "".join(
        f"\t\t\t<Cube currency='{code}' rate='{rate}'/>\n"
        for code, rate in (rates or RATES).items()
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<gesmes:Envelope xmlns:gesmes="http://www.gesmes'
        '.org/xml/2002-08-01" xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">\n'
        "\t<gesmes:subject>Reference rates</gesmes:subject>\n\t<Cube>\n"
        f"\t\t<Cube time='{day}'>\n{cubes}\t\t</Cube>\n\t</Cube>\n</gesmes:Envelope>"
    ).encode()


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel("2026-07-10T03:00:00Z") as traveller:
        yield traveller


@pytest.fixture
def web(httpserver: HTTPServer) -> Web:
    web = Web(httpserver)
    web.pages[ADDRESS] = document()
    return web


@pytest.fixture
def settings(web: Web, tmp_path: Path) -> Settings:
    return load_settings(
        home=tmp_path / "home", ecb_url=web.url, currency="eur", request_interval=0, store=""
    )


def moved(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update=changes)


def test_dollars_ask_for_nothing_and_say_nothing(web: Web, settings: Settings) -> None:
    dollars = load_settings(home=settings.home, ecb_url=web.url, store="")
    ecb.refresh(dollars)
    money = ecb.display(dollars)
    assert (web.asked, money.plain, money.note) == ([], True, "")
    assert list(check_currency(dollars)) == []


def test_rates_are_asked_for_once_a_day(web: Web, settings: Settings, clock: Any) -> None:
    ecb.refresh(settings)
    ecb.refresh(settings)
    assert web.asked == [ADDRESS]
    money = ecb.display(settings)
    assert (money.currency, money.stored, money.rate) == ("EUR", "USD", 0.8)
    assert money(10) == "€8.00"
    assert "2026-07-09" in money.note
    assert "1 USD = 0.8 EUR" in money.note
    clock.shift(86_400)
    web.pages[ADDRESS] = document("2026-07-10", **(RATES | {"USD": 1.6}))
    ecb.refresh(settings)
    assert (len(web.asked), ecb.display(settings).rate) == (2, 0.625)


@pytest.mark.parametrize(
    ("code", "text"), [("JPY", "¥1,500"), ("BRL", "R$50.00"), ("GBP", "£6.80")]
)
def test_other_currencies_go_by_the_euro(settings: Settings, code: str, text: str) -> None:
    ecb.update(settings)
    assert ecb.display(moved(settings, currency=code))(10) == text


def test_euros_of_cardmarket_are_converted_from_euros(settings: Settings) -> None:
    market = home_of(MARKET, [], moved(settings, currency="USD"))
    money = ecb.display(market)
    assert (money(10), money.plain) == ("€10.00", False)
    assert "no rate" in money.note
    ecb.refresh(market)
    assert (market.home / ecb.KEPT).exists()
    assert ecb.display(market)(10) == "$12.50"
    assert ecb.display(moved(market, currency="EUR"))(10) == "€10.00"
    assert ecb.display(moved(market, currency="EUR")).note == ""


def test_without_any_rate_prices_stay_what_they_are_and_that_is_said(settings: Settings) -> None:
    money = ecb.display(settings)
    assert money(10) == "$10.00"
    assert "no rate of EUR is known" in money.note
    assert "pokewatch rates" in money.note
    (finding,) = check_currency(settings)
    assert (finding.state, finding.remedy) == ("warn", "pokewatch rates")


def test_offline_the_last_known_rate_counts_with_its_date(
    web: Web, settings: Settings, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ecb.refresh(settings)
    assert [one.state for one in check_currency(settings)] == ["ok"]
    clock.shift(86_400 * 10)
    web.pages[ADDRESS] = 503
    with caplog.at_level(logging.WARNING):
        ecb.refresh(settings)
    assert "answered 503" in caplog.text
    money = ecb.display(settings)
    assert money(10) == "€8.00"
    assert "2026-07-09" in money.note
    assert "11 days old" in money.note
    assert [one.state for one in check_currency(settings)] == ["warn"]
    with pytest.raises(SourceError, match="answered 503"):
        ecb.update(settings)


def test_a_dead_network_is_waited_for_a_short_while_only(
    web: Web, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Settings] = []
    original = ecb.client

    def client(given: Settings) -> Any:
        seen.append(given)
        return original(given)

    monkeypatch.setattr(ecb, "client", client)
    ecb.update(settings)
    assert seen[0].request_timeout <= 10
    assert seen[0].request_attempts <= 2


@pytest.mark.parametrize(
    "page",
    [
        b"<html>maintenance</html>",
        b"",
        document("soon"),
        document("2026-13-01"),
        document("2031-01-01"),
        document(USD="0"),
        document(USD="-1"),
        document(USD="inf"),
        document(USD="1,25"),
        document(JPY="187.5"),
        document()[:200],
        document("2026-07-09") + document("2026-07-08"),
    ],
)
def test_a_file_of_another_shape_changes_nothing(web: Web, settings: Settings, page: bytes) -> None:
    ecb.update(settings)
    before = (settings.home / ecb.KEPT).read_bytes()
    web.pages[ADDRESS] = page
    with (
        time_machine.travel("2026-07-12T03:00:00Z"),
        pytest.raises(SourceError, match=r"answered|exchange rates"),
    ):
        ecb.update(settings)
    assert (settings.home / ecb.KEPT).read_bytes() == before


def test_an_older_file_does_not_replace_a_newer_one(web: Web, settings: Settings) -> None:
    ecb.update(settings)
    web.pages[ADDRESS] = document("2026-07-01", USD="2")
    with time_machine.travel("2026-07-12T03:00:00Z"):
        assert ecb.update(settings).day.isoformat() == "2026-07-09"


@pytest.mark.parametrize(
    "kept",
    ["", "{", "[]", '{"day": 5}', '{"day": "2026-07-09", "asked": "x", "rates": {"USD": "a"}}'],
)
def test_a_damaged_file_is_as_none_and_mended(settings: Settings, kept: str) -> None:
    settings.home.mkdir()
    (settings.home / ecb.KEPT).write_text(kept, encoding="utf-8")
    assert ecb.display(settings)(10) == "$10.00"
    ecb.refresh(settings)
    assert ecb.display(settings)(10) == "€8.00"
    assert json.loads((settings.home / ecb.KEPT).read_text(encoding="utf-8"))["day"] == "2026-07-09"


@pytest.mark.parametrize("wrong", ["XYZ", "Euro", "RUB", "12"])
def test_an_unknown_currency_is_named_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setenv("POKEWATCH_CURRENCY", wrong)
    with pytest.raises(UsageError, match=f"POKEWATCH_CURRENCY='{wrong}': .*EUR.*mend it in"):
        load_settings()


def test_an_empty_currency_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POKEWATCH_CURRENCY", "")
    assert load_settings().currency == "USD"
