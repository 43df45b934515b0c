"""What a card's page shows, without a browser."""

from __future__ import annotations

import gc
import re
import weakref
from dataclasses import replace

import pandas as pd
import pytest
from evil_market import DAYS, EVIL
from panel.models.tabulator import CellClickEvent

from pokewatch.analysis import card_history
from pokewatch.analysis.market import market
from pokewatch.browse import current, layout
from pokewatch.browse.cards import about, cards
from pokewatch.browse.portfolio import CollectionApp, portfolio
from pokewatch.errors import UsageError
from pokewatch.formatting import usd
from pokewatch.operations import latest
from pokewatch.settings import Settings, get_settings, load_settings


@pytest.fixture
def home(filled: Settings, tmp_path, monkeypatch):
    """The settings of the process are those of the small market."""
    (tmp_path / "watchlist.yaml").write_text("- {card: 77:Holofoil, cost: 2}", encoding="utf-8")
    monkeypatch.setenv("POKEWATCH_HOME", str(filled.home))
    monkeypatch.setenv("POKEWATCH_WATCHLIST", str(tmp_path / "watchlist.yaml"))
    monkeypatch.setattr(current, "_shared", latest.Latest(current._newer))
    get_settings.cache_clear()
    yield filled
    get_settings.cache_clear()


def test_only_the_printing_that_moved_alone_is_solo(home):
    alone = card_history.solo(market())
    assert alone[alone].index.tolist() == ["77:Holofoil"]
    assert card_history.printings(market(), "77:Holofoil").index.tolist() == [
        "77:Holofoil",
        "77:Reverse Holofoil",
    ]


def test_a_night_s_call_goes_before_that_of_the_walk_forward(home, monkeypatch):
    day = pd.Timestamp("2025-05-26")
    row = {"card_id": "1:Normal", "date": day, "horizon": 7, "price": 2.0, "y": 3.0}
    row |= {"y_hat": 2.5, "lower": 1.0, "upper": 4.0, "model": "fair_value", "signal": "SELL"}
    days = [day - pd.Timedelta(days=ago) for ago in range(3)]
    tested = pd.DataFrame([row | {"date": one} for one in days])
    tested.loc[1, "signal"] = "BUY"
    live = tested.iloc[[0, 2]].assign(signal=["BUY", "HOLD"])
    monkeypatch.setattr(card_history.track_record, "live", lambda *_: live)
    monkeypatch.setattr(card_history.registry, "past_forecasts", lambda *_: tested)
    calls = card_history.past_calls(market())
    assert calls[["signal", "kind", "right"]].to_numpy().tolist() == [
        ["BUY", "live", True],
        ["BUY", "walk-forward", True],
    ]


def test_a_notebook_shows_figures_with_names_as_text(home):
    drawn = cards(card="77:Holofoil", days=91, top=5).servable()._repr_html_()
    assert "<img" not in drawn
    assert "&lt;img" in drawn
    assert "80 % chance between" in drawn
    assert "only this printing moved" in drawn
    assert drawn.count("<svg") == 2
    mine = portfolio(top=5).servable()._repr_html_()
    assert "<img" not in mine
    assert "Insurance list" in mine
    assert re.search(r"<th>total gain</th>", mine)
    assert "<td>$4.10</td>" in mine  # no percentage


def test_a_card_shows_its_chances_where_they_are_known(home):
    now = current.current()
    card = market().card("77:Holofoil")
    assert "chance to" not in about(now, card)
    now.rows.loc[card.card_id, ["p_rise", "p_fall"]] = [0.314, 0.02]
    shown = re.sub("<[^>]+>", " ", about(now, card))
    assert re.search(r"chance to rise by 5 % or more\s+31 %", shown)
    assert re.search(r"chance to fall by 5 % or more\s+2 %", shown)


