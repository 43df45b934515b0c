"""Prices in another currency are never taken for dollars."""

from __future__ import annotations

import pandas as pd
import pytest

from pokewatch import sources
from pokewatch.errors import UsageError
from pokewatch.quality import quarantine, rules
from pokewatch.quality.ingest import ingest
from pokewatch.settings import load_settings
from pokewatch.store.tables import Store

ROWS = pd.DataFrame(
    {
        "card_id": ["1:Normal", "2:Normal", "3:Normal", "4:Normal"],
        "date": "2025-01-01",
        "market_price": ["10.00", "20.00", "30.00", "ask"],
        "low_price": ["8", "16", "24", "4"],
        "currency": ["USD", " eur", "GBP", "EUR"],
    }
)


@pytest.fixture
def collect(tmp_path):
    def collected(rows: pd.DataFrame, **settings: object):
        rows.to_csv(tmp_path / "p.csv", index=False)
        chosen = load_settings(home=tmp_path / "home", store="", **settings)
        store = Store.from_settings(chosen)
        delivery = sources.fetch("file", chosen, path=tmp_path / "p.csv")
        return ingest(store, delivery, chosen), store

    return collected


def test_without_a_rate_they_are_quarantined_with_their_currency(collect):
    counts, store = collect(ROWS)
    assert counts.accepted == 1
    assert counts.reasons == {"foreign_currency": 3}
    assert store.prices()["card_id"].tolist() == ["1:Normal"]
    kept = store.quarantine().set_index("card_id")
    assert '"20.00 EUR"' in kept.loc["2:Normal", "raw"]
    assert kept[["market_price", "low_price"]].isna().all(axis=None)
    with pytest.raises(UsageError, match="cannot be released"):
        quarantine.release(store, store.quarantine().iloc[:1], pd.Timestamp.now(tz="UTC"))


def test_the_same_price_in_dollars_is_another_price(collect):
    collect(ROWS)
    counts, store = collect(ROWS.assign(currency=None))
    assert (counts.accepted, counts.unchanged) == (2, 1)
    assert store.prices()["market_price"].tolist() == [10.0, 20.0, 30.0]


def test_with_a_rate_euros_become_dollars_and_nothing_else_does(collect):
    counts, store = collect(ROWS, eur_usd=1.1)
    assert counts.reasons == {"foreign_currency": 1, "price_not_numeric": 1}
    assert store.prices()[["market_price", "low_price"]].to_numpy().tolist() == [
        [10.0, 8.0],
        [22.0, 17.6],
    ]
    assert "2 prices converted from EUR at 1.1 USD" in counts.notes
    again, _ = collect(ROWS, eur_usd=1.1)
    assert (again.accepted, again.quarantined) == (0, 0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([True, 2.5], ["price_not_numeric", ""]),
        ([True, False], ["price_not_numeric"] * 2),
        ([True, None], ["price_not_numeric", "price_missing"]),
        ([True, 3], ["price_not_numeric", ""]),
        (["True", "2.5"], ["price_not_numeric", ""]),
    ],
)
def test_truth_is_no_price(values, expected):
    rows = pd.DataFrame({"card_id": "1:Normal", "date": "2025-01-01", "market_price": values})
    now = pd.Timestamp("2025-06-01", tz="UTC")
    assert rules.normalise(rows, "file", now)["problem"].tolist() == expected
