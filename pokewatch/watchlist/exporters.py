"""The watchlist as files that other collection apps import, and that ``importers`` reads back."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pokewatch.csv_files import FORMULA
from pokewatch.schema import product_ids
from pokewatch.watchlist.entries import whole_cents

FIELDS = ["name", "set_name", "number", "printing", "rarity", "product_id"]
# Each format's columns, and which of our texts they hold. Other apps leave the last one unread,
# ours finds the very card by it.
FORMATS = {
    "csv": "name=name,set=set_name,number=number,printing=printing,quantity=quantity,"
    "condition=condition,grade=grade,cost=cost,buy fees=buy_fees,bought=bought,"
    "target above=target_above,target below=target_below,currency=currency,note=note",
    "tcgplayer": "Quantity=quantity,Name=name,Simple Name=name,Set=set_name,Card Number=number,"
    "Set Code=,Printing=printing,Condition=condition,Language=English,Rarity=rarity,"
    "Product ID=product_id,SKU=,Price=,Price Each=price",
    "collectr": "Portfolio Name=PokeWatch,Category=Pokemon,Set=set_name,Product Name=name,"
    "Card Number=number,Rarity=rarity,Variance=printing,Grade=graded,Card Condition=condition,"
    "Average Cost Paid=cost,Quantity=quantity,Market Price (As of DAY)=price,Price Override=,"
    "Watchlist=,Date Added=,Notes=note",
    "cardmarket": "idArticle=,idProduct=,English Name=name,Exp. Name=set_name,Price=,"
    "Language=English,Condition=their_condition,Foil?=holofoil,Reverse Holo?=reverse_holofoil,"
    "First Ed.?=1st_edition,Comments=note,Amount=quantity,Purchase Price=cost,Currency=currency",
}
DELIMITERS = {"cardmarket": ";"}
UNGRADED_ONLY = ("tcgplayer", "cardmarket")  # a graded copy would pass for one that is not
CARDMARKET = {"near mint": "NM", "lightly played": "EX", "moderately played": "GD"}
CARDMARKET |= {"heavily played": "PL", "damaged": "PO"}


def exported(
    held: pd.DataFrame, cards: pd.DataFrame, style: str, day: pd.Timestamp, currency: str = "USD"
) -> pd.DataFrame:
    """Return held copies as texts in the columns of a format, a row an entry.

    held: as ``entries.holdings`` values them on ``day``; cards: columns ``CARD_COLUMNS``; style:
    one of ``FORMATS``; currency: of the amounts. Formats without a column for grades leave graded
    copies out.
    """
    rows = held[held["grade"] == ""] if style in UNGRADED_ONLY else held
    whole = cards.assign(product_id=product_ids(cards["product_id"]))
    about = whole.set_index("card_id")[FIELDS].reindex(rows["card_id"]).set_axis(rows.index)
    texts = about.astype("object").where(about.notna(), "").astype(str)
    amounts = ["cost", "buy_fees", "target_above", "target_below"]
    for name in (*amounts, "price"):
        texts[name] = rows[name].map(_usd)
    texts["quantity"] = rows["quantity"].astype(str)
    texts["grade"], texts["bought"] = rows["grade"], rows["bought"].fillna("").astype(str)
    note = rows["note"].str.split().str.join(" ")
    guarded = note.str.lstrip("'").str.match(FORMULA) & note.str.startswith("'")
    texts["note"] = note.where(~guarded, "'" + note)  # reading takes one of them away
    texts["condition"] = rows["condition"].str.replace("_", " ").str.title()
    texts["their_condition"] = texts["condition"].str.lower().map(CARDMARKET)
    texts["graded"] = rows["grade"].replace("", "Ungraded")
    texts["currency"] = np.where(rows[amounts].notna().any(axis=1), currency, "")
    # One printing may be several of these: "1st Edition Holofoil".
    reverse, foil = (texts["printing"].str.contains(word) for word in ("Reverse", "Holofoil"))
    marks = {"reverse_holofoil": reverse, "holofoil": foil & ~reverse}
    marks["1st_edition"] = texts["printing"].str.contains("1st Edition")
    for name, marked in marks.items():
        texts[name] = marked.map({True: "1", False: ""})
    out = pd.DataFrame(index=rows.index)
    for column in FORMATS[style].split(","):
        header, _, ours = column.partition("=")
        out[header.replace("DAY", f"{day:%Y-%m-%d}")] = texts.get(ours, ours)
    out["PokeWatch ID"] = rows["card_id"].fillna(rows["card"])
    return out.reset_index(drop=True)


def _usd(value: float) -> str:
    """Return an amount that no reader takes for another one, "" where it is not known."""
    if pd.isna(value):
        return ""
    return f"{value:.2f}" if whole_cents(value) else f"{value:.8f}"
