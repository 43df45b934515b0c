"""Patterns of a market's returns: momentum or mean reversion, months, weekdays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pokewatch.analysis import market as markets
from pokewatch.analysis.market import MIN_PRICE, Market, marked
from pokewatch.errors import UsageError
from pokewatch.evaluation import metrics
from pokewatch.models.panel import Panel

MAX_DATES = 60  # dates a rank correlation is averaged over
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SEASONS = ("month", "weekday")


def momentum(market: Market | None = None, days: Sequence[int] = (1, 7, 14, 30)) -> pd.DataFrame:
    """Return rank correlations of past and next changes: look-back x days ahead.

    market: default all that is stored. Means over non-overlapping dates, cards of $1 and more.
    Above 0 is momentum, below 0 mean reversion; NaN where the history is too short.

    >>> import pokewatch as pw
    >>> pw.momentum(days=[1, 7]).shape
    (2, 2)
    """
    market = markets.market() if market is None else market
    found = [
        [_rank_correlation(market.panel, market.first, back, ahead) for ahead in days]
        for back in days
    ]
    look_back, forward = pd.Index(days, name="look_back"), pd.Index(days, name="ahead")
    return marked(pd.DataFrame(found, look_back, forward, dtype=float), market.simulated)


def _rank_correlation(panel: Panel, first: int, back: int, ahead: int) -> float:
    days = np.arange(first + back, len(panel.dates) - ahead, ahead)
    if not len(days):
        return float("nan")
    days = days[:: int(np.ceil(len(days) / MAX_DATES))]
    past, later = np.exp(panel.target(back)[days - back]), np.exp(panel.target(ahead)[days])
    day, card = np.nonzero(~np.isnan(past) & ~np.isnan(later) & (panel.price[days] >= MIN_PRICE))
    rows = pd.DataFrame(
        {"date": panel.dates[days[day]], "y_hat": past[day, card], "y": later[day, card]}
    ).assign(price=1.0, horizon=ahead)
    return metrics.rank_ic(rows) if len(rows) else float("nan")


def seasons(market: Market | None = None, by: str = "month") -> pd.DataFrame:
    """Return how the market's index moved in each month of the record, or on each weekday.

    market: default all that is stored. Columns: the group, change (months: from end to end, as far
    as they are on record; weekdays: mean of a day), rising (share of days), days. Raises UsageError
    for another grouping.

    >>> import pokewatch as pw
    >>> pw.seasons(by="weekday")["weekday"].tolist()[0]
    'Monday'
    """
    if by not in SEASONS:
        raise UsageError(f"by={by!r} is unknown: choose among {', '.join(SEASONS)}")
    market = markets.market() if market is None else market
    moves = np.log(market.index()).diff().dropna()
    month = by == "month"
    groups = moves.groupby(moves.index.strftime("%Y-%m") if month else moves.index.dayofweek)
    table = pd.DataFrame(
        {
            "change": np.expm1(groups.sum() if month else groups.mean()),
            "rising": groups.apply(lambda part: (part > 0).mean()),
            "days": groups.size(),
        }
    )
    table.insert(0, by, [name if month else WEEKDAYS[int(name)] for name in table.index])
    return marked(table.reset_index(drop=True), market.simulated)
