"""What a collection did: value over time, returns, gains, net proceeds, the insurance list."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokewatch.cards.catalog import Catalog
from pokewatch.schema import CARD_COLUMNS
from pokewatch.settings import Marketplace
from pokewatch.watchlist import lots, portfolio
from pokewatch.watchlist.entries import Entry, Sale

CARDS = pd.DataFrame({"card_id": ["a1", "b2"], "name": ["Abra", "Bellossom"]}).reindex(
    columns=CARD_COLUMNS
)
KNOWN = Catalog(CARDS)


def rows(*entries: Entry) -> pd.DataFrame:
    return lots.lots(entries, KNOWN)


def prices(**cards: list[float]) -> pd.DataFrame:
    days = pd.date_range("2025-01-01", periods=len(next(iter(cards.values()))), name="date")
    return pd.DataFrame(cards, index=days)


def day(number: int) -> date:
    return date(2025, 1, number)


def test_value_stands_beside_what_was_paid_and_the_market() -> None:
    held = rows(
        Entry(card="a1", quantity=2, cost=4, bought=day(2), buy_fees=1.0),
        Sale(sold="a1", quantity=1, cost=4, bought=day(2), price=7.0, date=day(4), sale_fees=0.5),
    )
    index = pd.Series([100.0, 110, 121, 121, 242], prices(a1=[1] * 5).index)
    table = portfolio.timeline(held, prices(a1=[5, 5, 6, 6, 9]), index)
    assert [f"{one:%d}" for one in table.index] == ["02", "03", "04", "05"]
    assert table["value"].tolist() == [15, 18, 12, 18]
    assert table["paid"].tolist() == [13, 13, 9, 9]
    assert table["unrealised"].tolist() == [2, 5, 3, 9]
    assert table["realised"].tolist() == [0, 0, 2.5, 2.5]
    assert table["market"].tolist() == pytest.approx([100, 110, 110, 220])
    # Day by day: 15 / 13 paid, 18 / 15, (12 held + 7 for the other) / (18 + 0.50 fees), 18 / 12.
    steps = [15 / 13, 18 / 15, 19 / 18.5, 18 / 12]
    assert table["growth"].tolist() == pytest.approx(list(100 * np.cumprod(steps)))


def test_a_sale_that_cost_more_than_it_brought_ends_no_return() -> None:
    held = rows(
        Sale(sold="a1", cost=1, price=1.0, date=day(2), sale_fees=1.3),
        Entry(card="b2", quantity=10, cost=1, bought=day(3)),
    )
    table = portfolio.timeline(held, prices(a1=[1, 1, 1, 1], b2=[1, 1, 1, 2]))
    assert table["growth"].tolist() == pytest.approx([100, 100 / 2.3, 100 / 2.3, 200 / 2.3])


def test_a_look_back_knows_no_later_trade() -> None:
    early = Entry(card="a1", cost=10, bought=day(1))
    later = [
        Sale(sold="a1", cost=10, bought=day(2), price=99.0, date=day(5), sale_fees=1.0),
        Entry(card="b2", cost=7, bought=day(4)),
    ]
    now = rows(early, *later)
    then = portfolio.as_of(now, pd.Timestamp(day(3)))
    held = rows(early, Entry(card="a1", cost=10, bought=day(2)))
    shared = ["card_id", "quantity", "bought", "paid", "sold", "received", "gain"]
    pd.testing.assert_frame_equal(then[shared], held[shared], check_dtype=False)
    pd.testing.assert_frame_equal(portfolio.as_of(now, pd.Timestamp(day(5))), now)


def test_a_fall_on_the_first_day_is_a_fall() -> None:
    held = rows(Entry(card="a1", cost=10, bought=day(1)))
    table = portfolio.timeline(held, prices(a1=[5, 5, 10]))
    assert table["growth"].tolist() == pytest.approx([50, 50, 100])
    fall = portfolio.drawdown(table["growth"])
    assert fall["fall"] == pytest.approx(-0.5)
    assert [f"{fall[name]:%d}" for name in ("peak", "low", "recovered")] == ["01", "01", "03"]


def test_money_that_comes_in_is_no_return() -> None:
    held = rows(Entry(card="a1", cost=10), Entry(card="a1", quantity=9, cost=20, bought=day(3)))
    table = portfolio.timeline(held, prices(a1=[10, 10, 20, 20]))
    assert table["growth"].tolist() == pytest.approx([100, 100, 200, 200])


def test_a_copy_counts_from_its_first_price_on_at_that_price() -> None:
    held = rows(
        Entry(card="b2", cost=1, bought=day(1)), Entry(card="a1", cost=10), Entry(card="nowhere")
    )
    table = portfolio.timeline(held, prices(a1=[10, 10, 10], b2=[np.nan, 30, 33]))
    assert table["value"].tolist() == [10, 40, 43]
    assert table["growth"].tolist() == pytest.approx([100, 100, 107.5])


def test_a_graded_copy_has_no_value_and_its_sale_a_gain() -> None:
    held = rows(
        Entry(card="a1", grade="PSA 10", cost=3),
        Sale(sold="a1", grade="PSA 9", cost=3, price=50.0, date=day(2)),
        Entry(card="a1"),
    )
    history = prices(a1=[5, 6, 7])
    table = portfolio.timeline(held, history)
    assert table["value"].tolist() == [5, 6, 7]
    assert table["realised"].tolist() == [0, 47, 47]
    sums = portfolio.totals(held, history.iloc[-1])
    assert (sums["value"], sums["gain"], sums["unpriced"], sums["uncosted"]) == (7, 47, 1, 1)


def test_trades_after_the_last_price_are_in_the_timeline() -> None:
    held = rows(Sale(sold="a1", cost=3, price=50.0, date=day(5)), Entry(card="a1", bought=day(6)))
    table = portfolio.timeline(held, prices(a1=[5, 6]))
    assert table["value"].tolist() == [5, 6, 6, 6, 0, 6]


def test_nothing_held_has_no_timeline() -> None:
    for held in (rows(), rows(Entry(card="nowhere", cost=2))):
        table = portfolio.timeline(held, prices(a1=[5.0]))
        assert (list(table), len(table)) == (portfolio.TIMELINE, 0)
        assert portfolio.drawdown(table["growth"])["fall"] == 0
        assert portfolio.totals(held, pd.Series(dtype="float64"))["value"] == 0


def test_contributions_add_up_to_the_whole() -> None:
    held = rows(
        Entry(card="a1", quantity=2, cost=4),
        Sale(sold="b2", cost=10, price=4.0, date=day(2)),
        Entry(card="nowhere", cost=2),
    )
    last = pd.Series({"a1": 10.0, "b2": 3.0})
    table = portfolio.gains(held, last).set_index("card_id")
    assert table["gain"].to_dict() == {"a1": 12.0, "b2": -6.0} | {
        "nowhere": pytest.approx(np.nan, nan_ok=True)
    }
    assert table.loc["b2", ["quantity", "sold", "received"]].tolist() == [0, 1, 4.0]
    sums = portfolio.totals(held, last)
    assert sums["gain_share"] == pytest.approx(6 / 20)
    assert table["contribution"].sum() == pytest.approx(6 / 20)


@pytest.mark.parametrize(
    ("curve", "fall", "days"),
    [
        ([100, 120, 60, 90, 120, 110], -0.5, (2, 3, 5)),
        ([100, 90, 100, 50], -0.5, (1, 4, None)),
        ([100, 101], 0.0, (None, None, None)),
    ],
)
def test_the_worst_fall(curve: list[float], fall: float, days: tuple[Any, ...]) -> None:
    found = portfolio.drawdown(prices(a=curve)["a"])
    assert found["fall"] == pytest.approx(fall)
    assert tuple(found[name] and found[name].day for name in ("peak", "low", "recovered")) == days


def test_net_of_fees_a_copy_that_costs_more_than_it_brings_stays() -> None:
    held = rows(
        Entry(card="a1", quantity=2), Entry(card="b2", quantity=50), Entry(card="a1", grade="PSA 9")
    )
    places = {"eBay": Marketplace(share=0.1325, order=0.3, shipping=1.0), "private": Marketplace()}
    table = portfolio.proceeds(held, pd.Series({"a1": 100.0, "b2": 0.5}), places)
    assert table["marketplace"].tolist() == ["private", "eBay"]
    assert table["net"].tolist() == [225.0, 2 * (100 - 13.25 - 0.3 - 1.0)]
    assert table.loc[1, ["copies", "kept", "value"]].tolist() == [2, 50, 225.0]


def test_the_insurance_list_has_what_is_held_and_no_more() -> None:
    held = rows(
        Entry(card="b2", quantity=2, cost=4, note="=1"),
        Entry(card="a1", grade="PSA 9"),
        Sale(sold="a1", price=4.0, date=day(2)),
    )
    table = portfolio.insurance(held, CARDS, pd.Series({"a1": 100.0, "b2": 0.5}))
    assert table["name"].tolist() == ["Bellossom", "Abra"]
    assert table["value"].tolist() == pytest.approx([1.0, np.nan], nan_ok=True)
    assert table["paid"].tolist() == pytest.approx([8.0, np.nan], nan_ok=True)


@st.composite
def collections(draw: st.DrawFn) -> tuple[list[Entry], list[list[float]]]:
    """Lots bought and sold on days of a short market, and that market's prices in cents."""
    size = draw(st.integers(1, 6))
    path = st.lists(st.integers(1, 9999), min_size=size, max_size=size)
    out: list[Entry] = []
    for _ in range(draw(st.integers(0, 8))):
        bought = draw(st.none() | st.integers(1, size))
        known = {
            "quantity": draw(st.integers(1, 5)),
            "cost": draw(st.integers(0, 9999)) / 100,
            "bought": bought and day(bought),
            "buy_fees": draw(st.none() | st.integers(0, 999).map(lambda cent: cent / 100)),
        }
        card = draw(st.sampled_from(["a1", "b2"]))
        if draw(st.booleans()):
            out.append(Entry(card=card, **known))
        else:
            on = day(draw(st.integers(bought or 1, size)))
            brought = {"price": draw(st.integers(0, 9999)) / 100, "date": on}
            brought["sale_fees"] = draw(
                st.none() | st.integers(0, 999).map(lambda cent: cent / 100)
            )
            out.append(Sale(sold=card, **brought, **known))
    return out, [[cents / 100 for cents in draw(path)] for _ in range(2)]


@given(collections())
def test_the_timeline_ends_where_the_totals_are(made) -> None:
    entries, (first, second) = made
    held, history = rows(*entries), prices(a1=first, b2=second)
    table, sums = portfolio.timeline(held, history), portfolio.totals(held, history.iloc[-1])
    if len(table):
        last = table.iloc[-1]
        for name in ("value", "paid", "unrealised", "realised", "received"):
            assert last[name] == pytest.approx(sums[name], abs=0.001), name
        assert np.isfinite(table["growth"]).all()
        assert (table["growth"] >= 0).all()
    # What was paid on the day itself is no gain of another day: with prices that never move and
    # everything bought and sold at them, nothing grows.
    still = prices(a1=[7.0] * len(first), b2=[7.0] * len(first))
    at = {"cost": 7.0, "buy_fees": None}
    same = [
        one.model_copy(
            update=at | ({"price": 7.0, "sale_fees": None} if isinstance(one, Sale) else {})
        )
        for one in entries
    ]
    assert portfolio.timeline(rows(*same), still)["growth"].tolist() == pytest.approx(
        [100.0] * len(portfolio.timeline(rows(*same), still))
    )
