"""How complete a day is: the cards with a price against those the last good day had."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.dataset as ds

from pokewatch.schema import Wanted
from pokewatch.store.tables import Snapshot, Store

LOOK_BACK = 30  # days
UNMEASURED = "file"  # files hold whatever a user has; only services are expected to be complete
PATIENCE = 6  # short days in a row that are mourned; after them the level is the new normal


@dataclass(frozen=True)
class Coverage:
    """One day's cards against the last good day's.

    cards: with a price on ``day``; expected: with one on ``reference``, None where no day was
    before it; covered: how many of the expected ones have a price; missing: those that have none;
    present: all that have one.
    """

    day: date
    cards: int
    reference: date | None
    expected: int
    covered: int
    floor: float
    missing: frozenset[str] = field(default=frozenset(), repr=False)
    present: frozenset[str] = field(default=frozenset(), repr=False)

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
        """What to say of a day below the floor and what to do, "" for one that is not."""
        if self.enough:
            return ""
        return (
            f"{self}: what arrived is stored; run it again to get the rest, name a --fallback, or "
            "lower POKEWATCH_COVERAGE_FLOOR"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return {
            "day": self.day.isoformat(),
            "reference": self.reference.isoformat() if self.reference else None,
            "cards": self.cards,
            "expected": self.expected,
            "covered": self.covered,
            "floor": self.floor,
            "share": self.share,
            "enough": self.enough,
        }


def of_day(store: Store, day: date, floor: float) -> Coverage:
    """Return a day's coverage by all services together.

    A day is good if it reaches ``floor`` of the last good day before it; the first one is.
    """
    since = day - timedelta(LOOK_BACK)
    return measure(store.prices(["card_id", "date", "source"], since=since, until=day), day, floor)


def measure(rows: pd.DataFrame, day: date, floor: float) -> Coverage:
    """Return a day's coverage from observations (columns card_id, date, source) up to it."""
    rows = rows[(rows["source"] != UNMEASURED) & (rows["date"] <= pd.Timestamp(day))]
    *_, (found, good) = _walk(rows, floor, until=day)
    present = rows.loc[rows["date"] == pd.Timestamp(day), "card_id"]
    expected = pd.Index(pd.factorize(rows["card_id"])[1])[good]
    return replace(
        found,
        missing=frozenset(expected.difference(pd.Index(present))),
        present=frozenset(present),
    )


def latest(
    store: Store, snapshot: Snapshot, floor: float, until: date | None = None
) -> Coverage | None:
    """Return the coverage of the last day with prices of a service; None without one."""
    day = store.last_day(until, [ds.field("source") != UNMEASURED], snapshot)
    if day is None:
        return None
    since = day - timedelta(LOOK_BACK)
    columns = ["card_id", "date", "source"]
    return measure(store.read_prices(snapshot, columns, since=since, until=day), day, floor)


def lacking(covered: Coverage, cards: pd.DataFrame) -> Wanted:
    """Return what to ask for to complete a day; cards: all known ones, ``CARD_COLUMNS``.

    A set is complete if enough of its expected cards have a price or, where none was expected,
    any has one.
    """
    sets = _by_set(covered, cards)
    gaps = sets["missing"] > (1 - covered.floor) * sets.sum(axis=1)
    complete = sets.index[(sets["present"] > 0) & ~gaps]
    return Wanted(cards[cards["card_id"].isin(list(covered.missing))], frozenset(complete))


def silent_sets(covered: Coverage, cards: pd.DataFrame) -> list[str]:
    """Return the sets of which cards were expected and none has a price."""
    sets = _by_set(covered, cards)
    return list(sets.index[(sets["missing"] > 0) & (sets["present"] == 0)])


def _by_set(covered: Coverage, cards: pd.DataFrame) -> pd.DataFrame:
    counted = {
        name: cards["card_id"].isin(list(ids)).groupby(cards["set_name"]).sum()
        for name, ids in (("missing", covered.missing), ("present", covered.present))
    }
    return pd.DataFrame(counted)


def short_days(rows: pd.DataFrame, floor: float) -> list[date]:
    """Return the days of observations that lie below the floor."""
    rows = rows[rows["source"] != UNMEASURED]
    return [found.day for found, _ in _walk(rows, floor) if not found.enough]


def _walk(
    rows: pd.DataFrame, floor: float, until: date | None = None
) -> Iterator[tuple[Coverage, np.ndarray]]:
    """Yield each day's coverage and the codes (of ``pd.factorize``) of its expected cards.

    until: a day that is measured whether it has prices or not.
    """
    codes = pd.Series(pd.factorize(rows["card_id"])[0], index=rows.index)
    days = {when.date(): part.to_numpy() for when, part in codes.groupby(rows["date"])}
    if until is not None:
        days.setdefault(until, np.empty(0, dtype=int))
    reference: date | None = None
    before = date.min
    good, short = np.empty(0, dtype=int), 0
    for when in sorted(days):
        if short == PATIENCE:  # the market is this size now
            reference, good, short = before, days[before], 0
        covered = int(np.isin(good, days[when]).sum())
        found = Coverage(when, len(days[when]), reference, len(good), covered, floor)
        yield found, good
        if found.enough:
            reference, good, short = when, days[when], 0
        else:
            short += 1
        before = when
