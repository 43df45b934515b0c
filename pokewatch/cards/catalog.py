"""Cards: names, aliases and the one way from what a user types to a canonical card id."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cached_property, lru_cache

import ftfy
import numpy as np
import pandas as pd

from pokewatch.cards.spelling import normal_alias, printing_of, unaccented
from pokewatch.cards.words import WordIndex
from pokewatch.errors import UsageError
from pokewatch.schema import CARD_COLUMNS, empty_cards, product_ids

SUGGESTIONS = 5
LISTED = 10  # cards to choose from; a longer list is narrowed with more words
LONGEST = 200  # letters; no id or name is longer
TEXT_COLUMNS = ["name", "set_name", "number", "rarity", "printing", "product_kind"]
# Kinds of other files: all that is no single card is sealed.
SINGLE_KINDS = {"single", "card", "cards", "singles"}


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
    aliases = named.groupby("card_id")["aliases"].agg(lambda names: sorted(set(names)))
    fields = [name for name in CARD_COLUMNS if name not in ("card_id", "aliases")]
    if cards["card_id"].is_unique:
        last = cards.set_index("card_id")[fields].sort_index()
    else:
        last = cards.groupby("card_id", sort=True)[fields].last()
    for column in TEXT_COLUMNS:
        text = last[column].dropna().astype(str)
        if text.empty:
            last[column] = last[column].astype("object")
            continue
        unique = pd.Series({value: ftfy.fix_text(value).strip() for value in text.unique()})
        last[column] = text.map(unique).reindex(last.index).astype("object")
    kinds = {
        kind: "single" if kind.lower() in SINGLE_KINDS else "sealed"
        for kind in last["product_kind"].dropna().unique()
    }
    last["product_kind"] = last["product_kind"].map(kinds)
    last["product_id"] = product_ids(last["product_id"])
    untold = last["product_id"].isna() | last["printing"].isna()
    if untold.any():
        parts = last.index[untold].to_series().str.extract(r"^(\d+):(.+)$")
        last["product_id"] = last["product_id"].fillna(product_ids(parts[0]))
        last["printing"] = last["printing"].where(last["printing"].notna(), parts[1])
    release = pd.to_datetime(last["release_date"], errors="coerce")
    last["release_date"] = release.dt.date.astype("object").where(release.notna(), None)
    none: list[str] = []  # one for all: to make 43,000 takes longer than all of the rest
    if aliases.empty:
        last["aliases"] = [none] * len(last)
    else:
        told = aliases.reindex(last.index).tolist()
        last["aliases"] = [names if isinstance(names, list) else none for names in told]
    return last.reset_index()[CARD_COLUMNS]


def merge(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Return the union of known and newly delivered cards; what arrives late fills the gaps."""
    return tidy(pd.concat([frame for frame in (old, new) if len(frame)] or [empty_cards()]))


def differs(cards: pd.DataFrame, known: pd.DataFrame) -> np.ndarray:
    """Return which delivered cards may say more than the known ones; the others repeat them.

    cards: as delivered, any of ``CARD_COLUMNS``; known: as stored.
    """
    told = [name for name in CARD_COLUMNS[1:] if name in cards and cards[name].notna().any()]
    complete = {"product_id", "printing"} <= set(told)  # else the id may tell them
    if not (complete and cards["card_id"].is_unique):
        return np.ones(len(cards), dtype=bool)
    place = pd.Index(known["card_id"]).get_indexer(cards["card_id"])
    more = place < 0
    for name in told if len(known) else []:
        numbers = all(pd.api.types.is_numeric_dtype(one[name]) for one in (cards, known))
        kind = "float64" if numbers else "object"
        mine, theirs = cards[name].astype(kind), known[name].astype(kind).iloc[place]
        both = np.flatnonzero(mine.notna().to_numpy() & theirs.notna().to_numpy())
        other = mine.notna().to_numpy() | (name in ("product_id", "printing"))
        if name != "aliases":
            other[both] = mine.iloc[both].to_numpy() != theirs.iloc[both].to_numpy()
        more |= other
    return more


def news(new: pd.DataFrame, known: pd.DataFrame) -> set[str]:
    """Return the ids of tidy cards that are not known, or say what the known ones do not."""
    place = pd.Index(known["card_id"]).get_indexer(new["card_id"])
    more = place < 0
    both = np.flatnonzero(~more)
    for name in CARD_COLUMNS[1:-1]:
        told = both[new[name].iloc[both].notna().to_numpy()]
        if not len(told):
            continue
        mine, theirs = new[name].iloc[told], known[name].iloc[place[told]]
        if name == "product_id":  # of two types of numbers, of which only one has NaN
            mine, theirs = mine.astype("float64"), theirs.astype("float64")
        more[told] |= mine.to_numpy() != theirs.to_numpy()
    for row in np.flatnonzero(new["aliases"].map(len).gt(0) & ~more):
        more[row] = not set(new["aliases"].iat[row]) <= set(known["aliases"].iat[place[row]])
    return set(new.loc[more, "card_id"])


