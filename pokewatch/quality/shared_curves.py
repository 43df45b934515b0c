"""Another product's curve: the same prices, to the cent, on cards that have nothing in common."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pokewatch.quality.jumps import RECENT
from pokewatch.rounding import log, on_grid
from pokewatch.schema import KEY, stack
from pokewatch.settings import Settings

MIN_SHARED_CHANGES = 3
SAME_SHARE = 0.8  # of the days of a shared curve must agree to the cent


def shared_curves(
    candidates: pd.DataFrame, known: pd.DataFrame, settings: Settings, sets: Mapping[str, str]
) -> np.ndarray:
    """Return which rows belong to a price curve that unrelated cards share to the cent.

    Every day on which two cards move to the same price on the same date is evidence, worth the
    decimal digits of choice within 20 % of that price; a pair is a match when the evidence
    exceeds the digits that chance alone needs among that many pairs, by three. A card whose own
    earlier level the curve continues is its owner and is left alone.
    """
    code = pd.factorize(candidates["card_id"])[0]
    often = np.bincount(code, minlength=1)[code] >= MIN_SHARED_CHANGES  # fewer rows cannot
    order = candidates[often].set_axis(np.flatnonzero(often)).sort_values(KEY, kind="stable")
    number = pd.factorize(order["card_id"])[0]
    same_card = pd.Series(np.diff(number, prepend=-1) == 0, order.index)
    moved = ~same_card | order["market_price"].ne(order["market_price"].shift())
    weight = on_grid(np.log10(np.maximum(order["market_price"] * 20, 1.0)))
    events = order.assign(weight=weight)[moved & (weight > 0)]
    busy = (
        events.groupby("card_id", observed=True)["weight"].transform("size") >= MIN_SHARED_CHANGES
    )
    events = events[busy]
    flagged = np.zeros(len(candidates), dtype=bool)
    if events.empty:
        return flagged
    card, card_ids = pd.factorize(events["card_id"])
    event = events.groupby(["date", "market_price"], sort=False).ngroup().to_numpy()
    shared = np.bincount(event)[event] > 1
    shape = (len(card_ids), int(event.max()) + 1)
    from scipy import sparse

    incidence = sparse.csr_matrix(
        (np.sqrt(events["weight"].to_numpy()[shared]), (card[shared], event[shared])), shape=shape
    )
    evidence = sparse.triu(incidence @ incidence.T, k=1).tocoo()
    pairs = len(card_ids) * (len(card_ids) - 1) / 2
    match = on_grid(evidence.data) > on_grid(3 + np.log10(max(pairs, 1)))
    for left, right in zip(evidence.row[match], evidence.col[match], strict=True):
        one, other = str(card_ids[left]), str(card_ids[right])
        # Printings of one product, and boxes of one set, may well trade at one price.
        if one.split(":")[0] == other.split(":")[0] or sets.get(one, one) == sets.get(other, other):
            continue
        flagged |= stretch(order, one, other, known, settings, len(candidates))
    return flagged


def stretch(
    order: pd.DataFrame, one: str, other: str, known: pd.DataFrame, settings: Settings, size: int
) -> np.ndarray:
    """Return the rows of two cards between the first and the last day of their shared curve."""
    flagged = np.zeros(size, dtype=bool)
    left = order[order["card_id"] == one]
    right = order[order["card_id"] == other]
    both = left.reset_index().merge(right.reset_index(), on=["date", "market_price"])
    both = both.sort_values("date")
    if both["market_price"].nunique() < MIN_SHARED_CHANGES:
        return flagged
    first, last = both["date"].iloc[0], both["date"].iloc[-1]
    days = [set(rows.loc[rows["date"].between(first, last), "date"]) for rows in (left, right)]
    if len(both) < SAME_SHARE * len(days[0] & days[1]):
        return flagged
    for rows, own in ((left, "index_x"), (right, "index_y")):
        before = stack([known[["card_id", "date", "market_price"]], rows])
        mask = (before["card_id"] == rows["card_id"].iloc[0]) & (before["date"] < first)
        earlier = before.loc[mask].sort_values("date")["market_price"].tail(RECENT)
        entry = rows.loc[both[own].iloc[0], "market_price"]
        owner = len(earlier) > 0 and (
            abs(log(entry / earlier.median())) < log(settings.jump_factor)
        )
        if not owner:
            inside = rows.index[(rows["date"] >= first) & (rows["date"] <= last)]
            flagged[inside.to_numpy()] = True
    return flagged
