"""pokemontcg.io: set by set, page by page; cards found by alias and printing, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pytest_httpserver import HTTPServer
from test_services import cards
from web import Web
from werkzeug import Request, Response

from pokewatch import sources
from pokewatch.schema import Delivery
from pokewatch.settings import load_settings
from pokewatch.sources import pokemontcg

DAY = "2026/07/23"


@pytest.fixture
def web(httpserver: HTTPServer) -> Web:
    return Web(httpserver)


def card(card_id: str = "sv1-1", **blocks: Any) -> dict:
    return {"id": card_id, "name": "Mew"} | {
        name: {"updatedAt": DAY, "prices": prices} for name, prices in blocks.items()
    }


def serve(web: Web, *found: Any, set_id: str = "sv1") -> None:
    page = {"data": list(found), "pageSize": 250, "totalCount": len(found)}
    web.pages[f"/cards?set.id:{set_id}"] = page


def fetch(
    web: Web, known: pd.DataFrame | None = None, sets: tuple[str, ...] = ("sv1",)
) -> Delivery:
    settings = load_settings(
        pokemontcg_url=web.url,
        pokemontcg_key="k",
        sets=list(sets),
        request_interval=0,
        request_attempts=1,
    )
    return sources.fetch("pokemontcg", settings, known=known)


def test_every_variant_is_a_printing(web: Web) -> None:
    names = {
        "normal": "Normal",
        "holofoil": "Holofoil",
        "reverseHolofoil": "Reverse Holofoil",
        "1stEditionHolofoil": "1st Edition Holofoil",
        "1stEditionNormal": "1st Edition",
        "unlimitedHolofoil": "Unlimited Holofoil",
    }
    block = {"low": 1, "mid": 2.0, "high": 9.99, "market": 1.5, "directLow": None}
    serve(web, card(tcgplayer=dict.fromkeys([*names, "stamped"], block) | {"unlimited": None}))
    delivery = fetch(web)
    rows = delivery.observations
    assert rows["card_id"].tolist() == [*(f"sv1-1:{name}" for name in names.values()), None]
    assert rows.iloc[0][["market_price", "low_price", "high_price"]].tolist() == [1.5, 1, 9.99]
    assert set(rows["date"]) == {DAY}
    assert delivery.cards["printing"].tolist() == list(names.values())
    assert delivery.cards["aliases"].tolist() == [["sv1-1"]] * 6


def test_an_alias_and_a_printing_tell_the_card_or_it_stays_an_alias(web: Web) -> None:
    prices = {"normal": {"market": 1}, "holofoil": {"market": 2}, "reverseHolofoil": {"market": 3}}
    serve(web, card(tcgplayer=prices))
    known = cards(
        ("7:Normal", None, ["sv01-001"]),
        ("7:Holofoil", None, ["sv1-1"]),
        ("8:Holofoil", None, ["sv1-001"]),
        ("7:Unlimited", None, ["sv1-1"]),
    )
    rows = fetch(web, known, ()).observations
    assert rows["card_id"].tolist() == ["7:Normal", "sv1-1:Holofoil", "sv1-1:Reverse Holofoil"]
    made = cards(("7:Holofoil", None, ["sv1-1"])).assign(card_id="sv1-1:Holofoil", product_id=None)
    both = pd.concat([known.iloc[1:2], made])  # the alias got known later: the product counts
    assert fetch(web, both, ()).observations["card_id"].tolist()[1] == "7:Holofoil"


@pytest.mark.parametrize(
    ("written", "asked"),
    [("sv04.5", "sv4pt5"), ("sv4pt5", "sv4pt5"), ("swsh4.5", "swsh45"), ("swsh10.5", "pgo")],
)
def test_the_service_is_asked_in_its_own_spelling(web: Web, written: str, asked: str) -> None:
    serve(web, card(f"{asked}-1", tcgplayer={"normal": {"market": 1}}), set_id=asked)
    assert len(fetch(web, sets=(written,)).observations) == 1
    assert web.requests[0].args["pageSize"] == "250"


def paged(web: Web, total: int, broken: int = 0, told: int | None = None) -> None:
    """Serve a set of ``total`` cards in pages; the page ``broken`` fails."""

    def page(request: Request) -> Response:
        number, size = int(request.args["page"]), int(request.args["pageSize"])
        if number == broken:
            return Response(status=500)
        numbers = range(total)[(number - 1) * size : number * size]
        found = [card(f"sv1-{n}", tcgplayer={"normal": {"market": 1 + n}}) for n in numbers]
        return Response(json.dumps({"data": found, "totalCount": total if told is None else told}))

    web.pages["/cards?set.id:sv1"] = page


@pytest.mark.parametrize(("total", "pages"), [(249, 1), (250, 1), (251, 2), (600, 3)])
def test_all_pages_of_a_set_are_read(web: Web, total: int, pages: int) -> None:
    paged(web, total)
    delivery = fetch(web)
    assert delivery.observations["card_id"].nunique() == total
    assert len(web.asked) == pages
    assert delivery.failed == []


def test_pages_before_one_that_fails_are_kept(web: Web) -> None:
    paged(web, 600, broken=2)
    delivery = fetch(web)
    assert len(delivery.observations) == 250
    assert delivery.failed == ["set sv1"]


def test_a_set_that_came_short_is_told(web: Web) -> None:
    paged(web, 600, told=700)
    delivery = fetch(web)
    assert len(delivery.observations) == 600
    assert "only 600 of 700 cards came" in delivery.notes[0]
    assert delivery.failed == ["set sv1"]


def test_the_same_page_for_ever_ends(web: Web) -> None:
    page = {"data": [card(f"sv1-{n}") for n in range(250)]}
    web.pages["/cards?set.id:sv1"] = page
    fetch(web)
    assert len(web.asked) == pokemontcg.PAGES


def test_an_unknown_set_is_named(web: Web) -> None:
    serve(web, card(tcgplayer={"normal": {"market": 1}}))
    web.pages["/cards?set.id:sv99"] = {"data": [], "totalCount": 0}
    delivery = fetch(web, sets=("sv1", "sv99"))
    assert delivery.failed == ["set sv99"]
    assert "has no set 'sv99': check POKEWATCH_SETS" in delivery.notes[0]


@pytest.mark.parametrize("odd", [None, 5, {}, {"id": 7}, {"id": "sv1-2", "tcgplayer": [1]}])
def test_an_odd_card_is_named_and_the_others_kept(web: Web, odd: Any) -> None:
    serve(web, odd, card(tcgplayer={"normal": {"market": 1}}))
    delivery = fetch(web)
    assert len(delivery.observations) == 1
    assert len(delivery.failed) == 1
    assert "is not as documented" in delivery.notes[0]


EUROPEAN = {"trendPrice": 8.84, "lowPrice": 1.99, "reverseHoloTrend": 0, "averageSellPrice": 8.5}


def test_euros_are_taken_only_where_there_are_no_dollars(web: Web) -> None:
    only = cards(("7:Holofoil", None, ["sv1-1"]))
    serve(web, card(cardmarket=EUROPEAN), card("sv1-2", cardmarket=EUROPEAN))
    rows = fetch(web, only).observations
    assert rows["card_id"].tolist() == ["7:Holofoil", None]
    assert rows["market_price"].tolist() == [8.84, 8.84]
    assert set(rows["currency"]) == {"EUR"}
    serve(web, card(cardmarket=EUROPEAN | {"reverseHoloTrend": 2.5}))
    rows = fetch(web, pd.concat([only, cards(("7:Reverse Holofoil", None, ["sv1-1"]))]))
    rows = rows.observations
    assert rows["card_id"].tolist() == [None, "7:Reverse Holofoil"]
    assert rows["market_price"].tolist() == [8.84, 2.5]
    serve(web, card(cardmarket=EUROPEAN, tcgplayer={"holofoil": {"market": 7.4}}))
    assert fetch(web, only).observations["currency"].tolist() == ["USD"]


@pytest.mark.parametrize("key", ["", "k"])
def test_without_a_key_it_asks_slower(web: Web, key: str) -> None:
    settings = load_settings(pokemontcg_url=web.url, pokemontcg_key=key)
    with pokemontcg.client(settings) as opened:
        assert opened._per_minute == (0 if key else 30)
        assert opened._timeout == pokemontcg.SLOWEST > settings.request_timeout


@pytest.mark.real_data
def test_the_original_error_is_explained(web: Web, shared_data: Path) -> None:
    error = (shared_data / "fixtures" / "pokemontcgio_error_400.json").read_bytes()
    serve(web, card(tcgplayer={"normal": {"market": 1}}))
    web.pages["/cards?set.id:sv2"] = Response(error, status=400)
    delivery = fetch(web, sets=("sv1", "sv2"))
    assert len(delivery.observations) == 1
    assert "unusable answer (400)" in delivery.notes[0]
    web.pages["/cards?set.id:sv2"] = error
    assert "data: Field required" in fetch(web, sets=("sv1", "sv2")).notes[0]
