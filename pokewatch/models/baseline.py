"""The baseline: a rolling mean of the last days' prices, with a fast prediction cache."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import blake2b
from typing import Any

import numpy as np
import pandas as pd

from pokewatch.errors import UsageError
from pokewatch.models.features import trailing
from pokewatch.models.panel import Panel
from pokewatch.models.prediction_cache import (
    CACHE_SIZE,
    KEY_FORMAT,
    PredictionCache,
    SharedPredictionCache,
    shared_values,
)
from pokewatch.settings import Settings, get_settings
from pokewatch.store.tables import Store

WINDOW = 7


def rolling_mean(price: np.ndarray, window: int = WINDOW) -> np.ndarray:
    """Return the mean of the last ``window`` days' prices, shape (days, cards)."""
    return trailing(price, window, np.arange(len(price)))


def as_date(day: date | str) -> date:
    """Return a day as a date; pandas, which reads many forms, is slow and asked last."""
    if type(day) is date:
        return day
    if isinstance(day, str) and len(day) == len("2026-01-31"):
        with suppress(ValueError):
            return date.fromisoformat(day)
    return pd.Timestamp(day).date()


@dataclass(frozen=True)
class Fitted:
    """What one ``fit`` learnt, in one object: a key and its price never come from two fits."""

    columns: dict[str, int]
    index: pd.Index
    means: np.ndarray
    first: date
    last: date

    def fingerprint(self) -> str:
        """Return a hash of every answer the model can give."""
        digest = blake2b(np.ascontiguousarray(self.means).data, digest_size=12)
        digest.update(json.dumps([self.first.isoformat(), list(self.columns)]).encode())
        return digest.hexdigest()

    def place(self, card_id: str, day: date | str | None) -> tuple[int, int]:
        """Return row and column of a card's price; UsageError for an unknown card or day."""
        column = self.columns.get(card_id)
        if column is None:
            raise UsageError(f"unknown card '{card_id}': list all with 'pokewatch cards'")
        wanted = self.last if day is None else as_date(day)
        if not self.first <= wanted <= self.last:
            raise UsageError(
                f"no prices for {wanted}: the model covers {self.first} to {self.last}"
            )
        return (wanted - self.first).days, column

    def price(self, row: int, column: int, card_id: str, day: date | str | None) -> float:
        """Return the fair price (USD) at a place; UsageError before the card's first price."""
        value = float(self.means[row, column])
        if value != value:
            raise UsageError(f"card '{card_id}' has no price yet on {day}: ask for a later day")
        return value