def test_a_page_says_what_it_cannot_open(home):
    with pytest.raises(UsageError, match="unknown card 'nonsense'"):
        cards(card="nonsense")
    with pytest.raises(UsageError, match="days=0, top=10: each must be 1 or more"):
        cards(days=0)
    with pytest.raises(UsageError, match="top=0 must be 1 or more"):
        portfolio(top=0)


def test_the_market_is_read_once_and_anew_when_it_has_changed(home, monkeypatch, caplog):
    first = current.current()
    current.look()
    assert current.current() is first
    monkeypatch.setattr(latest, "mark", lambda _: "other")
    current.look()
    second = current.current()
    assert second is not first
    monkeypatch.setattr(latest, "mark", lambda _: 1 / 0)
    current.look()
    current.look()
    assert current.current() is second
    assert len(re.findall("the market cannot be read: ZeroDivisionError", caplog.text)) == 1


def test_a_market_that_cannot_be_read_is_told_and_not_read_again_every_look(home, monkeypatch):
    shown, reads = current.current(), []

    def broken(_):
        reads.append(1)
        raise OSError("disk")

    monkeypatch.setattr(current._shared, "read", broken)
    for mark in ("new", "new", "new", "newer"):
        monkeypatch.setattr(latest, "mark", lambda _, mark=mark: mark)
        current.look()
    assert len(reads) == 2
    assert current.current() is shown
    assert "OSError: disk" in current.trouble()
    monkeypatch.setattr(latest, "mark", lambda _: shown.mark)
    current.look()
    assert current.trouble() == ""


def test_pages_stay_as_they_are_where_the_new_champion_cannot_be_used(home, monkeypatch):
    shown = current.current()
    monkeypatch.setattr(current.registry, "try_champion", lambda _: (None, "it is damaged"))
    monkeypatch.setattr(latest, "mark", lambda _: "other")
    current.look()
    assert current.current() is shown
    assert "it is damaged" in current.trouble()


def test_an_open_market_tab_keeps_no_old_market(home, monkeypatch):
    app = cards(card="77:Holofoil").app()
    app._draw()  # a range that is chosen before any card was shown
    app.turn()
    old = weakref.ref(current.current().market)
    app.view.value = "market"
    app.turn()
    monkeypatch.setattr(latest, "mark", lambda _: "other")
    current.look()
    app._follow()
    gc.collect()
    assert len(app.body.objects) > 2
    assert old() is None


def test_an_address_is_no_price_that_is_infinite(home):
    app = cards(card="77:Holofoil").app()
    address = layout.Address(app.fields())
    address.take({"card": "77:Holofoil", "from": "nan", "to": "2.5"})
    assert address.problems == ["from='nan' in the address is no number"]
    assert (app.filters["from"].value, app.filters["to"].value) == (None, 2.5)


def test_a_portfolio_without_a_known_set_is_shown(home):
    now = current.current()
    now.market = replace(now.market, known=now.market.known.assign(set_name=None))
    app = CollectionApp(now)
    assert layout.Address(app.fields()).problems == []
    app.redraw()
    assert len(app.body.objects) > 2
    app.view.value = "sets"
    app.redraw()
    assert "no card&#x27;s set is known" in app.note.object


def test_a_click_on_a_row_without_a_card_opens_none():
    frame, opened = pd.DataFrame({"horizon": [7], "signal": ["BUY"]}), []
    for one in (frame, frame.assign(card_id="1:Normal")):
        table = layout.Table(one, "Calls", "a.csv", usd, 10, opened.append)
        table.grid._process_event(CellClickEvent(None, "signal", 0))
    assert opened == ["1:Normal"]


def test_signals_come_in_the_order_of_what_is_expected(home):
    rows = current.current().signals
    assert len(rows) == 32
    assert rows["signal"].map(current.ORDER).is_monotonic_increasing
    for _, part in rows.groupby("signal"):
        assert part["expected"].abs().is_monotonic_decreasing
    assert rows.loc[rows["card_id"] == "77:Holofoil", "name"].item() == EVIL
    assert len(current.current().market.dates) == DAYS
    assert load_settings(home=home.home, _env_file=None).browse_origins == []
