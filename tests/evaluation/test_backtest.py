from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from builders import market

from pokewatch.errors import PokewatchError
from pokewatch.evaluation import backtest
from pokewatch.models.panel import Panel
from pokewatch.settings import load_settings

pytestmark = pytest.mark.slow

CONFIG = load_settings()
MARKET = market(30, 160, momentum=0.8)

FULL_MODELS = True


@pytest.fixture(scope="module")
def tested() -> backtest.Backtest:
    return backtest.walk_forward(Panel.from_prices(MARKET), CONFIG, [1, 7])


def test_model_naive_and_baseline_are_scored_on_the_same_rows(tested):
    keys = ["card_id", "date", "horizon", "price", "y"]
    by_model = {
        name: group[keys].sort_values(keys).reset_index(drop=True)
        for name, group in tested.forecasts.groupby("model")
    }
    assert set(by_model) == {"fair_value", "naive", "baseline"}
    pd.testing.assert_frame_equal(by_model["naive"], by_model["fair_value"])
    pd.testing.assert_frame_equal(by_model["naive"], by_model["baseline"])


def test_truth_and_naive_are_what_the_prices_say(tested):
    price = MARKET.set_index(["card_id", "date"])["market_price"]
    naive = tested.forecasts[tested.forecasts["model"] == "naive"].sample(200, random_state=1)
    later = naive["date"] + pd.to_timedelta(naive["horizon"], unit="D")
    np.testing.assert_array_equal(
        naive["y"], price.loc[list(zip(naive["card_id"], later, strict=True))]
    )
    now = price.loc[list(zip(naive["card_id"], naive["date"], strict=True))]
    np.testing.assert_array_equal(naive["y_hat"], now)


def test_scores_show_the_momentum_that_is_there(tested):
    table = tested.scores(CONFIG).set_index(["horizon", "model"])
    week = table.loc[(7, "fair_value")]
    assert week["rmae"] < 0.95
    assert week["rmae_low"] < week["rmae"] < week["rmae_high"]
    assert week["rank_ic"] > 0.1
    assert table.loc[(7, "naive"), "rmae"] == 1
    assert 0.6 < week["coverage"] < 0.95


def test_changing_the_future_changes_no_earlier_forecast(tested):
    day = pd.Timestamp("2025-05-01")
    other = MARKET.copy()
    other.loc[other["date"] > day, "market_price"] *= 3
    again = backtest.walk_forward(Panel.from_prices(other), CONFIG, [1, 7])
    columns = ["card_id", "date", "horizon", "price", "y_hat", "lower", "upper", "model"]
    pieces = []
    for run in (tested, again):
        known = run.forecasts["date"] + pd.to_timedelta(run.forecasts["horizon"], unit="D") <= day
        pieces.append(run.forecasts.loc[known, [*columns, "signal"]].reset_index(drop=True))
    assert len(pieces[0]) > 1000
    pd.testing.assert_frame_equal(*pieces)


def test_parallel_origins_give_the_same_forecasts(tested):
    again = backtest.walk_forward(Panel.from_prices(MARKET), CONFIG, [1, 7], jobs=2)
    pd.testing.assert_frame_equal(tested.forecasts, again.forecasts)


def test_the_scored_days_can_be_narrowed():
    first, last = pd.Timestamp("2025-04-01").date(), pd.Timestamp("2025-04-20").date()
    part = backtest.walk_forward(Panel.from_prices(MARKET), CONFIG, [7], since=first, until=last)
    days = part.forecasts["date"]
    assert (days.min().date(), days.max().date()) == (first, last)


def test_a_horizon_longer_than_the_history_is_reported_not_invented():
    short = backtest.walk_forward(Panel.from_prices(market(10, 20)), CONFIG, [7, 30])
    assert short.unscored() == [30]
    assert set(short.scores(CONFIG)["horizon"]) == {7}


def test_a_single_day_of_history_scores_nothing_and_fails_nothing():
    empty = backtest.walk_forward(Panel.from_prices(market(3, 1)), CONFIG, [7])
    assert empty.forecasts.empty
    assert empty.scores(CONFIG).empty
    assert empty.unscored() == [7]


def test_what_came_of_a_forecast_was_observed_after_it():
    rows = market(10, 60)
    tuesdays = rows["date"].dt.dayofweek == 1  # on Tuesdays nothing is delivered
    panel = Panel.from_prices(rows[~tuesdays])
    for horizon in (1, 2, 7):
        target = pd.DataFrame(panel.target(horizon), panel.dates)
        mondays = target[panel.dates.dayofweek == 0].iloc[1:-2]
        assert mondays.isna().all().all() == (horizon == 1)
    scored = backtest.walk_forward(panel, CONFIG, [1, 2]).forecasts
    one = scored[scored["horizon"] == 1]
    assert not (one["date"].dt.dayofweek == 0).any()
    two = scored[scored["horizon"] == 2]
    assert not (two["date"].dt.dayofweek == 1).any()  # no price on the day itself


def test_a_forecast_that_is_no_number_is_an_error(tested):
    spoilt = tested.forecasts.copy()
    row = spoilt.index[(spoilt["model"] == "fair_value") & (spoilt["horizon"] == 7)][3]
    spoilt.loc[row, "y_hat"] = np.nan
    with pytest.raises(PokewatchError, match=f"1 forecasts of 'fair_value'.*{spoilt.card_id[row]}"):
        backtest.score_table(spoilt, CONFIG)
    fewer = tested.forecasts.drop(index=row)
    with pytest.raises(PokewatchError, match="forecast different cases 7 days ahead"):
        backtest.score_table(fewer, CONFIG)


def test_a_price_band_begins_with_its_lowest_price(tested):
    rows = tested.forecasts[tested.forecasts["horizon"] == 7].assign(price=1.0)
    assert set(backtest.breakdown(rows, "price_band")["group"]) == {"1-5"}