class Resolver:
    """Finds the canonical id for an id, an alias or the words of a name."""

    def __init__(self, cards: pd.DataFrame):
        """Index cards (columns ``CARD_COLUMNS``)."""
        self.cards = cards
        ids = cards["card_id"].tolist()
        self._row = {card_id: row for row, card_id in enumerate(ids)}
        self._lower = [card_id.lower() for card_id in ids]
        self._ids = {lower: row for row, lower in enumerate(self._lower)}
        self._products = cards["product_id"].to_numpy(dtype="float64", na_value=np.nan)
        self._aliases: dict[str, list[int]] = {}
        spelt = lru_cache(maxsize=None)(normal_alias)  # printings share their aliases
        for row, names in enumerate(cards["aliases"].tolist()):
            for name in names if names is not None else []:
                self._aliases.setdefault(spelt(name), []).append(row)

    def __call__(self, text: str) -> str:
        """Return the canonical id of what a person typed.

        text: a card_id, which always means its own card; an id in other case, a product id or an
        alias in any spelling, each also followed by a printing (``sv4pt5-1:Reverse Holofoil``);
        or words of name, set, number and printing (``Charizard ex 054/091``). Raises UsageError
        if several cards fit (with the list to choose from) or none does (with similar ones).
        """
        text = str(text).strip()
        shown = "".join(sign if sign.isprintable() else " " for sign in text[:LONGEST])
        if len(text) > LONGEST:
            raise UsageError(f"unknown card '{shown}...': no id and no name is that long")
        rows = self.rows(text)
        if len(rows) == 1:
            return str(self.cards["card_id"].iat[rows.pop()])
        if not rows:
            raise UsageError(f"unknown card '{shown}': {self._hint(text)}")
        products = self._products[list(rows)]
        what = "has {} printings" if (products == products[0]).all() else "fits {} cards"
        listed = self._words.describe(self._words.in_order(list(rows), text)[:LISTED])
        more = f"; and {len(rows) - LISTED} more" if len(rows) > LISTED else ""
        raise UsageError(
            f"'{shown}' {what.format(len(rows))}, name one of them: {'; '.join(listed)}{more}"
        )

    def rows(self, text: str) -> set[int]:
        """Return the positions of the cards that fit a text, as ``__call__`` reads it.

        All of them: a card that comes later can make a text ambiguous, never mean another card.
        """
        if text in self._row:
            return {self._row[text]}
        words = set() if is_id(text) else self._words.find(text)
        return words | self._of_id(text)

    def _of_id(self, text: str) -> set[int]:
        lower = text.lower()
        rows = {self._ids[lower]} if lower in self._ids else set()
        if rows and len(self._ids) < len(self._lower):  # ids that differ in case only
            rows = {row for row, one in enumerate(self._lower) if one == lower}
        rows |= self._of_alias(text)
        alias, colon, printing = text.rpartition(":")
        if colon:
            rows |= {
                row
                for row in self._of_alias(alias)
                if printing_of(str(self.cards["printing"].iat[row])) == printing_of(printing)
            }
        return rows

    def _of_alias(self, text: str) -> set[int]:
        alias = normal_alias(text)
        rows = set(self._aliases.get(alias, ()))
        if re.fullmatch(r"\d{1,15}", alias, re.ASCII):
            rows |= set(np.flatnonzero(self._products == int(alias)).tolist())
        return rows

    @cached_property
    def _words(self) -> WordIndex:
        return WordIndex(self.cards)

    def _hint(self, text: str) -> str:
        alias = text.partition(":")[0]
        rows = sorted(self._of_alias(alias))[:SUGGESTIONS]
        if not rows and not is_id(text):
            rows = self._words.nearest(text)[:SUGGESTIONS]
        elif not rows and "-" in alias:
            close = get_close_matches(normal_alias(alias), self._aliases, SUGGESTIONS, cutoff=0.75)
            rows = [self._aliases[one][0] for one in close]
        end = "list all with 'pokewatch cards'"
        if not rows:
            return f"no card looks like it; {end}"
        like = "; ".join(self._words.describe(rows))
        return f"{len(rows)} cards look like it: {like}; {end}"

    def search(self, text: str) -> pd.DataFrame:
        """Return the cards whose id, alias, name or set contains every word of ``text``.

        A word that is an alias in another spelling finds its cards too.
        """
        match = pd.Series(True, index=self.cards.index)
        for word in text.split():
            found = self._haystack.str.contains(unaccented(word), regex=False)
            found.iloc[sorted(self._of_alias(word))] = True
            match &= found
        return self.cards[match]

    @cached_property
    def _haystack(self) -> pd.Series:
        fields = self.cards[["card_id", "name", "set_name", "number"]].astype("object")
        aliases = [" ".join(names) if names is not None else "" for names in self.cards["aliases"]]
        columns = [fields[name].where(fields[name].notna(), "").tolist() for name in fields]
        lines = [" ".join(line) for line in zip(*columns, aliases, strict=True)]
        return pd.Series(map(unaccented, lines), index=self.cards.index, dtype="object")


def is_id(text: str) -> bool:
    """Return whether a text can only be an id or alias, never the words of a name."""
    return bool(re.fullmatch(r"\d+|(?=\S*\d)\S*[-:|]\S*", text))
