"""What came of past forecasts and signals: month by month, trade by trade, as equity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pokewatch.evaluation import backtest, metrics
from pokewatch.models.panel import Panel
from pokewatch.schema import MODEL

MONTHS = 6
RECORD_DAYS = 30
MIN_FORECASTS = 50  # of a month, or of the last nights, to be judged
TRADE_COLUMNS = ["date", "signal", "price", "y", "move", "gain", "right"]


def by_month(past: pd.DataFrame, horizon: int, on: pd.Timestamp) -> pd.DataFrame:
    """Return a walk-forward's record of the last ``MONTHS`` months at one horizon.

    past: columns as ``Backtest.forecasts``, the model's own; forecasts that end after ``on`` are
    left out. Columns group (YYYY-MM), n, rmae, coverage.
    """
    ends = pd.to_datetime(past["date"]) + pd.Timedelta(days=horizon)
    past = past[(past["horizon"] == horizon) & (ends <= on)]
    if past.empty:
        return pd.DataFrame(columns=["group", "n", "rmae", "coverage"])
    months = backtest.breakdown(past, "month")
    return months[months["n"] >= MIN_FORECASTS].tail(MONTHS).reset_index(drop=True)


@dataclass(frozen=True)
class NightlyRecord:
    """How the forecasts of past nights, as they were given, turned out."""

    nights: int
    forecasts: int
    rmae: float
    coverage: float


def of_nights(predictions: pd.DataFrame, panel: Panel, horizon: int) -> NightlyRecord | None:
    """Return the record of stored predictions (columns ``PREDICTION_COLUMNS``) that have ended.

    A night counts only if its model had seen nothing after it (its name says up to which day);
    naive forecasts do not count, nor prices more than ``MAX_AGE`` days old at the end. None
    without ``MIN_FORECASTS``.
    """
    seen = predictions["model"].str.extract(r"^fair-value-(\d{4}-\d{2}-\d{2})-v", expand=False)
    rows = predictions[pd.to_datetime(seen, errors="coerce") <= predictions["date"]]
    ids = pd.Index(panel.card_ids)
    rows = rows[rows["card_id"].isin(ids) & rows["date"].isin(panel.dates)]
    ends = panel.dates.get_indexer(rows["date"] + pd.Timedelta(days=horizon))
    column = ids.get_indexer(rows["card_id"])
    fresh = (ends >= 0) & (panel.age[ends, column] <= backtest.MAX_AGE)
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
    """Return every BUY and SELL as it would have been given, with what came of it.

    forecasts: columns as ``Backtest.forecasts``; cards: columns card_id, name, set_name; fee: share
    of the price that selling costs. Columns card_id, name, set_name and ``TRADE_COLUMNS``: price, y
    (USD, at the end of the horizon), move, gain (fractions; BUY: after the fee, SELL: the fall that
    was avoided), right (moved by ``good_move`` that way). worst=n: the n largest losses, one a
    card.
    """
    mine = (forecasts["model"] == MODEL) & (forecasts["horizon"] == horizon)
    own = forecasts[mine & (forecasts["signal"] != "HOLD")]
    buy = own["signal"] == "BUY"
    move = own["y"] / own["price"] - 1
    table = own[["card_id", "date", "signal", "price", "y"]].assign(
        move=move,
        gain=((1 + move) * (1 - fee) - 1).where(buy, -move),
        right=move.where(buy, -move) >= good_move,
    )
    table = table.merge(cards[["card_id", "name", "set_name"]], on="card_id", how="left")
    if worst is None:
        table = table.sort_values(["date", "card_id"], kind="stable")
    else:
        table = table.sort_values("gain", kind="stable").drop_duplicates("card_id").head(worst)
    return table[["card_id", "name", "set_name", *TRADE_COLUMNS]].reset_index(drop=True)


def equity_curve(
    forecasts: pd.DataFrame, horizon: int, fee: float, min_price: float
) -> pd.DataFrame:
    """Return the equity of buying at every BUY beside holding the market, 100 at the start.

    At dates ``horizon`` days apart the money is spread evenly over the BUY of that day, sold at the
    end of the horizon and the fee paid; without a BUY it lies idle. Columns date (of the sale),
    calls, followed (after fees), before_fees, held (all scored cards in equal parts, no fee);
    cards of ``min_price`` USD and more.
    """
    own = forecasts[(forecasts["model"] == MODEL) & (forecasts["horizon"] == horizon)]
    own = own[own["price"] >= min_price]
    days: list[pd.Timestamp] = []
    step = pd.Timedelta(days=horizon)
    for day in sorted(own["date"].unique()):
        if not days or day - days[-1] >= step:
            days.append(pd.Timestamp(day))
    own = own[own["date"].isin(days)]
    move = own["y"] / own["price"] - 1
    bought = move[own["signal"] == "BUY"].groupby(own["date"])
    table = pd.DataFrame(index=pd.DatetimeIndex(days))
    calls = bought.size().reindex(table.index, fill_value=0)
    gain = bought.mean().reindex(table.index).fillna(0.0)
    kept = np.where(calls > 0, (1 + gain) * (1 - fee), 1.0)
    grown = pd.DataFrame(
        {
            "followed": kept,
            "before_fees": 1 + gain,
            "held": 1 + move.groupby(own["date"]).mean().reindex(table.index),
        }
    ).cumprod()
    start = pd.DataFrame(dict.fromkeys(grown, 1.0), index=pd.DatetimeIndex(days[:1]))
    equity = 100 * pd.concat([start, grown.set_index(grown.index + step)])
    equity.insert(0, "calls", [*[0] * len(start), *calls])
    return equity.rename_axis("date").reset_index()
