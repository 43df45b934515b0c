"""What holds for every service that is asked card by card or set by set, faults first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pandas as pd
import pytest
from builders import curve
from builders import delivery as delivery_of
from pytest_httpserver import HTTPServer
from web import Web
from werkzeug import Response

from pokewatch import sources
from pokewatch.errors import SourceError, UsageError
from pokewatch.operations import status
from pokewatch.quality import rules
from pokewatch.quality.ingest import collect, ingest
from pokewatch.schema import CARD_COLUMNS, Delivery, Wanted
from pokewatch.settings import Settings, load_settings
from pokewatch.sources import http, pokemontcg
from pokewatch.store.tables import Store

KEY = "a-very-secret.key"
DAY = "2026-07-23"


def cards(*rows: tuple[str, str | None, list[str]]) -> pd.DataFrame:
    """Return known cards of (id, name, aliases)."""
    parts = [row[0].partition(":") for row in rows]
    return pd.DataFrame(
        {
            "card_id": [row[0] for row in rows],
            "name": [row[1] for row in rows],
            "printing": [part[2] for part in parts],
            "product_id": [int(part[0]) for part in parts],
            "product_kind": "single",
            "aliases": [row[2] for row in rows],
        }
    ).reindex(columns=CARD_COLUMNS)


KNOWN = cards(("1:Holofoil", "Mew of old", ["sv1-1"]), ("2:Normal", None, ["sv02-002"]))


def tcgdex(web: Web, first: Any = 7.5, second: Any = 3.25, day: Any = DAY) -> list[str]:
    web.pages["/en/sets"] = [{"id": "sv01"}, {"id": "sv02"}, {"id": "sv03"}]
    for number, (printing, price) in enumerate([("holofoil", first), ("normal", second)], start=1):
        web.pages[f"/en/sets/sv0{number}"] = {
            "id": f"sv0{number}",
            "name": f"Set {number}",
            "cards": [{"id": f"sv0{number}-00{n}"} for n in (1, 2, 3)],
        }
        web.pages[f"/en/cards/sv0{number}-00{number}"] = {
            "id": f"sv0{number}-00{number}",
            "name": "Mew",
            "pricing": {
                "cardmarket": {"updated": day, "unit": "EUR", "trend": 99.0},
                "tcgplayer": {
                    "unit": "USD",
                    "updated": f"{day}T08:02:42.352Z" if isinstance(day, str) else day,
                    printing: {"productId": number, "marketPrice": price, "lowPrice": 1.0},
                },
            },
        }
    return ["/en/cards/sv01-001", "/en/cards/sv02-002"]


def pokemon_tcg(web: Web, first: Any = 7.5, second: Any = 3.25, day: Any = DAY) -> list[str]:
    for number, (printing, price) in enumerate([("holofoil", first), ("normal", second)], start=1):
        card = {
            "id": f"sv{number}-{number}",
            "name": "Mew",
            "number": str(number),
            "set": {"id": f"sv{number}", "name": f"Set {number}"},
            "cardmarket": {"updatedAt": day, "prices": {"trendPrice": 99.0}},
            "tcgplayer": {
                "updatedAt": day.replace("-", "/") if isinstance(day, str) else day,
                "prices": {printing: {"market": price, "low": 1.0}},
            },
        }
        page = {"data": [card], "page": 1, "pageSize": 250, "count": 1, "totalCount": 1}
        web.pages[f"/cards?set.id:sv{number}"] = page
    return ["/cards?set.id:sv1", "/cards?set.id:sv2"]


def tracker(web: Web, first: Any = 7.5, second: Any = 3.25, day: Any = DAY) -> list[str]:
    for number, price in enumerate([first, second], start=1):
        card = {
            "tcgPlayerId": str(number),
            "name": "Mew",
            "set": {"id": "x", "name": f"Set {number}"},
            "prices": {"market": price, "low": 1.0, "lastUpdated": day},
        }
        web.pages[f"/cards?{number}"] = {"data": [card]}
    return ["/cards?1", "/cards?2"]


@dataclass
class Source:
    """One source with the service that it asks: two cards, each behind an address of its own."""

    name: str
    web: Web
    serve: Callable[..., list[str]]
    settings: Settings
    addresses: list[str] = field(default_factory=list)

    def fetch(self, wanted: Wanted | None = None, on: date | None = None) -> Delivery:
        return sources.fetch(self.name, self.settings, on=on, wanted=wanted, known=KNOWN)


SERVICES = {"tcgdex": tcgdex, "pokemontcg": pokemon_tcg, "pokemonpricetracker": tracker}


@pytest.fixture(params=SERVICES)
def source(request, httpserver: HTTPServer, tmp_path, monkeypatch) -> Source:
    monkeypatch.setattr(http, "_jitter", lambda state: 0.0)
    monkeypatch.setattr(pokemontcg, "SLOWEST", 0.0)
    web, name = Web(httpserver), request.param
    settings = load_settings(
        home=tmp_path / "home",
        store="",
        request_interval=0,
        request_attempts=2,
        request_timeout=5,
        pokemontcg_key=KEY,
        pokemonpricetracker_key=KEY,
        **{f"{name}_url": web.url},
    )
    return Source(name, web, SERVICES[name], settings, SERVICES[name](web))


def prices(delivery: Delivery) -> dict:
    rows = delivery.observations
    return dict(zip(rows["card_id"], rows["market_price"], strict=True))


def test_prices_come_as_received_under_the_canonical_id(source: Source) -> None:
    delivery = source.fetch()
    rows = delivery.observations
    assert prices(delivery) == {"1:Holofoil": 7.5, "2:Normal": 3.25}
    assert set(rows["currency"]) == {"USD"}
    assert set(rows["source"]) == {source.name} == {delivery.source}
    assert [str(day)[:10].replace("/", "-") for day in rows["date"]] == [DAY, DAY]
    assert rows["low_price"].tolist() == [1.0, 1.0]
    assert delivery.failed == delivery.notes == []
    assert set(source.web.asked) >= set(source.addresses)


def test_words_of_another_source_stay_and_gaps_are_filled(source: Source) -> None:
    told = source.fetch().cards.set_index("card_id")
    assert told["name"].isna().to_dict() == {"1:Holofoil": True, "2:Normal": False}
    assert told.loc["1:Holofoil", "set_name"] == "Set 1"


def test_collected_twice_nothing_changes(source: Source) -> None:
    store = Store.from_settings(source.settings)
    first = ingest(store, source.fetch(), source.settings)
    again = ingest(store, source.fetch(), source.settings)
    assert (first.accepted, first.quarantined) == (2, 0)
    assert (again.accepted, again.quarantined, again.unchanged) == (0, 0, 2)
    assert again.data_version == first.data_version
    assert set(store.prices()["source"]) == {source.name}


def test_a_service_never_outvotes_the_source_of_the_nights(source: Source) -> None:
    store = Store.from_settings(source.settings)
    rows = [curve("1:Holofoil", [10.0], DAY), curve("2:Normal", [3.5], DAY)]
    ingest(store, delivery_of(*rows, source="tcgcsv"), source.settings)
    counts = ingest(store, source.fetch(), source.settings)
    assert counts.accepted == 0
    assert counts.reasons == {"disagreement": 1, "superseded": 1}
    assert store.prices()["market_price"].tolist() == [10.0, 3.5]
    assert set(store.prices()["source"]) == {"tcgcsv"}


def cut_short() -> Response:
    response = Response(b'{"data": [1, 2')
    response.headers["Content-Length"] = "1000"
    return response


PASSING = {
    "429": lambda _: Response(status=429, headers={"Retry-After": "0"}),
    "500": 500,
    "cut short": lambda _: cut_short(),
    "malformed": b'{"data": [{"id": "sv',
    "a web page": b"<html>Just a moment...</html>",
    "nothing": b"",
    "garbage": b"\x00\xff" * 500,
}
LASTING = {
    "400": 400,
    "403": 403,
    "404": 404,
    "a list": [],
    "a number": b"5",
    "null": None,
    "not a number": b'{"data": NaN}',
    "an error": {"error": {"message": "Bad Request", "code": 400}},
    "wrong shape": {"data": 5, "id": 5, "pricing": [], "cards": {}},
}


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_leaves_no_trace(source: Source, fault: str) -> None:
    for address in source.addresses:
        source.web.pages[address] = (PASSING[fault], source.web.pages[address])
    delivery = source.fetch()
    assert prices(delivery) == {"1:Holofoil": 7.5, "2:Normal": 3.25}
    assert delivery.failed == []


@pytest.mark.parametrize("fault", [*PASSING, *LASTING])
def test_what_fails_is_named_and_the_rest_kept(source: Source, fault: str) -> None:
    source.web.pages[source.addresses[1]] = (PASSING | LASTING)[fault]
    delivery = source.fetch()
    assert prices(delivery) == {"1:Holofoil": 7.5}
    (failed,) = delivery.failed
    assert "2" in failed
    assert len(delivery.notes) == 1
    assert delivery.notes[0].startswith(f"{failed} failed: ")
    tries = source.web.asked.count(source.addresses[1])
    assert tries == (2 if fault in PASSING else 1)


def test_wanted_cards_that_fail_are_named_by_their_ids(source: Source) -> None:
    source.web.pages[source.addresses[1]] = 500
    delivery = source.fetch(Wanted(KNOWN))
    assert prices(delivery) == {"1:Holofoil": 7.5}
    assert delivery.failed == ["2:Normal"]


def test_a_silent_service_is_given_up(source: Source) -> None:
    done = threading.Event()

    def silent(_: Any) -> bytes:
        done.wait(10)
        return b"{}"

    source.web.pages[source.addresses[1]] = silent
    source.settings = source.settings.model_copy(
        update={"request_attempts": 1, "request_timeout": 0.3}
    )
    try:
        delivery = source.fetch()
    finally:
        done.set()
    assert prices(delivery) == {"1:Holofoil": 7.5}
    assert "no answer within 0.3 s" in delivery.notes[0]


def test_nothing_at_all_is_an_error_that_says_why(source: Source) -> None:
    for address in source.addresses:
        source.web.pages[address] = 500
    with pytest.raises(SourceError, match=r"answered 500 \(2 tries\); run again later"):
        source.fetch()


@pytest.mark.parametrize(
    ("bad", "worse", "accepted"),
    [(None, 4, 1), ("7,50", [7.5], 0), ({"usd": 7.5}, True, 0), (22376779.59, -1, 0), (0, 7, 1)],
)
def test_a_bad_price_is_quarantined_as_received_and_none_is_lost(
    source: Source, bad: Any, worse: Any, accepted: int
) -> None:
    source.serve(source.web, bad, worse)
    store = Store.from_settings(source.settings)
    counts = ingest(store, source.fetch(), source.settings)
    assert (counts.received, counts.accepted, counts.quarantined) == (2, accepted, 2 - accepted)
    kept = store.quarantine().set_index("card_id")["raw"]
    for card_id, price in [("1:Holofoil", bad), ("2:Normal", worse)][: 2 - accepted]:
        assert price is None or str(price) in kept[card_id]


@pytest.mark.parametrize("bad", ["soon", "2099-01-01", 20260723, ["2026"], None])
def test_a_bad_date_is_never_made_good(source: Source, bad: Any) -> None:
    source.serve(source.web, day=bad)
    rows = rules.normalise(source.fetch().observations, source.name, pd.Timestamp.now(tz="UTC"))
    of_today = source.name == "pokemonpricetracker" and bad is None  # it may tell none at all
    assert rows["problem"].str.startswith("date_").tolist() == [not of_today] * 2


def test_only_wanted_cards_are_asked_for_and_returned(source: Source) -> None:
    delivery = source.fetch(Wanted(KNOWN[KNOWN["card_id"] == "2:Normal"]))
    assert prices(delivery) == {"2:Normal": 3.25}
    assert delivery.failed == []
    assert source.addresses[0] not in source.web.asked
    reverse = cards(("2:Reverse Holofoil", None, ["sv2-2"]))
    delivery = source.fetch(Wanted(reverse))
    assert delivery.observations["card_id"].dropna().tolist() == []
    assert delivery.failed == ["2:Reverse Holofoil"]


def test_wanted_cards_that_the_service_has_not_are_no_error(source: Source) -> None:
    strange = cards(("70:Normal", None, ["nosuch-1"]))
    delivery = source.fetch(Wanted(strange))
    assert delivery.observations.empty
    assert delivery.failed == ["70:Normal"]


def test_wanted_cards_that_cannot_be_asked_for_are_failed(source: Source) -> None:
    nameless = cards(("5:Normal", None, [])).assign(product_id=None)
    delivery = source.fetch(Wanted(nameless))
    assert delivery.observations.empty
    assert delivery.failed == ["5:Normal"]
    assert source.web.asked == []


def test_nothing_to_ask_for_says_how_to_mend_it(source: Source) -> None:
    with pytest.raises(UsageError, match=r"POKEWATCH_SETS.*cards --names|collect from tcgcsv"):
        sources.fetch(source.name, source.settings)


def test_another_day_than_todays(source: Source) -> None:
    assert len(source.fetch(on=date(2026, 7, 23)).observations) == 2
    with pytest.raises(UsageError, match=f"no price of 2026-07-22, its newest is of {DAY}"):
        source.fetch(on=date(2026, 7, 22))
    fallback = source.fetch(Wanted(KNOWN), on=date(2026, 7, 22))
    assert fallback.observations.empty
    assert fallback.failed == ["1:Holofoil", "2:Normal"]
    assert "2 prices of other days than 2026-07-22 left out" in fallback.notes


def test_a_service_that_is_down_is_not_asked_for_ever(source: Source) -> None:
    many = [(f"{n}:Normal", None, [f"set{n}-1"]) for n in range(100, 140)]
    if source.name == "tcgdex":
        sets = [{"id": f"set{n}"} for n in range(100, 140)]
        source.web.pages["/en/sets"] = [{"id": "sv01"}, *sets]
        failing = [f"/en/sets/set{n}" for n in range(100, 140)]
    else:
        failing = [f"/cards?{kind}{n}" for n in range(100, 140) for kind in ("set.id:set", "")]
    source.web.pages |= dict.fromkeys(failing, 500)
    known = pd.concat([cards(*many), KNOWN])
    with pytest.raises(SourceError, match="answered 500"):
        sources.fetch(source.name, source.settings, known=known)
    assert sum(address in failing for address in source.web.asked) == 2 * http.FAILURES_IN_A_ROW


@pytest.mark.parametrize("fault", [401, 403, 500, f"<html>{KEY}</html>".encode(), {"data": KEY}])
def test_the_key_shows_nowhere(source: Source, fault: Any, caplog) -> None:
    caplog.set_level("DEBUG", "pokewatch")
    source.web.pages[source.addresses[1]] = fault
    delivery = source.fetch()
    told = [*delivery.notes, *delivery.failed, caplog.text, repr(source.settings)]
    assert KEY not in " ".join(told)
    if fault == 401:
        assert "refused (401); check " in delivery.notes[-1]
        if source.name != "tcgdex":
            assert f"POKEWATCH_{source.name.upper()}_KEY in .env" in delivery.notes[-1]


def test_the_key_is_sent_to_its_service_only(source: Source) -> None:
    source.fetch()
    header = {"pokemontcg": "X-Api-Key", "pokemonpricetracker": "Authorization"}
    sent = source.web.requests[-1].headers.get(header.get(source.name, "X-Api-Key"))
    assert sent == {"pokemontcg": KEY, "pokemonpricetracker": f"Bearer {KEY}"}.get(source.name)


def without_prices(page: dict) -> dict:
    """Return a service's answer about a card as it is where no price of it is known."""
    cards = page.get("data", [page])
    for card in cards:
        for name in ("pricing", "tcgplayer", "cardmarket", "prices"):
            card.pop(name, None)
    return page


