from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from builders import curve, market
from hypothesis import given, settings
from hypothesis import strategies as st

from pokewatch import features
from pokewatch.models.forecast import FairValueModel
from pokewatch.panel import Panel

CARDS, DAYS = 12, 50
MARKET = market(CARDS, DAYS)
MARKET["low_price"] = MARKET["market_price"] * 0.9
MARKET["mid_price"] = MARKET["market_price"] * 1.1
MARKET["volume"] = 3.0
CHANGED = ["market_price", "low_price", "mid_price", "volume"]


def altered_after(day: int, factor: float, column: str) -> pd.DataFrame:
    rows = MARKET.copy()
    later = rows["date"] > MARKET["date"].min() + pd.Timedelta(days=day)
    rows.loc[later, column] *= factor
    return rows


futures = {
    "day": st.integers(5, DAYS - 2),
    "factor": st.floats(0.05, 20),
    "column": st.sampled_from(CHANGED),
}


@settings(max_examples=40, deadline=None)
@given(**futures)
def test_no_feature_knows_the_future(day, factor, column):
    true = features.build(Panel.from_prices(MARKET))
    other = features.build(Panel.from_prices(altered_after(day, factor, column)))
    for name, matrix in true.items():
        np.testing.assert_array_equal(matrix[: day + 1], other[name][: day + 1], err_msg=name)


@settings(max_examples=15, deadline=None)
@given(**futures)
def test_no_forecast_knows_the_future(day, factor, column):
    panels = [Panel.from_prices(rows) for rows in (MARKET, altered_after(day, factor, column))]
    forecasts = [
        FairValueModel([1, 7]).fit(panel.until(day)).predict(panel, panel.dates[day])
        for panel in panels
    ]
    pd.testing.assert_frame_equal(*forecasts)


def test_the_causality_test_sees_a_leak(monkeypatch):
    honest = features.build

    def leaky(panel: Panel) -> features.Features:
        return {**honest(panel), "tomorrow": np.roll(panel.price, -1, axis=0)}

    monkeypatch.setattr(features, "build", leaky)
    with pytest.raises(AssertionError, match="tomorrow"):
        test_no_feature_knows_the_future.hypothesis.inner_test(10, 3.0, "market_price")


def test_missing_inputs_and_young_cards_leave_no_gaps():
    rows = pd.concat([curve("1:Normal", [5.0] * 20), curve("2:Normal", [7.0], start="2025-01-20")])
    for name, matrix in features.build(Panel.from_prices(rows)).items():
        assert np.isfinite(matrix).all(), name


def test_features_say_what_their_names_say():
    panel = Panel.from_prices(curve("1:Normal", [1.0, 1.0, 1.1, 1.1, 1.1, 1.1, 1.1, 1.21]))
    built = features.build(panel)
    assert built["momentum_1"][-1, 0] == pytest.approx(np.log(1.1), rel=1e-5)
    assert built["momentum_7"][-1, 0] == pytest.approx(np.log(1.21), rel=1e-5)
    assert built["unchanged_14"][-1, 0] == pytest.approx(6 / 8)
    mean = np.log([1.0, 1.1, 1.1, 1.1, 1.1, 1.1, 1.21]).mean()
    assert built["above_mean_7"][-1, 0] == pytest.approx(np.log(1.21) - mean, rel=1e-5)
