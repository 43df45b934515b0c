"""Scores of forecasts: free functions over one long frame, a number a call.

The frame has a row a forecast: card_id, date (origin), horizon (days), price (market price at the
origin), y (price at the end of the horizon), y_hat, lower, upper (USD; bounds may be NaN), model.
Every function takes the rows of one model and one horizon.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy.special import ndtri, stdtrit

from pokewatch.models.signals import MIN_WINDOWS, SIGNS, moves
from pokewatch.rounding import log

COUNTS = ("n", "dates")
SCORES = ["mape", "mdape", "rmae", "rmae_low", "rmae_high"]
SCORES += ["rank_ic", "hit_rate", "coverage", "width", "winkler", "rmae_moved"]
SCORES += ["crps", "pit_error"]
# Of a forecast's nine quantiles: its CRPS, how many lie below the later price, and how many up to.
DISTRIBUTION = ("crps", "below", "up_to")
NINE = np.linspace(0.1, 0.9, 9)
OF_A_SIDE = ("calls", "share", "base_rate", "precision", "recall", "lift")
SIGNAL_SCORES = [f"{side}_{name}" for side in ("buy", "sell") for name in OF_A_SIDE]
SIGNAL_SCORES += ["return_after_fees", "flip_rate"]
SAID = (0.02, 0.05, 0.1, 0.2, 0.4)  # chances at which another class begins
CHANCE = {"BUY": "rise", "SELL": "fall"}
# What waiting would have cost, and the bounds of its interval; a line of columns a side.
TIMING = ("timing_gain", "timing_gain_low", "timing_gain_high")
SIGNAL_SCORES += [f"{side}_{name}" for side in ("buy", "sell") for name in TIMING]
SIGNAL_SCORES += ["rise_brier_skill", "fall_brier_skill"]
MIN_DATES = 5  # with a forecast, for an interval
WINDOW_SPREAD = 0.17  # of the share that came true, between windows; the most of three long records
REACH = 2.5  # standard errors; 1 of 30 skill-less models ever passes, from 1 window to 20
MIXTURE = 2.6  # windows; makes an interval for every night narrowest at about 25 of them


def log_error(rows: pd.DataFrame) -> pd.Series:
    """Return absolute errors of log prices."""
    return np.log(rows["y"] / rows["y_hat"]).abs()


def naive_error(rows: pd.DataFrame) -> pd.Series:
    """Return the absolute errors of log prices that "no change" would have made."""
    return np.log(rows["y"] / rows["price"]).abs()


def mape(rows: pd.DataFrame) -> float:
    """Return the mean absolute percentage error, a fraction of the later price."""
    return float(((rows["y"] - rows["y_hat"]).abs() / rows["y"]).mean())


def mdape(rows: pd.DataFrame) -> float:
    """Return the median absolute percentage error, a fraction of the later price."""
    return float(((rows["y"] - rows["y_hat"]).abs() / rows["y"]).median())


def rmae(rows: pd.DataFrame) -> float:
    """Return MAE relative to naive on log prices (below 1 is better than "no change")."""
    naive = naive_error(rows).mean()
    return float(log_error(rows).mean() / naive) if naive > 0 else float("nan")


def rmae_interval(
    rows: pd.DataFrame, level: float = 0.95, any_night: bool = False
) -> tuple[float, float]:
    """Return an interval of ``rmae`` over the dates of ``rows``; (nan, nan) under ``MIN_WINDOWS``.

    Cards move together and horizons overlap, so the standard error is that of the mean of a
    dependent series of dates: the mean square of its first cosine weights, compared with
    Student's t (Lazarus, Lewis, Stock and Watson 2018). any_night: as wide as it must be to hold on
    every night that one looks at a growing record, not only on one (the normal mixture of Howard,
    Ramdas, McAuliffe and Sekhon 2021).
    """
    nothing = float("nan"), float("nan")
    days = np.sort(rows["date"].unique())
    count, windows = len(days), len(non_overlapping(days, _horizon(rows)))
    errors = pd.DataFrame({"model": log_error(rows), "naive": naive_error(rows)})
    sums = errors.groupby(rows["date"]).sum().to_numpy()
    if windows < MIN_WINDOWS or count < MIN_DATES or not sums[:, 1].sum() > 0:
        return nothing
    return ratio_interval(sums[:, 0], sums[:, 1], windows, level, any_night)


def ratio_interval(
    top: np.ndarray, bottom: np.ndarray, windows: int, level: float, any_night: bool = False
) -> tuple[float, float]:
    """Return an interval of a ratio of two sums over dates, as ``rmae_interval`` says.

    top, bottom: a value a date, in their order; windows: of the dates that do not overlap.
    """
    count, ratio = len(top), top.sum() / bottom.sum()
    moves = (top - ratio * bottom) / bottom.mean()  # of each date on the ratio
    weights = max(min(int(0.41 * count ** (2 / 3)), int(0.4 * windows)), 1)
    turn = np.outer(np.arange(1, weights + 1), np.arange(count) + 0.5) / count
    cosines = np.sqrt(2 / count) * np.cos(np.pi * turn)
    error = np.sqrt(np.mean((cosines @ moves) ** 2) / count)
    tail = (1 - level) / 2
    reach = error * stdtrit(weights, 1 - tail)
    if any_night:
        odds = np.log1p(np.sqrt(windows / MIXTURE + 1) / (2 * tail))
        reach *= np.sqrt(2 * (1 + MIXTURE / windows) * odds) / ndtri(1 - tail)
    return float(ratio - reach), float(ratio + reach)


def share_come_true(rows: pd.DataFrame, group: pd.Series, windows: int) -> tuple[float, float]:
    """Return which share of the forecast changes came true net, and its lower bound.

    What a forecast gains over "no change" is at most the change it forecasts: the sum of gains over
    the sum of absolute forecast changes is 1 for a perfect forecast, and at most 0 for one that
    knows nothing. A few windows cannot tell how much windows differ: they are taken to differ by
    ``WINDOW_SPREAD``, as in long records, each half alike with the next, since a window's forecasts
    end in the next. To what differs between groups (sets) of cards that is added. The bound lies
    ``REACH`` standard errors below.
    """
    gain = (naive_error(rows) - log_error(rows)).to_numpy()
    stake = _stake(rows).to_numpy()
    if not stake.sum() > 0:
        return 0.0, float("-inf")
    share = gain.sum() / stake.sum()
    of_group = pd.Series(gain - share * stake).groupby(group.to_numpy()).sum().to_numpy()
    count = len(of_group)
    error = np.sqrt(
        count / max(count - 1, 1) * np.square(of_group / stake.sum()).sum()
        + WINDOW_SPREAD**2 * (2 * windows - 1) / windows**2
    )
    return float(share), float(share - REACH * error)


def effective_groups(rows: pd.DataFrame, group: pd.Series) -> float:
    """Return as how many groups of equal weight some groups count, by the changes forecast in them.

    One that holds nearly all of them cannot differ from the others (Kish 1965).
    """
    stake = _stake(rows).groupby(group.to_numpy()).sum()
    return float(stake.sum() ** 2 / np.square(stake).sum()) if stake.any() else 0.0


def beyond_market(rows: pd.DataFrame) -> pd.DataFrame:
    """Return forecasts and prices less what all cards were said to move, or moved, that day."""

    def less(name: str) -> pd.Series:
        change = np.log(rows[name] / rows["price"])
        return rows["price"] * np.exp(change - change.groupby(rows["date"]).transform("mean"))

    return rows.assign(y=less("y"), y_hat=less("y_hat"))


def _stake(rows: pd.DataFrame) -> pd.Series:
    return np.log(rows["y_hat"] / rows["price"]).abs()


def non_overlapping(dates: Iterable[pd.Timestamp], horizon: int) -> list[pd.Timestamp]:
    """Return the first of some dates, and each that lies ``horizon`` days from the one before.

    dates: ascending or descending.
    """
    kept: list[pd.Timestamp] = []
    for day in map(pd.Timestamp, dates):
        if not kept or abs(day - kept[-1]) >= pd.Timedelta(days=horizon):
            kept.append(day)
    return kept


def _horizon(rows: pd.DataFrame) -> int:
    return int(rows["horizon"].iloc[0]) if len(rows) else 1


def rank_ic(rows: pd.DataFrame) -> float:
    """Return the mean rank correlation of forecast and real change over non-overlapping dates."""
    chosen = non_overlapping(np.sort(rows["date"].unique()), _horizon(rows))
    part = rows[rows["date"].isin(chosen)]
    forecast, real = (log(part[name] / part["price"]) for name in ("y_hat", "y"))
    table = pd.DataFrame({"forecast": forecast, "real": real})
    each = [
        group["forecast"]
        .rank()
        .corr(group["real"].rank())  # Spearman's; pandas' own imports SciPy's
        for _, group in table.groupby(part["date"])
        if group["forecast"].nunique() > 1 and group["real"].nunique() > 1
    ]
    return float(np.mean(each)) if each else float("nan")


def hit_rate(rows: pd.DataFrame, move: float = 0.02) -> float:
    """Return how often the direction was right where the price moved by more than ``move``."""
    real = rows["y"] / rows["price"] - 1
    forecast = log(rows["y_hat"] / rows["price"])
    moved = (real.abs() > move) & (forecast != 0)
    return float((np.sign(real[moved]) == np.sign(forecast[moved])).mean())


def coverage(rows: pd.DataFrame) -> float:
    """Return the share of prices inside their interval (promised: 0.8)."""
    known = rows.dropna(subset=["lower", "upper"])
    # A cent of tolerance: prices are whole cents, bounds are not.
    inside = (known["y"] >= known["lower"] - 0.005) & (known["y"] <= known["upper"] + 0.005)
    return float(inside.mean())


def width(rows: pd.DataFrame) -> float:
    """Return the mean interval width as a fraction of the price at the origin."""
    return float(((rows["upper"] - rows["lower"]) / rows["price"]).mean())


def winkler(rows: pd.DataFrame, level: float = 0.8) -> float:
    """Return the mean interval score (Gneiting and Raftery 2007) as a fraction of the price."""
    known = rows.dropna(subset=["lower", "upper"])
    below = (known["lower"] - known["y"]).clip(lower=0)
    above = (known["y"] - known["upper"]).clip(lower=0)
    score = known["upper"] - known["lower"] + 2 / (1 - level) * (below + above)
    return float((score / known["price"]).mean())


def distribution(rows: pd.DataFrame, quantiles: np.ndarray) -> pd.DataFrame:
    """Return the columns ``DISTRIBUTION`` of forecasts, from their quantiles at ``NINE`` (USD).

    quantiles: shape (forecasts, 9), ascending. The continuous ranked probability score, a fraction
    of the price, is twice the mean pinball loss over all quantiles (Gneiting and Ranjan 2011).
    """
    later, price = rows["y"].to_numpy()[:, None], rows["price"].to_numpy()
    missed = later - quantiles
    pinball = np.maximum(NINE * missed, (NINE - 1) * missed).mean(axis=1)
    known = ~np.isnan(later[:, 0])
    # Half a cent of tolerance: prices are whole cents, quantiles are not.
    found = (2 * pinball / price, (missed > 0.005).sum(axis=1), (missed >= -0.005).sum(axis=1))
    values = [np.where(known, column, np.nan) for column in found]
    return pd.DataFrame(dict(zip(DISTRIBUTION, values, strict=True)), index=rows.index)


def tenths(rows: pd.DataFrame) -> np.ndarray:
    """Return the share of later prices in each tenth of their forecast's distribution, shape (10,).

    All 0.1 is right. A price that several quantiles equal, as where none has moved, is spread over
    their tenths, half of one at each end (the randomised PIT; Czado, Gneiting and Held 2009). NaN
    without scores.
    """
    if DISTRIBUTION[1] not in rows or not len(known := rows.dropna(subset=[*DISTRIBUTION])):
        return np.full(10, np.nan)
    first, last = (known[name].to_numpy()[:, None] for name in DISTRIBUTION[1:])
    tenth = np.arange(10)
    ends = (last > first) * ((tenth == first) | (tenth == last)) / 2
    inside = ((first <= tenth) & (tenth <= last)) - ends
    return (inside / np.maximum(last - first, 1)).mean(axis=0)


def score(rows: pd.DataFrame) -> dict[str, float]:
    """Return every score of one model at one horizon."""
    low, high = rmae_interval(rows)
    return {
        "n": len(rows),
        "dates": int(rows["date"].nunique()),
        "mape": mape(rows),
        "mdape": mdape(rows),
        "rmae": rmae(rows),
        "rmae_low": low,
        "rmae_high": high,
        "rank_ic": rank_ic(rows),
        "hit_rate": hit_rate(rows),
        "coverage": coverage(rows),
        "width": width(rows),
        "winkler": winkler(rows),
        "rmae_moved": rmae(rows[rows["y"] != rows["price"]]),
        "crps": float(rows["crps"].mean()) if "crps" in rows else float("nan"),
        "pit_error": float(np.abs(tenths(rows) - 0.1).sum() / 2),
    }


def signal_scores(rows: pd.DataFrame, good_move: float, fee: float) -> dict[str, float]:
    """Return how BUY and SELL calls did; rows carry ``signal`` as it was given at the time.

    precision: share of calls right (``good_move`` that way at the end of the horizon),
    recall, base_rate, lift = precision / base_rate; timing_gain and brier_skill: see there;
    return_after_fees: mean gain of buying at a BUY and selling at the end of the horizon, fees
    paid.
    """
    move = moves(rows)
    out: dict[str, float] = {}
    for side, sign in SIGNS.items():
        good = sign * move >= good_move
        called = rows["signal"] == side
        calls = int(called.sum())
        base = float(good.mean())
        precision = float(good[called].mean()) if calls else float("nan")
        name = side.lower()
        out[f"{name}_calls"] = calls
        out[f"{name}_share"] = calls / len(rows)
        out[f"{name}_base_rate"] = base
        out[f"{name}_precision"] = precision
        out[f"{name}_recall"] = float(good[called].sum() / good.sum()) if good.any() else np.nan
        out[f"{name}_lift"] = precision / base if base else float("nan")
        gains = zip(TIMING, timing_gain(rows, side), strict=True)
        out |= {f"{name}_{which}": value for which, value in gains}
        out[f"{CHANCE[side]}_brier_skill"] = brier_skill(rows, f"p_{CHANCE[side]}", good)
    bought = rows["signal"] == "BUY"
    gains = (1 + move[bought]) * (1 - fee) - 1
    out["return_after_fees"] = float(gains.mean()) if len(gains) else float("nan")
    out["flip_rate"] = flip_rate(rows)
    return out


def brier_skill(rows: pd.DataFrame, chance: str, came: pd.Series) -> float:
    """Return by how much less chances err than the base rate said of every card would.

    1 less the ratio of the mean squared errors (Brier 1950) over the forecasts that have a chance;
    came: whether it came true.
    """
    if chance not in rows:
        return float("nan")
    known = rows[chance].notna()
    right = came[known].astype(float)
    usual = float(((right - right.mean()) ** 2).mean())
    return float(1 - ((rows[chance][known] - right) ** 2).mean() / usual) if usual else float("nan")


def reliability(rows: pd.DataFrame, side: str, good_move: float) -> pd.DataFrame:
    """Return, class by class of the chance said, how often a good move came.

    side: BUY or SELL. Columns said (the mean chance), came (the share of such moves), n.
    """
    known = rows.dropna(subset=[f"p_{CHANCE[side]}"])
    move = moves(known) * SIGNS[side]
    told = known[f"p_{CHANCE[side]}"]
    group = pd.cut(told, [0, *SAID, np.inf], right=False)  # a certain one is in the last class
    came = (move >= good_move).astype(float)
    table = pd.DataFrame({"said": told, "came": came}).groupby(group, observed=True)
    return table.mean().assign(n=table.size()).reset_index(drop=True)


def timing_gain(rows: pd.DataFrame, side: str, level: float = 0.95) -> tuple[float, float, float]:
    """Return what acting on a call at once saved against the end of the horizon, and an interval.

    The mean gross move after BUY less that of all cards of the same dates, a fraction of the price;
    after SELL its negative. The interval is as ``rmae_interval``'s; NaN with calls in fewer than
    ``MIN_WINDOWS``.
    """
    nothing = float("nan")
    called = (rows["signal"] == side).to_numpy()
    if not called.any():
        return nothing, nothing, nothing
    move = (rows["y"] / rows["price"] - 1).to_numpy() * SIGNS[side]
    date, days = pd.factorize(rows["date"], sort=True)
    usual = np.bincount(date, move) / np.bincount(date)
    calls = np.bincount(date, called)
    gains = np.bincount(date, np.where(called, move - usual[date], 0.0))
    gain = float(gains.sum() / calls.sum())
    windows = len(non_overlapping(days[calls > 0], _horizon(rows)))
    if windows < MIN_WINDOWS:
        return gain, nothing, nothing
    return gain, *ratio_interval(gains, calls, windows, level)


def flip_rate(rows: pd.DataFrame) -> float:
    """Return the share of calls that differ from the card's call at the scored date before."""
    ordered = rows.sort_values(["card_id", "date"])
    same_card = ordered["card_id"] == ordered["card_id"].shift()
    changed = ordered["signal"] != ordered["signal"].shift()
    return float(changed[same_card].mean()) if same_card.any() else float("nan")