def test_a_service_without_prices_is_no_success(source: Source) -> None:
    for address in source.addresses:
        source.web.pages[address] = without_prices(source.web.pages[address])
    settings = source.settings.model_copy(update={"fallback": []})
    store = Store.from_settings(settings)
    known = [curve(card_id, [1.0]) for card_id in KNOWN["card_id"]]
    columns = ["card_id", "aliases", "product_id", "product_kind"]
    described = KNOWN[columns].to_dict("list")
    ingest(store, delivery_of(*known, **described), settings)
    counts = collect(settings, source.name)
    assert "2 cards came without a price: " in counts.notes[0]
    assert all(word in counts.notes[0] for word in ("1", "2", "(Mew)"))
    assert counts.reasons == {"price_missing": 2}
    assert "0 cards have a usable price on the first day" in counts.incomplete
    assert "2 came without one" in counts.incomplete


def test_a_day_without_prices_covers_nothing_of_the_day_before(source: Source) -> None:
    settings = source.settings.model_copy(update={"fallback": []})
    store = Store.from_settings(settings)
    yesterday = pd.Timestamp.now().normalize() - pd.Timedelta(days=1)
    rows = [curve(card_id, [1.0], f"{yesterday:%Y-%m-%d}") for card_id in KNOWN["card_id"]]
    ingest(
        store, delivery_of(*rows, source="tcgdex", **KNOWN.dropna(axis=1).to_dict("list")), settings
    )
    assert status.status(settings)["coverage"] == 1
    for address in source.addresses:
        source.web.pages[address] = without_prices(source.web.pages[address])
    assert "prices of 0 of the 2 cards" in collect(settings, source.name).incomplete
    assert status.status(settings)["coverage"] == 0
    assert not status.status(settings)["last_day"]["enough"]


