"""The plan's baseline: a rolling mean of the last days, with a fast prediction cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from pokewatch.errors import UsageError
from pokewatch.features import trailing_mean
from pokewatch.panel import Panel
from pokewatch.settings import Settings, get_settings
from pokewatch.store import Store

WINDOW = 7
CACHE_SIZE = 1000


def rolling_mean(price: np.ndarray, window: int = WINDOW) -> np.ndarray:
    """Return the mean of the last ``window`` days' prices, shape (days, cards)."""
    return trailing_mean(price, window)


@dataclass(frozen=True)
class CacheStatistics:
    """What the prediction cache did since it was last cleared."""

    hits: int
    misses: int
    size: int
    maxsize: int

    @property
    def hit_rate(self) -> float:
        """Share of look-ups answered from the cache, 0 before the first."""
        total = self.hits + self.misses
        return self.hits / total if total else 0.0

    def as_dict(self) -> dict[str, float]:
        """Return plain values, the hit rate included."""
        return {**asdict(self), "hit_rate": self.hit_rate}


class PredictionCache:
    """A true LRU cache around a prediction function.

    ``get`` is the C-implemented ``functools.lru_cache`` wrapper itself, so a hit costs what a bare
    one costs, and it is as thread-safe. Errors are not cached.
    """

    def __init__(self, compute: Callable[..., float], maxsize: int = CACHE_SIZE):
        """Cache at most ``maxsize`` results of ``compute``."""
        self.get = lru_cache(maxsize=maxsize)(compute)

    def clear(self) -> None:
        """Forget every result and start the statistics anew."""
        self.get.cache_clear()

    @property
    def statistics(self) -> CacheStatistics:
        """Hits, misses, size and hit rate since the last ``clear``."""
        info = self.get.cache_info()
        return CacheStatistics(info.hits, info.misses, info.currsize, info.maxsize or 0)


class BaselineFairPriceModel:
    """Fair price = mean of the last ``window`` days' market prices (USD).

    >>> prices = pd.DataFrame({"card_id": ["1:Normal"] * 3, "market_price": [1.0, 2.0, 3.0],
    ...                        "date": pd.date_range("2025-01-01", periods=3)})
    >>> model = BaselineFairPriceModel().fit(prices)
    >>> model.predict("1:Normal"), model.predict("1:Normal", "2025-01-02")
    (2.0, 1.5)
    """

    def __init__(self, window: int = WINDOW, cache_size: int = CACHE_SIZE):
        """Prepare a model over ``window`` days with a cache of ``cache_size`` predictions."""
        if window < 1:
            raise UsageError(f"window must be 1 day or more, not {window}")
        self.window = window
        self.data_version = -1
        self.cache = PredictionCache(self._predict, cache_size)
        # The cache's own function: a wrapping method would double the price of a hit.
        self.predict: Callable[..., float] = self.cache.get

    def fit(self, prices: pd.DataFrame, data_version: int = -1) -> BaselineFairPriceModel:
        """Learn prices (columns card_id, date, market_price); clears the cache; returns itself."""
        panel = Panel.from_prices(prices)
        means = rolling_mean(panel.price, self.window)
        self._columns = {card_id: number for number, card_id in enumerate(panel.card_ids)}
        self._means = means
        self._first = panel.dates[0].date()
        self._last = panel.dates[-1].date()
        self.data_version = data_version
        self.cache.clear()
        return self

    @property
    def card_ids(self) -> list[str]:
        """Canonical ids of the cards the model knows."""
        return list(self._columns)

    def _predict(self, card_id: str, date: date | str | None = None) -> float:
        """Return the fair price of a card at the end of a day (default: the last one), in USD.

        Raises UsageError for an unknown card, a day outside the history or before the card's
        first price.
        """
        column = self._columns.get(card_id)
        if column is None:
            raise UsageError(f"unknown card '{card_id}': list all with 'pokewatch cards'")
        row = -1 if date is None else self._row(date)
        value = float(self._means[row, column])
        if value != value:
            raise UsageError(f"card '{card_id}' has no price yet on {date}: ask for a later day")
        return value

    def _row(self, day: date | str) -> int:
        wanted = pd.Timestamp(day).date()
        if not self._first <= wanted <= self._last:
            raise UsageError(
                f"no prices for {wanted}: the model covers {self._first} to {self._last}"
            )
        return (wanted - self._first).days


_loaded: dict[tuple[str, int], BaselineFairPriceModel] = {}


def load_baseline_model(
    settings: Settings | None = None, window: int = WINDOW, **options: Any
) -> BaselineFairPriceModel:
    """Return the baseline over the store's prices, kept until the data version changes.

    A newer data version refits the very same object and clears its prediction cache.
    """
    settings = settings or get_settings()
    store = Store.from_settings(settings)
    snapshot = store.snapshot("prices")
    key = (settings.store_root, window)
    model = _loaded.get(key)
    if model is None:
        model = _loaded[key] = BaselineFairPriceModel(window, **options)
    if model.data_version != snapshot.version or snapshot.version < 0:
        prices = store.read_prices(snapshot, ["card_id", "date", "market_price"])
        model.fit(prices, snapshot.version)
    return model
