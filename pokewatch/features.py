"""Causal features: row t of every matrix is computed from rows up to t only."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from pokewatch.panel import Panel

Features = dict[str, np.ndarray]

SPANS = (1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60)
MEANS = (3, 7, 14, 30, 60)
QUIET_DAYS = 30
LONG_AGO = 99  # days since the last change of a card that never changed
# Sealed products of one form move together; the first form that a name contains is its form.
FORMS = (
    "booster box case",
    "booster box",
    "elite trainer box case",
    "elite trainer box",
    "booster bundle",
    "booster pack",
    "blister",
    "tin",
    "collection",
    "deck",
    "case",
)


def build(panel: Panel) -> Features:
    """Return named feature matrices of shape (days, cards), float32, finite everywhere.

    Missing inputs (short history, no quotes, no volume, no names) become neutral values, never
    NaN: momenta and distances 0, quotes and volume at their usual place. Units: log price
    changes, shares of days, days. The highest listing is never used: sellers park absurd ones.
    """
    log_price = np.log(panel.price)
    alive = ~np.isnan(log_price)
    parts = (own(panel, log_price), quotes(panel), sales(panel), factors(panel, log_price, alive))
    return {
        name: np.nan_to_num(matrix).astype(np.float32) for part in parts for name, matrix in part
    }


def until(built: Features, row: int) -> Features:
    """Return the features as they were known at the end of day ``row``."""
    return {name: matrix[: row + 1] for name, matrix in built.items()}


def own(panel: Panel, log_price: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what a card's own prices say: momenta, distances, volatility, calm, age."""
    for span in SPANS:
        yield f"momentum_{span}", clip(change(log_price, span))
    for span in MEANS:
        yield f"above_mean_{span}", clip(log_price - trailing_mean(log_price, span))
    daily = np.nan_to_num(change(log_price, 1))
    moves = np.minimum(np.abs(daily), 0.5)
    changed = (daily != 0).astype(float)
    for span in (7, 14, QUIET_DAYS, 90):
        yield f"volatility_{span}", trailing_mean(moves, span)
        yield f"unchanged_{span}", 1 - trailing_mean(changed, span)
    for span in (7, 14, 30):
        yield f"net_rises_{span}", trailing_mean(np.sign(daily), span)
    day = np.arange(len(daily))[:, None]
    last = np.maximum.accumulate(np.where(daily != 0, day, -1), axis=0)
    yield "days_since_change", np.where(last < 0, LONG_AGO, np.minimum(day - last, LONG_AGO))
    latest = np.take_along_axis(daily, np.maximum(last, 0), axis=0)
    yield "last_change", clip(np.where(last < 0, 0.0, latest))
    frame = pd.DataFrame(log_price)
    for span in (14, 30, 60, 120):
        window = frame.rolling(span, min_periods=1)
        yield f"below_high_{span}", clip(log_price - window.max().to_numpy())
        yield f"above_low_{span}", clip(log_price - window.min().to_numpy())
    yield "level", log_price
    yield "history", np.minimum(panel.history_days(), 400)
    yield "age", np.minimum(panel.age, 60)
    released = pd.to_datetime(panel.cards["release_date"], errors="coerce")
    since = (panel.dates.to_numpy()[:, None] - released.to_numpy()[None, :]) / np.timedelta64(
        1, "D"
    )
    yield "since_release", np.clip(np.where(np.isnan(since), 1500.0, since), -60, 1500)
    sealed = panel.cards["product_kind"].eq("sealed").to_numpy(dtype=float)
    yield "sealed", np.broadcast_to(sealed, log_price.shape)


def quotes(panel: Panel) -> Iterator[tuple[str, np.ndarray]]:
    """Yield where the day's low and mid listings stand against the price, and their moves."""
    low, mid = np.log(np.maximum(panel.low, 0.01)), np.log(np.maximum(panel.mid, 0.01))
    price = np.log(panel.price)
    for name, quote in (("low", low), ("mid", mid)):
        yield f"{name}_gap", less_median(np.clip(quote - price, -2, 2))
        for span in (3, 7):
            yield f"{name}_momentum_{span}", clip(change(quote, span))
    yield "spread", less_median(np.clip(mid - low, 0, 3))


