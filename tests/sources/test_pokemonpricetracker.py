"""PokemonPriceTracker: product by product, which printing a price is of, and its history."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import time_machine
from pytest_httpserver import HTTPServer
from test_services import cards
from web import Web

from pokewatch import sources
from pokewatch.errors import UsageError
from pokewatch.schema import Delivery, Wanted
from pokewatch.settings import load_settings

DAY = "2026-07-23T12:00:00Z"
ONE = cards(("7:Holofoil", None, ["sv1-1"]))
TWO = cards(("7:Holofoil", None, ["sv1-1"]), ("7:Reverse Holofoil", None, ["sv1-1"]))


@pytest.fixture
def web(httpserver: HTTPServer) -> Web:
    return Web(httpserver)


def serve(web: Web, prices: Any = None, product: int = 7, **facts: Any) -> None:
    told = {"market": 1.5, "low": 1, "mid": 2, "lastUpdated": DAY} if prices is None else prices
    card = {"tcgPlayerId": str(product), "name": "Mew", "prices": told, "rarity": "Rare"} | facts
    web.pages[f"/cards?{product}"] = {"data": [card], "metadata": {"total": 1}}


def fetch(web: Web, known: pd.DataFrame, **options: Any) -> Delivery:
    values = {"request_interval": 0, "request_attempts": 1, "request_timeout": 5}
    wanted = options.pop("wanted", None)
    settings = load_settings(
        pokemonpricetracker_url=web.url, pokemonpricetracker_key="k", **values, **options
    )
    return sources.fetch("pokemonpricetracker", settings, known=known, wanted=wanted)


def points(delivery: Delivery) -> list[list[Any]]:
    return delivery.observations[["card_id", "date", "market_price"]].to_numpy().tolist()


@pytest.mark.parametrize(
    ("named", "known", "expected"),
    [
        (None, ONE, "7:Holofoil"),
        ("Reverse Holofoil", ONE, "7:Reverse Holofoil"),
        ("Reverse Holofoil", TWO, "7:Reverse Holofoil"),
        (None, TWO, None),
        ("Stamped", ONE, None),
        (["Holofoil"], ONE, None),
    ],
)
def test_the_printing_is_told_or_the_only_one_or_none(
    web: Web, named: Any, known: pd.DataFrame, expected: str | None
) -> None:
    serve(web, {"market": 1.5, "primaryPrinting": named, "lastUpdated": DAY})
    delivery = fetch(web, known)
    assert points(delivery) == [[expected, DAY, 1.5]]
    told = [note for note in delivery.notes if note.startswith("product 7: ")]
    assert len(told) == (expected is None)
    if named is None and expected is None:
        expected_note = "product 7: no printing is named, its known ones are Holofoil, Reverse Ho"
        assert told[0].startswith(expected_note)


HISTORIES = {
    "by date": {"2026-07-21": 1.25, "2026-07-22": None, "2026-07-23": 1.5, "soon": "n/a"},
    "by condition": {
        "conditions": {
            "Lightly Played": {"history": [{"date": "2026-07-21", "market": 0.9}]},
            "Near Mint": {
                "history": [
                    {"date": "2026-07-21T00:00:00Z", "market": 1.25, "volume": 4},
                    {"date": "2026-07-23T00:00:00Z", "market": 1.5, "volume": None},
                    {"date": "soon", "market": "n/a"},
                ]
            },
        }
    },
    "a list": [{"date": "2026-07-21", "market": 1.25}, {"date": "soon", "market": "n/a"}],
}


@pytest.mark.parametrize("shape", HISTORIES)
def test_a_history_is_observations_of_earlier_days(web: Web, shape: str) -> None:
    serve(web, priceHistory=HISTORIES[shape])
    found = points(fetch(web, ONE))
    assert found[0] == ["7:Holofoil", DAY, 1.5]
    assert [one[0] for one in found] == ["7:Holofoil"] * 3  # the day of the price comes once
    assert found[1][1].startswith("2026-07-21")
    assert (found[1][2], found[2][1:]) == (1.25, ["soon", "n/a"])
    assert web.requests[0].args["includeHistory"] == "true"


def test_a_history_of_several_printings_is_not_asked_for_and_belongs_to_none(web: Web) -> None:
    prices = {"market": 1.5, "primaryPrinting": "Holofoil", "lastUpdated": DAY}
    serve(web, prices, priceHistory={"2026-07-21": 1.25})
    assert [one[0] for one in points(fetch(web, TWO))] == ["7:Holofoil", None]
    assert "includeHistory" not in web.requests[0].args


@pytest.mark.parametrize("history", [None, [], {}, {"conditions": {}}, {"conditions": {"x": 1}}])
def test_no_history_is_no_failure(web: Web, history: Any) -> None:
    serve(web, priceHistory=history)
    delivery = fetch(web, ONE)
    assert len(delivery.observations) == 1
    assert delivery.failed == []


def test_an_odd_point_of_a_history_is_passed_on(web: Web) -> None:
    serve(web, priceHistory=[5, {"market": 2.0}])
    assert points(fetch(web, ONE))[1:] == [
        ["7:Holofoil", None, "no prices: 5"],
        ["7:Holofoil", None, 2.0],
    ]


def test_a_price_without_a_date_is_of_today(web: Web) -> None:
    serve(web, {"market": 1.5})
    with time_machine.travel("2026-07-24T01:00Z"):
        assert points(fetch(web, ONE)) == [["7:Holofoil", "2026-07-24", 1.5]]
    serve(web, {"market": 1.5}, updatedAt="2026-07-20")
    assert points(fetch(web, ONE)) == [["7:Holofoil", "2026-07-20", 1.5]]


def test_an_answer_about_another_product_is_not_taken(web: Web) -> None:
    serve(web, product=8)
    web.pages["/cards?7"] = web.pages["/cards?8"]
    serve(web, product=9)
    delivery = fetch(web, pd.concat([ONE, cards(("9:Normal", None, []))]))
    assert [one[0] for one in points(delivery)] == ["9:Normal"]
    assert delivery.failed == ["product 7"]
    web.pages["/cards?7"] = {"data": web.pages["/cards?9"]["data"][0] | {"tcgPlayerId": 7}}
    assert len(points(fetch(web, ONE))) == 1  # one card instead of a list


def test_the_plans_credits_are_not_exceeded(web: Web) -> None:
    known = cards(*((f"{n}:Normal", None, []) for n in range(1, 9)))
    for n in range(1, 9):
        serve(web, product=n)
    delivery = fetch(web, known, pokemonpricetracker_calls=11)  # two each
    assert len(delivery.observations) == len(web.asked) == 5
    assert delivery.failed == ["product 6", "product 7", "product 8"]
    assert delivery.notes[0].startswith("3 were not asked for: ")
    assert "the 11 credits that the service allows in a day are used up" in delivery.notes[0]


def test_sealed_products_and_other_sets_are_not_asked_for(web: Web) -> None:
    sealed = cards(("5:Normal", None, ["sv1-5"])).assign(product_kind="sealed")
    other = cards(("6:Normal", None, ["sv2-6"]))
    serve(web)
    known = pd.concat([ONE, sealed, other], ignore_index=True)
    assert fetch(web, known, sets=["sv01"]).failed == []
    assert web.asked == ["/cards?7"]
    with pytest.raises(UsageError, match="is known in POKEWATCH_SETS; collect from tcgcsv first"):
        fetch(web, known, sets=["sv9"])
    assert fetch(web, known, wanted=Wanted(sealed)).failed == ["5:Normal"]
    assert web.asked == ["/cards?7"]


def test_without_a_key_nothing_is_asked(web: Web) -> None:
    settings = load_settings(pokemonpricetracker_url=web.url)
    with pytest.raises(UsageError, match=r"needs a key: set POKEWATCH_POKEMONPRICETRACKER_KEY"):
        sources.fetch("pokemonpricetracker", settings, known=ONE)
    assert web.asked == []
