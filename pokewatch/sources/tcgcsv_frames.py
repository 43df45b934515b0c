"""tcgcsv's rows, live or archived, as frames of observations and cards."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

import pandas as pd

from pokewatch.errors import SourceError, UsageError

SOURCE = "tcgcsv"
UNUSABLE_CATEGORIES = (21, 69, 70)
_fields = {
    "market_price": "marketPrice",
    "low_price": "lowPrice",
    "mid_price": "midPrice",
    "high_price": "highPrice",
}


def answer_rows(answer: Any) -> list[dict[str, Any]]:
    """Return an answer's rows; one that is no object becomes an empty row, so that it counts.

    Raises SourceError for an answer of another shape or without ``"success": true``.
    """
    if not isinstance(answer, dict) or answer.get("success") is not True:
        errors = answer.get("errors") if isinstance(answer, dict) else None
        raise SourceError(f"tcgcsv says the answer is no success (errors: {str(errors)[:200]})")
    results = answer.get("results")
    if not isinstance(results, list):
        raise SourceError("tcgcsv's answer has no list 'results'")
    return [row if type(row) is dict else {} for row in results]


def product_id(row: dict[str, Any]) -> int | None:
    """Return a row's product id, None if it has no usable one."""
    product = row.get("productId")
    return product if type(product) is int and 0 < product < 2**63 else None


def price_frames(
    rows: list[dict[str, Any]], day: date, collected_at: datetime, notes: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (observations, cards) of one day's price rows.

    observations: one row a price row, values (USD) as received, in columns ``card_id, date,
        market_price, low_price, mid_price, high_price, source, collected_at``; ``card_id`` is
        None where the product or the printing is unusable, which is added to ``notes``.
    cards: one row a card, columns ``card_id, product_id, printing``.
    """
    ids: list[str | None] = []
    keys: dict[str, tuple[int, str]] = {}
    for row in rows:
        product, printing = product_id(row), row.get("subTypeName")
        if product is not None and type(printing) is str and printing:
            card_id = f"{product}:{printing}"
            keys[card_id] = product, printing
            ids.append(card_id)
        else:
            ids.append(None)
    if nameless := ids.count(None):
        example = str(rows[ids.index(None)])[:200]
        notes.append(f"{nameless} rows without a usable product or printing, such as {example}")
    observations = pd.DataFrame(
        {
            "card_id": pd.Series(ids, dtype="object"),
            "date": pd.Series([day] * len(rows), dtype="object"),
            **{column: [row.get(name) for row in rows] for column, name in _fields.items()},
        }
    ).assign(source=SOURCE, collected_at=pd.Timestamp(collected_at))
    cards = pd.DataFrame(
        {
            "card_id": pd.Series(list(keys), dtype="object"),
            "product_id": pd.Series([product for product, _ in keys.values()], dtype="int64"),
            "printing": pd.Series([printing for _, printing in keys.values()], dtype="object"),
        }
    )
    return observations, cards


def usable_categories(categories: Iterable[int]) -> list[int]:
    """Return the categories without doubles; UsageError for none or one without prices."""
    wanted = list(dict.fromkeys(categories))
    refused = [category for category in wanted if category in UNUSABLE_CATEGORIES]
    if refused or not wanted:
        raise UsageError(
            f"POKEWATCH_TCGCSV_CATEGORIES={wanted}: "
            + (f"tcgcsv has no usable prices of {refused}" if refused else "none is named")
            + "; use 3 (Pokémon) and 85 (Pokémon Japan)"
        )
    return wanted
