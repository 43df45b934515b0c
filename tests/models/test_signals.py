from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from builders import curve

from pokewatch.files import json_values
from pokewatch.models import reasons, signals
from pokewatch.models.fair_value import FairValueModel
from pokewatch.models.panel import Panel
from pokewatch.schema import PREDICTION_COLUMNS
from pokewatch.settings import load_settings

CONFIG = load_settings()


def past(informative: bool) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    edge = rng.normal(0, 0.03, 20_000)
    move = (1.5 * edge if informative else 0) + rng.normal(0, 0.03, 20_000)
    return pd.DataFrame(
        {
            "horizon": 7,
            "price": 10.0,
            "y_hat": 10 * np.exp(edge),
            "y": 10 * np.exp(move),
            "volatility": 0.01,
        }
    )


def test_thresholds_reach_the_wanted_precision():
    rules = signals.learn(past(informative=True), CONFIG)
    for side in ("BUY", "SELL"):
        rule = rules[side, 7]
        wanted = min(CONFIG.signal_lift * rule.base_rate, signals.SURE_ENOUGH)
        assert rule.precision >= wanted
        assert rule.calls >= signals.MIN_CALLS
        assert 0 < rule.threshold < 1


def test_without_information_nothing_is_ever_called():
    rules = signals.learn(past(informative=False), CONFIG)
    assert not np.isfinite(rules["BUY", 7].threshold)
    assert called([-0.5, 0.0, 0.5], rules) == ["HOLD"] * 3


