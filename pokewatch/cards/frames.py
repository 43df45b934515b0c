"""The table of cards: one row a card, texts repaired, later deliveries merged in."""

from __future__ import annotations

import ftfy
import numpy as np
import pandas as pd

from pokewatch.schema import CARD_COLUMNS, empty_cards, product_ids

TEXT_COLUMNS = ["name", "set_name", "number", "rarity", "printing", "product_kind"]
# Kinds of other files: all that is no single card is sealed.
SINGLE_KINDS = {"single", "card", "cards", "singles"}
CANONICAL = r"^(\d+):(.+)$"  # a card_id that names product and printing


def tidy(cards: pd.DataFrame) -> pd.DataFrame:
    """Return cards with exactly ``CARD_COLUMNS``, one row a card_id, names repaired.

    Later rows win field by field; a field is never overwritten by a missing value. Product id
    and printing are read from a canonical ``{productId}:{printing}`` id where they are missing.
    """
    cards = cards.reindex(columns=CARD_COLUMNS)
    cards = cards[cards["card_id"].notna()]
    if cards.empty:
        return empty_cards()
    named = cards.loc[cards["aliases"].notna(), ["card_id", "aliases"]]
    if len(named):
        named = named.explode("aliases").dropna()
    aliases = named.groupby("card_id")["aliases"].agg(lambda names: sorted(set(names))).to_dict()
    fields = [name for name in CARD_COLUMNS if name not in ("card_id", "aliases")]
    if cards["card_id"].is_unique:
        last = cards.set_index("card_id")[fields].sort_index()
    else:
        last = cards.groupby("card_id", sort=True)[fields].last()
    for column in TEXT_COLUMNS:
        text = last[column].dropna().astype(str)
        repaired = {value: ftfy.fix_text(value).strip() for value in text.unique()}
        last[column] = text.map(repaired).reindex(last.index).astype("object")
    kinds = {
        kind: "single" if kind.lower() in SINGLE_KINDS else "sealed"
        for kind in last["product_kind"].dropna().unique()
    }
    last["product_kind"] = last["product_kind"].map(kinds)
    last["product_id"] = product_ids(last["product_id"])
    missing = last["product_id"].isna() | last["printing"].isna()
    if missing.any():
        parts = last.index[missing].to_series().str.extract(CANONICAL)
        last["product_id"] = last["product_id"].fillna(product_ids(parts[0]))
        last["printing"] = last["printing"].where(last["printing"].notna(), parts[1])
    release = pd.to_datetime(last["release_date"], errors="coerce", format="ISO8601", utc=True)
    last["release_date"] = release.dt.date.astype("object").where(release.notna(), None)
    none: list[str] = []  # one for all: to make 43,000 takes longer than all of the rest
    last["aliases"] = [aliases.get(card_id, none) for card_id in last.index]
    return last.reset_index()[CARD_COLUMNS]


def merge(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Return the union of known and newly delivered cards; what arrives late fills the gaps."""
    return tidy(pd.concat([frame for frame in (old, new) if len(frame)] or [empty_cards()]))


def differs(cards: pd.DataFrame, known: pd.DataFrame) -> np.ndarray:
    """Return which cards may add to the known ones or change them; the others repeat them.

    cards: any of ``CARD_COLUMNS``, as delivered or tidy (then the answer is exact); known: as
    stored, with every column that cards fill.
    """
    if known.empty or "card_id" not in cards or not cards["card_id"].is_unique:
        return np.ones(len(cards), dtype=bool)
    place = pd.Index(known["card_id"]).get_indexer(cards["card_id"])
    more = place < 0
    for name in CARD_COLUMNS[1:]:
        given = cards[name].notna().to_numpy() if name in cards else np.zeros(len(cards), bool)
        if name in ("product_id", "printing") and not given.all():  # the id may tell them
            parts = cards["card_id"].astype("object").str.extract(CANONICAL)
            told = product_ids(parts[0]) if name == "product_id" else parts[1]
            more |= ~given & told.notna().to_numpy()
        if not given.any():
            continue
        theirs = known[name].iloc[place]
        there = theirs.notna().to_numpy()
        more |= given & ~there
        rows = np.flatnonzero(given & there & (place >= 0))
        pair = cards[name].iloc[rows], theirs.iloc[rows]
        if name == "aliases":
            new = [not set(one) <= set(other) for one, other in zip(*pair, strict=True)]
            more[rows] |= np.array(new, dtype=bool)
            continue
        kind = "float64" if all(map(pd.api.types.is_numeric_dtype, pair)) else "object"
        mine, other = (one.astype(kind).to_numpy() for one in pair)
        more[rows] |= mine != other
    return more
