"""What graded copies sell for: medians of eBay sales, kept as the service told them last."""

from __future__ import annotations

import json
import re
from datetime import date
from typing import NamedTuple

import pandas as pd

from pokewatch.files import atomic_write, json_bytes
from pokewatch.settings import Settings

KEPT = "graded.json"  # in the data home, by card_id
FEWEST = 3  # sales of a grade without which their median says little
OLD = 30  # days after which a median is used no more
AHEAD = 3  # days by which the day's prices may be older than what was told with them
GRADE = re.compile(r"(psa|bgs|cgc|sgc|ace|tag)[\s_-]*(10|[1-9])(?:[._](5))?", re.ASCII)

Told = dict[str, tuple[float, int]]  # median (USD) and number of sales by the service's grade


class Kept(NamedTuple):
    """What is known of a card: when it was asked for last, when that was told, and what."""

    asked: date
    day: date
    told: Told


def key(grade: str) -> str:
    """Return the service's name of a grade, ``psa9_5`` of PSA 9.5; "" where it has none."""
    found = GRADE.fullmatch(grade.strip().lower())
    return f"{found[1]}{found[2]}{'_5' * bool(found[3])}" if found else ""


def name(card_id: str | None, grade: str) -> str:
    """Return under which name the price of a copy stands: its card's, with its grade if graded."""
    return f"{card_id} {key(grade) or grade}" if grade else str(card_id)


def read(settings: Settings) -> dict[str, Kept]:
    """Return what is kept by card_id; nothing where the file is damaged."""
    try:
        kept = json.loads((settings.home / KEPT).read_text(encoding="utf-8"))
        return {
            card_id: Kept(
                date.fromisoformat(one["asked"]),
                date.fromisoformat(one["day"]),
                {grade: (float(usd), int(sales)) for grade, (usd, sales) in one["grades"].items()},
            )
            for card_id, one in kept.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return {}


def write(settings: Settings, kept: dict[str, Kept]) -> None:
    """Keep what was told."""
    plain = {
        card_id: {"asked": f"{one.asked}", "day": f"{one.day}", "grades": one.told}
        for card_id, one in kept.items()
    }
    with atomic_write(settings.make_home() / KEPT) as draft:
        draft.write_bytes(json_bytes(plain, indent=True))


def medians(settings: Settings, on: pd.Timestamp) -> pd.DataFrame:
    """Return what graded copies are worth, indexed by ``name``: columns price (USD) and day.

    on: the day of the other prices. Medians of ``FEWEST`` sales or more, told in the ``OLD`` days
    up to then: today's say nothing of a day long ago.
    """
    rows = {
        f"{card_id} {grade}": (price, pd.Timestamp(one.day))
        for card_id, one in read(settings).items()
        for grade, (price, sales) in one.told.items()
        if sales >= FEWEST and -AHEAD <= (on.date() - one.day).days <= OLD
    }
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=["price", "day"])
    return frame.astype({"price": "float64", "day": "datetime64[us]"})