def candidates(dates: int, right: int = 40) -> pd.DataFrame:
    """Return 60 SELL candidates on some days, and many cards that hardly move."""
    days = pd.date_range("2025-01-01", periods=210)
    calm = pd.DataFrame({"date": np.repeat(days, 10), "y": 10.0, "candidate": "HOLD"})
    spread = days[: dates * 7 : 7].repeat(-(-60 // dates))[:60]
    fell = pd.DataFrame({"date": spread, "y": 10.0, "candidate": "SELL", "candidate_strength": 1.0})
    fell.loc[fell.index[:right], "y"] = 9.0
    return pd.concat([calm, fell], ignore_index=True).assign(horizon=7, price=10.0)


def test_one_fall_of_the_market_is_no_record_of_calls():
    rules = {("SELL", 7): signals.Rule("SELL", 7, 0.02)}
    once = signals.as_given(rules, candidates(dates=1), CONFIG)["SELL", 7]
    assert once.threshold == np.inf
    assert once.calls == 60
    often = signals.as_given(rules, candidates(dates=10), CONFIG)["SELL", 7]
    assert often.threshold == 0.02


def test_a_move_of_exactly_the_wanted_size_is_good():
    cents = np.arange(20, 20_000, 20) / 100
    rows = pd.DataFrame({"price": cents, "y": (cents * 105).round() / 100})
    assert (signals.moves(rows) >= 0.05).all()
    assert (signals.moves(rows.assign(y=(cents * 95).round() / 100)) <= -0.05).all()


SURE = signals.Rule("SELL", 30, 0.02, [1.0, 2.0, 3.0, -4.0], 0.4, 0.1, 0.3, 99, [[0.0, 99, 40]])


def called(edges, rules, held=None, horizon=7) -> list[str]:
    rows = pd.DataFrame({"card_id": [f"{n}:Normal" for n in range(len(edges))], "horizon": horizon})
    before = None if held is None else rows.assign(signal=held)
    known = {"date": pd.Timestamp("2025-01-01"), "price": 1.0, "y_hat": np.exp(edges)}
    rows = rows.assign(**known, volatility=0.01, age=0, history_days=100, rules=0)
    return signals.call_days(rows, {0: rules}, "rules", CONFIG, before)["signal"].tolist()


def test_many_cases_teach_a_chance_and_few_use_the_forecast_itself():
    rows = past(informative=True)
    few = signals.learn(rows[: signals.INDEPENDENT], CONFIG)["BUY", 7]
    many = signals.learn(rows, CONFIG)["BUY", 7]
    assert not few.weights
    chance = many.score(np.array([-0.05, 0.02, 0.05, 0.1]), np.full(4, 0.01), np.full(4, np.nan))
    assert chance[0] == 0
    assert (np.diff(chance) > 0).all()
    edge = np.log(rows["y_hat"] / rows["price"]).to_numpy()
    sure = many.score(edge, np.full(len(rows), 0.01), np.full(len(rows), np.nan))
    right = (rows["y"] / rows["price"] - 1 >= CONFIG.good_move).to_numpy()
    assert right[sure > 0.5].mean() == pytest.approx(sure[sure > 0.5].mean(), abs=0.05)


def test_forecasts_without_a_chance_do_not_bend_what_chances_teach():
    rows = past(informative=True)
    rise = 1 / (1 + np.exp(-(np.log(rows["y_hat"] / 10) - 0.05) / 0.02))
    known = rows.assign(rise=rise, fall=1 - rise)
    noise = past(informative=False).assign(rise=np.nan, fall=np.nan)
    alone = signals.learn(known, CONFIG)["BUY", 7]
    mixed = signals.learn(pd.concat([known, noise], ignore_index=True), CONFIG)["BUY", 7]
    assert alone.weights
    assert mixed.weights == alone.weights


def test_a_call_stays_a_little_below_its_threshold_and_is_not_made_there():
    rules = {("BUY", 7): signals.Rule("BUY", 7, 0.05)}
    near, far = 0.05 * signals.KEEP + 0.001, 0.05 * signals.KEEP - 0.001
    assert called([near, near, far], rules, ["BUY", "HOLD", "BUY"]) == ["BUY", "HOLD", "HOLD"]
    days = pd.DataFrame(
        {
            "card_id": ["a"] * 5,
            "date": pd.date_range("2026-01-01", periods=5),
            "horizon": 7,
            "price": 10.0,
            "y_hat": 10 * np.exp([near, 0.06, near, far, near]),
            "volatility": 0.01,
            "age": 0,
            "history_days": 99,
            "rules": 0,
        }
    )
    given = signals.call_days(days, {0: rules}, "rules", CONFIG)["signal"].tolist()
    assert given == ["HOLD", "BUY", "BUY", "HOLD", "HOLD"]
    mixed = days.sample(frac=1, random_state=1)
    again = signals.call_days(mixed, {0: rules}, "rules", CONFIG)
    assert again["signal"].sort_index().tolist() == given


def test_calls_follow_the_thresholds():
    rules = {("BUY", 7): signals.Rule("BUY", 7, 0.05), ("SELL", 7): signals.Rule("SELL", 7, 0.03)}
    edges = [0.06, 0.051, 0.04, -0.02, -0.031]
    assert called(edges, rules) == ["BUY", "BUY", "HOLD", "HOLD", "SELL"]
    assert set(called(edges, rules, horizon=14)) == {"HOLD"}


def test_a_rule_survives_json():
    for rule in (signals.Rule("BUY", 7), SURE):
        again = signals.Rule.from_dict(json_values(rule.as_dict()))
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
    rule = signals.Rule(
        "BUY", 7, 0.05, [], 0.44, 0.1, 0.3, 250, [[0.0, 20, 1], [1.0, 150, 50], [1.6, 80, 59]]
    )
    out = reasons.decide(forecast, panel, {("BUY", 7): rule}, CONFIG, "m", 3)
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
        "Up 1 % in two weeks; +20.0 % expected in 7 days; 74 % of 80 past calls like it rose "
        "5 % or more (10 % of all cards did)."
    )


def test_a_call_is_shown_the_record_of_calls_as_strong_as_itself():
    rule = signals.Rule(
        "SELL", 7, 0.02, [], 0.3, 0.1, 0.3, 300, [[0.0, 10, 0], [1.0, 200, 40], [1.6, 90, 50]]
    )
    assert reasons.record(rule, 1.1, 0.05).startswith("20 % of 200 past calls like it fell 5 %")
    assert reasons.record(rule, 4.0, 0.05).startswith("56 % of 90 ")
    assert reasons.record(rule, 0.8, 0.05).startswith("30 % of 300 ")  # ten alike prove nothing


def test_a_reason_tells_of_sales_and_of_the_set():
    names = [f"{number}:Normal" for number in range(8)]
    rising = np.round(np.linspace(10, 12, 45), 2)
    rows = pd.concat(
        [curve(name, rising, volume=np.r_[np.full(31, 2.0), np.full(14, 9.0)]) for name in names]
    )
    cards = pd.DataFrame({"card_id": names, "name": "x", "set_name": "Base"}).assign(
        rarity=None, product_kind="single", release_date=None
    )
    panel = Panel.from_prices(rows, cards)
    forecast = FairValueModel([7], learn=False).fit(panel).predict(panel)
    forecast["fair_value"] = forecast["market_price"] * 1.2
    rules = {("BUY", 7): signals.Rule("BUY", 7, 0.05, [], 0.4, 0.1, 0.3, 99)}
    out = reasons.decide(forecast, panel, rules, CONFIG, "m", 3)
    assert "in two weeks on rising sales; other cards of its set rose 6 %" in out["reason"].iloc[0]


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
