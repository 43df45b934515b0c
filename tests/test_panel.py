from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from builders import curve

from pokewatch.errors import UsageError
from pokewatch.panel import Panel


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
    change = panel.target(2, max_age=0)
    assert np.isnan(change).all()
    assert panel.target(3, max_age=0)[0, 0] == pytest.approx(np.log(6 / 5))
    assert np.isnan(panel.target(3)[1:]).all()


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
