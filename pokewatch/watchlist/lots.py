"""Lots: copies bought together, what of them was sold, and the transactions that follow."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import pandas as pd

from pokewatch.cards.catalog import Catalog
from pokewatch.cards.spelling import plain, printable
from pokewatch.errors import UsageError
from pokewatch.schema import typed
from pokewatch.watchlist import edit
from pokewatch.watchlist.entries import (
    Condition,
    Entry,
    Sale,
    cents,
    entry,
    exact_cents,
    whole_cents,
)

OPENING = "opening"  # the day of a lot whose day of purchase is not known
LOTS = {
    "card": "object",
    "card_id": "object",
    "condition": "object",
    "grade": "object",
    "quantity": "int64",
    "lot": "object",
    "bought": "datetime64[ns]",
    "cost": "float64",
    "paid": "float64",
    "sold": "datetime64[ns]",
    "price": "float64",
    "sale_fees": "float64",
    "received": "float64",
    "gain": "float64",
    "note": "object",
}


def lot_id(one: Entry) -> str:
    """Return the name of an entry's lot: the day it was bought, and what a copy cost."""
    day = f"{one.bought}" if one.bought else OPENING
    if one.cost is None:
        return day
    return f"{day}@{one.cost:.2f}" if whole_cents(one.cost) else f"{day}@{one.cost}"


def described(one: Entry) -> str:
    """Return an entry's copies in a few words."""
    grade = one.grade or one.condition.replace("_", " ")
    return printable(f"{one.quantity} x {one.card} ({grade}, lot {lot_id(one)})")


def chosen(
    found: dict[int, Entry],
    condition: Condition | None = None,
    grade: str | None = None,
    lot: str | None = None,
) -> dict[int, Entry]:
    """Return the entries of a condition, a grade and a lot: as ``lot_id`` names it, or its day."""
    return {
        at: one
        for at, one in found.items()
        if (condition is None or one.condition is condition)
        and (grade is None or plain(one.grade) == plain(grade))
        and (lot is None or lot in (lot_id(one), lot_id(one).partition("@")[0]))
    }


def total(amounts: pd.Series) -> float | None:
    """Return a sum to the cent: 0 of nothing, None where no amount of them is known."""
    return None if len(amounts) and amounts.isna().all() else round(float(amounts.sum()), 2)


