"""What graded copies sell for: medians of eBay sales, kept as the service told them last."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime

import pandas as pd

from pokewatch.files import atomic_write, json_bytes
from pokewatch.settings import Settings

KEPT = "graded.json"  # in the data home: by card_id, the day asked and by grade price and sales
FEWEST = 3  # sales of a grade without which their median says little
OLD = 30  # days after which a median is used no more
GRADE = re.compile(r"(psa|bgs|cgc|sgc|ace|tag)[\s_-]*(10|[1-9])(?:[._](5))?", re.ASCII)

Told = dict[str, tuple[float, int]]  # median (USD) and number of sales by the service's grade


def key(grade: str) -> str:
    """Return the service's name of a grade, ``psa9_5`` of PSA 9.5; "" where it has none."""
    found = GRADE.fullmatch(grade.strip().lower())
    return f"{found[1]}{found[2]}{'_5' * bool(found[3])}" if found else ""


def name(card_id: str | None, grade: str) -> str:
    """Return under which name the price of a copy stands: its card's, with its grade if graded."""
    return f"{card_id} {key(grade) or grade}" if grade else str(card_id)


def read(settings: Settings) -> dict[str, tuple[date, Told]]:
    """Return what is kept by card_id, and the day on which it was told; nothing if damaged."""
    try:
        kept = json.loads((settings.home / KEPT).read_text(encoding="utf-8"))
        return {
            card_id: (
                date.fromisoformat(one["day"]),
                {grade: (float(usd), int(sales)) for grade, (usd, sales) in one["grades"].items()},
            )
            for card_id, one in kept.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def write(settings: Settings, told: dict[str, tuple[date, Told]]) -> None:
    """Keep what was told."""
    kept = {card_id: {"day": f"{day}", "grades": one} for card_id, (day, one) in told.items()}
    with atomic_write(settings.make_home() / KEPT) as draft:
        draft.write_bytes(json_bytes(kept, indent=True))


def medians(settings: Settings) -> pd.DataFrame:
    """Return what graded copies are worth, indexed by ``name``: columns price (USD) and day.

    Medians of ``FEWEST`` sales or more, told in the last ``OLD`` days.
    """
    now = datetime.now(UTC).date()
    rows = {
        f"{card_id} {grade}": (price, pd.Timestamp(day))
        for card_id, (day, told) in read(settings).items()
        for grade, (price, sales) in told.items()
        if sales >= FEWEST and (now - day).days <= OLD
    }
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=["price", "day"])
    return frame.astype({"price": "float64", "day": "datetime64[us]"})
