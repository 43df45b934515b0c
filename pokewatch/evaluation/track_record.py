"""How past forecasts and signals turned out: month by month, trade by trade, as equity."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pokewatch.evaluation import backtest, metrics
from pokewatch.models.panel import Panel, outcome_age
from pokewatch.schema import typed

MONTHS = 6
RECORD_DAYS = 30
MIN_FORECASTS = 50  # of a month, or of the last nights, to be judged
NO_MONTHS = typed([], backtest.BREAKDOWN)


def by_month(past: pd.DataFrame, horizon: int, on: pd.Timestamp) -> pd.DataFrame:
    """Return a walk-forward's record of the last ``MONTHS`` months at one horizon.

    past: columns as ``Backtest.forecasts``, the model's own; forecasts that end after ``on`` are
    left out. Columns group (YYYY-MM), n, rmae, coverage.
    """
    ends = pd.to_datetime(past["date"]) + pd.Timedelta(days=horizon)
    past = past[(past["horizon"] == horizon) & (ends <= on)]
    if past.empty:
        return NO_MONTHS
    months = backtest.breakdown(past, "month")
    return months[months["n"] >= MIN_FORECASTS].tail(MONTHS).reset_index(drop=True)


@dataclass(frozen=True)
class NightlyRecord:
    """How the forecasts of past nights, as they were given, turned out: counts and scores."""

    nights: int
    forecasts: int
    rmae: float
    coverage: float


def of_nights(predictions: pd.DataFrame, panel: Panel, horizon: int) -> NightlyRecord | None:
    """Return the record of stored predictions (columns ``PREDICTION_COLUMNS``) that have ended.

    A night counts only if its model had seen nothing after it (its name says up to which day);
    naive forecasts do not count, nor prices too old at the end (``outcome_age``). None
    without ``MIN_FORECASTS``.
    """
    seen = predictions["model"].str.extract(r"^fair-value-(\d{4}-\d{2}-\d{2})-v", expand=False)
    rows = predictions[pd.to_datetime(seen, errors="coerce") <= predictions["date"]]
    ids = pd.Index(panel.card_ids)
    rows = rows[rows["card_id"].isin(ids) & rows["date"].isin(panel.dates)]
    ends = panel.dates.get_indexer(rows["date"] + pd.Timedelta(days=horizon))
    column = ids.get_indexer(rows["card_id"])
    fresh = (ends >= 0) & (panel.age[ends, column] <= outcome_age(horizon))
    ended = rows.assign(y=panel.price[ends, column])[fresh & ~rows["stale"].to_numpy(dtype=bool)]
    if len(ended) < MIN_FORECASTS:
        return None
    ended = ended.rename(columns={"market_price": "price", "fair_value": "y_hat"})
    error, inside = metrics.rmae(ended), metrics.coverage(ended)
    return NightlyRecord(ended["date"].nunique(), len(ended), error, inside)


def trade_log(
    forecasts: pd.DataFrame,
    cards: pd.DataFrame,
    horizon: int,
    fee: float,
    good_move: float,
    worst: int | None = None,
) -> pd.DataFrame:
    """Return every BUY and SELL as it would have been given, with its outcome.

    Columns are those of ``pw.trade_log``. forecasts: columns as ``Backtest.forecasts``; cards:
    columns card_id, name, set_name; fee: share of the price that selling costs; good_move: change
    (a fraction) from which on a call is right; worst=n: the n largest losses, one a card.
    """
    given = _at_horizon(forecasts, horizon)
    given = given[given["signal"] != "HOLD"]
    buy = given["signal"] == "BUY"
    move = given["y"] / given["price"] - 1
    table = given[["card_id", "date", "signal", "price", "y"]].assign(
        move=move,
        gain=((1 + move) * (1 - fee) - 1).where(buy, -move),
        right=move.where(buy, -move) >= good_move,
    )
    table = table.merge(cards[["card_id", "name", "set_name"]], on="card_id", how="left")
    if worst is None:
        table = table.sort_values(["date", "card_id"], kind="stable")
    else:
        table = table.sort_values("gain", kind="stable").drop_duplicates("card_id").head(worst)
    order = ["card_id", "name", "set_name", "date", "signal", "price", "y", "move", "gain", "right"]
    return table[order].reset_index(drop=True)


def equity_curve(
    forecasts: pd.DataFrame, horizon: int, fee: float, min_price: float
) -> pd.DataFrame:
    """Return the equity of buying at every BUY beside holding the market, 100 at the start.

    Rules and columns are those of ``pw.equity_curve``. forecasts: columns as
    ``Backtest.forecasts``; fee: share of the price that selling costs; min_price: USD.
    """
    scored = _at_horizon(forecasts, horizon)
    scored = scored[scored["price"] >= min_price]
    days = pd.DatetimeIndex(non_overlapping(sorted(scored["date"].unique()), horizon))
    scored = scored[scored["date"].isin(days)]
    move = scored["y"] / scored["price"] - 1
    bought = move[scored["signal"] == "BUY"].groupby(scored["date"])
    calls = bought.size().reindex(days, fill_value=0)
    gain = bought.mean().reindex(days).fillna(0.0)
    grown = pd.DataFrame(
        {
            "followed": np.where(calls > 0, (1 + gain) * (1 - fee), 1.0),
            "before_fees": 1 + gain,
            "held": 1 + move.groupby(scored["date"]).mean().reindex(days),
        }
    ).cumprod()
    start = pd.DataFrame(dict.fromkeys(grown, 1.0), index=days[:1])
    equity = 100 * pd.concat([start, grown.set_index(days + pd.Timedelta(days=horizon))])
    equity.insert(0, "calls", [*[0] * len(start), *calls])
    return equity.rename_axis("date").reset_index()


def non_overlapping(dates: Iterable[pd.Timestamp], horizon: int) -> list[pd.Timestamp]:
    """Return the first of some dates, and each that lies ``horizon`` days from the one before.

    dates: ascending or descending.
    """
    kept: list[pd.Timestamp] = []
    for day in map(pd.Timestamp, dates):
        if not kept or abs(day - kept[-1]) >= pd.Timedelta(days=horizon):
            kept.append(day)
    return kept


def _at_horizon(forecasts: pd.DataFrame, horizon: int) -> pd.DataFrame:
    own = forecasts["model"] == backtest.MODEL
    return forecasts[own & (forecasts["horizon"] == horizon)]