def sales(panel: Panel) -> Iterator[tuple[str, np.ndarray]]:
    """Yield how much was sold, and whether sales rise."""
    mean = {
        span: np.log1p(np.nan_to_num(trailing_mean(panel.volume, span))) for span in (3, 7, 14, 30)
    }
    for span, matrix in mean.items():
        yield f"sales_{span}", matrix
    yield "sales_rise_3", mean[3] - mean[14]
    yield "sales_rise_7", mean[7] - mean[30]


def factors(
    panel: Panel, log_price: np.ndarray, alive: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield momenta of the market, of a card's set and of its form, and cross-sectional ranks."""
    sets = panel.cards["set_name"].fillna("").astype(str)
    forms = panel.cards["name"].map(form)
    for span in (3, 7, 14, 30, 60):
        momentum = np.nan_to_num(clip(change(log_price, span)))
        total = np.where(alive, momentum, 0).sum(axis=1, keepdims=True)
        mean = total / np.maximum(alive.sum(axis=1, keepdims=True), 1)
        yield f"market_momentum_{span}", np.broadcast_to(mean, momentum.shape)
        if span in (7, 14, 30):
            yield f"set_momentum_{span}", others_mean(momentum, alive, sets)
            yield f"form_momentum_{span}", others_mean(momentum, alive, forms)
        if span in (7, 30):
            ranked = pd.DataFrame(np.where(alive, momentum, np.nan)).rank(axis=1, pct=True)
            yield f"rank_{span}", ranked.to_numpy() - 0.5


def form(name: object) -> str:
    """Return the form of a sealed product by its name, "" for all others."""
    text = str(name).lower()
    return next((known for known in FORMS if re.search(rf"\b{known}", text)), "")


def clip(matrix: np.ndarray, limit: float = 1.5) -> np.ndarray:
    """Return log changes limited to +-``limit``: one wild card must not bend a pooled fit."""
    return np.clip(matrix, -limit, limit)


def change(matrix: np.ndarray, span: int) -> np.ndarray:
    """Return the change over ``span`` rows (NaN for the first ones)."""
    out = np.full(matrix.shape, np.nan)
    out[span:] = matrix[span:] - matrix[:-span]
    return out


def trailing_mean(matrix: np.ndarray, span: int) -> np.ndarray:
    """Return the mean of the known values among the last ``span`` rows, this one included."""
    known = ~np.isnan(matrix)
    total = np.cumsum(np.where(known, matrix, 0.0), axis=0)
    count = np.cumsum(known, axis=0)
    total[span:] = total[span:] - total[:-span].copy()
    count[span:] = count[span:] - count[:-span].copy()
    return np.divide(total, count, out=np.full(matrix.shape, np.nan), where=count > 0)


def others_mean(matrix: np.ndarray, alive: np.ndarray, group: pd.Series) -> np.ndarray:
    """Return each day's mean over the other cards of the same group, 0 where there is none."""
    code, names = pd.factorize(group)
    member = np.zeros((len(code), len(names)))
    member[np.arange(len(code)), code] = 1.0
    present = np.where(alive, matrix, 0.0)
    total = (present @ member)[:, code] - present
    count = (alive.astype(float) @ member)[:, code] - alive
    return total / np.maximum(count, 1)


def less_median(matrix: np.ndarray) -> np.ndarray:
    """Return a matrix less each day's median over the cards, 0 where nothing is known."""
    known = ~np.isnan(matrix)
    out = np.zeros(matrix.shape)
    days = np.flatnonzero(known.any(axis=1))
    out[days] = matrix[days] - np.nanmedian(matrix[days], axis=1, keepdims=True)
    return np.nan_to_num(out)