def sell(
    entries: Sequence[Entry | None],
    catalog: Catalog,
    card: str,
    quantity: int,
    price: float,
    on: date,
    fees: float = 0.0,
    lot: str | None = None,
    condition: Condition | None = None,
    grade: str | None = None,
    note: str = "",
) -> list[Entry | None]:
    """Return entries after a sale, as ``edit.write`` takes them: the copies bought first go first.

    Copies without a day were there before all others. price: USD a copy; fees: USD of the whole
    sale, shared by the lots it takes from; lot: as ``lot_id`` names it, or its day alone. Raises
    UsageError for more copies than were held that day, and where it is not clear which are meant.
    """
    mine = {at: entries[at] or Entry(card=card) for at in edit.matching(entries, card, catalog)}
    if not mine:
        raise UsageError(
            f"'{card}' cannot be sold, the list has no entry of it: add it first, "
            "with 'pokewatch watch buy'"
        )
    held = "; ".join(map(described, mine.values()))
    found = chosen(mine, condition, grade, lot)
    if not found:
        raise UsageError(f"no such copies of '{card}': held are {held}")
    for name in ("condition", "grade"):
        if len({plain(getattr(one, name)) for one in found.values()}) > 1:
            raise UsageError(f"copies of '{card}' differ in {name}: name it with --{name}: {held}")
    if lot is not None and len({lot_id(one) for one in found.values()}) > 1:
        raise UsageError(f"--lot '{lot}' names several lots: write it in full, of {held}")
    there = {at: one for at, one in found.items() if (one.bought or date.min) <= on}
    count = sum(one.quantity for one in there.values())
    if quantity > count:
        raise UsageError(
            f"{quantity} x '{card}' cannot be sold, {count} were held on {on}: held are {held}; "
            "sell fewer, or add what is missing with 'pokewatch watch buy'"
        )
    now: list[Entry | None] = list(entries)
    left, whole = quantity, exact_cents("fees", fees)
    for at, one in sorted(there.items(), key=lambda pair: pair[1].bought or date.min):
        taken = min(left, one.quantity)
        if not taken:
            break
        before, left = quantity - left, left - taken
        share = [whole * count // quantity for count in (before, quantity - left)]
        rest, gone = _split(one, taken)
        known = {"price": price, "date": on, "sale_fees": (share[1] - share[0]) / 100 or None}
        noted = "; ".join(filter(None, [gone.note, note]))
        now[at] = rest
        fields = gone.model_dump(exclude_defaults=True, exclude={"card", "note"}) | known
        now.append(entry("this sale", {"sold": gone.card, "note": noted, **fields}))
    return now


def _split(one: Entry, taken: int) -> tuple[Entry | None, Entry]:
    """Return what is left of an entry, and the copies taken; its fees are shared to the cent."""
    if taken == one.quantity:
        return None, one.model_copy(update={"target_above": None, "target_below": None})
    fees: tuple[float | None, float | None] = None, None
    if one.buy_fees is not None:
        whole = cents(one.buy_fees)
        part = whole * taken // one.quantity
        fees = (whole - part) / 100, part / 100
    rest = one.model_copy(update={"quantity": one.quantity - taken, "buy_fees": fees[0]})
    apart = {"quantity": taken, "buy_fees": fees[1], "target_above": None, "target_below": None}
    return rest, one.model_copy(update=apart)


def apply(
    entries: Sequence[Entry], trades: Sequence[Entry], catalog: Catalog, gone: bool = False
) -> tuple[list[Entry | None], dict[int, str]]:
    """Return entries after buys and sales, day by day, buys first; and why a trade was left out.

    trades: entries are buys. gone: what was sold is in the list no more: the sales are kept as they
    are, and take nothing from it; buys are left out. The problems are by the trade's place.
    """
    now: list[Entry | None] = list(entries)
    problems = {}

    def when(at: int) -> tuple[date, bool]:
        one = trades[at]
        return (one.date, True) if isinstance(one, Sale) else (one.bought or date.min, False)

    for at in sorted(range(len(trades)), key=when):
        one = trades[at]
        if gone and not isinstance(one, Sale):
            problems[at] = "a buy, and --gone takes only sales: import it without --gone"
        elif not isinstance(one, Sale):
            now = edit.joined(now, [one], catalog)
        elif gone:
            now.append(one)
        else:
            told = one.model_fields_set
            asked = {name: getattr(one, name) for name in ("condition", "grade") if name in told}
            known = one.card, one.quantity, one.price, one.date, one.sale_fees or 0.0
            try:
                now = sell(now, catalog, *known, note=one.note, **asked)
            except UsageError as error:
                problems[at] = str(error)
    return now, problems


def lots(entries: Sequence[Entry], catalog: Catalog) -> pd.DataFrame:
    """Return held and sold copies, a row an entry, in their order; amounts in USD, to the cent.

    Columns card (as written), card_id (None where the text means no one card), condition, grade,
    quantity, lot, bought (NaT: not known), cost (a copy), paid (all copies, with fees; NaN: not
    known), and of sold copies sold (the day), price (a copy), sale_fees, received (all copies,
    after fees), gain (received - paid); note. Where a cost has a part of a cent, the copies of a
    lot add up to what it cost: those sold are counted first, in their order, then those held.
    """
    rows: list[dict[str, Any]] = [{} for _ in entries]
    copies = dict[tuple[Any, ...], int]()  # of each lot so far
    for at in sorted(range(len(entries)), key=lambda at: not isinstance(entries[at], Sale)):
        one, paid = entries[at], None
        row: dict[str, Any] = one.model_dump(include={"card", "quantity", "cost", "grade", "note"})
        try:
            row["card_id"] = catalog.resolve(one.card)
        except UsageError:
            row["card_id"] = None
        row |= {"condition": one.condition.value, "bought": one.bought, "lot": lot_id(one)}
        if one.cost is not None:
            key = row["card_id"] or one.card, one.condition, one.grade, row["lot"]
            before = copies.get(key, 0)
            after = copies[key] = before + one.quantity
            paid = cents(after * one.cost) - cents(before * one.cost) + cents(one.buy_fees or 0)
        row |= {"paid": None if paid is None else paid / 100}
        if isinstance(one, Sale):
            received = one.quantity * cents(one.price) - cents(one.sale_fees or 0)
            row |= {"sold": one.date, "price": one.price, "sale_fees": one.sale_fees or 0.0}
            row |= {"received": received / 100}
            row |= {"gain": None if paid is None else (received - paid) / 100}
        rows[at] = row
    frame = typed(rows, LOTS)
    days = {name: pd.to_datetime(frame[name]) for name in ("bought", "sold")}
    amounts = {name: frame[name].astype("float64") for name, kind in LOTS.items() if kind[0] == "f"}
    return frame.assign(**days, **amounts)


def transactions(rows: pd.DataFrame) -> pd.DataFrame:
    """Return buys and sales by day, those without a day first; rows: as ``lots`` returns them.

    Columns date, type (opening: bought on a day that is not known, buy, sell), card, card_id,
    condition, grade, quantity, price (USD a copy), fees (USD), amount (USD that came in, of buys
    less than 0), gain (USD, of sales), lot, note. What was bought as one lot is one row, however
    much of it was sold.
    """
    same = ["card_id", "condition", "grade", "lot"]
    keyed = rows.assign(card_id=rows["card_id"].fillna(rows["card"]), known=rows["card_id"])
    keyed["note"] = rows["note"].where(rows["sold"].isna())  # a sale's note is not its buy's
    how = {"card": "first", "known": "first", "quantity": "sum", "cost": "first", "note": "first"}
    how |= {"bought": "first"}
    grouped = keyed.groupby(same, sort=False, dropna=False)
    buys = grouped.agg(how).assign(paid=grouped["paid"].sum(min_count=1)).reset_index()
    goods = (buys["cost"] * buys["quantity"]).map(cents, na_action="ignore") / 100
    buys["fees"] = (buys["paid"] - goods).round(2)
    buys = buys.assign(
        type=buys["bought"].isna().map({True: "opening", False: "buy"}),
        date=buys["bought"],
        price=buys["cost"],
        amount=-buys["paid"],
        card_id=buys["known"],
        note=buys["note"].fillna(""),
        gain=float("nan"),
    )
    sales = rows[rows["sold"].notna()]
    sales = sales.assign(
        type="sell", date=sales["sold"], amount=sales["received"], fees=sales["sale_fees"]
    )
    names = ["date", "type", "card", "card_id", "condition", "grade", "quantity", "price", "fees"]
    names += ["amount", "gain", "lot", "note"]
    found = pd.concat([part[names] for part in (buys, sales) if len(part)] or [buys[names]])
    return found.sort_values("date", kind="stable", na_position="first", ignore_index=True)
