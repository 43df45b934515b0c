"""How complete a day is: the cards with a price against those the last good day had."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from pokewatch.store import Store

LOOK_BACK = 30  # days
PATIENCE = 6  # short days in a row that are mourned; after them the level is the new normal


@dataclass(frozen=True)
class Coverage:
    """One day's cards against the last good day's.

    cards: with a price on ``day``; expected: with one on ``reference``, None where no day was
    before it; covered: how many of the expected ones have a price.
    """

    day: date
    cards: int
    reference: date | None
    expected: int
    covered: int
    floor: float
    settled: bool = False

    @property
    def share(self) -> float:
        """Share of the expected cards that have a price, 1 where none was expected."""
        return self.covered / self.expected if self.expected else 1.0

    @property
    def enough(self) -> bool:
        """Whether the day reaches the floor, or the market has been this size for a while."""
        return self.settled or self.share >= self.floor

    def __str__(self) -> str:
        return (
            f"{self.day} has prices of {self.covered:,} of the {self.expected:,} cards that "
            f"{self.reference} had ({100 * self.share:.0f} %, floor {100 * self.floor:.0f} %)"
        )

    @property
    def complaint(self) -> str:
        """What to say of a day below the floor and what to do, "" for one that is not."""
        if self.enough:
            return ""
        return (
            f"{self}: what arrived is stored; run it again to get the rest, name a --fallback, or "
            "lower POKEWATCH_COVERAGE_FLOOR"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        days = {"day": self.day.isoformat(), "reference": None}
        if self.reference is not None:
            days["reference"] = self.reference.isoformat()
        kept = {name: value for name, value in asdict(self).items() if name != "settled"}
        return {**kept, **days, "share": self.share, "enough": self.enough}


def of_day(store: Store, day: date, floor: float, source: str | None = None) -> Coverage:
    """Return a day's coverage; source: count only what that source delivered.

    A day is good if it reaches ``floor`` of the last good day before it; the first one is.
    """
    rows = store.prices(["card_id", "date", "source"], since=day - timedelta(LOOK_BACK), until=day)
    if source is not None:
        rows = rows[rows["source"] == source]
    return measure(rows, day, floor)


def measure(rows: pd.DataFrame, day: date, floor: float) -> Coverage:
    """Return a day's coverage from observations (columns card_id, date) up to it."""
    codes = pd.Series(pd.factorize(rows["card_id"])[0], index=rows.index)
    days = {when.date(): part.to_numpy() for when, part in codes.groupby(rows["date"])}
    today = days.pop(day, np.empty(0, dtype=int))
    reference: date | None = None
    good, short = np.empty(0, dtype=int), 0
    for when in sorted(days):
        if reference is None or short == PATIENCE or _share(days[when], good) >= floor:
            reference, good, short = when, days[when], 0
        else:
            short += 1
    covered = int(np.isin(good, today).sum())
    return Coverage(day, len(today), reference, len(good), covered, floor, short >= PATIENCE)


def _share(cards: np.ndarray, good: np.ndarray) -> float:
    return float(np.isin(good, cards).mean()) if len(good) else 1.0
