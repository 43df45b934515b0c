from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pokewatch.errors import UsageError
from pokewatch.schema import CARD_COLUMNS, KEY, OBSERVATION_COLUMNS
from pokewatch.settings import Settings
from pokewatch.sources import simulated
from pokewatch.sources.simulated import demo

ON = date(2026, 12, 31)
ROW = ["card_id", "collected_at"]
KINDS = {
    "broken_name",
    "duplicate",
    "false_curve",
    "future_date",
    "glitch",
    "null_price",
    "repeated_day",
    "zero_price",
}


def market(seed: int = 7) -> Settings:
    return Settings(seed=seed)


@pytest.fixture(scope="module")
def long():
    return simulated.fetch(market(), ON, 730)


@pytest.fixture(scope="module")
def planted():
    return simulated.deliver(market(), ON, 730)[1]


@pytest.fixture(scope="module")
def faulty(long, planted):
    return planted.merge(long.observations, on=ROW, suffixes=("", "_delivered"))


def clean_prices(seed: int, on: date = ON, days: int = 400) -> pd.DataFrame:
    """Return market prices, days by cards, without the planted faults."""
    rows = simulated.fetch(market(seed), on, days).observations
    bad = simulated.deliver(market(seed), on, days)[1].set_index(ROW).index
    rows = rows[~rows.set_index(ROW).index.isin(bad)]
    return rows.pivot_table(index="date", columns="card_id", values="market_price")


def forward_returns(prices: pd.DataFrame, horizon: int) -> pd.DataFrame:
    return np.log(prices).shift(-horizon) - np.log(prices)


def momentum(prices: pd.DataFrame) -> pd.DataFrame:
    return np.log(prices) - np.log(prices).rolling(7, min_periods=5).mean()


def test_same_arguments_give_the_same_delivery(long):
    again = simulated.fetch(market(), ON, 730)
    pd.testing.assert_frame_equal(again.observations, long.observations)
    pd.testing.assert_frame_equal(again.cards, long.cards)


@hypothesis_settings(max_examples=25, deadline=None)
@given(ago=st.integers(0, 729), days=st.integers(1, 500))
def test_any_window_holds_the_rows_of_the_long_history(long, planted, ago, days):
    on = ON - timedelta(days=ago)
    since = pd.Timestamp(on, tz="UTC") - pd.Timedelta(days=days - 1)
    until = pd.Timestamp(on, tz="UTC") + pd.Timedelta(days=1)
    for wide, narrow in [
        (long.observations, simulated.fetch(market(), on, days).observations),
        (planted, simulated.deliver(market(), on, days)[1].dropna(subset="collected_at")),
    ]:
        inside = (wide["collected_at"] >= since) & (wide["collected_at"] < until)
        expected = wide[inside].reset_index(drop=True)
        pd.testing.assert_frame_equal(narrow.reset_index(drop=True), expected)


def test_the_seed_decides_prices_and_names(long):
    other = simulated.fetch(market(8), ON, 730)
    both = long.observations.merge(other.observations, on=KEY)
    assert (both["market_price_x"] == both["market_price_y"]).mean() < 0.1
    assert (long.cards["name"] != other.cards["name"]).mean() > 0.5


def test_observations_have_the_shape_of_a_source(long, planted):
    rows = long.observations
    assert long.source == "simulated"
    assert list(rows.columns) == OBSERVATION_COLUMNS
    assert set(rows["source"]) == {"simulated"}
    assert set(rows["card_id"]) == set(long.cards["card_id"])
    good = rows[~rows.set_index(ROW).index.isin(planted.set_index(ROW).index)]
    assert not good.duplicated(KEY).any()
    snapshot = good["date"].dt.tz_localize("UTC") + pd.Timedelta(minutes=5)
    assert (good["collected_at"] == snapshot).all()
    assert good["date"].nunique() == 730
    assert (good["market_price"] == good["market_price"].round(2)).all()
    assert 0.4 < good.groupby("card_id")["volume"].count().gt(0).mean() < 0.6


