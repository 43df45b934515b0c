"""Patterns of a market's returns: momentum or mean reversion, months and weekdays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pokewatch.analysis.market import MIN_PRICE, Market, marked
from pokewatch.errors import UsageError
from pokewatch.evaluation import metrics
from pokewatch.models.panel import Panel

MAX_DATES = 60  # dates a rank correlation is averaged over
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SEASONS = ("month", "weekday")


def momentum(market: Market, days: Sequence[int] = (1, 7, 14, 30)) -> pd.DataFrame:
    """Return rank correlations of past and next changes: look-back x days ahead.

    Means over non-overlapping dates, cards of $1 and more. Above 0 is momentum, below 0 mean
    reversion; NaN where the history is too short.

    >>> import pokewatch as pw
    >>> pw.momentum(days=[1, 7]).shape
    (2, 2)
    """
    table = pd.DataFrame(
        index=pd.Index(days, name="look_back"), columns=pd.Index(days, name="ahead")
    )
    for ahead in days:
        for back in days:
            table.loc[back, ahead] = _rank_correlation(market.panel, market.first, back, ahead)
    return marked(table.astype(float), market.simulated)


def _rank_correlation(panel: Panel, first: int, back: int, ahead: int) -> float:
    total = len(panel.dates)
    days = np.arange(first + back, total - ahead, ahead)
    if not len(days):
        return float("nan")
    days = days[:: int(np.ceil(len(days) / MAX_DATES))]
    past, later = np.exp(panel.target(back)[days - back]), np.exp(panel.target(ahead)[days])
    day, card = np.nonzero(~np.isnan(past) & ~np.isnan(later) & (panel.price[days] >= MIN_PRICE))
    rows = pd.DataFrame(
        {"date": panel.dates[days[day]], "y_hat": past[day, card], "y": later[day, card]}
    ).assign(price=1.0, horizon=ahead)
    return metrics.rank_ic(rows) if len(rows) else float("nan")


def seasons(market: Market, by: str = "month") -> pd.DataFrame:
    """Return how the market's index moved in each month of the record, or on each weekday.

    Columns: the group, change (whole months: from end to end; weekdays: mean of a day), rising
    (share of days), days. Raises UsageError for another grouping.

    >>> import pokewatch as pw
    >>> pw.seasons(by="weekday")["weekday"].tolist()[0]
    'Monday'
    """
    if by not in SEASONS:
        raise UsageError(f"by={by!r} is unknown: choose among {', '.join(SEASONS)}")
    moves = np.log(market.index()).diff().dropna()
    month = by == "month"
    key = moves.index.strftime("%Y-%m") if month else moves.index.dayofweek
    groups = moves.groupby(key)
    change = np.expm1(groups.sum() if month else groups.mean())
    table = pd.DataFrame({"change": change, "rising": groups.apply(lambda part: (part > 0).mean())})
    table["days"] = groups.size()
    table.insert(0, by, [name if month else WEEKDAYS[int(name)] for name in table.index])
    return marked(table.reset_index(drop=True), market.simulated)
