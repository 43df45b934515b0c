"""TCGdex: printings, products, sets spelt either way, and Cardmarket's prices in EUR."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from builders import curve, delivery
from pytest_httpserver import HTTPServer
from test_services import cards
from web import Web
from werkzeug import Response

from pokewatch import sources
from pokewatch.errors import SourceError
from pokewatch.quality.ingest import collect, ingest
from pokewatch.schema import Delivery, Wanted
from pokewatch.settings import load_settings
from pokewatch.sources.delivery import is_other_card
from pokewatch.store.tables import Store

US_DAY, EU_DAY = "2026-07-23T08:02:42.352Z", "2026-07-22T08:02:25.054Z"


@pytest.fixture
def web(httpserver: HTTPServer) -> Web:
    return Web(httpserver)


def serve(web: Web, card_id: str, pricing: Any, **facts: Any) -> None:
    """Serve one card, alone in its set."""
    set_id = card_id.rpartition("-")[0]
    web.pages["/en/sets"] = [{"id": set_id, "name": "A set", "cardCount": {"total": 1}}]
    web.pages[f"/en/sets/{set_id}"] = {"id": set_id, "name": "A set", "cards": [{"id": card_id}]}
    web.pages[f"/en/cards/{card_id}"] = {"id": card_id, "name": "Mew", "pricing": pricing} | facts


def fetch(web: Web, sets: list[str], known: pd.DataFrame | None = None, **options: Any) -> Delivery:
    settings = load_settings(
        tcgdex_url=web.url, sets=sets, request_interval=0, request_attempts=1, request_timeout=5
    )
    return sources.fetch("tcgdex", settings, known=known, **options)


def american(**blocks: Any) -> dict:
    named = {name.replace("_", "-"): block for name, block in blocks.items()}
    return {"tcgplayer": {"unit": "USD", "updated": US_DAY} | named, "cardmarket": EUROPEAN}


EUROPEAN = {
    "updated": EU_DAY,
    "unit": "EUR",
    "idProduct": 733601,
    "avg": 8.59,
    "low": 1.99,
    "trend": 8.84,
    "trend-holo": 0,
    "avg-holo": None,
}


def test_each_printing_is_a_card_of_its_own_product(web: Web) -> None:
    block = {"productId": 7, "marketPrice": 1.5, "lowPrice": None, "midPrice": 2, "highPrice": 9}
    old = {"productId": 9, "marketPrice": 2.5}
    names = {"normal": block, "reverse": old, "_1st_edition_holofoil": old, "unlimited": old}
    serve(web, "base1-004", american(**{name.strip("_"): one for name, one in names.items()}))
    rows = fetch(web, ["base1"]).observations
    assert rows["card_id"].tolist() == [
        "7:Normal",
        "9:Reverse Holofoil",
        "9:1st Edition Holofoil",
        "9:Unlimited",
    ]
    assert rows.iloc[0][["market_price", "mid_price", "high_price"]].tolist() == [1.5, 2, 9]
    assert set(rows["date"]) == {US_DAY}
    assert set(rows["currency"]) == {"USD"}


def test_a_printing_that_nobody_knows_is_set_aside(web: Web) -> None:
    serve(web, "base1-004", american(shiny={"productId": 7, "marketPrice": 5}, url="http://x"))
    delivery = fetch(web, ["base1"])
    assert delivery.observations[["card_id", "market_price"]].to_numpy().tolist() == [[None, 5]]
    assert delivery.notes == ["1 prices whose card or printing is not told are set aside"]
    assert delivery.cards.empty


def test_a_block_of_another_shape_is_no_price(web: Web) -> None:
    serve(web, "base1-004", american(normal=7.5, holofoil=None))
    (row,) = fetch(web, ["base1"]).observations.to_dict("records")
    assert (row["card_id"], row["market_price"]) == ("base1-4:Normal", "no prices: 7.5")


def test_without_a_product_the_alias_tells_the_card(web: Web) -> None:
    blocks = {"normal": {"marketPrice": 1.5}, "holofoil": {"productId": "x", "marketPrice": 2.5}}
    serve(web, "sv04.5-001", american(**blocks))
    known = cards(
        ("7:Normal", None, ["sv4pt5-1"]),
        ("8:Holofoil", None, ["sv4pt5-1"]),
        ("9:Holofoil", None, ["sv04.5-001"]),
    )
    delivery = fetch(web, [], known)
    assert delivery.observations["card_id"].tolist() == ["7:Normal", "sv4.5-1:Holofoil"]
    told = delivery.cards.set_index("card_id").loc["sv4.5-1:Holofoil"]
    assert (told["aliases"], told["printing"], told["name"]) == (["sv04.5-001"], "Holofoil", "Mew")


@pytest.mark.parametrize("written", ["sv4pt5", "sv04.5", "SV4.5"])
def test_a_set_may_be_spelt_either_way(web: Web, written: str) -> None:
    serve(web, "sv04.5-001", american(normal={"productId": 7, "marketPrice": 1.5}))
    assert fetch(web, [written]).observations["card_id"].tolist() == ["7:Normal"]
    delivery = fetch(web, [written, "nosuch"])
    assert delivery.failed == ["set nosuch"]
    assert "check POKEWATCH_SETS" in delivery.notes[0]


def test_an_id_with_signs_is_asked_for_as_it_is(web: Web) -> None:
    serve(web, "exu-?", american(normal={"productId": 7, "marketPrice": 1.5}))
    assert len(fetch(web, ["exu"]).observations) == 1


def test_euros_are_taken_only_where_there_are_no_dollars(web: Web) -> None:
    only_holo = {"normal": False, "holo": True, "reverse": False, "firstEdition": False}
    serve(web, "sv01-006", {"tcgplayer": None, "cardmarket": EUROPEAN}, variants=only_holo)
    known = cards(("7:Holofoil", None, ["sv1-6"]))
    (row,) = fetch(web, ["sv01"], known).observations.to_dict("records")
    assert (row["card_id"], row["market_price"], row["low_price"]) == ("7:Holofoil", 8.84, 1.99)
    assert (row["currency"], row["date"]) == ("EUR", EU_DAY)
    serve(web, "sv01-006", american(holofoil={"productId": 7, "marketPrice": 7.4}))
    assert fetch(web, ["sv01"]).observations["currency"].tolist() == ["USD"]


@pytest.mark.parametrize(
    ("variants", "known", "expected"),
    [
        ({"normal": True, "reverse": True}, [("7:Normal", None, ["sv1-6"])], None),
        ({"normal": True, "reverse": False}, [], "sv1-6:Normal"),
        ({"firstEdition": True}, [], None),
        (None, [("7:Normal", None, ["sv1-6"])], "7:Normal"),
        (None, [("7:Normal", None, ["sv1-6"]), ("7:Holofoil", None, ["sv1-6"])], None),
        ("odd", [], None),
    ],
)
def test_the_printing_of_a_price_in_euros_is_never_guessed(
    web: Web, variants: Any, known: list, expected: str | None
) -> None:
    serve(web, "sv01-006", {"cardmarket": EUROPEAN}, variants=variants)
    rows = fetch(web, ["sv01"], cards(*known) if known else None).observations
    assert rows["card_id"].tolist() == [expected]


def test_a_foil_price_in_euros_is_set_aside(web: Web) -> None:
    serve(web, "sv01-006", {"cardmarket": EUROPEAN | {"trend-holo": 4.5}}, variants={"holo": True})
    rows = fetch(web, ["sv01"]).observations
    assert rows[["card_id", "market_price"]].to_numpy().tolist() == [
        ["sv1-6:Holofoil", 8.84],
        [None, 4.5],
    ]


@pytest.mark.parametrize("page", [{"id": "sv01"}, [{"name": "no id"}], "sets", None])
def test_a_list_of_sets_of_another_shape_is_an_error(web: Web, page: Any) -> None:
    serve(web, "sv01-006", None)
    web.pages["/en/sets"] = page
    with pytest.raises(SourceError, match=r"the list of sets is not as documented .* another sou"):
        fetch(web, ["sv01"])


def test_only_the_cards_of_wanted_aliases_are_asked_for(web: Web) -> None:
    serve(web, "sv01-006", american(normal={"productId": 7, "marketPrice": 1.5}))
    web.pages["/en/sets/sv01"]["cards"] += [{"id": f"sv01-10{n}"} for n in range(9)]
    wanted = cards(("7:Normal", None, ["sv1-6"]), ("8:Normal", None, []))
    delivery = fetch(web, ["other"], wanted=Wanted(wanted))
    assert [path for path in web.asked if "cards" in path] == ["/en/cards/sv01-006"]
    assert delivery.failed == ["8:Normal"]
    assert delivery.notes == [
        "1 cards have no alias and cannot be asked for: add aliases with 'pokewatch cards --names "
        "FILE'"
    ]


@pytest.mark.parametrize(
    ("ours", "theirs", "other"),
    [
        (("Umbreon V (Alternate Full Art)", "189/203"), ("Umbreon V", "189"), False),
        (("Pikachu - 173/165", "173/165"), ("Pikachu", "173"), False),
        (("Nidoran F", "057/102"), ("Nidoran♀", "57"), False),
        (("Pheromosa & Buzzwole GX", "001/214"), ("Pheromosa & Buzzwole-GX", "1"), False),
        (("Grookey", "SWSH001"), ("Grookey", "SWSH001"), False),
        ((None, None), ("Mew", "1"), False),
        (("Mew", None), ("Mew", "1"), False),
        (("Pikachu", "025/165"), ("Pikachu", "173"), True),
        (("Team Rocket's Petrel", "207/217"), ("Team Rocket's Hypnotizer", "207"), True),
        (("Mew", "1/102"), ("Mew", "1/130"), True),
    ],
)
def test_what_makes_another_card(ours: tuple, theirs: tuple, other: bool) -> None:
    assert is_other_card(ours, theirs) == is_other_card(theirs, ours) == other


def two(web: Web, first: Any, second: Any) -> None:
    """Serve two cards of one set."""
    for number, (name, pricing) in enumerate([("Hypnotizer", first), ("Petrel", second)], 206):
        serve(web, f"me02.5-{number}", pricing, name=name, localId=str(number))
    web.pages["/en/sets/me02.5"]["cards"] = [{"id": f"me02.5-{n}"} for n in (206, 207)]


def of_product(product: int, market: float) -> dict:
    return american(normal={"productId": product, "marketPrice": market})


@pytest.mark.parametrize(
    "pricing",
    [of_product(676019, 14.0), {"cardmarket": EUROPEAN}],
    ids=["TCGplayer's", "Cardmarket's"],
)
def test_two_cards_of_one_product_are_both_doubtful(web: Web, pricing: Any) -> None:
    two(web, pricing, pricing)
    for number in (206, 207):
        web.pages[f"/en/cards/me02.5-{number}"]["variants"] = {"normal": True}
    delivery = fetch(web, ["me2pt5"])
    assert delivery.observations["card_id"].tolist() == [None, None]
    assert delivery.cards.empty
    (note,) = delivery.notes
    assert note.startswith("me2.5-206, me2.5-207 are all ")
    assert "'s product " in note
    assert "set aside" in note


def test_an_alias_heals_when_the_service_does(web: Web, tmp_path: Path) -> None:
    settings = load_settings(
        home=tmp_path, store="", tcgdex_url=web.url, sets=["me02.5"], request_interval=0
    )
    store = Store.from_settings(settings)
    rows = [curve(f"67601{n}:Normal", [1.0 + n], US_DAY[:10]) for n in (8, 9)]
    told = {
        "card_id": ["676018:Normal", "676019:Normal"],
        "name": ["Team Rocket's Hypnotizer", "Team Rocket's Petrel"],
        "number": ["206/217", "207/217"],
        "aliases": [[], ["me02.5-206", "me02.5-207"]],  # as an earlier version believed it
    }
    ingest(store, delivery(*rows, source="tcgcsv", **told), settings)

    def aliases() -> dict[str, list[str]]:
        known = Store.from_settings(settings).cards()
        return {key: list(names) for key, names in zip(known.card_id, known.aliases, strict=True)}

    two(web, of_product(676019, 14.0), of_product(676019, 14.0))
    collect(settings, "tcgdex")
    assert aliases() == {"676018:Normal": [], "676019:Normal": ["me02.5-207"]}
    two(web, of_product(676018, 0.31), of_product(676019, 14.0))
    collect(settings, "tcgdex")
    assert aliases() == {"676018:Normal": ["me02.5-206"], "676019:Normal": ["me02.5-207"]}


@pytest.mark.real_data
def test_original_answers_are_read(web: Web, shared_data: Path) -> None:
    fixtures = shared_data / "fixtures"
    card = json.loads((fixtures / "tcgdex_pricing_verbatim_sv03.5-006.json").read_bytes())
    serve(web, "sv03.5-006", card["pricing"])
    missing = (fixtures / "tcgdex_404.json").read_bytes()
    web.pages["/en/sets/sv03.5"]["cards"].append({"id": "sv03.5-999"})
    web.pages["/en/cards/sv03.5-999"] = Response(missing, status=404)
    delivery = fetch(web, ["sv3pt5"])
    (row,) = delivery.observations.to_dict("records")
    assert row["card_id"] == "502558:Holofoil"
    assert (row["market_price"], row["low_price"], row["mid_price"]) == (7.4, 4.49, 9)
    assert row["date"] == "2026-07-23T08:02:42.352Z"
    assert delivery.failed == ["card sv03.5-999"]
    del card["pricing"]["tcgplayer"]
    serve(web, "sv03.5-006", card["pricing"], variants={"holo": True})
    (row,) = fetch(web, ["sv3pt5"]).observations.to_dict("records")
    assert (row["card_id"], row["market_price"]) == ("sv3.5-6:Holofoil", 8.84)
    assert row["currency"] == "EUR"
