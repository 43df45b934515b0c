"""What of a set one has and what it lacks, and what the lacking costs."""

from __future__ import annotations

import pandas as pd
from rapidfuzz import fuzz, process

from pokewatch.cards.catalog import listed
from pokewatch.cards.matching import set_names
from pokewatch.cards.spelling import normal_set, plain, set_of
from pokewatch.errors import UsageError
from pokewatch.schema import PRIOR
from pokewatch.watchlist.lots import total

MOVE = 0.01  # a smaller expected change says nothing
LISTED = 10


def find_set(cards: pd.DataFrame, text: str) -> str:
    """Return the one set_name that a name or code (``sv4pt5``) means.

    cards: columns ``CARD_COLUMNS``. Raises UsageError for none (with similar ones) or several.
    """
    known = cards[cards["set_name"].notna()]
    names = sorted(known["set_name"].unique())
    wanted = plain(text)
    found = [name for name in names if plain(name) == wanted]
    found = found or [name for name in names if wanted and wanted in map(plain, set_names(name))]
    if not found:
        code = normal_set(text)
        codes = known["aliases"].map(lambda one: code in {set_of(alias) for alias in listed(one)})
        found = sorted(known.loc[codes.astype(bool), "set_name"].unique())
    if not found:
        found = [name for name in names if wanted and wanted in plain(name)]
    if len(found) == 1:
        return str(found[0])
    shown = " ".join(text.split())
    if found:
        more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
        raise UsageError(
            f"'{shown}' fits {len(found)} sets, name one of them: {', '.join(found[:LISTED])}{more}"
        )
    spelt = {plain(name): name for name in names}
    like = process.extract(wanted, list(spelt), scorer=fuzz.WRatio, limit=5, score_cutoff=60)
    near = ", ".join(spelt[one] for one, _, _ in like) or "none that looks like it"
    raise UsageError(f"unknown set '{shown}': there are {near}; 'pokewatch cards TEXT' shows sets")


def completion(
    cards: pd.DataFrame, have: pd.Series, last: pd.Series, predictions: pd.DataFrame
) -> pd.DataFrame:
    """Return the single cards of a set by printing: those that lack first, the cheapest first.

    cards: columns ``CARD_COLUMNS``; have: copies by card_id; last: the last known price by card_id
    (USD); predictions: columns card_id, market_price, fair_value, signal, of one day and horizon.
    Columns card_id, name, number, printing, have (copies), price (USD), expected (the change that
    the model expects, a fraction), advice ("buy now" where the price is expected to rise by 1 % or
    more, "wait" where it is to fall, else "" or, without a forecast, None) and signal.
    """
    singles = cards[cards["product_kind"].fillna("single") == "single"]
    table = singles[["card_id", "name", "number", "printing"]].copy()
    table["have"] = table["card_id"].map(have).fillna(0).astype("int64")
    table["price"] = table["card_id"].map(last).astype("float64")
    calls = predictions.set_index("card_id")
    proved = calls[~calls["model"].astype(str).str.startswith(PRIOR)]  # no advice by a prior
    expected = proved["fair_value"] / proved["market_price"] - 1
    table["expected"] = table["card_id"].map(expected).astype("float64")
    advice = pd.cut(
        table["expected"],
        [-float("inf"), -MOVE, MOVE, float("inf")],
        labels=["wait", "", "buy now"],
    ).astype("object")
    table["advice"] = advice.where(table["expected"].notna(), None)
    table["signal"] = table["card_id"].map(calls["signal"])
    owned = table["have"] > 0
    order = table.assign(owned=owned).sort_values(["owned", "price", "card_id"], kind="stable")
    return order.drop(columns="owned").reset_index(drop=True)


def summary(table: pd.DataFrame) -> dict[str, float | int | None]:
    """Return how many printings one has and lacks, and what the lacking cost.

    Keys printings, have, lack, cost (USD, one of each that lacks and has a price; None where
    no price is known), unpriced (those without one), and of the lacking wait and buy_now.
    """
    lack = table[table["have"] == 0]
    return {
        "printings": len(table),
        "have": len(table) - len(lack),
        "lack": len(lack),
        "cost": total(lack["price"]),
        "unpriced": int(lack["price"].isna().sum()),
        "wait": int((lack["advice"] == "wait").sum()),
        "buy_now": int((lack["advice"] == "buy now").sum()),
    }
