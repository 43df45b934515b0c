"""How complete a day is: the cards with a price against those the last good day had."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.dataset as ds

from pokewatch.schema import HISTORY, Wanted
from pokewatch.store.tables import Snapshot, Store, date_range, to_frame

COLUMNS = ["card_id", "date", "source"]  # of the observations that a day is measured by
LOOK_BACK = 30  # days
# Files hold whatever a user has, filled days a few cards; services are expected to be complete.
UNMEASURED = ("file", HISTORY)
PATIENCE = 6  # days in a row may be short; after them their level is the new normal


@dataclass(frozen=True)
class Completeness:
    """One day's cards against those of the last good day.

    reference: that day, None where no day was before it; covered: how many of its cards have a
    price on ``day``; missing: its cards that have none; present: all cards that have one; floor:
    the share of its cards that makes a good day.
    """

    day: date
    reference: date | None
    floor: float
    covered: int
    missing: frozenset[str] = field(repr=False)
    present: frozenset[str] = field(repr=False)

    @property
    def cards(self) -> int:
        """Number of cards with a price on the day."""
        return len(self.present)

    @property
    def expected(self) -> int:
        """Number of cards with a price on the reference day."""
        return self.covered + len(self.missing)

    @property
    def share(self) -> float:
        """Share of the expected cards that have a price, 1 where none was expected."""
        return self.covered / self.expected if self.expected else 1.0

    @property
    def enough(self) -> bool:
        """Whether the day reaches the floor."""
        return self.share >= self.floor

    def __str__(self) -> str:
        return (
            f"{self.day} has prices of {self.covered:,} of the {self.expected:,} cards that "
            f"{self.reference} had ({100 * self.share:.0f} %, floor {100 * self.floor:.0f} %)"
        )

    @property
    def complaint(self) -> str:
        """What a day below the floor lacks and what to do, "" for a good one."""
        if self.enough:
            return ""
        return (
            f"{self}: what arrived is stored; run it again to get the rest, name a --fallback, or "
            "lower POKEWATCH_COVERAGE_FLOOR"
        )

    def first_complaint(self, failed: int, unpriced: int) -> str:
        """What a day with no good one before it lacks, "" where it lacks nothing.

        failed: groups or cards that did not come; unpriced: cards that came without a price.
        """
        if self.expected:
            return ""
        if failed:
            silent = f" and {unpriced:,} came without a price" if unpriced else ""
            return (
                f"{failed} groups or cards did not come{silent} on the first day, {self.day}: what "
                "arrived is stored; run it again to get the rest"
            )
        if self.cards < self.floor * (self.cards + unpriced) or not self.cards:
            silent = f", {unpriced:,} came without one" if unpriced else ""
            return (
                f"{self.cards:,} cards have a usable price on the first day, {self.day}{silent}: "
                "look at 'pokewatch quarantine list', or ask another source"
            )
        return ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        days = {"day": str(self.day), "reference": str(self.reference) if self.reference else None}
        names = ("cards", "expected", "covered", "floor", "share", "enough")
        return days | {name: getattr(self, name) for name in names}


def of_day(store: Store, day: date, floor: float, snapshot: Snapshot | None = None) -> Completeness:
    """Return how complete a stored day is by all services together.

    A day is good if it reaches ``floor`` of the last good day before it; the first one is.
    snapshot: of the prices; default: the newest.
    """
    where = date_range(day - timedelta(LOOK_BACK), day)
    table = (snapshot or store.snapshot("prices")).read(COLUMNS, where)
    for name in ("card_id", "source"):  # texts of a large market take seconds and gigabytes
        place = table.column_names.index(name)
        table = table.set_column(place, name, table[name].dictionary_encode())
    return measure(to_frame(table), day, floor)


def measure(rows: pd.DataFrame, day: date, floor: float) -> Completeness:
    """Return how complete a day is, from observations (columns ``COLUMNS``) up to it."""
    rows = rows[~rows["source"].isin(UNMEASURED) & (rows["date"] <= pd.Timestamp(day))]
    card, ids = pd.factorize(rows["card_id"])
    *_, (_, reference, expected, present) = _walk(card, rows["date"], floor, until=day)
    missing = np.setdiff1d(expected, present)
    covered = len(expected) - len(missing)
    named = [frozenset(ids[codes]) for codes in (missing, present)]
    return Completeness(day, reference, floor, covered, *named)


def latest(
    store: Store, snapshot: Snapshot, floor: float, until: date | None = None
) -> Completeness | None:
    """Return how complete the last day with prices of a service is; None without one."""
    day = store.last_day(until, [~ds.field("source").isin(UNMEASURED)], snapshot)
    return None if day is None else of_day(store, day, floor, snapshot)


def lacking(found: Completeness, cards: pd.DataFrame) -> Wanted:
    """Return what to ask for to complete a day; cards: all known ones, ``CARD_COLUMNS``.

    A set is complete if enough of its expected cards have a price or, where none was expected,
    any has one.
    """
    sets = _by_set(found, cards)
    gaps = sets["missing"] > (1 - found.floor) * sets.sum(axis=1)
    complete = sets.index[(sets["present"] > 0) & ~gaps]
    return Wanted(cards[cards["card_id"].isin(list(found.missing))], frozenset(complete))


def silent_sets(found: Completeness, cards: pd.DataFrame) -> list[str]:
    """Return the sets of which cards were expected and none has a price."""
    sets = _by_set(found, cards)
    return list(sets.index[(sets["missing"] > 0) & (sets["present"] == 0)])


def _by_set(found: Completeness, cards: pd.DataFrame) -> pd.DataFrame:
    counted = {
        name: cards["card_id"].isin(list(ids)).groupby(cards["set_name"]).sum()
        for name, ids in (("missing", found.missing), ("present", found.present))
    }
    return pd.DataFrame(counted)


def short_days(rows: pd.DataFrame, floor: float) -> list[date]:
    """Return the days of observations (columns ``COLUMNS``) that lie below the floor."""
    rows = rows[~rows["source"].isin(UNMEASURED)]
    days = _walk(pd.factorize(rows["card_id"])[0], rows["date"], floor)
    return [day for day, _, expected, present in days if _share(expected, present) < floor]


def _walk(
    card: np.ndarray, dates: pd.Series, floor: float, until: date | None = None
) -> Iterator[tuple[date, date | None, np.ndarray, np.ndarray]]:
    """Yield each day, the good one before it and the cards of that one and of the day itself.

    card: a code of each observation's card; until: a day that counts though it has no prices.
    """
    days = {when.date(): part.to_numpy() for when, part in pd.Series(card).groupby(dates.array)}
    if until is not None:
        days.setdefault(until, np.empty(0, dtype=int))
    reference: date | None = None
    before = date.min
    good, short = np.empty(0, dtype=int), 0
    for day, present in sorted(days.items(), key=lambda one: one[0]):
        if short == PATIENCE:  # the market is this size now
            reference, good, short = before, days[before], 0
        yield day, reference, good, present
        if _share(good, present) >= floor:
            reference, good, short = day, present, 0
        else:
            short += 1
        before = day


def _share(expected: np.ndarray, present: np.ndarray) -> float:
    return float(np.isin(expected, present).mean()) if len(expected) else 1.0
