"""Nights and the back-test decide alike, and the ledger changes no figure."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
from builders import delivery, market

from pokewatch.evaluation import backtest, ledger, registry, track_record, training
from pokewatch.evaluation import predictions as predicting
from pokewatch.evaluation.registry import GateVerdict, TrainedModel
from pokewatch.models import signals
from pokewatch.models.fair_value import FairValueModel
from pokewatch.models.panel import Panel, open_panel
from pokewatch.quality.ingest import ingest
from pokewatch.settings import Settings, load_settings
from pokewatch.store.tables import Store

pytestmark = pytest.mark.slow

MARKET = market(30, 200, momentum=0.8)
SINCE = 70  # the first scored day
KEYS = ["card_id", "date"]


@pytest.fixture
def config(tmp_path) -> Settings:
    config = load_settings(home=tmp_path, tracking=False)
    ingest(Store.from_settings(config), delivery(MARKET), config)
    return config


def as_of(config: Settings, panel: Panel, day: pd.Timestamp, first: pd.Timestamp) -> str:
    """Train on what was known on a day as the back-test does there, promote, return the name."""
    known = panel.until(panel.day(day))
    own = training.own_rows(backtest.walk_forward(known, config, [7], since=first.date()).forecasts)
    trained = TrainedModel(
        name=f"fair-value-{day:%Y-%m-%d}-v0",
        model=FairValueModel([7], config.seed).fit(known),
        rules=signals.as_given(signals.learn(own, config), own, config),
        as_of=f"{day:%Y-%m-%d}",
        data_version=0,
        sources=["file"],
        scores=[],
        verdict=GateVerdict(True, ["as the back-test has it"], proved=True),
    )
    registry.save(config, trained, own)
    registry.promote(config, trained.name, trained.verdict.reasons)
    return trained.name


def test_twenty_nights_call_what_the_back_test_calls(config):
    panel, _ = open_panel(config)
    first = panel.dates[SINCE]
    past = training.own_rows(
        backtest.walk_forward(panel, config, [7], since=first.date()).forecasts
    )
    origins = [day for day in past["origin"].unique() if day >= panel.dates[SINCE + 88]]
    days = [day for day in panel.dates if origins[0] <= day <= past["date"].max()]
    store = Store.from_settings(config)
    for day in days[:24]:
        if day in origins:
            as_of(config, panel, day, first)
        if day == days[0]:  # the night before, as the back-test has it
            eve = predicting.predict(config, on=(day - pd.Timedelta(days=1)).date(), horizons=[7])
            last = past[past["date"] == eve["date"].iloc[0]].set_index("card_id")["signal"]
            store.save_predictions(eve.assign(signal=eve["card_id"].map(last).fillna("HOLD")))
        predicting.predict_all(config, day.date(), [7])
    said = store.predictions(since=days[0].date(), horizon=7)
    both = said.merge(past[[*KEYS, "signal", "strength", "y_hat"]], on=KEYS, suffixes=("", "_past"))
    assert both["date"].nunique() >= 20
    np.testing.assert_allclose(both["fair_value"], both["y_hat"], rtol=1e-9)
    assert both["signal"].tolist() == both["signal_past"].tolist()
    assert both["signal"].nunique() > 1
    assert (both["strength"] < 1).any()  # calls that stayed from the night before


def test_a_side_without_a_record_is_silent_in_the_back_test_as_well():
    rng = np.random.default_rng(2)
    dates = np.repeat(pd.date_range("2025-01-01", periods=120), 60)
    edge = rng.normal(0, 0.05, len(dates))
    cards = np.tile([f"{card}:Normal" for card in range(60)], 120)
    rows = pd.DataFrame({"card_id": cards, "date": dates, "horizon": 7, "price": 10.0})
    turned = dates < pd.Timestamp("2025-03-01")  # what was right at first is wrong from then on
    move = np.where(turned, edge, -edge) + rng.normal(0, 0.01, len(dates))
    rows = rows.assign(y=10 * np.exp(move), y_hat=10 * np.exp(edge), volatility=0.01)
    week = (rows["date"] - pd.Timestamp("2025-01-01")).dt.days // 7 * 7
    origin = pd.Timestamp("2025-01-01") + pd.to_timedelta(week, unit="D")
    rows = rows.assign(age=0, history_days=99, origin=origin, model="fair_value")
    found = backtest.with_signals(rows, load_settings())
    called, candidate = (found[name] != "HOLD" for name in ("signal", "candidate"))
    assert candidate[rows["date"] < "2025-01-20"].any()
    assert not called[rows["date"] < "2025-01-15"].any()  # no call of theirs had ended yet
    assert called[rows["date"].between("2025-02-01", "2025-02-28")].any()
    assert (called <= candidate).all()


def test_the_ledger_changes_no_figure_and_spares_the_fits(config, caplog):
    panel, _ = open_panel(config)
    folder = config.home / ledger.FOLDER
    for last in (190, 191, 194):
        known = panel.until(last)
        kept = set(folder.glob("*")) if folder.exists() else set()
        with_it = backtest.walk_forward(known, config, [1, 7], ledger=True)
        alone = backtest.walk_forward(known, config, [1, 7])
        pd.testing.assert_frame_equal(with_it.forecasts, alone.forecasts, check_exact=True)
        new = set(folder.glob("*")) - kept
        assert len(new) >= 5 if last == 190 else len(new) <= 1
    for path in folder.glob("*"):
        path.write_bytes(path.read_bytes()[:100])
    with caplog.at_level(logging.WARNING):
        again = backtest.walk_forward(panel.until(194), config, [1, 7], ledger=True)
    assert "is made anew" in caplog.text
    pd.testing.assert_frame_equal(again.forecasts, alone.forecasts, check_exact=True)


def test_the_ledger_forgets_when_a_known_price_changes(config):
    panel, _ = open_panel(config)
    backtest.walk_forward(panel, config, [7], ledger=True)
    other = Panel.from_prices(MARKET.assign(market_price=(MARKET["market_price"] * 1.1).round(2)))
    with_it = backtest.walk_forward(other, config, [7], ledger=True)
    alone = backtest.walk_forward(other, config, [7])
    pd.testing.assert_frame_equal(with_it.forecasts, alone.forecasts, check_exact=True)


def test_the_record_counts_what_was_said_first(config):
    panel, _ = open_panel(config)
    name = as_of(config, panel, panel.dates[150], panel.dates[SINCE])
    store = Store.from_settings(config)
    for day in panel.dates[150:190]:
        said = predicting.predict(config, on=day.date(), horizons=[7])
        night = day.tz_localize("UTC") + pd.Timedelta(hours=27)
        worse = said.assign(fair_value=said["market_price"] * 3)
        if day < panel.dates[153]:
            store.save_predictions(worse, night + pd.Timedelta(days=4))  # nobody heard it then
        else:
            store.save_predictions(said, night)
            store.save_predictions(worse, night + pd.Timedelta(hours=1))
        assert len(store.predictions(on=day.date())) == len(said)
    assert store.predictions(on=panel.dates[150].date())["deviation"].notna().all()
    live = track_record.live(config, panel, 7)
    assert set(live["model"]) == {name}
    assert live["date"].nunique() == 37
    table = track_record.read(config, panel, 7).set_index(["kind", "month"])
    assert table.loc[("live", "all"), "n"] == len(live)
    assert table.loc[("live", "all"), "rmae"] < 1
    assert table.loc[("live", "all"), "rmae_low"] < table.loc[("live", "all"), "rmae"]
    assert table.loc[("walk-forward", "all"), "nights"] > 50
    assert set(live.columns) == set(track_record.LIVE)
