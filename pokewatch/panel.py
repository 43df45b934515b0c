"""The market as matrices: long observations become dates x cards, gaps filled causally."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np
import pandas as pd

from pokewatch.errors import UsageError

Matrix = np.ndarray
PANEL_COLUMNS = ["card_id", "date", "market_price", "low_price", "mid_price", "volume"]


@dataclass(frozen=True)
class Panel:
    """Daily prices of many cards; every matrix has shape (days, cards).

    dates: every calendar day from the first to the last.
    price: market price in USD, the last one known on that day; NaN before the first.
    age: days since that price was observed; low, mid, volume: NaN where not delivered that day.
    cards: frame indexed by card_id (name, set_name, product_kind, release_date, ...).
    """

    dates: pd.DatetimeIndex
    card_ids: np.ndarray
    price: Matrix
    age: Matrix
    low: Matrix
    mid: Matrix
    volume: Matrix
    cards: pd.DataFrame = field(repr=False)

    @classmethod
    def from_prices(
        cls, prices: pd.DataFrame, cards: pd.DataFrame | None = None, until: date | None = None
    ) -> Panel:
        """Build the panel of all observations up to ``until``.

        prices: columns ``PANEL_COLUMNS`` (low_price, mid_price, volume may be missing), one row
        a card and date. Raises UsageError where no observation is left.
        """
        if until is not None:
            prices = prices[prices["date"] <= pd.Timestamp(until)]
        if prices.empty:
            when = f" up to {until}" if until else ""
            raise UsageError(f"no prices are stored{when}: run 'pokewatch collect' first")
        column, card_ids = pd.factorize(prices["card_id"], sort=True)
        first, last = prices["date"].min(), prices["date"].max()
        dates = pd.date_range(first, max(last, pd.Timestamp(until)) if until else last, freq="D")
        row = (prices["date"] - first).dt.days.to_numpy()
        shape = (len(dates), len(card_ids))

        def matrix(name: str) -> Matrix:
            out = np.full(shape, np.nan)
            if name in prices:
                out[row, column] = prices[name].to_numpy(dtype="float64")
            return out

        observed = matrix("market_price")
        day = np.arange(len(dates))[:, None]
        latest = np.maximum.accumulate(np.where(np.isnan(observed), -1, day), axis=0)
        price = np.take_along_axis(observed, np.maximum(latest, 0), axis=0)
        price[latest < 0] = np.nan
        known = pd.DataFrame(index=pd.Index(card_ids, name="card_id"))
        if cards is not None:
            known = known.join(cards.set_index("card_id"))
        return cls(
            dates=dates,
            card_ids=np.asarray(card_ids, dtype=object),
            price=price,
            age=np.where(latest < 0, np.nan, day - latest),
            low=matrix("low_price"),
            mid=matrix("mid_price"),
            volume=matrix("volume"),
            cards=known.reindex(
                columns=["name", "set_name", "rarity", "product_kind", "release_date"]
            ),
        )

    def day(self, on: date | pd.Timestamp) -> int:
        """Return the row of a date; UsageError where the panel does not have it."""
        position = int(self.dates.get_indexer(pd.DatetimeIndex([pd.Timestamp(on)]))[0])
        if position < 0:
            raise UsageError(
                f"no prices for {pd.Timestamp(on):%Y-%m-%d}: the store covers "
                f"{self.dates[0]:%Y-%m-%d} to {self.dates[-1]:%Y-%m-%d}"
            )
        return position

    def until(self, row: int) -> Panel:
        """Return the panel as it was known at the end of day ``row``: nothing later is in it."""
        end = row + 1
        return Panel(
            dates=self.dates[:end],
            card_ids=self.card_ids,
            price=self.price[:end],
            age=self.age[:end],
            low=self.low[:end],
            mid=self.mid[:end],
            volume=self.volume[:end],
            cards=self.cards,
        )

    def cards_only(self, block: slice) -> Panel:
        """Return the panel of some neighbouring cards, in memory of its own."""
        cut = {
            name: np.ascontiguousarray(getattr(self, name)[:, block])
            for name in ("price", "age", "low", "mid", "volume")
        }
        return replace(self, card_ids=self.card_ids[block], cards=self.cards.iloc[block], **cut)

    def first_days(self) -> Matrix:
        """Return the row of each card's first observation (the number of rows: none)."""
        alive = ~np.isnan(self.price)
        return np.where(alive[-1], alive.argmax(axis=0), len(alive))

    def history_days(self) -> Matrix:
        """Return days since each card's first observation (-1 before it)."""
        alive = ~np.isnan(self.price)
        return np.cumsum(alive, axis=0) - 1

    def target(self, horizon: int, max_age: int = 3) -> Matrix:
        """Return log price changes over ``horizon`` days, NaN where either end is not known.

        An end counts as known when its price was observed at most ``max_age`` days before.
        """
        log_price = np.where(self.age <= max_age, np.log(self.price), np.nan)
        out = np.full(log_price.shape, np.nan)
        out[:-horizon] = log_price[horizon:] - log_price[:-horizon]
        return out