def test_a_price_of_the_future_is_not_the_day_that_is_judged(source: Source) -> None:
    source.serve(source.web)
    first = source.web.pages[source.addresses[0]]
    source.serve(source.web, day="2099-01-01")
    source.web.pages[source.addresses[0]] = first
    settings = source.settings.model_copy(update={"fallback": []})
    store = Store.from_settings(settings)
    rows = [curve(card_id, [7.0], "2026-07-22") for card_id in KNOWN["card_id"]]
    ingest(
        store, delivery_of(*rows, source="tcgdex", **KNOWN.dropna(axis=1).to_dict("list")), settings
    )
    counts = collect(settings, source.name)
    assert counts.reasons == {"date_in_future": 1}
    assert f"{DAY} has prices of 1 of the 2 cards" in counts.incomplete


def test_one_card_without_a_price_is_named_and_nothing_else(source: Source) -> None:
    source.web.pages[source.addresses[1]] = without_prices(source.web.pages[source.addresses[1]])
    delivery = source.fetch()
    assert prices(delivery)["1:Holofoil"] == 7.5
    assert pd.isna(prices(delivery)["2:Normal"])
    assert set(delivery.observations["date"].str[:10].str.replace("/", "-")) == {DAY}
    assert len(delivery.unpriced) == 1
    fallback = source.fetch(Wanted(KNOWN))
    assert fallback.failed == ["2:Normal"]


@pytest.mark.parametrize(("name", "number"), [("Mewtwo", None), ("Mew", "9/102")])
def test_an_answer_about_another_card_prices_none_and_takes_the_alias_back(
    source: Source, name: str, number: str | None
) -> None:
    for address in source.addresses:
        page = source.web.pages[address]
        for card in page.get("data", [page]):
            card |= {"number": "1", "localId": "1", "cardNumber": "1"}
    known = KNOWN.astype({"number": "object"})
    known.loc[0, ["name", "number"]] = [name + " of old", number]
    delivery = sources.fetch(source.name, source.settings, known=known)
    assert "1:Holofoil" not in prices(delivery)
    assert 7.5 in delivery.observations["market_price"].tolist()
    assert "1:Holofoil" not in set(delivery.cards["card_id"])
    if source.name != "pokemonpricetracker":  # it is asked by product, and gives no alias
        assert delivery.withdrawn == {"1:Holofoil": {"sv1-1"}}


def test_every_failure_is_named_where_nothing_came(source: Source) -> None:
    source.web.pages[source.addresses[0]] = 400
    source.web.pages[source.addresses[1]] = 403
    with pytest.raises(SourceError, match=r"unusable answer \(400\).*; .*refused \(403\)"):
        source.fetch()