def test_cards_are_complete_and_both_printings_share_an_alias(long):
    cards = long.cards
    assert list(cards.columns) == CARD_COLUMNS
    assert cards["card_id"].is_unique
    assert (cards["card_id"] == cards["product_id"].astype(str) + ":" + cards["printing"]).all()
    assert cards["product_id"].min() == 900_001
    assert cards["set_name"].str.startswith("Simulated Set ").all()
    assert 180 <= len(cards) <= 230
    assert 35 <= (cards["product_kind"] == "sealed").sum() <= 50
    assert cards["aliases"].map(len).eq(1).all()
    alias = cards["aliases"].str[0]
    assert alias.groupby(cards["product_id"]).nunique().eq(1).all()
    assert alias.nunique() == cards["product_id"].nunique() < len(cards)


def test_new_cards_have_short_histories_from_their_release(long):
    released = pd.to_datetime(long.cards.set_index("card_id")["release_date"])
    new = released[released > pd.Timestamp(demo.EPOCH)]
    assert len(new) >= 8
    first = long.observations.groupby("card_id")["collected_at"].min().dt.tz_localize(None)
    assert (first[new.index].dt.normalize() == new).all()
    before = simulated.fetch(market(), new.min().date() - timedelta(days=1), 5)
    assert not set(new.index) & set(before.cards["card_id"])


def test_days_before_the_epoch_are_left_out():
    on = demo.EPOCH + timedelta(days=2)
    rows = simulated.fetch(market(), on, 400).observations
    assert rows["collected_at"].dt.date.min() == demo.EPOCH
    assert rows["collected_at"].dt.date.nunique() == 3


@pytest.mark.parametrize("call", [simulated.fetch, simulated.deliver])
def test_impossible_windows_are_refused(call):
    with pytest.raises(UsageError, match=r"2024-12-31.*2025-01-01"):
        call(market(), date(2024, 12, 31))
    with pytest.raises(UsageError, match="days=0"):
        call(market(), ON, 0)


@pytest.mark.parametrize("seed", [7, 1, 2])
def test_prices_behave_like_real_ones(seed):
    prices = clean_prices(seed)
    change = prices.diff().stack()
    assert 0.74 <= (change == 0).mean() <= 0.78
    ahead = forward_returns(prices, 7)
    assert 0.05 <= (ahead.stack() > np.log(1.05)).mean() <= 0.12
    assert 0.05 <= (ahead.stack() < np.log(0.95)).mean() <= 0.12
    pair = pd.concat([momentum(prices).stack(), ahead.stack()], axis=1).dropna()
    assert 0.25 <= pair.corr("spearman").iloc[0, 1] <= 0.5
    # Thin cards hardly ever move, liquid ones nearly every day.
    still = (prices.diff() == 0).sum() / prices.diff().count()
    assert still.quantile(0.9) > 0.88
    assert still.min() < 0.2
    levels = prices.median()
    assert levels.min() < 0.2
    assert levels.max() > 200
    assert prices.max().max() < 2_500


@pytest.mark.parametrize("seed", [7, 1, 2])
@pytest.mark.parametrize("horizon", [7, 14, 30])
def test_past_returns_beat_naive_out_of_sample_but_not_absurdly(seed, horizon):
    prices = clean_prices(seed)
    logs = np.log(prices)
    past = [logs - logs.shift(7), logs.shift(7) - logs.shift(21), momentum(prices)]
    names = ["week", "fortnight", "momentum", "target"]
    frame = pd.concat([f.stack() for f in [*past, forward_returns(prices, horizon)]], axis=1)
    frame = frame.set_axis(names, axis=1).dropna()
    days = frame.index.get_level_values("date")
    split = prices.index[250]
    train = frame[days < split - pd.Timedelta(days=horizon)].clip(-0.5, 0.5)
    test = frame[days >= split]
    weights = np.linalg.lstsq(train[names[:3]], train["target"], rcond=None)[0]
    error = (test["target"] - test[names[:3]] @ weights).abs().mean()
    assert 0.8 < error / test["target"].abs().mean() < 0.995


def test_low_is_mostly_below_and_sealed_products_are_smoother(long, planted):
    bad = planted.set_index(ROW).index
    rows = long.observations[~long.observations.set_index(ROW).index.isin(bad)]
    assert (rows["low_price"] <= rows["mid_price"]).mean() > 0.95
    assert 0.04 <= (rows["low_price"] > rows["market_price"]).mean() <= 0.10
    kinds = long.cards.set_index("card_id")["product_kind"]
    prices = clean_prices(7)
    spread = np.log(prices).diff().std().groupby(kinds).median()
    assert spread["sealed"] < 0.8 * spread["single"]
    assert (prices.median()[kinds[kinds == "sealed"].index] > 20).mean() > 0.6


