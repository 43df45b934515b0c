"""BUY, HOLD or SELL from a forecast, with thresholds learnt from past forecasts only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from pokewatch import features
from pokewatch.panel import Panel
from pokewatch.schema import PREDICTION_COLUMNS
from pokewatch.settings import Settings

MIN_CALLS = 50  # past calls without which a threshold proves nothing
QUANTILES = np.linspace(0.80, 0.999, 60)
LEAST_LIFT = 1.5  # over the base rate, in the calls really made
LEAST_RIGHT = 0.1  # share of calls really made that must have been right
LEAST_MOVE = 0.01  # no call for an expected move below 1 %
THIN_UNCHANGED = 0.95
THIN_SALES = 5.0  # sales in 30 days


@dataclass(frozen=True)
class Rule:
    """When to call one side at one horizon, and how such calls did before.

    edge: least forecast log return (BUY positive, SELL negative); infinite: never call.
    precision: share of past calls that were right, base_rate: share of all cases that were.
    """

    side: str
    horizon: int
    edge: float = float("inf")
    precision: float = float("nan")
    base_rate: float = float("nan")
    recall: float = float("nan")
    calls: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values; an infinite edge becomes null."""
        values = asdict(self)
        return {
            key: None if isinstance(value, float) and not np.isfinite(value) else value
            for key, value in values.items()
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Rule:
        """Rebuild a rule written by ``as_dict``."""
        filled: dict[str, Any] = {
            key: (float("inf") if key == "edge" else float("nan")) if value is None else value
            for key, value in values.items()
        }
        return cls(**filled)


Rules = dict[tuple[str, int], Rule]


def learn(forecasts: pd.DataFrame, settings: Settings) -> Rules:
    """Choose thresholds from past out-of-sample forecasts.

    forecasts: columns horizon, price (at the origin), y, y_hat (USD); one row a forecast.
    For each horizon and side the lowest threshold is taken at which the calls were right
    ``signal_lift`` times as often as any card is; none reaching it, no call is ever made.
    """
    rules: Rules = {}
    for horizon, group in forecasts.groupby("horizon"):
        edge = np.log(group["y_hat"].to_numpy() / group["price"].to_numpy())
        move = group["y"].to_numpy() / group["price"].to_numpy() - 1
        for side, sign in (("BUY", 1), ("SELL", -1)):
            good = sign * move >= settings.good_move
            rules[side, int(horizon)] = _rule(side, int(horizon), sign * edge, good, settings)
    return rules


def _rule(side: str, horizon: int, edge: np.ndarray, good: np.ndarray, settings: Settings) -> Rule:
    base = float(good.mean()) if len(good) else float("nan")
    if not base > 0:
        return Rule(side, horizon, base_rate=base)
    for threshold in np.unique(np.maximum(np.quantile(edge, QUANTILES), LEAST_MOVE)):
        called = edge >= threshold
        calls = int(called.sum())
        if calls < MIN_CALLS:
            break
        precision = float(good[called].mean())
        if precision >= min(settings.signal_lift * base, 0.95):
            recall = float(good[called].sum() / good.sum())
            return Rule(side, horizon, float(threshold), precision, base, recall, calls)
    return Rule(side, horizon, base_rate=base)


def as_given(rules: Rules, past: pd.DataFrame, settings: Settings) -> Rules:
    """Return the rules with the record of the calls that were really made before.

    past: walk-forward forecasts with ``signal`` as it was given at the time. The record that a
    threshold has on the very rows it was chosen on flatters it. Where fewer than ``MIN_CALLS``
    calls were made, or they hardly beat the base rate, no call is made from now on either.
    """
    out: Rules = {}
    for (side, horizon), rule in rules.items():
        rows = past[past["horizon"] == horizon]
        move = (rows["y"] / rows["price"] - 1) * (1 if side == "BUY" else -1)
        good = move >= settings.good_move
        called = rows["signal"] == side
        precision = float(good[called].mean()) if called.any() else float("nan")
        base = float(good.mean())
        enough = called.sum() >= MIN_CALLS and precision >= max(LEAST_LIFT * base, LEAST_RIGHT)
        out[side, horizon] = replace(
            rule,
            edge=rule.edge if enough else float("inf"),
            precision=precision,
            base_rate=base,
            recall=float(good[called].sum() / max(good.sum(), 1)),
            calls=int(called.sum()),
        )
    return out


def call(edge: np.ndarray, horizon: int, rules: Rules) -> np.ndarray:
    """Return BUY, HOLD or SELL for forecast log returns at one horizon."""
    signal = np.full(len(edge), "HOLD", dtype=object)
    for side, sign in (("BUY", 1), ("SELL", -1)):
        rule = rules.get((side, horizon))
        if rule is not None:
            signal[sign * edge >= rule.edge] = side
    return signal


def decide(
    forecast: pd.DataFrame,
    panel: Panel,
    rules: Rules,
    settings: Settings,
    model: str,
    data_version: int,
    min_history: int,
) -> pd.DataFrame:
    """Return predictions with signal, reason and flags, columns ``PREDICTION_COLUMNS``.

    forecast: one day's output of ``FairValueModel.predict`` on ``panel``.
    """
    out = forecast.copy()
    facts = _facts(panel, pd.Timestamp(out["date"].iloc[0])).reindex(out["card_id"])
    facts.index = out.index
    out["deviation"] = out["market_price"] / out["fair_value"] - 1
    out["thin"] = facts["thin"].to_numpy()
    out["stale"] = out["age"] > settings.stale_days
    young = (out["history_days"] < min_history).to_numpy()
    edge = np.log(out["fair_value"] / out["market_price"]).to_numpy()
    out["signal"] = "HOLD"
    for horizon in out["horizon"].unique():
        here = (out["horizon"] == horizon).to_numpy()
        out.loc[here, "signal"] = call(edge[here], int(horizon), rules)
    out.loc[young | out["stale"].to_numpy(), "signal"] = "HOLD"
    out["reason"] = _reasons(out, facts, young, rules)
    out["model"] = model
    out["data_version"] = data_version
    return out[PREDICTION_COLUMNS]


def _facts(panel: Panel, on: pd.Timestamp) -> pd.DataFrame:
    """Return what a reason can mention about each card: recent moves, sales, thinness."""
    row = panel.day(on)
    since = max(row - features.QUIET_DAYS + 1, 0)
    log_price = np.log(panel.price[since : row + 1])
    moves = np.abs(np.diff(log_price, axis=0))
    known = np.maximum((~np.isnan(moves)).sum(axis=0), 1)
    unchanged = np.nansum(moves == 0, axis=0) / known
    volume = panel.volume[since : row + 1]
    counted = (~np.isnan(volume)).any(axis=0)
    sales = np.nansum(volume, axis=0)
    unknown = np.full(len(panel.card_ids), np.nan)
    two_weeks = panel.price[row] / panel.price[row - 14] - 1 if row >= 14 else unknown
    return pd.DataFrame(
        {
            "two_weeks": two_weeks,
            "thin": (unchanged >= THIN_UNCHANGED) | (counted & (sales < THIN_SALES)),
        },
        index=panel.card_ids,
    )


def _reasons(
    rows: pd.DataFrame, facts: pd.DataFrame, young: np.ndarray, rules: Rules
) -> np.ndarray:
    """Return one sentence a collector understands for every row."""
    days = rows["horizon"].astype(str) + " days"
    days = days.where(rows["horizon"] != 1, "1 day")
    gain = (rows["fair_value"] / rows["market_price"] - 1) * 100
    past = facts["two_weeks"] * 100
    moved = np.select(
        [past.isna(), past >= 0.5, past <= -0.5],
        [
            "",
            "Up " + past.abs().round(0).astype("Int64").astype("string") + " % in two weeks; ",
            "Down " + past.abs().round(0).astype("Int64").astype("string") + " % in two weeks; ",
        ],
        default="Hardly moved in two weeks; ",
    )
    ahead = np.where(
        gain.abs() < 0.05,
        "no change expected in " + days,
        gain.map("{:+.1f} %".format) + " expected in " + days,
    )
    text = pd.Series(moved, index=rows.index) + pd.Series(ahead, index=rows.index)
    for (side, horizon), rule in rules.items():
        here = (rows["signal"] == side) & (rows["horizon"] == horizon)
        verb = "rose" if side == "BUY" else "fell"
        text[here] += (
            f"; {rule.precision * 100:.0f} % of {rule.calls:,} past calls like it {verb} enough"
            f" ({rule.base_rate * 100:.0f} % of all cards did)"
        )
    text += "."
    text = text.where(
        ~rows["stale"],
        "Last price is " + rows["age"].astype(int).astype(str) + " days old: wait for a fresh one.",
    )
    known = (rows["history_days"] + 1).astype(int)
    short = "Only " + known.astype(str) + known.map(lambda n: " day" if n == 1 else " days")
    short += " of history: "
    text = text.where(~young, short + "the price itself is the fair value.")
    return text.str.slice(0, 1).str.upper().add(text.str.slice(1)).to_numpy()
