"""The state of a home, read from its log and last month, is that of all its prices."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from builders import curve, delivery, market

from pokewatch.analysis.market import list_cards
from pokewatch.evaluation import stored
from pokewatch.evaluation.predictions import predict_all
from pokewatch.models.panel import Panel
from pokewatch.operations import status as states
from pokewatch.quality.ingest import ingest
from pokewatch.settings import Settings, load_settings
from pokewatch.store.tables import Store
from pokewatch.watchlist import entries
from pokewatch.watchlist.entries import Entry

MARKET = market(30, 90)
AGAIN = pd.Timestamp("2025-02-01")  # the day before is delivered again
FIRST = MARKET["date"].min()
GONE = curve("gone:Normal", [4.0, 4.1], f"{FIRST:%Y-%m-%d}")
LATE = curve("late:Normal", [5.0] * 3, f"{MARKET['date'].max() - pd.Timedelta(days=6):%Y-%m-%d}")
IDS = [*MARKET["card_id"].unique(), "gone:Normal", "late:Normal", "none:Normal"]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("made")
    config = load_settings(home=home, tracking=False)
    rows = MARKET[MARKET["date"] != AGAIN]
    repeated = MARKET[MARKET["date"] == AGAIN - pd.Timedelta(days=1)].assign(date=AGAIN)
    repeated["collected_at"] += pd.Timedelta(days=1)
    rows = rows[(rows["card_id"] != "7:Normal") | (rows["date"] != rows["date"].max())]
    store = Store.from_settings(config)
    ingest(store, delivery(rows, repeated, GONE, LATE, card_id=IDS, name=IDS), config)
    return home


@pytest.fixture(params=[True, False], ids=["after the night", "before it"])
def home(made, tmp_path, request) -> Settings:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    config = load_settings(home=tmp_path, tracking=False)
    if request.param:
        predict_all(config)
    assert bool(stored.of_day(config)) == request.param
    return config


def whole(home: Settings) -> Panel:
    return Panel.from_prices(Store.from_settings(home).prices())


def check(home: Settings) -> list[str]:
    """Hold the state against the panel of all prices; return the repeated days."""
    panel, found = whole(home), states.status(home)
    recent = (panel.age[-30:] == 0).any(axis=0).sum()
    assert found["cards"] == len(panel.card_ids)
    assert found["cards_known"] == len(IDS)
    assert found["observations"] == len(Store.from_settings(home).prices(["card_id"]))
    assert found["sources"] == {"file": found["observations"]}
    assert (found["first_date"], found["last_date"]) == tuple(
        f"{panel.dates[row]:%Y-%m-%d}" for row in (0, -1)
    )
    assert found["coverage"] == (panel.age[-1] == 0).sum() / recent < 1
    assert found["repeated_days"] == [f"{day:%Y-%m-%d}" for day in panel.repeated_days()]
    assert states.status(home) == found
    return found["repeated_days"]


def test_the_state_is_that_of_all_prices(home):
    assert check(home) == [f"{AGAIN:%Y-%m-%d}"]


def test_a_day_that_changes_is_looked_at_again(home):
    check(home)
    before = AGAIN - pd.Timedelta(days=1)
    moved = curve("3:Normal", [1.0], f"{before:%Y-%m-%d}")
    store = Store.from_settings(home)
    rows = store.prices(since=before.date(), until=before.date())
    rows.loc[rows["card_id"] == "3:Normal", "market_price"] *= 1.01
    store.upsert(store.snapshot("prices"), rows.assign(accepted_at=moved["collected_at"].iloc[0]))
    assert check(home) == []


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"other": ["2025-01-01"]})])
def test_a_damaged_note_of_repeated_days_is_written_anew(home, text):
    (home.home / states.KEPT).write_text(text)
    check(home)
    assert "other" not in json.loads((home.home / states.KEPT).read_text())


@pytest.mark.parametrize("text", [None, "gone", "late", "none", "3:Normal", "nothing at all"])
def test_listed_cards_have_their_last_price(home, text):
    found = list_cards(home, text)
    prices = Store.from_settings(home).prices(["card_id", "date", "market_price"])
    last = prices.groupby("card_id").tail(1).set_index("card_id")
    ids = [one for one in sorted(IDS) if text is None or text in one]
    assert found["card_id"].tolist() == ids
    expected = last.reindex(ids).reset_index()[["market_price", "date"]]
    expected.columns = ["last_price", "last_date"]
    pd.testing.assert_frame_equal(found[["last_price", "last_date"]], expected)


@pytest.mark.parametrize(
    "cards", [["3:Normal", "7:Normal"], ["gone:Normal"], ["late:Normal", "none:Normal", "nobody"]]
)
def test_a_watchlist_is_worth_what_all_prices_say(home, cards):
    store, listed = Store.from_settings(home), [Entry(card=card, quantity=2) for card in cards]
    held, day = entries.valued(home, listed)
    prices = store.prices(card_ids=cards)
    assert day == whole(home).dates[-1]
    panel = Panel.from_prices(prices, until=day.date())
    catalog = entries.Catalog(store.cards())
    pd.testing.assert_frame_equal(held, entries.holdings(listed, catalog, panel))
