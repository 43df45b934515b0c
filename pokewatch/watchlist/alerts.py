"""Which targets of the watchlist the newest prices have crossed; nothing is sent here."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from pokewatch.formatting import Money, usd
from pokewatch.watchlist.entries import Condition


@dataclass(frozen=True)
class Crossing:
    """A price that reached a target: amounts in USD, ``side`` is above or below."""

    card_id: str
    side: str
    target: float
    price: float
    date: str
    condition: str = Condition.near_mint.value
    grade: str = ""
    reached: list[str] = field(default_factory=list, compare=False)  # digests of recipients

    @property
    def key(self) -> str:
        """Name the target; a changed one is another target."""
        return f"{self.card_id} {self.side} {self.target!r} {self.grade}".rstrip()


def targets(held: pd.DataFrame, day: pd.Timestamp) -> list[tuple[Crossing, float]]:
    """Return every target as if it were crossed on that day, with the age of its price in days.

    held: as ``entries.holdings`` values it.
    """
    found = []
    for row in held[held["card_id"].notna()].to_dict("records"):
        for side in ("above", "below"):
            target, price = float(row[f"target_{side}"]), float(row["price"])
            if target > 0:
                known = f"{day:%Y-%m-%d}", str(row["condition"]), str(row["grade"])
                found.append((Crossing(row["card_id"], side, target, price, *known), row["age"]))
    return found


def judge(
    held: pd.DataFrame, crossed: set[str], day: pd.Timestamp, stale_days: int
) -> tuple[list[Crossing], set[str]]:
    """Return the targets crossed anew, and the keys of all that are crossed now.

    held: as ``entries.holdings`` values it; crossed: the keys of the day before. A price older
    than ``stale_days`` crosses nothing and re-arms nothing.
    """
    found: dict[str, Crossing] = {}
    now: set[str] = set()
    for one, age in targets(held, day):
        if not age <= stale_days:  # stale, or no price at all: as it was
            now |= crossed & {one.key}
        elif one.price >= one.target if one.side == "above" else one.price <= one.target:
            now.add(one.key)
            if one.key not in crossed:
                found.setdefault(one.key, one)
    return list(found.values()), now


def message(crossing: Crossing, name: str, money: Money = usd) -> str:
    """Return what the user is told, in one line; money: how amounts are written."""
    text = (
        f"{' '.join(name.split())}{f', {crossing.grade},' * bool(crossing.grade)} stood at "
        f"{money(crossing.price)} on {crossing.date}: "
        f"at or {crossing.side} your target of {money(crossing.target)}."
    )
    if crossing.grade:
        text += " This is the median of its grade's sales on eBay."
    elif crossing.condition != Condition.near_mint:
        worn = crossing.condition.replace("_", " ")
        text += f" This is the near-mint price; yours is {worn}."
    return f"{text} {money.note}".rstrip()
