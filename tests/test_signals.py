from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from builders import curve

from pokewatch import signals
from pokewatch.models.forecast import FairValueModel
from pokewatch.panel import Panel
from pokewatch.schema import PREDICTION_COLUMNS
from pokewatch.settings import load_settings

CONFIG = load_settings()


def past(informative: bool) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    edge = rng.normal(0, 0.03, 20_000)
    move = (1.5 * edge if informative else 0) + rng.normal(0, 0.03, 20_000)
    return pd.DataFrame(
        {"horizon": 7, "price": 10.0, "y_hat": 10 * np.exp(edge), "y": 10 * np.exp(move)}
    )


def test_thresholds_reach_the_wanted_precision():
    rules = signals.learn(past(informative=True), CONFIG)
    for side in ("BUY", "SELL"):
        rule = rules[side, 7]
        assert rule.precision >= min(CONFIG.signal_lift * rule.base_rate, 0.95)
        assert rule.calls >= signals.MIN_CALLS
        assert signals.LEAST_MOVE <= rule.edge < 0.2


def test_without_information_nothing_is_ever_called():
    rules = signals.learn(past(informative=False), CONFIG)
    assert not np.isfinite(rules["BUY", 7].edge)
    assert set(signals.call(np.array([-0.5, 0.0, 0.5]), 7, rules)) == {"HOLD"}


def test_calls_follow_the_thresholds():
    rules = {
        ("BUY", 7): signals.Rule("BUY", 7, 0.05),
        ("SELL", 7): signals.Rule("SELL", 7, 0.03),
    }
    edges = np.array([0.06, 0.05, 0.04, -0.02, -0.03])
    assert signals.call(edges, 7, rules).tolist() == ["BUY", "BUY", "HOLD", "HOLD", "SELL"]
    assert set(signals.call(edges, 14, rules)) == {"HOLD"}


def test_a_rule_survives_json():
    for rule in (signals.Rule("BUY", 7), signals.Rule("SELL", 30, 0.02, 0.4, 0.1, 0.3, 99)):
        again = signals.Rule.from_dict(rule.as_dict())
        assert repr(again) == repr(rule)


@pytest.fixture(scope="module")
def decided() -> pd.DataFrame:
    steady = np.round(np.linspace(50, 52, 45), 2)
    rows = pd.concat(
        [
            curve("steady:Normal", steady),
            curve("frozen:Normal", [20.0] * 45),
            curve("gone:Normal", [30.0] * 20),
            curve("new:Normal", [9.0, 9.5], start="2025-02-13"),
            curve("unsold:Normal", steady, volume=0.0),
        ]
    )
    panel = Panel.from_prices(rows)
    forecast = FairValueModel([7], learn=False).fit(panel).predict(panel)
    forecast["fair_value"] = forecast["market_price"] * 1.2
    rules = {("BUY", 7): signals.Rule("BUY", 7, 0.05, 0.44, 0.1, 0.3, 250)}
    out = signals.decide(forecast, panel, rules, CONFIG, "m", 3, min_history=7)
    return out.set_index("card_id", drop=False)


def test_predictions_have_the_columns_of_the_contract(decided):
    assert list(decided.columns) == PREDICTION_COLUMNS
    assert set(decided["model"]) == {"m"}
    assert set(decided["data_version"]) == {3}
    np.testing.assert_allclose(decided["deviation"], 1 / 1.2 - 1)


def test_each_call_says_why_and_how_such_calls_did(decided):
    row = decided.loc["steady:Normal"]
    assert row["signal"] == "BUY"
    assert row["reason"] == (
        "Up 1 % in two weeks; +20.0 % expected in 7 days; 44 % of 250 past calls like it rose "
        "enough (10 % of all cards did)."
    )


def test_stale_and_young_cards_are_held_with_the_reason(decided):
    assert decided.loc["gone:Normal", ["signal", "stale"]].tolist() == ["HOLD", True]
    assert "25 days old" in decided.loc["gone:Normal", "reason"]
    assert decided.loc["new:Normal", "signal"] == "HOLD"
    assert decided.loc["new:Normal", "reason"].startswith("Only 2 days of history")
    assert not decided.loc["steady:Normal", "stale"]


def test_frozen_and_unsold_cards_are_thin(decided):
    thin = decided["thin"].to_dict()
    assert thin["frozen:Normal"]
    assert thin["unsold:Normal"]
    assert not thin["steady:Normal"]