@pytest.mark.parametrize("seed", [7, 1])
@pytest.mark.parametrize("ago", [0, 100, 200, 300])
def test_every_400_day_window_holds_every_fault_and_few_faulty_rows(seed, ago):
    on = ON - timedelta(days=ago)
    listed = simulated.deliver(market(seed), on, 400)[1]
    assert list(listed.columns) == demo.FAULT_COLUMNS
    assert set(listed["fault"]) == KINDS
    rows = simulated.fetch(market(seed), on, 400).observations
    assert len(listed) < 0.003 * len(rows)


def test_each_listed_fault_is_one_delivered_row(planted, faulty):
    rows = planted[planted["fault"] != "broken_name"]
    assert not rows.duplicated(ROW).any()
    assert len(faulty) == len(rows)
    same = faulty["date"].eq(faulty["date_delivered"])
    assert (same | faulty["date"].isna()).all()


def test_faulty_rows_look_as_their_fault_says(long, faulty):
    by = dict(iter(faulty.groupby("fault")))
    assert (by["zero_price"]["market_price"] == 0).all()
    assert by["zero_price"]["date"].isna().all()
    assert by["null_price"]["market_price"].isna().all()
    assert (by["glitch"]["market_price"] == 0.70).all()
    late = by["future_date"]["collected_at"].dt.tz_localize(None).dt.normalize()
    assert (by["future_date"]["date"] - late == pd.Timedelta(days=365)).all()
    twins = by["duplicate"].merge(long.observations, on=KEY, suffixes=("", "_true"))
    twins = twins[twins["collected_at"] != twins["collected_at_true"]]
    assert set(twins["card_id"]) == set(by["duplicate"]["card_id"])
    assert (twins["collected_at"] < twins["collected_at_true"]).all()
    assert (twins["market_price"] != twins["market_price_true"]).all()


def test_a_glitch_lasts_one_day_on_a_dear_card(faulty):
    prices = clean_prices(7, days=730)
    glitches = faulty[faulty["fault"] == "glitch"]
    for row in glitches.itertuples():
        around = prices.loc[row.date - pd.Timedelta(days=3) : row.date + pd.Timedelta(days=3)]
        assert around[row.card_id].min() > 30
        assert row.date not in around[row.card_id].dropna().index


def test_three_products_share_the_false_curve(faulty):
    curve = faulty[faulty["fault"] == "false_curve"]
    days = curve.groupby("date")
    assert (days["market_price"].nunique() == 1).all()
    assert (days["card_id"].nunique() == 3).all()
    assert curve["market_price"].between(1, 4).all()
    stretch = (days["market_price"].first().index.to_series().diff().dt.days != 1).cumsum()
    values = days["market_price"].first().groupby(stretch)
    assert values.nunique().max() == values.size().max() == 15
    products = curve["card_id"].str.split(":").str[0].groupby(curve["date"]).nunique()
    assert (products == 3).all()


def test_a_repeated_day_repeats_every_price_of_the_day_before(long, faulty):
    repeated = faulty.loc[faulty["fault"] == "repeated_day", "date"].drop_duplicates()
    prices = long.observations.drop_duplicates(KEY, keep="last").dropna(subset="date")
    prices = prices.pivot_table(index="date", columns="card_id", values="market_price")
    assert len(repeated) >= 1
    share = (prices.diff() == 0).sum(axis=1) / prices.diff().count(axis=1)
    assert (share[repeated] == 1).all()
    assert share.drop(repeated).max() < 0.95


def test_broken_names_are_mended_by_undoing_the_wrong_decoding(long, planted):
    broken = planted.loc[planted["fault"] == "broken_name", "card_id"]
    names = long.cards.set_index("card_id")["name"]
    assert len(broken) == 2
    assert set(names[broken].map(lambda name: name.encode("cp1252").decode())) == {"Poké Courier"}
    assert not names.drop(broken).str.contains("Ã").any()
