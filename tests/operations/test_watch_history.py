"""Past days of the user's own cards: once, through the gate, never over what is stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import time_machine
from builders import curve, delivery
from pytest_httpserver import HTTPServer
from web import Web
from werkzeug import Response

from pokewatch.cli import prices
from pokewatch.errors import GateError, SourceError, UsageError
from pokewatch.models.panel import open_panel
from pokewatch.operations import watch_history
from pokewatch.operations.watch_history import Filled, fill
from pokewatch.quality import completeness
from pokewatch.quality.ingest import ingest
from pokewatch.schema import HISTORY
from pokewatch.settings import Settings, load_settings
from pokewatch.store.tables import Store

TODAY = pd.Timestamp("2026-07-24")
IDS = ("7:Holofoil", "8:Normal", "9:Normal", "10:Normal", "10:Holofoil")


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel("2026-07-24T06:00:00Z") as traveller:
        yield traveller


@pytest.fixture
def web(httpserver: HTTPServer) -> Web:
    return Web(httpserver)


@pytest.fixture
def settings(web: Web, tmp_path: Path) -> Settings:
    """Settings of a home whose main source has the last two days of every card."""
    found = load_settings(
        home=tmp_path / "home",
        store="",
        watchlist=tmp_path / "watchlist.yaml",
        pokemonpricetracker_url=web.url,
        pokemonpricetracker_key="secret",
        request_interval=0,
        request_attempts=1,
        request_timeout=5,
    )
    rows = [curve(one, [2.0, 2.0], "2026-07-22") for one in IDS]
    cards = {
        "card_id": list(IDS),
        "name": [f"Card {one}" for one in IDS],
        "product_id": [int(one.split(":")[0]) for one in IDS],
        "printing": [one.split(":")[1] for one in IDS],
        "product_kind": ["sealed" if one == "9:Normal" else "single" for one in IDS],
        "aliases": [["sv1-1"], ["sv1-2"], [], [], []],
    }
    ingest(Store.from_settings(found), delivery(*rows, source="tcgcsv", **cards), found)
    watch(found, "sv1-1", "8:Normal")
    return found


def watch(settings: Settings, *cards: str) -> None:
    lines = [one if one.startswith("{") else f"{{card: '{one}'}}" for one in cards]
    settings.watchlist.write_text("".join(f"- {one}\n" for one in lines), encoding="utf-8")


def serve(web: Web, product: int, price: float = 2.0, days: int = 30, **facts: Any) -> None:
    history = {
        f"{TODAY - pd.Timedelta(days=ago):%Y-%m-%d}": price + ago / 100 for ago in range(days + 1)
    }
    card = {
        "tcgPlayerId": str(product),
        "name": "Card",
        "prices": {"market": price, "lastUpdated": f"{TODAY:%Y-%m-%d}"},
        "priceHistory": history,
    }
    web.pages[f"/cards?{product}"] = {"data": [card | facts]}


def stored(settings: Settings) -> pd.DataFrame:
    return Store.from_settings(settings).prices()


def filled_days(settings: Settings, card: str) -> list[str]:
    rows = stored(settings)
    rows = rows[(rows["card_id"] == card) & (rows["source"] == HISTORY)]
    return rows["date"].dt.strftime("%Y-%m-%d").tolist()


def test_past_days_are_filled_and_stored_ones_stay(web: Web, settings: Settings) -> None:
    before = stored(settings)
    serve(web, 7)
    serve(web, 8, 3.0)
    found = fill(settings)
    assert (found.cards, found.left, found.failed) == ({"sv1-1": 28, "8:Normal": 28}, {}, {})
    assert web.asked == ["/cards?7", "/cards?8"]
    assert web.requests[0].args["includeHistory"] == "true"
    days = filled_days(settings, "7:Holofoil")
    assert (days[0], days[-1], len(days)) == ("2026-06-24", "2026-07-21", 28)
    now = stored(settings)
    main = now[now["source"] == "tcgcsv"].reset_index(drop=True)
    pd.testing.assert_frame_equal(main, before)
    assert now["date"].max() == pd.Timestamp("2026-07-23")  # today is the main source's
    assert Store.from_settings(settings).quarantine().empty


def test_what_was_filled_is_not_asked_for_again(web: Web, settings: Settings, clock: Any) -> None:
    serve(web, 7)
    serve(web, 8)
    fill(settings)
    again = fill(settings)
    assert len(web.asked) == 2
    assert (again.cards, again.before) == ({}, ["sv1-1", "8:Normal"])
    clock.shift(86_400)  # yesterday's price came for one of the two
    row = curve("7:Holofoil", [2.0], "2026-07-24")
    ingest(Store.from_settings(settings), delivery(row, source="tcgcsv"), settings)
    for _ in range(2):  # the service has yesterday's price of the other one later
        assert fill(settings).before[0] == "sv1-1"
    assert web.asked[2:] == ["/cards?8"]
    clock.shift(86_400)
    fill(settings)
    assert web.asked[3:] == ["/cards?7", "/cards?8"]


def test_a_kill_in_the_middle_loses_nothing(
    web: Web, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(web, 7)
    serve(web, 8)
    with monkeypatch.context() as patch:
        calls: list[str] = []

        def killed(*args: Any) -> None:
            calls.append("")
            raise KeyboardInterrupt

        patch.setattr(watch_history, "_remember", killed)  # after the commit, before the note
        with pytest.raises(KeyboardInterrupt):
            fill(settings)
    assert len(filled_days(settings, "7:Holofoil")) == 28
    version = Store.from_settings(settings).data_version
    found = fill(settings)
    assert (found.cards, found.before) == ({"8:Normal": 28}, ["sv1-1"])
    assert Store.from_settings(settings).data_version == version + 1
    assert Store.from_settings(settings).quarantine().empty


def test_every_price_passes_the_gate(web: Web, settings: Settings) -> None:
    history = {"2026-07-19": 0, "2026-07-20": 2.0, "2026-07-21": "n/a", "soon": 2.0}
    serve(web, 7, priceHistory=history)
    serve(web, 8, priceHistory={"2026-07-19": 2.0, "2026-07-20": 900.0, "2026-07-21": 2.0})
    counts = fill(settings).counts
    assert (counts.received, counts.accepted, counts.quarantined) == (7, 3, 4)
    assert filled_days(settings, "7:Holofoil") == ["2026-07-20"]
    assert set(filled_days(settings, "8:Normal")) == {"2026-07-19", "2026-07-21"}
    assert fill(settings).counts.received == 0


def test_the_main_source_takes_its_day_back(web: Web, settings: Settings) -> None:
    serve(web, 7, priceHistory={"2026-07-21": 2.1})
    watch(settings, "sv1-1")
    fill(settings)
    row = curve("7:Holofoil", [2.0], "2026-07-21")
    ingest(Store.from_settings(settings), delivery(row, source="tcgcsv"), settings)
    rows = stored(settings)
    day = rows[(rows["card_id"] == "7:Holofoil") & (rows["date"] == "2026-07-21")]
    assert day[["market_price", "source"]].to_numpy().tolist() == [[2.0, "tcgcsv"]]


def test_filled_days_are_no_measure_of_a_market(web: Web, settings: Settings) -> None:
    serve(web, 7)
    serve(web, 8)
    store = Store.from_settings(settings)
    before = completeness.of_day(store, TODAY.date(), 0.95)
    fill(settings)
    assert completeness.of_day(store, TODAY.date(), 0.95) == before
    found = completeness.of_day(store, pd.Timestamp("2026-07-22").date(), 0.95)
    assert (found.expected, found.cards) == (0, 5)
    assert completeness.short_days(stored(settings), 0.95) == []


def test_a_panel_shows_a_filled_day_on_its_day_and_no_later_one(
    web: Web, settings: Settings
) -> None:
    earlier, _ = open_panel(settings)
    serve(web, 7)
    serve(web, 8)
    fill(settings)
    panel, _ = open_panel(settings)
    row = list(panel.card_ids).index("7:Holofoil")
    day = panel.day("2026-07-01")
    assert panel.price[day, row] == pytest.approx(2.23)
    cut, _ = open_panel(settings, pd.Timestamp("2026-07-01").date())
    assert cut.price[-1].tolist()[list(cut.card_ids).index("7:Holofoil")] == panel.price[day, row]
    there = panel.day(earlier.dates[0])
    assert panel.price[there:].tolist() == earlier.price.tolist()


def test_cards_that_cannot_be_filled_are_named_with_the_cause(web: Web, settings: Settings) -> None:
    graded = "{card: '8:Normal', grade: PSA 10}"
    watch(settings, "sv1-1", "nobody", "9:Normal", "10:Normal", graded)
    serve(web, 7)
    found = fill(settings)
    assert web.asked == ["/cards?7"]
    assert found.failed == {}
    assert list(found.left) == ["nobody", "9:Normal", "10:Normal", "8:Normal (PSA 10)"]
    for cause, words in zip(
        found.left.values(), ("unknown card", "sealed", "Holofoil, Normal", "graded"), strict=True
    ):
        assert words in cause
    watch(settings, "9:Normal")
    with pytest.raises(UsageError, match=r"no card of 'watchlist\.yaml' can be filled: 9:Normal"):
        fill(settings)
    watch(settings)
    with pytest.raises(UsageError, match="lists no card yet"):
        fill(settings)


def test_failures_cost_the_others_nothing(web: Web, settings: Settings) -> None:
    serve(web, 7, priceHistory=None)
    serve(web, 8)
    found = fill(settings)
    assert (found.cards, list(found.failed)) == ({"8:Normal": 28}, ["sv1-1"])
    assert "no past day" in found.failed["sv1-1"]
    web.pages["/cards?7"] = 404
    assert "not found (404)" in fill(settings).failed["sv1-1"]
    web.pages["/cards?7"] = {"data": {"name": "no id"}}
    assert "not as documented" in fill(settings).failed["sv1-1"]
    serve(web, 7)
    assert fill(settings).cards == {"sv1-1": 28}


def test_another_card_under_the_id_is_set_aside(web: Web, settings: Settings) -> None:
    serve(web, 7, name="Charizard")
    watch(settings, "sv1-1")
    with pytest.raises(SourceError, match=r"sv1-1: .*Charizard"):
        raise_for(fill(settings))
    assert filled_days(settings, "7:Holofoil") == []


def raise_for(found: Filled) -> None:
    if error := found.error():
        raise error


def test_a_service_that_asks_to_be_left_alone_is(web: Web, settings: Settings, clock: Any) -> None:
    web.pages["/cards?7"] = Response("", 429, {"Retry-After": "3600"})
    serve(web, 8)
    found = fill(settings)
    assert web.asked == ["/cards?7"]
    assert list(found.failed) == ["sv1-1", "8:Normal"]
    error = found.error()
    assert isinstance(error, SourceError)
    assert "left alone" in str(error)
    serve(web, 7)
    assert "left alone" in str(fill(settings).error())
    assert web.asked == ["/cards?7"]
    clock.shift(3601)
    assert fill(settings).error() is None


def test_the_plans_requests_are_kept_and_the_rest_comes_another_day(
    web: Web, settings: Settings, clock: Any
) -> None:
    serve(web, 7)
    serve(web, 8)
    few = settings.model_copy(update={"pokemonpricetracker_calls": 2})
    found = fill(few)
    assert (list(found.cards), list(found.failed)) == (["sv1-1"], ["8:Normal"])
    error = found.error()
    assert error is not None
    assert error.exit_code == 3
    assert "8:Normal" in str(error)
    clock.shift(86_400)
    watch(settings, "8:Normal")
    assert list(fill(few).cards) == ["8:Normal"]


def test_it_needs_a_key_and_a_real_home_in_dollars(web: Web, settings: Settings) -> None:
    keyless = load_settings(home=settings.home, store="", watchlist=settings.watchlist)
    with pytest.raises(UsageError, match="POKEWATCH_POKEMONPRICETRACKER_KEY"):
        fill(keyless)
    euros = settings.model_copy(update={"home": settings.home / "cardmarket"})
    with pytest.raises(UsageError, match="holds prices in EUR"):
        fill(euros)
    invented = settings.model_copy(update={"home": settings.home / "invented"})
    rows = curve("7:Holofoil", [2.0])
    ingest(Store.from_settings(invented), delivery(rows, source="simulated"), invented)
    with pytest.raises(UsageError, match="holds simulated prices"):
        fill(invented)
    assert web.asked == []


def test_a_damaged_note_only_costs_requests(web: Web, settings: Settings) -> None:
    serve(web, 7)
    serve(web, 8)
    fill(settings)
    path = settings.home / watch_history.KEPT
    assert "secret" not in path.read_text(encoding="utf-8")
    for text in ("{", "[]", json.dumps({"told": {"7:Holofoil": "soon"}})):
        path.write_text(text, encoding="utf-8")
        assert fill(settings).counts.accepted == 0


def test_the_command_tells_what_came_and_what_did_not(
    web: Web, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(prices, "settings", lambda: settings)
    watch(settings, "sv1-1", "8:Normal", "9:Normal")
    serve(web, 7)
    with pytest.raises(GateError, match=r"1 cards could not be filled \(8:Normal\): run it again"):
        prices.backfill(watchlist=True)
    shown = capsys.readouterr().out
    assert "sv1-1  days 28\n" in shown
    assert "not filled: 8:Normal: " in shown
    assert "not filled: 9:Normal: sealed" in shown
    assert "accepted" in shown
    serve(web, 8)
    prices.backfill(watchlist=True, json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["source"], told["accepted"], told["cards"]) == (HISTORY, 28, {"8:Normal": 28})
    assert (told["before"], list(told["left"]), told["failed"]) == (["sv1-1"], ["9:Normal"], {})
