"""Cardmarket's price guide: EUR in a home of their own, as delivered, joined by TCGdex."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import time_machine
from builders import curve, delivery
from pytest_httpserver import HTTPServer
from test_tcgdex import EUROPEAN, american
from web import Web

from pokewatch.errors import SourceError, UsageError
from pokewatch.operations import night
from pokewatch.operations.source_status import source_status
from pokewatch.quality.ingest import collect, ingest
from pokewatch.settings import Settings, load_settings
from pokewatch.sources import MARKET, cardmarket, ecb, home_of
from pokewatch.store.tables import Store

DAY = "2026-09-04"


def guide(*rows: dict, day: str = DAY) -> dict:
    return {"version": 1, "createdAt": f"{day}T02:44:38+0200", "priceGuides": list(rows)}


def row(product: Any, trend: Any = 1.5, foil: Any = 0, **others: Any) -> dict:
    averages = {"avg1": 1.1, "avg7": 1.2, "avg30": None}
    return {
        "idProduct": product,
        "idCategory": 51,
        **{"avg": 2.0, "low": 0.5, "trend": trend, **averages},
        **{f"{name}-holo": foil for name in ("avg", "low", "trend")},
    } | others


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel(f"{DAY}T06:00:00Z") as traveller:
        yield traveller


@pytest.fixture
def web(httpserver: HTTPServer) -> Web:
    web = Web(httpserver)
    web.pages[cardmarket.GUIDE] = guide(row(7), row(8, None, 4.0), row(9, 0), row(10, low=0))
    named = {"single": [(7, "Mew"), (8, "Muk")], "sealed": [(10, "Booster Box")]}
    for kind, products in named.items():
        listed = [{"idProduct": key, "name": name, "idExpansion": 5} for key, name in products]
        web.pages[cardmarket.LISTS[kind]] = {"version": 1, "products": listed}
    return web


@pytest.fixture
def settings(web: Web, tmp_path: Path) -> Settings:
    return load_settings(
        home=tmp_path / "home",
        store="",
        cardmarket_url=web.url,
        tcgdex_url=web.url,
        ecb_url=web.url,
        sets=["sv01"],
        request_interval=0,
        request_attempts=1,
        fallback=["tcgdex"],
    )


def euros(settings: Settings) -> Store:
    return Store.from_settings(home_of(MARKET, [], settings))


def test_euros_are_a_market_of_their_own(settings: Settings) -> None:
    dollars = Store.from_settings(settings)
    ingest(dollars, delivery(curve("7:Normal", [9.0], DAY), source="tcgcsv"), settings)
    counts = collect(settings, MARKET)
    assert (counts.accepted, counts.incomplete) == (3, "")
    assert counts.notes == ["1 products without a trend left out"]
    assert dollars.prices()["card_id"].tolist() == ["7:Normal"]
    rows = euros(settings).prices().set_index("card_id")
    assert rows["market_price"].to_dict() == {"10:Card": 1.5, "7:Card": 1.5, "8:Foil": 4.0}
    assert rows.loc["7:Card", ["low_price", "mid_price"]].tolist() == [0.5, 2.0]
    assert rows["low_price"].isna().to_dict()["10:Card"]
    assert {f"{day:%Y-%m-%d}" for day in rows["date"]} == {DAY}
    cards = euros(settings).cards().set_index("card_id")
    assert cards["name"].to_dict() == {"10:Card": "Booster Box", "7:Card": "Mew", "8:Foil": "Muk"}
    assert cards.loc["10:Card", "product_kind"] == "sealed"
    for seen in (settings, home_of(MARKET, [], settings)):
        (status,) = [one for one in source_status(seen) if one["source"] == MARKET]
        assert (status["rows"], status["newest"]) == (3, DAY)


def test_averages_are_kept_as_delivered(settings: Settings) -> None:
    collect(settings, MARKET)
    (path,) = (settings.home / MARKET / "archives").iterdir()
    assert path.name == f"cardmarket-{DAY}.jsonl.gz"
    kept = cardmarket.read_guide(path).set_index("card_id")
    assert kept.loc["7:Card", ["trend", "avg1", "avg7"]].tolist() == [1.5, 1.1, 1.2]
    assert len(kept) == 8


def test_the_guide_is_pulled_once_a_day(web: Web, settings: Settings, clock) -> None:
    collect(settings, MARKET)
    assert collect(settings, MARKET).accepted == 0
    assert web.asked.count(cardmarket.GUIDE) == 1
    web.pages[cardmarket.GUIDE] = guide(row(7, 1.6), row(8, None, 4.0), row(10), day="2026-09-05")
    clock.shift(86_400)
    assert collect(settings, MARKET).dates == ["2026-09-05"]
    assert web.asked.count(cardmarket.GUIDE) == 2


def test_a_damaged_file_is_pulled_again(web: Web, settings: Settings) -> None:
    collect(settings, MARKET)
    (path,) = (settings.home / MARKET / "archives").iterdir()
    path.write_bytes(path.read_bytes()[:-40])
    assert collect(settings, MARKET).unchanged == 3
    assert web.asked.count(cardmarket.GUIDE) == 2


def test_a_week_beside_dollars_is_never_mixed(web: Web, settings: Settings, clock) -> None:
    dollars = Store.from_settings(settings)
    for day in range(4, 11):
        name = f"2026-09-{day:02}"
        web.pages[cardmarket.GUIDE] = guide(row(7, day / 10), row(8, day / 5), day=name)
        rows = [curve(f"{card}:Normal", [day * 1.0], name) for card in (7, 8)]
        ingest(dollars, delivery(*rows, source="tcgcsv"), settings)
        assert collect(settings, MARKET).incomplete == ""
        clock.shift(86_400)
    assert set(dollars.prices()["source"]) == {"tcgcsv"}
    assert set(euros(settings).prices()["source"]) == {MARKET}
    assert len(dollars.prices()) == len(euros(settings).prices()) == 14


def test_currencies_are_refused_in_one_command_or_home(settings: Settings) -> None:
    with pytest.raises(UsageError, match="market of its own in EUR"):
        collect(settings, MARKET, ["tcgdex"])
    with pytest.raises(UsageError, match="market of its own in EUR"):
        collect(settings, "tcgcsv", [MARKET])
    inside = home_of(MARKET, [], settings)
    assert home_of(MARKET, [], inside) == inside
    stored = settings.model_copy(update={"store": f"{settings.home}/{MARKET}"})
    for market in (inside, stored):
        assert ecb.stored_currency(market) == "EUR"
        with pytest.raises(UsageError, match="holds prices in EUR, 'tcgdex' serves USD"):
            collect(market, "tcgdex", [])


@pytest.mark.parametrize("form", ["{}", "file://{}", "file://{}/", "{}/cardmarket"])
def test_a_store_elsewhere_keeps_both_markets_apart(
    settings: Settings, tmp_path: Path, form: str
) -> None:
    """As POKEWATCH_STORE and POKEWATCH_HOME=…/cardmarket say it, where nothing names the source."""
    store = form.format(tmp_path / "tables")
    outside = settings.model_copy(update={"store": store})
    market = load_settings(**dict(outside) | {"home": outside.home / MARKET})
    counts = collect(market, MARKET)
    assert counts.accepted == len(Store.from_settings(market).prices()) == 3
    assert market.store_root == home_of(MARKET, [], outside).store_root
    assert market.store_root.endswith("/tables/cardmarket")
    if not form.endswith(MARKET):
        assert Store.from_settings(outside).prices().empty
        ingest(Store.from_settings(outside), delivery(curve("7:Normal", [9.0], DAY)), outside)
        assert len(Store.from_settings(market).prices()) == 3


def test_a_night_of_euros_needs_their_home(web: Web, settings: Settings) -> None:
    dollars = Store.from_settings(settings)
    ingest(dollars, delivery(curve("7:Normal", [9.0], DAY), source="tcgcsv"), settings)
    for wrong, source in ((settings, MARKET), (settings.model_copy(update={"source": MARKET}), "")):
        with pytest.raises(UsageError, match=f"set POKEWATCH_HOME={settings.home}/cardmarket"):
            night.collect_night(wrong, source or None)
    assert not web.asked
    assert night.collect_night(home_of(MARKET, [], settings), MARKET).accepted == 3


def test_tcgdex_tells_which_card_a_product_is(web: Web, settings: Settings) -> None:
    collect(settings, MARKET)
    names = {"sv01-006": 7, "sv01-007": 8, "sv01-008": 8}
    web.pages["/en/sets"] = [{"id": "sv01"}]
    cards = [{"id": one} for one in names]
    web.pages["/en/sets/sv01"] = {"id": "sv01", "name": "A set", "cards": cards}
    for number, (one, product) in enumerate(names.items()):
        block = {"productId": 100 + number, "marketPrice": 2.0}
        pricing = american(normal=block) | {"cardmarket": EUROPEAN | {"idProduct": product}}
        told = {"id": one, "name": "Mew!", "localId": one[-3:], "pricing": pricing}
        web.pages[f"/en/cards/{one}"] = told
    collect(settings, "tcgdex", [])
    known = euros(settings).cards().set_index("card_id")
    assert {key: list(names) for key, names in known["aliases"].items()} == {
        "10:Card": [],
        "7:Card": ["sv01-006"],
        "7:Foil": ["sv01-006"],
        "8:Foil": [],  # two cards share its product
    }
    assert known.loc["7:Card", ["name", "set_name", "number"]].tolist() == ["Mew", "A set", "006"]


@pytest.mark.parametrize(
    "page", [404, 500, {"priceGuides": []}, {"createdAt": "soon", "priceGuides": []}, [], b"<html>"]
)
def test_a_guide_that_cannot_be_used_is_an_error(web: Web, settings: Settings, page: Any) -> None:
    web.pages[cardmarket.GUIDE] = page
    with pytest.raises(SourceError):
        collect(settings, MARKET)
    assert not list((settings.home / MARKET).glob("archives/*"))


def test_names_that_do_not_come_cost_no_price(web: Web, settings: Settings) -> None:
    web.pages[cardmarket.LISTS["single"]] = 404
    web.pages[cardmarket.LISTS["sealed"]] = {"products": 5}
    counts = collect(settings, MARKET)
    assert counts.accepted == 3
    assert sum("names are missing" in note for note in counts.notes) == 2


@pytest.mark.parametrize("bad", ["1,50", -3, [1.5], True, 2e9])
def test_a_bad_price_is_quarantined(web: Web, settings: Settings, bad: Any) -> None:
    web.pages[cardmarket.GUIDE] = guide(row(7, bad), row(8), row("x"), row(None))
    counts = collect(settings, MARKET)
    assert (counts.accepted, counts.quarantined) == (1, 1)


def test_another_day_is_refused(settings: Settings) -> None:
    with pytest.raises(UsageError, match=f"guide is of {DAY}, not of 2026-09-01"):
        collect(settings, MARKET, on=date(2026, 9, 1))


@pytest.mark.real_data
def test_the_original_guide_is_read(web: Web, settings: Settings, shared_data: Path) -> None:
    sample = shared_data / "fixtures" / "cardmarket_price_guide_6.sample.json"
    web.pages[cardmarket.GUIDE] = json.loads(sample.read_bytes())
    assert collect(settings, MARKET).accepted == 2
    rows = euros(settings).prices().set_index("card_id")["market_price"]
    assert rows.to_dict() == {"271439:Card": 344.42, "271439:Foil": 3.93}
