"""How complete a day is, against the last good one."""

from __future__ import annotations

from datetime import date

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokewatch.quality import completeness

FIRST = pd.Timestamp("2026-01-01")


def days(*sizes: int) -> pd.DataFrame:
    """Observations of days with the first so many cards each."""
    rows = [
        (f"{card}:Normal", FIRST + pd.Timedelta(days=number))
        for number, size in enumerate(sizes)
        for card in range(size)
    ]
    frame = pd.DataFrame(rows, columns=["card_id", "date"]).astype({"date": "datetime64[us]"})
    return frame.assign(source="tcgcsv")


def of_last(*sizes: int, floor: float = 0.9) -> completeness.Completeness:
    last = (FIRST + pd.Timedelta(days=len(sizes) - 1)).date()
    return completeness.measure(days(*sizes), last, floor)


def test_a_short_day_is_measured_against_the_last_good_one():
    found = of_last(100, 40, 50)
    assert (found.covered, found.expected, found.reference) == (50, 100, date(2026, 1, 1))
    assert not found.enough
    assert "50 of the 100 cards" in found.complaint
    assert "POKEWATCH_COVERAGE_FLOOR" in found.complaint


@pytest.mark.parametrize("sizes", [(100,), (100, 90), (100, 120), (50, 100, 95)])
def test_first_and_nearly_full_days_are_enough(sizes):
    assert of_last(*sizes).enough
    assert of_last(*sizes).complaint == ""


def test_other_cards_are_no_replacement_for_those_expected():
    rows = days(10)
    other = rows.assign(card_id=[f"9{name}" for name in rows["card_id"]])
    other["date"] += pd.Timedelta(days=1)
    found = completeness.measure(pd.concat([rows, other]), date(2026, 1, 2), 0.9)
    assert (found.cards, found.covered, found.enough) == (10, 0, False)


def test_a_market_that_stays_smaller_is_the_new_normal_after_a_week():
    smaller = [60] * completeness.PATIENCE
    assert not of_last(100, *smaller).enough
    assert of_last(100, *smaller, 60).enough
    assert not of_last(100, *smaller, 60, 30).enough


def test_a_day_without_any_price_covers_nothing():
    found = completeness.measure(days(10), date(2026, 1, 2), 0.9)
    assert (found.cards, found.share, found.enough) == (0, 0.0, False)


def test_files_are_neither_expected_nor_counted():
    rows = days(10, 10)
    rows.loc[rows["date"] == FIRST, "source"] = "file"
    found = completeness.measure(rows, date(2026, 1, 2), 0.9)
    assert (found.reference, found.cards, found.enough) == (None, 10, True)
    assert completeness.short_days(days(100, 40, 100, 95, 80), 0.9) == [
        date(2026, 1, 2),
        date(2026, 1, 5),
    ]


def test_what_is_missing_and_what_is_there_is_named():
    rows = days(3, 1)
    found = completeness.measure(rows, date(2026, 1, 2), 0.9)
    assert found.missing == {"1:Normal", "2:Normal"}
    assert found.present == {"0:Normal"}


@given(st.lists(st.integers(1, 12), min_size=1, max_size=9), st.permutations(range(108)))
def test_the_order_of_rows_does_not_matter(sizes, order):
    rows = days(*sizes)
    shuffled = rows.iloc[[place for place in order if place < len(rows)]]
    last = (FIRST + pd.Timedelta(days=len(sizes) - 1)).date()
    assert completeness.measure(rows, last, 0.9) == completeness.measure(shuffled, last, 0.9)
