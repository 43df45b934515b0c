"""BUY, HOLD or SELL from a forecast, by rules learnt from past forecasts only."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from pokewatch import schema
from pokewatch.models.intervals import spread
from pokewatch.rounding import log, on_grid
from pokewatch.settings import Settings

MIN_CALLS = 50  # past calls without which a threshold, or a share shown, proves nothing
MIN_WINDOWS = 5  # that do not overlap: one fall of the whole market is one event
QUANTILES = np.linspace(0.80, 0.999, 60)  # of the scores, tried as thresholds
MIN_RECALL = 0.25  # share of the good moves that calls still find when they are made stricter
SURE_ENOUGH = 0.6  # a call as often right as this needs no multiple of a high base rate
MIN_LIFT = 1.5  # over the base rate, in the calls really made
MIN_PRECISION = 0.1  # share of the calls really made that must have been right
MIN_MOVE = 0.01  # lowest threshold where the score is the expected move
INDEPENDENT = 2000  # cases, rows / horizon, from which on a chance is learnt
KEEP = 0.7  # a call stays until its score falls below this share of the threshold
SHORT_HISTORY = 7  # days of history below which a card keeps its price as fair value
STRENGTHS = (1.0, 1.25, 1.6)  # score over threshold; calls are recorded by these classes
SIGNS = {"BUY": 1, "SELL": -1}
ODDS = {"BUY": "rise", "SELL": "fall"}  # columns of a forecast
CHANCES = dict(zip(schema.CHANCES, SIGNS, strict=True))
LONG_ODDS = 0.002  # chances below count as this
ONE = 0  # names the rules of a day that has one set of them


@dataclass(frozen=True)
class Rule:
    """When to call one side at one horizon, and how such calls did before.

    threshold: the lowest score of a call; infinite: never call. weights: of the logistic regression
    whose chance is the score, intercept last; empty where the score is the forecast log return
    itself (BUY positive, SELL negative). odds: whether it knows the odds of the distribution.
    precision: share of past calls that were right; base_rate: share of all cases that were; recall:
    share of the good moves that were called. record: (lowest strength, calls, right calls) by
    classes of strength, the score over the threshold.
    """

    side: str
    horizon: int
    threshold: float = math.inf
    weights: list[float] = field(default_factory=list)
    precision: float = math.nan
    base_rate: float = math.nan
    recall: float = math.nan
    calls: int = 0
    record: list[list[float]] = field(default_factory=list)
    odds: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the values of a model file, in which the threshold is called ``enter``."""
        values = asdict(self)
        return {"enter": values.pop("threshold"), **values}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Rule:
        """Rebuild a rule from a model file, where what is not finite is null."""
        known: dict[str, Any] = {
            key: math.nan if value is None else value for key, value in values.items()
        }
        threshold = known.pop("enter")
        return cls(threshold=math.inf if math.isnan(threshold) else threshold, **known)

    @property
    def sign(self) -> int:
        """1 for BUY, -1 for SELL."""
        return SIGNS[self.side]

    def score(
        self, expected_log_return: np.ndarray, volatility: np.ndarray, odds: np.ndarray
    ) -> np.ndarray:
        """Return what is compared with the threshold; a chance is 0 where nothing is expected.

        volatility: mean absolute daily log changes; odds: of a good move to this side as the
        forecast distribution has them, NaN where there is none.
        """
        ahead = self.sign * expected_log_return
        if not self.weights:
            return ahead
        return np.where(ahead > 0, self.chance(expected_log_return, volatility, odds), 0.0)

    def chance(
        self, expected_log_return: np.ndarray, volatility: np.ndarray, odds: np.ndarray
    ) -> np.ndarray:
        """Return the chance of a good move to this side, by the past; NaN where none was learnt.

        Arguments as of ``score``.
        """
        if not self.weights:
            return np.full(len(expected_log_return), np.nan)
        weights = np.array(self.weights)
        given = odds if self.odds else None
        ahead = self.sign * expected_log_return
        z = inputs(ahead, volatility, self.horizon, given) @ weights[:-1] + weights[-1]
        return on_grid(1 / (1 + np.exp(-z)))

    def past_calls(self, strength: float) -> tuple[int, int]:
        """Return calls and right calls among past calls like one of this strength."""
        fit = [row for row in self.record if row[0] <= strength] or self.record[:1]
        if fit and fit[-1][1] >= MIN_CALLS:
            return int(fit[-1][1]), int(fit[-1][2])
        return self.calls, round(self.precision * self.calls) if self.calls else 0


Rules = dict[tuple[str, int], Rule]


