"""What a card's page shows beside its prices: past calls, refused days, printings, solo moves."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pandas as pd

from pokewatch.analysis.market import Market, changes
from pokewatch.errors import PokewatchError
from pokewatch.evaluation import registry, track_record
from pokewatch.quality import rules
from pokewatch.schema import MODEL, SIGNAL_HORIZON

CALLS = ["card_id", "date", "signal", "price", "y", "move", "gain", "right", "kind"]
REFUSED = ["date", "market_price", "status", "meaning", "detail", "source"]


def past_calls(market: Market, horizon: int = SIGNAL_HORIZON) -> pd.DataFrame:
    """Return every BUY and SELL whose end is known, with its outcome, the newest first.

    Columns card_id, date, signal, price, y (USD, at the end of the horizon), move, gain, right as
    in ``pw.trade_log``, and kind: "live" as nights gave them, or "walk-forward" as the champion
    would have given them; where both speak of a day, the night does.
    """
    settings, cards = market.settings, market.known
    said = track_record.live(settings, market.panel, horizon).assign(model=MODEL)
    tested = said.iloc[:0]
    with suppress(PokewatchError):  # no champion; back-tests of old models are not kept
        tested = registry.past_forecasts(settings, "champion")
    key = ["card_id", "date"]
    spoken = pd.MultiIndex.from_frame(said[key])  # a HOLD of the night counts as well
    tested = tested[~pd.MultiIndex.from_frame(tested[key]).isin(spoken)]
    rows = [
        track_record.trade_log(part, cards, horizon, settings.fee, settings.good_move).assign(
            kind=kind
        )
        for kind, part in (("live", said), ("walk-forward", tested))
        if len(part)
    ]
    if not rows:
        return pd.DataFrame(columns=CALLS)
    both = pd.concat(rows, ignore_index=True)[CALLS]
    both = both[both["card_id"].isin(market.panel.card_ids)]
    return both.sort_values("date", ascending=False, kind="stable", ignore_index=True)


def solo(market: Market, days: int = 7) -> pd.Series:
    """Return which cards moved alone, index of card_ids.

    Over ``days`` days such a card moved by ``good_move`` and more, and no other printing of its
    product that has a known change moved so far that way.
    """
    table = changes(market.panel, days, market.settings.stale_days)
    product = market.known["product_id"].reset_index(drop=True)
    change = table["change"].round(9)  # 0.21 after 0.20 is a rise by 0.05
    far = change.abs() >= market.settings.good_move
    way = pd.Series(np.where(far, np.sign(change), 0.0), table.index)
    printings = change.notna().groupby(product).transform("sum")
    alike = way.groupby([product, way]).transform("size")
    alone = (way != 0) & (printings > 1) & (alike == 1)
    return alone.set_axis(table["card_id"]).rename("solo")


def printings(market: Market, card_id: str) -> pd.DataFrame:
    """Return a card and the other printings of its product: rows of ``market.cards``."""
    cards = market.cards
    product = cards.at[card_id, "product_id"]
    same = cards["product_id"] == product if pd.notna(product) else cards.index == card_id
    return cards[same]


def refused_days(market: Market, card_id: str) -> pd.DataFrame:
    """Return a card's rows that were refused or are held, the newest day first.

    Columns date, market_price (USD), status (refused or held), meaning, detail, source.
    """
    rows = market.quarantine
    rows = rows[rows["card_id"] == card_id]
    meaning = [rules.REASONS.get(reason, reason) for reason in rows["reason"]]
    found = rows.assign(meaning=meaning)[REFUSED]
    return found.sort_values("date", ascending=False, kind="stable", ignore_index=True)


def listings(market: Market, card_id: str) -> pd.DataFrame:
    """Return a card's low and mid listings (USD), index of dates, NaN where none was delivered."""
    panel = market.panel
    column = int(np.flatnonzero(panel.card_ids == card_id)[0])
    names = {"low": panel.low, "mid": panel.mid}
    values = {name: matrix[market.first :, column] for name, matrix in names.items()}
    return pd.DataFrame(values, market.dates)