class BaselineFairPriceModel:
    """Fair price = mean of the last ``window`` days' market prices (USD).

    >>> prices = pd.DataFrame({"card_id": ["1:Normal"] * 3, "market_price": [1.0, 2.0, 3.0],
    ...                        "date": pd.date_range("2025-01-01", periods=3)})
    >>> model = BaselineFairPriceModel().fit(prices)
    >>> model.predict("1:Normal"), model.predict("1:Normal", "2025-01-02")
    (2.0, 1.5)
    """

    def __init__(self, window: int = WINDOW, cache_size: int = CACHE_SIZE, cache_url: str = ""):
        """Prepare a model over ``window`` days with a cache of ``cache_size`` predictions.

        cache_url: a Redis that shares predictions between processes, behind the memory; its keys
        hold data version, a hash of all answers, window, card and day. Empty: memory only.
        """
        if window < 1:
            raise UsageError(f"window must be 1 day or more, not {window}")
        self.window = window
        self.data_version = -1
        self.cache = (
            SharedPredictionCache(self._locate, shared_values(cache_url), cache_size)
            if cache_url
            else PredictionCache(self._predict, cache_size)
        )
        # The cache's own function: a wrapping method would double the price of a hit.
        self.predict: Callable[..., float] = self.cache.get

    def fit(self, prices: pd.DataFrame, data_version: int = -1) -> BaselineFairPriceModel:
        """Learn prices (columns card_id, date, market_price); clears the cache; returns itself."""
        return self.fit_panel(Panel.from_prices(prices), data_version)

    def fit_panel(self, panel: Panel, data_version: int = -1) -> BaselineFairPriceModel:
        """Learn the prices of a panel; clears the cache; returns itself."""
        fitted = Fitted(
            {card_id: number for number, card_id in enumerate(panel.card_ids)},
            pd.Index(panel.card_ids),
            rolling_mean(panel.price, self.window),
            panel.dates[0].date(),
            panel.dates[-1].date(),
        )
        prefix = ""
        if isinstance(self.cache, SharedPredictionCache):
            # Two stores may have the same version; the hash tells them apart.
            version = f"{data_version}-{fitted.fingerprint()}"
            prefix = f"{KEY_FORMAT}:{version}:baseline-{self.window}"
        self._state = fitted, prefix
        self.data_version = data_version
        self.cache.clear()
        return self

    @property
    def card_ids(self) -> list[str]:
        """Canonical ids of the cards the model knows."""
        return list(self._state[0].columns)

    def predict_many(
        self, card_ids: Sequence[str] | np.ndarray, days: Sequence[Any] | np.ndarray
    ) -> np.ndarray:
        """Return the fair prices (USD) of many (card, day) pairs, past the cache.

        days: dates, datetime64 or text. Raises UsageError as ``predict`` does, for the first pair
        that has no price.
        """
        fitted, _ = self._state
        column = fitted.index.get_indexer(np.asarray(card_ids, dtype=object))
        day = np.asarray(days, dtype="datetime64[D]")
        row = (day - np.datetime64(fitted.first, "D")).astype(np.int64)
        wrong = (column < 0) | (row < 0) | (row >= len(fitted.means))
        if not wrong.any():
            found = fitted.means[row, column]
            wrong = np.isnan(found)
            if not wrong.any():
                return found
        first = int(wrong.argmax())
        self._predict(str(card_ids[first]), day[first].item())  # says what is wrong with it
        raise AssertionError("a pair without a price was predicted")

    def _predict(self, card_id: str, date: date | str | None = None) -> float:
        """Return the fair price of a card at the end of a day (default: the last one), in USD.

        Raises UsageError for an unknown card, a day outside the history or before the card's
        first price.
        """
        fitted, _ = self._state
        return fitted.price(*fitted.place(card_id, date), card_id, date)

    def _locate(
        self, card_id: str, date: date | str | None = None
    ) -> tuple[str, Callable[[], float]]:
        """Return a prediction's key in the shared cache and the function that computes it."""
        fitted, prefix = self._state
        row, column = fitted.place(card_id, date)
        day = fitted.first + timedelta(days=row)
        return f"{prefix}:{card_id}:{day}", lambda: fitted.price(row, column, card_id, date)


_loaded: dict[tuple[str, int, str], BaselineFairPriceModel] = {}


def load_baseline_model(
    settings: Settings | None = None, window: int = WINDOW, **options: Any
) -> BaselineFairPriceModel:
    """Return the baseline over the store's prices, kept until the data version changes.

    A newer data version refits the very same object and clears its prediction cache. Where
    ``cache_url`` is set, predictions are shared through that Redis.
    """
    settings = settings or get_settings()
    store = Store.from_settings(settings)
    snapshot = store.snapshot("prices")
    cache_url = settings.cache_url.get_secret_value()
    key = (settings.store_root, window, cache_url)
    model = _loaded.get(key)
    if model is None:
        model = _loaded[key] = BaselineFairPriceModel(window, cache_url=cache_url, **options)
    if model.data_version != snapshot.version or snapshot.version < 0:
        tables = snapshot.by_month(["card_id", "date", "market_price"])
        model.fit_panel(Panel.from_tables(tables), snapshot.version)
    return model
