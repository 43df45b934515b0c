"""What a collection did: value over time, returns and gains, from its lots and daily prices.

Lots are frames as ``lots.lots`` returns them. Prices are near-mint market prices of ungraded cards
in USD, dates x card_ids, gaps filled, as ``Market.prices`` has them; last prices have those of
graded copies as well where they are known, under ``graded.name``, which have no history. Cards
without a price have no value here, copies without a cost no gain; what is left out is counted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pokewatch.settings import Marketplace
from pokewatch.watchlist import graded

START = 100.0  # of both curves, before the first day's buys
TIMELINE = ["value", "paid", "unrealised", "realised", "received", "growth", "market"]


def as_of(rows: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
    """Return the lots as they were at the end of a day: none bought later, nothing sold later."""
    rows = rows[~(rows["bought"] > day)].reset_index(drop=True)
    later = rows["sold"] > day
    of_sale = ["sold", "price", "sale_fees", "received", "gain"]
    return rows.assign(**{name: rows[name].mask(later) for name in of_sale})


def timeline(
    rows: pd.DataFrame, prices: pd.DataFrame, index: pd.Series | None = None
) -> pd.DataFrame:
    """Return a collection day by day from the first day on which a copy of it has a value.

    index: of the market, beside which it is shown. Index date; columns in USD: value (of copies
    held at the end of the day), paid (for those of them whose cost is known), unrealised (their
    value less that), realised (gains of all sales so far), received (in all sales so far, after
    fees); and growth (time-weighted; 100 before the first day's buys) and market (the index, 100 on
    that day).

    A copy counts from the day it was bought, without a day from the first one; where no price was
    known on that day, from the first price on, at that price. The end is the last price or the last
    transaction, whichever is later. Growth is revalued at each day's price before that day's buys
    and sales, so that money that comes in or goes out is no return; a sale's fees are money put in.
    """
    ends = [prices.index.max(), rows["bought"].max(), rows["sold"].max()]
    days = pd.date_range(prices.index[0], max(day for day in ends if pd.notna(day)), name="date")
    daily = prices.reindex(days).ffill()
    size = len(days)
    value, carried, known, paid, inflow, outflow, realised, received = np.zeros((8, size))
    first = size
    for row in rows.to_dict("records"):
        bought = 0 if pd.isna(row["bought"]) else (row["bought"] - days[0]).days
        end = size if pd.isna(row["sold"]) else (row["sold"] - days[0]).days
        if end < size:
            received[max(end, 0) :] += row["received"]
            realised[max(end, 0) :] += np.nan_to_num(row["gain"])
        if row["grade"] or row["card_id"] not in daily:
            continue
        price = daily[row["card_id"]].to_numpy()
        start = max(bought, int(np.isnan(price).sum()))  # prices are missing before the first only
        if start > min(end, size - 1):
            continue
        worth = row["quantity"] * price[start:end]
        carried[start + 1 : end + 1] += row["quantity"] * price[start + 1 : end + 1]
        has_cost = not np.isnan(row["paid"])
        on_the_day = has_cost and start == bought and not pd.isna(row["bought"])
        first = min(first, start)
        value[start:end] += worth
        inflow[start] += row["paid"] if on_the_day else row["quantity"] * price[start]
        if end < size:
            fees = np.nan_to_num(row["sale_fees"])
            outflow[end] += row["received"] + fees
            inflow[end] += fees
        if has_cost:
            known[start:end] += worth
            paid[start:end] += row["paid"]
    before = np.concatenate([[0.0], value[:-1]])
    factor = np.divide(carried, before, out=np.ones(size), where=before > 0)
    before = carried + inflow
    factor *= np.divide(value + outflow, before, out=np.ones(size), where=before > 0)
    out = pd.DataFrame(
        {
            "value": value,
            "paid": paid,
            "unrealised": known - paid,
            "realised": realised,
            "received": received,
            "growth": START * factor.cumprod(),
            "market": np.nan,
        },
        index=days,
    ).iloc[first:]
    if index is not None and len(out):
        market = index.reindex(days).ffill().loc[out.index]
        out["market"] = START * market / market.iloc[0]
    return out.round(dict.fromkeys(TIMELINE[:5], 2))


def drawdown(growth: pd.Series) -> dict[str, Any]:
    """Return the worst fall of a curve from a peak, which may be its start at ``START``.

    Keys fall (a fraction, 0 where it never fell), peak, low and recovered: days, None where there
    is none.
    """
    fall = growth / growth.cummax().clip(lower=START) - 1
    nothing = {"fall": 0.0, "peak": None, "low": None, "recovered": None}
    if growth.empty or fall.min() >= 0:
        return nothing
    low = fall.idxmin()
    before = growth.loc[:low]
    peak = before.idxmax() if before.max() > START else growth.index[0]
    after = growth.loc[low:]
    back = after.index[after >= max(before.max(), START)]
    recovered = back[0] if len(back) else None
    return {"fall": float(fall.min()), "peak": peak, "low": low, "recovered": recovered}


def gains(rows: pd.DataFrame, last: pd.Series) -> pd.DataFrame:
    """Return what each card brought, the largest contribution first; amounts to the cent.

    last: the last known price by card_id. Columns card_id (or the text that means no one card),
    quantity (held), price (USD; NaN where copies held differ), value, paid (of held
    copies; NaN where neither is known), unrealised (where both are), sold (copies), received,
    realised, gain (both gains) and contribution: gain as a share of all that was ever paid, so that
    they add up to the whole's.
    """
    held = rows["sold"].isna()
    price = _price(rows, last)
    worth = _cents(rows["quantity"] * price).where(held)
    paid = _cents(rows["paid"])
    parts = pd.DataFrame(
        {
            "card_id": rows["card_id"].fillna(rows["card"]),
            "quantity": rows["quantity"].where(held, 0),
            "price": price,
            "value": worth,
            "paid": paid.where(held),
            "unrealised": worth - paid,
            "sold": rows["quantity"].where(~held, 0),
            "received": _cents(rows["received"]),
            "realised": _cents(rows["gain"]),
            "spent": paid,
        }
    )
    sums = ["value", "paid", "unrealised", "received", "realised", "spent"]
    grouped = parts.groupby("card_id", sort=False)
    table = grouped[["quantity", "sold"]].sum()
    # Of copies whose prices differ, graded and not, there is no one price.
    table["price"] = (
        parts[held]
        .groupby("card_id")["price"]
        .agg(lambda prices: prices.iloc[0] if prices.nunique(dropna=False) == 1 else np.nan)
    )
    usual = price.where(rows["grade"] == "").groupby(parts["card_id"]).first()
    table["price"] = table["price"].where(table["quantity"] > 0, usual)
    table = table.join(grouped[sums].sum(min_count=1))
    table["gain"] = table[["unrealised", "realised"]].sum(axis=1, min_count=1)
    spent = table.pop("spent").sum()
    table["contribution"] = table["gain"] / spent if spent else np.nan
    amounts = [*sums[:-1], "gain"]
    table[amounts] = table[amounts] / 100
    order = ["quantity", "price", "value", "paid", "unrealised", "sold", "received", "realised"]
    table = table[[*order, "gain", "contribution"]].reset_index()
    return table.sort_values("contribution", ascending=False, kind="stable", ignore_index=True)


def totals(rows: pd.DataFrame, last: pd.Series) -> dict[str, Any]:
    """Return the sums of a collection in USD, to the cent.

    value and paid of held copies, unrealised, received, realised and gain as in ``gains``; spent:
    all that was ever paid; gain_share: gain as a share of that. Where every cost and price is
    known, value - spent + received = gain. Of held copies: copies; unpriced (no price is
    known) and uncosted, which are not in those sums. An amount is 0 where nothing is known.
    """
    table = gains(rows, last)
    held = rows[rows["sold"].isna()]
    names = ["value", "paid", "unrealised", "received", "realised", "gain"]
    sums = {name: int(_cents(table[name]).sum()) for name in names}
    sums["spent"] = int(_cents(rows["paid"]).sum())
    priced = _price(held, last).notna()
    return {
        **{name: amount / 100 for name, amount in sums.items()},
        "gain_share": sums["gain"] / sums["spent"] if sums["spent"] else float("nan"),
        "copies": int(held["quantity"].sum()),
        "unpriced": int(held.loc[~priced, "quantity"].sum()),
        "uncosted": int(held.loc[held["paid"].isna(), "quantity"].sum()),
    }


def proceeds(
    rows: pd.DataFrame, last: pd.Series, marketplaces: dict[str, Marketplace]
) -> pd.DataFrame:
    """Return what the held copies would bring at today's prices, the best marketplace first.

    Each copy is an order of its own; one that would bring less than it costs to sell stays. Columns
    marketplace, copies (worth selling), kept (the other ones that have a price), value (USD, of all
    that have a price), fees, shipping, net (USD, of those worth selling).
    """
    held = rows[rows["sold"].isna()]
    price = _price(held, last)
    quantity = held["quantity"].where(price.notna(), 0)
    out = []
    for name, place in marketplaces.items():
        fee = price * place.share + place.order
        sold = quantity.where(price - fee - place.shipping > 0, 0)
        amounts = {
            "value": (quantity * price).sum(),
            "fees": (sold * fee).sum(),
            "shipping": sold.sum() * place.shipping,
            "net": (sold * (price - fee - place.shipping)).sum(),
        }
        counts = {"copies": int(sold.sum()), "kept": int((quantity - sold).sum())}
        out.append({"marketplace": name, **counts, **amounts})
    columns = ["marketplace", "copies", "kept", "value", "fees", "shipping", "net"]
    table = pd.DataFrame(out, columns=columns).round(2)
    return table.sort_values("net", ascending=False, kind="stable", ignore_index=True)


def insurance(rows: pd.DataFrame, cards: pd.DataFrame, last: pd.Series) -> pd.DataFrame:
    """Return the held copies as an insurer wants them, the dearest first.

    cards: columns ``CARD_COLUMNS``. Columns card_id, name, set_name, number, printing, condition,
    grade, quantity, bought, paid (USD), price (USD a copy), value (USD; NaN where it is not
    known), note.
    """
    held = rows[rows["sold"].isna()]
    about = cards.set_index("card_id")[["name", "set_name", "number", "printing"]]
    table = held.drop(columns="price").join(about, on="card_id")
    table["card_id"] = table["card_id"].fillna(table["card"])
    table["price"] = _price(held, last)
    table["value"] = (table["quantity"] * table["price"]).round(2)
    names = ["card_id", "name", "set_name", "number", "printing", "condition", "grade", "quantity"]
    names += ["bought", "paid", "price", "value", "note"]
    return table[names].sort_values("value", ascending=False, kind="stable", ignore_index=True)


def _price(rows: pd.DataFrame, last: pd.Series) -> pd.Series:
    """Return what a copy of each lot is worth (USD), NaN where it is not known."""
    names = [*map(graded.name, rows["card_id"], rows["grade"])]
    return last.reindex(names).set_axis(rows.index).astype("float64")


def _cents(usd: pd.Series) -> pd.Series:
    return (usd.astype("float64") * 100).round()
