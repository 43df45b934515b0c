"""Small markets and models for tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from pokewatch.schema import Delivery

START = "2025-01-01"
FEW_WINDOWS = 5  # scored ones that prove a small model in a test


def curve(card_id: str, prices: Sequence[Any], start: str = START, **columns: Any) -> pd.DataFrame:
    """Return one card's daily observations; None leaves a day out."""
    dates = pd.date_range(start, periods=len(prices))
    rows = pd.DataFrame({"card_id": card_id, "date": dates, "market_price": list(prices)})
    rows = rows[[price is not None for price in prices]]
    return rows.assign(collected_at=rows["date"].dt.tz_localize("UTC"), **columns)


def delivery(*frames: pd.DataFrame, source: str = "file", **cards: Any) -> Delivery:
    """Return a delivery of these observations."""
    observations = pd.concat(frames, ignore_index=True)
    return Delivery(observations, source, pd.DataFrame(cards) if cards else pd.DataFrame())


def market(cards: int = 30, days: int = 120, seed: int = 1, momentum: float = 0.6) -> pd.DataFrame:
    """Return a market with momentum: today's change leans on the last days' changes."""
    rng = np.random.default_rng(seed)
    level = np.log(rng.uniform(2, 200, cards))
    trend = np.zeros(cards)
    rows = []
    for day in pd.date_range(START, periods=days):
        trend = momentum * trend + rng.normal(0, 0.02, cards)
        level = level + np.where(rng.random(cards) < 0.5, trend, 0.0)
        rows.append(
            pd.DataFrame(
                {
                    "card_id": [f"{number}:Normal" for number in range(cards)],
                    "date": day,
                    "market_price": np.exp(level).round(2),
                }
            )
        )
    out = pd.concat(rows, ignore_index=True)
    return out.assign(collected_at=out["date"].dt.tz_localize("UTC"))


def crossings(path: list[tuple[float, bool]], side: str, target: float) -> int:
    """Count what a person would count: how often the price, once known, comes to the target."""
    fresh = [price for price, is_fresh in path if is_fresh]
    there = [price >= target if side == "above" else price <= target for price in fresh]
    return sum(now and not before for before, now in zip([False, *there], there, strict=False))


@contextmanager
def small_models(trees: int = 3) -> Iterator[None]:
    """Let models grow a few trees, and short histories prove them: most tests need a champion."""
    from pokewatch.evaluation import gate
    from pokewatch.models import fair_value

    windows, gate.MIN_WINDOWS = gate.MIN_WINDOWS, FEW_WINDOWS
    options = [(kind, dict(kind)) for kind in (fair_value.BOOSTING, fair_value.SMALL)]
    for kind, _ in options:
        kind["max_iter"] = trees
    yield
    gate.MIN_WINDOWS = windows
    for kind, kept in options:
        kind.update(kept)
