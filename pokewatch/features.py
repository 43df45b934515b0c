"""Causal features: row t of every matrix is computed from rows up to t only."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pokewatch.panel import Panel

SPANS = (1, 3, 7, 14, 30)
QUIET_DAYS = 30

Features = dict[str, np.ndarray]


def build(panel: Panel) -> Features:
    """Return named feature matrices of shape (days, cards) or (days, 1), finite everywhere.

    Missing inputs (short history, no quotes, no volume) become neutral values, never NaN:
    momenta and distances 0, quotes at their usual place. Units: log price changes, shares, days.
    """
    log_price = np.log(panel.price)
    out: Features = {}
    for span in SPANS:
        out[f"momentum_{span}"] = clip(change(log_price, span))
    for span in (7, 30):
        out[f"above_mean_{span}"] = clip(log_price - trailing_mean(log_price, span))
    daily = change(log_price, 1)
    moves = np.abs(np.nan_to_num(daily))
    out["volatility"] = trailing_mean(np.minimum(moves, 0.5), QUIET_DAYS)
    out["unchanged"] = trailing_mean((moves == 0).astype(float), QUIET_DAYS)
    for span in (7, 30):
        # Shape (days, 1): one value for the whole market.
        out[f"market_momentum_{span}"] = row_mean(out[f"momentum_{span}"], panel)
        out[f"set_momentum_{span}"] = group_mean(out[f"momentum_{span}"], panel)
    out["low_gap"] = quote_gap(panel.low, panel.price)
    out["mid_gap"] = quote_gap(panel.mid, panel.price)
    return {name: np.nan_to_num(matrix) for name, matrix in out.items()}


def until(built: Features, row: int) -> Features:
    """Return the features as they were known at the end of day ``row``."""
    return {name: matrix[: row + 1] for name, matrix in built.items()}


def clip(matrix: np.ndarray, limit: float = 1.0) -> np.ndarray:
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


def row_mean(matrix: np.ndarray, panel: Panel) -> np.ndarray:
    """Return each day's mean over the cards alive that day, shape (days, 1)."""
    alive = ~np.isnan(panel.price)
    count = alive.sum(axis=1, keepdims=True)
    return np.where(alive, np.nan_to_num(matrix), 0).sum(axis=1, keepdims=True) / np.maximum(
        count, 1
    )


def group_mean(matrix: np.ndarray, panel: Panel) -> np.ndarray:
    """Return each day's mean over the cards of the same set (unknown set: the whole market)."""
    code, names = pd.factorize(panel.cards["set_name"].fillna("").astype(str))
    alive = (~np.isnan(panel.price)).astype(float)
    member = np.zeros((len(code), len(names)))
    member[np.arange(len(code)), code] = 1.0
    total = (np.nan_to_num(matrix) * alive) @ member
    count = alive @ member
    return (total / np.maximum(count, 1))[:, code]


def quote_gap(quote: np.ndarray, price: np.ndarray) -> np.ndarray:
    """Return log(quote / price), less each day's median, 0 where no quote was delivered."""
    gap = np.log(np.maximum(quote, 0.01) / price)
    gap = np.clip(gap, -1, 1)
    known = ~np.isnan(gap)
    if not known.any():
        return np.zeros(gap.shape)
    out = np.zeros(gap.shape)
    days = np.flatnonzero(known.any(axis=1))
    out[days] = gap[days] - np.nanmedian(gap[days], axis=1, keepdims=True)
    return np.nan_to_num(out)
