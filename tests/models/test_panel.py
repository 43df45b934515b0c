from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from builders import curve, market

from pokewatch.errors import UsageError
from pokewatch.models.panel import Panel


@pytest.fixture
def panel() -> Panel:
    rows = pd.concat(
        [curve("1:Normal", [5.0, None, None, 6.0]), curve("2:Normal", [None, 2.0, None, None])]
    )
    return Panel.from_prices(rows)


def test_gaps_are_filled_from_the_past_only(panel):
    assert panel.price[:, 0].tolist() == [5, 5, 5, 6]
    np.testing.assert_equal(panel.price[:, 1], [np.nan, 2, 2, 2])
    assert panel.age[:, 0].tolist() == [0, 1, 2, 0]


def test_targets_need_both_ends_known(panel):
    two = panel.target(2)
    assert np.isnan(two[0, 0])  # the price two days later is the one of the day itself
    assert two[1, 0] == pytest.approx(np.log(6 / 5))
    assert panel.target(3)[0, 0] == pytest.approx(np.log(6 / 5))
    assert np.isnan(panel.target(3)[1:]).all()
    late = Panel.from_prices(curve("1:Normal", [5.0, None, None, None, None, 6.0]))
    known = [~np.isnan(late.target(1)[day, 0]) for day in range(5)]
    assert known == [False] * 5  # day 4's price is four days old by then
    assert ~np.isnan(late.target(2)[3, 0])


def test_a_panel_ends_where_it_is_asked_to():
    rows = curve("1:Normal", [1.0, 2.0, 3.0])
    assert len(Panel.from_prices(rows, until=pd.Timestamp("2025-01-02").date()).dates) == 2
    later = Panel.from_prices(rows, until=pd.Timestamp("2025-01-05").date())
    assert later.age[-1, 0] == 2
    with pytest.raises(UsageError, match="no prices are stored up to 2024-12-31"):
        Panel.from_prices(rows, until=pd.Timestamp("2024-12-31").date())


def test_a_day_outside_is_named(panel):
    with pytest.raises(UsageError, match="covers 2025-01-01 to 2025-01-04"):
        panel.day("2025-02-01")


def test_tables_one_after_the_other_make_the_same_panel():
    rows = market(20, 70).assign(low_price=1.0)
    rows = rows[np.random.default_rng(1).random(len(rows)) < 0.8]
    whole = Panel.from_prices(rows)
    months = [part for _, part in rows.groupby(rows["date"].dt.month)]
    tables = []
    for month in reversed(months):
        table = pa.Table.from_pandas(month.drop(columns="collected_at"), preserve_index=False)
        codes = table["card_id"].dictionary_encode()
        table = table.set_column(0, "card_id", codes)
        place = table.schema.get_field_index("date")
        tables.append(table.set_column(place, "date", table["date"].cast(pa.date32())))
    streamed = Panel.from_tables(tables)
    assert streamed.dates.equals(whole.dates)
    assert streamed.card_ids.tolist() == whole.card_ids.tolist()
    for name in ("price", "age", "low", "mid", "volume"):
        np.testing.assert_array_equal(getattr(streamed, name), getattr(whole, name), err_msg=name)
