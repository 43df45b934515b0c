from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from builders import curve, market
from hypothesis import given, settings
from hypothesis import strategies as st

from pokewatch.models import features
from pokewatch.models.fair_value import FairValueModel
from pokewatch.models.panel import Panel
from pokewatch.schema import CARD_COLUMNS

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


def with_gaps(cards: int, days: int) -> Panel:
    """Return a panel in which cards appear late, go missing, and form sets and sealed products."""
    rows = market(cards, days)
    rng = np.random.default_rng(2)
    rows["low_price"] = rows["market_price"] * rng.uniform(0.8, 1.1, len(rows))
    rows["mid_price"] = rows["low_price"].where(rng.random(len(rows)) < 0.9) * 1.2
    rows["volume"] = np.where(rng.random(len(rows)) < 0.5, rng.poisson(2, len(rows)), np.nan)
    number = rows["card_id"].str.split(":").str[0].astype(int)
    late = (rows["date"] - rows["date"].min()).dt.days < (number % 7) * 20
    rows = rows[~late & (rng.random(len(rows)) < 0.9)]
    ids = np.sort(rows["card_id"].unique())
    known = {"card_id": ids, "set_name": [f"set {n % 9}" for n in range(len(ids))]}
    kinds = ["Booster Box" if n % 5 == 0 else "Mew" for n in range(len(ids))]
    known |= {"name": kinds, "product_kind": "single", "release_date": None}
    return Panel.from_prices(rows, pd.DataFrame(known).reindex(columns=CARD_COLUMNS))


@pytest.mark.parametrize("name", ["Tinkaton", "Tinkatuff"])
def test_a_single_has_no_form_of_sealed_products(name):
    cards = pd.DataFrame({"card_id": ["1:Normal", "2:Normal"], "name": [name, "A tin of cards"]})
    cards = cards.assign(product_kind=["single", "sealed"])
    panel = Panel.from_prices(
        pd.concat([curve("1:Normal", [1.0]), curve("2:Normal", [1.0])]), cards
    )
    forms = features.Facts.of(panel).forms
    assert forms[0] != forms[1]


def test_some_days_and_some_cases_are_those_of_the_whole_to_the_last_bit():
    panel = with_gaps(300, 260)  # more cards and days than are computed at once
    whole = features.build(panel)
    assert list(whole) == features.names()
    for rows in ([259], [3, 4, 150, 258], range(245, 260)):
        for name, matrix in features.build(panel, rows).items():
            np.testing.assert_array_equal(matrix, whole[name][list(rows)], err_msg=name)
    rng = np.random.default_rng(3)
    day, card = rng.integers(0, 260, 2000), rng.integers(0, 300, 2000)
    expected = np.stack([matrix[day, card] for matrix in whole.values()], axis=1)
    for jobs in (1, 2):
        np.testing.assert_array_equal(features.cases(panel, day, card, jobs), expected)
    np.testing.assert_array_equal(features.volatility(panel), whole["volatility_30"])


def test_running_means_and_ranks_say_what_pandas_says():
    matrix = with_gaps(40, 200).price
    frame, rows = pd.DataFrame(matrix), np.arange(200)
    for span in (1, 3, 14, 120):
        window = frame.rolling(span, min_periods=1)
        np.testing.assert_allclose(features.trailing(matrix, span, rows), window.mean())
    alive = ~np.isnan(matrix)
    ranked = frame.round(0).rank(axis=1, pct=True)
    np.testing.assert_array_equal(features.ranks(matrix.round(0), alive), ranked)


def test_cases_are_what_the_matrices_hold():
    panel = with_gaps(60, 160)
    built = features.build(panel)
    day, card = np.divmod(np.random.default_rng(4).permutation(160 * 60)[:700], 60)
    wanted = np.stack([matrix[day, card] for matrix in built.values()], axis=1)
    np.testing.assert_array_equal(features.cases(panel, day, card, jobs=2), wanted)
