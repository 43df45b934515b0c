"""BUY, HOLD or SELL from a forecast, with rules learnt from past forecasts only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from pokewatch.models.intervals import spread
from pokewatch.settings import Settings

MIN_CALLS = 50  # past calls without which a threshold, or a share shown, proves nothing
QUANTILES = np.linspace(0.80, 0.999, 60)
RECALL = 0.25  # share of the good moves that calls should still find when they are made stricter
SURE_ENOUGH = 0.6  # a call as often right as this needs no multiple of a high base rate
LEAST_LIFT = 1.5  # over the base rate, in the calls really made
LEAST_RIGHT = 0.1  # share of calls really made that must have been right
LEAST_MOVE = 0.01  # least threshold where the score is the expected move
INDEPENDENT = 2000  # cases, rows / horizon, from which on a chance is learnt
KEEP = 0.7  # a call stays until its score falls below this share of the threshold
STRENGTHS = (1.0, 1.25, 1.6)  # score over threshold; calls are recorded by these classes
SIDES = (("BUY", 1), ("SELL", -1))


@dataclass(frozen=True)
class Rule:
    """When to call one side at one horizon, and how such calls did before.

    enter: least score; infinite: never call. weights: of the logistic regression whose chance is
    the score, intercept last; empty where the score is the forecast log return itself (BUY
    positive, SELL negative). precision: share of past calls that were right, base_rate: share of
    all cases that were. record: (least strength, calls, right calls) by classes of strength, the
    score over the threshold.
    """

    side: str
    horizon: int
    enter: float = float("inf")
    weights: list[float] = field(default_factory=list)
    precision: float = float("nan")
    base_rate: float = float("nan")
    recall: float = float("nan")
    calls: int = 0
    record: list[list[float]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values; an infinite threshold becomes null."""
        values = asdict(self)
        return {
            key: None if isinstance(value, float) and not np.isfinite(value) else value
            for key, value in values.items()
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Rule:
        """Rebuild a rule written by ``as_dict``."""
        filled: dict[str, Any] = {
            key: (float("inf") if key == "enter" else float("nan")) if value is None else value
            for key, value in values.items()
        }
        return cls(**filled)

    @property
    def sign(self) -> int:
        """1 for BUY, -1 for SELL."""
        return 1 if self.side == "BUY" else -1

    def score(self, edge: np.ndarray, volatility: np.ndarray) -> np.ndarray:
        """Return what is compared with ``enter``; a chance is 0 where nothing is expected.

        edge: forecast log returns; volatility: mean absolute daily log changes.
        """
        ahead = self.sign * edge
        if not self.weights:
            return ahead
        weights = np.array(self.weights)
        z = inputs(ahead, volatility, self.horizon) @ weights[:-1] + weights[-1]
        return np.where(ahead > 0, 1 / (1 + np.exp(-z)), 0.0)

    def track(self, strength: float) -> tuple[int, int]:
        """Return calls and right calls among past calls like one of this strength."""
        fit = [row for row in self.record if row[0] <= strength] or self.record[:1]
        if fit and fit[-1][1] >= MIN_CALLS:
            return int(fit[-1][1]), int(fit[-1][2])
        return self.calls, round(self.precision * self.calls) if self.calls else 0


Rules = dict[tuple[str, int], Rule]


def inputs(ahead: np.ndarray, volatility: np.ndarray, horizon: int) -> np.ndarray:
    """Return the expected move, the same in units of the card's usual move, and the usual move."""
    usual = spread(volatility, horizon)
    return np.column_stack([20 * ahead, np.clip(ahead / usual, -5, 5), np.log(usual)])


def learn(forecasts: pd.DataFrame, settings: Settings) -> Rules:
    """Choose scores and thresholds from past out-of-sample forecasts.

    forecasts: columns horizon, price (at the origin), y, y_hat (USD), volatility; one row a
    forecast. The score is the forecast move itself or, with enough cases, the chance of a good
    move given forecast and volatility. A threshold must have been right ``signal_lift`` times as
    often as any card is; among these the strictest is taken that still finds ``RECALL`` of the
    good moves, else the lowest. None reaching it, no call is ever made.
    """
    rules: Rules = {}
    for horizon, group in forecasts.groupby("horizon"):
        edge = np.log(group["y_hat"].to_numpy() / group["price"].to_numpy())
        move = group["y"].to_numpy() / group["price"].to_numpy() - 1
        volatility = group["volatility"].to_numpy()
        for side, sign in SIDES:
            good = sign * move >= settings.good_move
            rule = Rule(side, int(horizon), base_rate=float(good.mean()))
            if len(good) >= INDEPENDENT * rule.horizon and MIN_CALLS <= good.sum() < len(good):
                fitted = LogisticRegression(max_iter=300).fit(
                    inputs(sign * edge, volatility, rule.horizon), good
                )
                weights = [*fitted.coef_[0].tolist(), float(fitted.intercept_[0])]
                rule = replace(rule, weights=weights)
            rules[side, rule.horizon] = _threshold(
                rule, rule.score(edge, volatility), good, settings
            )
    return rules


def _threshold(rule: Rule, score: np.ndarray, good: np.ndarray, settings: Settings) -> Rule:
    if not rule.base_rate > 0:
        return rule
    wanted = min(settings.signal_lift * rule.base_rate, max(SURE_ENOUGH, rule.base_rate))
    least = max(rule.base_rate, 1e-3) if rule.weights else LEAST_MOVE
    found: list[Rule] = []
    for threshold in np.unique(np.maximum(np.quantile(score, QUANTILES), least)):
        called = score >= threshold
        calls = int(called.sum())
        if calls < MIN_CALLS:
            break
        precision = float(good[called].mean())
        if precision >= wanted:
            recall = float(good[called].sum() / good.sum())
            if found and recall < RECALL:
                break
            hit = replace(rule, enter=float(threshold), precision=precision, recall=recall)
            found.append(replace(hit, calls=calls))
            if recall < RECALL:
                break
    return found[-1] if found else rule


def as_given(rules: Rules, past: pd.DataFrame, settings: Settings) -> Rules:
    """Return the rules with the record of the calls that were really made before.

    past: walk-forward forecasts with ``signal`` and ``strength`` as they were given at the time.
    The record that a threshold has on the very rows it was chosen on flatters it. Where fewer
    than ``MIN_CALLS`` calls were made, or they hardly beat the base rate, no call is made from now
    on either.
    """
    out: Rules = {}
    for (side, horizon), rule in rules.items():
        rows = past[past["horizon"] == horizon]
        good = rule.sign * (rows["y"] / rows["price"] - 1) >= settings.good_move
        called = rows["signal"] == side
        precision = float(good[called].mean()) if called.any() else float("nan")
        base = float(good.mean())
        enough = called.sum() >= MIN_CALLS and precision >= max(LEAST_LIFT * base, LEAST_RIGHT)
        strength = pd.cut(rows["strength"][called], [0, *STRENGTHS, np.inf], right=False)
        classes = good[called].groupby(strength, observed=False).agg(["size", "sum"])
        out[side, horizon] = replace(
            rule,
            enter=rule.enter if enough else float("inf"),
            precision=precision,
            base_rate=base,
            recall=float(good[called].sum() / max(good.sum(), 1)),
            calls=int(called.sum()),
            record=[
                [float(kind.left), int(row["size"]), int(row["sum"])]
                for kind, row in classes.iterrows()
            ],
        )
    return out


def call(
    edge: np.ndarray, volatility: np.ndarray, horizon: int, rules: Rules, held: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the signals of one day at one horizon, and their strength (score over threshold).

    held: the signals of the day before ("" or HOLD: none). A call that was made stays while its
    score is at least ``KEEP`` of the threshold, so that signals do not flip daily.
    """
    signal = np.full(len(edge), "HOLD", dtype=object)
    strength = np.full(len(edge), np.nan)
    for side, _ in SIDES:
        rule = rules.get((side, horizon))
        if rule is None or not np.isfinite(rule.enter):
            continue
        ratio = rule.score(edge, volatility) / rule.enter
        here = (ratio >= 1) | ((held == side) & (ratio >= KEEP))
        signal[here], strength[here] = side, ratio[here]
    return signal, strength


def wavering(forecast: pd.DataFrame, rules: Rules) -> pd.Series:
    """Return which forecasts of one day are called only if they were called the day before."""
    edge = np.log(forecast["fair_value"] / forecast["market_price"]).to_numpy()
    volatility, horizon = forecast["volatility"].to_numpy(), forecast["horizon"].to_numpy()
    out = np.zeros(len(forecast), dtype=bool)
    for rule in rules.values():
        if np.isfinite(rule.enter):
            here = np.flatnonzero(horizon == rule.horizon)
            ratio = rule.score(edge[here], volatility[here]) / rule.enter
            out[here] |= (ratio >= KEEP) & (ratio < 1)
    return pd.Series(out, index=forecast.index)


def call_days(forecast: pd.DataFrame, rules_of: dict[Any, Rules], by: str) -> pd.DataFrame:
    """Return signal and strength for forecasts of several days, each day knowing the one before.

    forecast: columns card_id, date, horizon, price, y_hat, volatility and ``by``, which names the
    rules in force. Returns columns signal, strength with the index of ``forecast``.
    """
    edge = np.log(forecast["y_hat"].to_numpy() / forecast["price"].to_numpy())
    volatility = forecast["volatility"].to_numpy()
    card, names = pd.factorize(forecast["card_id"])
    signal = np.full(len(forecast), "HOLD", dtype=object)
    strength = np.full(len(forecast), np.nan)
    place = np.arange(len(forecast))
    for horizon, group in pd.Series(place).groupby(forecast["horizon"].to_numpy()):
        held = np.full(len(names), "HOLD", dtype=object)
        rows = group.to_numpy()
        for _, today in pd.Series(rows).groupby(forecast["date"].to_numpy()[rows]):
            here = today.to_numpy()
            rules = rules_of[forecast[by].iloc[here[0]]]
            signal[here], strength[here] = call(
                edge[here], volatility[here], int(horizon), rules, held[card[here]]
            )
            held[card[here]] = signal[here]
    return pd.DataFrame({"signal": signal, "strength": strength}, index=forecast.index)