def inputs(
    ahead: np.ndarray, volatility: np.ndarray, horizon: int, odds: np.ndarray | None = None
) -> np.ndarray:
    """Return the expected move, the same in units of the card's usual move, and the usual move.

    With odds of the distribution their logit is the fourth column.
    """
    usual = spread(volatility, horizon)
    columns = [20 * ahead, np.clip(ahead / usual, -5, 5), log(usual)]
    if odds is not None:
        known = np.clip(np.nan_to_num(odds), LONG_ODDS, 1 - LONG_ODDS)
        columns.append(log(known) - log(1 - known))
    return np.column_stack(columns)


def moves(forecasts: pd.DataFrame) -> pd.Series:
    """Return what came of forecasts, a share of the price: 0.21 after 0.20 is a rise by 0.05."""
    return (forecasts["y"] / forecasts["price"] - 1).round(9)


def odds_of(forecast: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return each side's odds of a good move, NaN where forecasts have none."""
    nothing = np.full(len(forecast), np.nan)
    return {
        side: forecast[name].to_numpy(dtype=float) if name in forecast else nothing
        for side, name in ODDS.items()
    }


def learn(forecasts: pd.DataFrame, settings: Settings) -> Rules:
    """Choose scores and thresholds from past out-of-sample forecasts.

    forecasts: columns horizon, price (at the origin), y, y_hat (USD), volatility and, where the
    model has them, rise and fall (odds of a good move); one row a forecast. The score is the
    forecast move itself or, with enough cases, the chance of a good move given all of these. A
    threshold must have been right ``signal_lift`` times as often as any card is; among these the
    strictest is taken that still finds ``MIN_RECALL`` of the good moves, else the lowest. None
    reaching it, no call is ever made.
    """
    from sklearn.linear_model import LogisticRegression

    rules: Rules = {}
    for horizon, group in forecasts.groupby("horizon"):
        expected = log(group["y_hat"].to_numpy() / group["price"].to_numpy())
        move = moves(group).to_numpy()
        volatility, odds = group["volatility"].to_numpy(), odds_of(group)
        for side, sign in SIGNS.items():
            good = sign * move >= settings.good_move
            known = np.isfinite(odds[side])
            rule = Rule(side, int(horizon), base_rate=float(good.mean()), odds=bool(known.any()))
            fit = known if rule.odds else np.ones(len(good), dtype=bool)
            if fit.sum() >= INDEPENDENT * rule.horizon and MIN_CALLS <= good[fit].sum() < fit.sum():
                # Newton's steps end at the same weights whatever the last bits on the way.
                told = odds[side][fit] if rule.odds else None
                given = inputs(sign * expected[fit], volatility[fit], rule.horizon, told)
                logistic = LogisticRegression(solver="newton-cholesky", tol=1e-8)
                fitted = logistic.fit(given, good[fit])
                weights = on_grid(np.append(fitted.coef_[0], fitted.intercept_))
                rule = replace(rule, weights=weights.tolist())
            score = rule.score(expected, volatility, odds[side])
            rules[side, rule.horizon] = _with_threshold(rule, score, good, settings)
    return rules


def _with_threshold(rule: Rule, score: np.ndarray, good: np.ndarray, settings: Settings) -> Rule:
    if not rule.base_rate > 0:
        return rule
    wanted = min(settings.signal_lift * rule.base_rate, max(SURE_ENOUGH, rule.base_rate))
    lowest = max(rule.base_rate, 1e-3) if rule.weights else MIN_MOVE
    found = rule
    for threshold in np.unique(np.maximum(np.quantile(score, QUANTILES), lowest)):
        called = score >= threshold
        calls = int(called.sum())
        if calls < MIN_CALLS:
            break
        precision = float(good[called].mean())
        if precision < wanted:
            continue
        recall = float(good[called].sum() / good.sum())
        if found is rule or recall >= MIN_RECALL:
            found = replace(
                rule, threshold=float(threshold), precision=precision, recall=recall, calls=calls
            )
        if recall < MIN_RECALL:
            break
    return found


def as_given(rules: Rules, past: pd.DataFrame, settings: Settings) -> Rules:
    """Return the rules with the record of the calls that their thresholds made before.

    past: finished walk-forward forecasts with ``candidate`` and ``candidate_strength``, the calls
    of the thresholds in force at the time, whether or not they were given. The record that a
    threshold has on the very rows it was chosen on flatters it. Where there are fewer than
    ``MIN_CALLS`` candidates, or in fewer than ``MIN_WINDOWS`` stretches of the horizon's length, or
    they hardly beat the base rate, no call is given.
    """
    out: Rules = {}
    for (side, horizon), rule in rules.items():
        rows = past[past["horizon"] == horizon]
        good = rule.sign * moves(rows) >= settings.good_move
        called = rows["candidate"] == side
        windows = ((rows["date"] - rows["date"].min()).dt.days // horizon)[called].nunique()
        precision = float(good[called].mean()) if called.any() else math.nan
        base = float(good.mean()) if len(good) else math.nan
        enough = called.sum() >= MIN_CALLS and windows >= MIN_WINDOWS
        enough = enough and precision >= max(MIN_LIFT * base, MIN_PRECISION)
        strength = pd.cut(rows["candidate_strength"][called], [0, *STRENGTHS, np.inf], right=False)
        classes = good[called].groupby(strength, observed=False).agg(["size", "sum"])
        out[side, horizon] = replace(
            rule,
            threshold=rule.threshold if enough else math.inf,
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


def quiet(forecast: pd.DataFrame, settings: Settings) -> np.ndarray:
    """Return which forecasts get no call: the price is stale, or the card is too young.

    forecast: columns age, history_days.
    """
    young = forecast["history_days"] < SHORT_HISTORY
    return (young | (forecast["age"] > settings.stale_days)).to_numpy(dtype=bool)


def of_day(forecast: pd.DataFrame) -> pd.DataFrame:
    """Return a day's predictions as ``call_days`` takes them, with one set of rules, ``ONE``."""
    named = forecast.rename(columns={"market_price": "price", "fair_value": "y_hat"})
    return named.assign(rules=ONE)


def wavering(forecast: pd.DataFrame, rules: Rules) -> pd.Series:
    """Return which predictions of a day are called only if they were called the day before."""
    ratio, _ = _scored(of_day(forecast), {ONE: rules}, "rules")
    found = [(one >= KEEP) & (one < 1) for one in ratio.values()]
    return pd.Series(np.logical_or.reduce(found), index=forecast.index)


def call_days(
    forecast: pd.DataFrame,
    rules_of: dict[Any, Rules],
    by: str,
    settings: Settings,
    before: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return signals and chances for forecasts of several days, each day knowing the one before.

    A call that was made stays while its score is at least ``KEEP`` of the threshold, so that
    signals do not flip daily. forecast: columns card_id, date, horizon, price, y_hat, volatility,
    age, history_days, fall and rise where the model has them, and ``by``, which names the rules in
    force. before: what was given before the first day, columns card_id, horizon, signal (none:
    HOLD). Returns columns signal, strength (score over threshold), p_rise and p_fall (NaN where the
    past was too short to tell how right the odds are) with the index of ``forecast``.
    """
    ratio, likely = _scored(forecast, rules_of, by)
    card, names = pd.factorize(forecast["card_id"])
    signal = np.full(len(forecast), "HOLD", dtype=object)
    strength = np.full(len(forecast), np.nan)
    heard, date = ~quiet(forecast, settings), forecast["date"].to_numpy()
    for horizon, rows in forecast.groupby(forecast["horizon"].to_numpy()).indices.items():
        given = pd.Series("HOLD", names, dtype=object)
        if before is not None:
            last = before[before["horizon"] == horizon].set_index("card_id")["signal"]
            given.update(last[last.index.isin(names)])
        held = given.to_numpy(copy=True)
        for _, today in pd.Series(rows).groupby(date[rows]):
            here = today.to_numpy()
            for side, one in ratio.items():
                stays = (held[card[here]] == side) & (one[here] >= KEEP)
                on = here[heard[here] & ((one[here] >= 1) | stays)]
                signal[on], strength[on] = side, one[on]
            held[card[here]] = signal[here]
    return pd.DataFrame({"signal": signal, "strength": strength, **likely}, index=forecast.index)


def _scored(
    forecast: pd.DataFrame, rules_of: dict[Any, Rules], by: str
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return each side's score over its threshold, 0 where it never calls, and the chances."""
    expected = log(forecast["y_hat"].to_numpy() / forecast["price"].to_numpy())
    volatility, odds = forecast["volatility"].to_numpy(), odds_of(forecast)
    ratio = {side: np.zeros(len(forecast)) for side in SIGNS}
    likely = {name: np.full(len(forecast), np.nan) for name in CHANCES}
    groups = forecast.groupby([forecast[by].to_numpy(), forecast["horizon"].to_numpy()])
    for (key, horizon), here in groups.indices.items():
        for name, side in CHANCES.items():
            if (rule := rules_of[key].get((side, int(horizon)))) is None:
                continue
            given = expected[here], volatility[here], odds[side][here]
            ratio[side][here] = rule.score(*given) / rule.threshold
            if rule.odds:
                likely[name][here] = np.where(np.isnan(given[2]), np.nan, rule.chance(*given))
    return ratio, likely
