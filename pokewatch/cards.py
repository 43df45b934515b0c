"""Cards: names, aliases and the one way from what a user types to a canonical card id."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cached_property

import ftfy
import pandas as pd

from pokewatch.errors import UsageError
from pokewatch.schema import CARD_COLUMNS, empty_cards

SUGGESTIONS = 5
# Sets that pokemontcg.io names otherwise than TCGdex, beyond zeros and the "pt" of a half set.
SETS_ELSEWHERE = {
    "base6": "lc",
    "bp": "bog",
    "cel25c": "cel25cc",
    "fut20": "fut2020",
    "hsp": "hgssp",
    "pgo": "swsh10.5",
    "rsv10.5": "sv10.5w",
    "sm35": "sm3.5",
    "sm75": "sm7.5",
    "swsh35": "swsh3.5",
    "swsh45": "swsh4.5",
    "swsh45sv": "swsh4.5sv",
    "zsv10.5": "sv10.5b",
}
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
    aliases = (
        cards[["card_id", "aliases"]]
        .explode("aliases")
        .dropna()
        .groupby("card_id")["aliases"]
        .agg(lambda names: sorted(set(names)))
    )
    fields = [name for name in CARD_COLUMNS if name not in ("card_id", "aliases")]
    last = cards.groupby("card_id", sort=True)[fields].last()
    for column in TEXT_COLUMNS:
        text = last[column].dropna().astype(str)
        unique = pd.Series({value: ftfy.fix_text(value).strip() for value in text.unique()})
        last[column] = text.map(unique).reindex(last.index).astype("object")
    kinds = {
        kind: "single" if kind.lower() in SINGLE_KINDS else "sealed"
        for kind in last["product_kind"].dropna().unique()
    }
    last["product_kind"] = last["product_kind"].map(kinds)
    parts = last.index.to_series().str.extract(r"^(\d+):(.+)$")
    last["product_id"] = pd.to_numeric(last["product_id"], errors="coerce").fillna(
        pd.to_numeric(parts[0], errors="coerce")
    )
    last["printing"] = last["printing"].where(last["printing"].notna(), parts[1])
    release = pd.to_datetime(last["release_date"], errors="coerce")
    last["release_date"] = release.dt.date.astype("object").where(release.notna(), None)
    last["product_id"] = last["product_id"].astype("Int64")
    last["aliases"] = aliases.reindex(last.index)
    last["aliases"] = last["aliases"].map(lambda names: names if isinstance(names, list) else [])
    return last.reset_index()[CARD_COLUMNS]


def merge(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Return the union of known and newly delivered cards; what arrives late fills the gaps."""
    return tidy(pd.concat([frame for frame in (old, new) if len(frame)] or [empty_cards()]))


def says_more(new: pd.DataFrame, known: pd.DataFrame) -> bool:
    """Return whether tidy cards say anything that the known ones do not."""
    both = new.merge(known, on="card_id", how="left", suffixes=("", "_known"), indicator=True)
    if (both["_merge"] != "both").any():
        return True
    for name in CARD_COLUMNS[1:-1]:
        given = both[name].notna().to_numpy()
        mine, theirs = both.loc[given, name], both.loc[given, f"{name}_known"]
        if theirs.isna().any() or (mine.astype("object") != theirs.astype("object")).any():
            return True
    pairs = zip(both["aliases"], both["aliases_known"], strict=True)
    return any(len(mine) and not set(mine) <= set(theirs) for mine, theirs in pairs)


def normal_alias(text: str) -> str:
    """Return the one spelling of an alias: ``sv4pt5-001`` and ``sv04.5-001`` are ``sv4.5-1``."""
    text = re.sub(r"(?<=\d)pt(?=\d)", ".", text.strip().lower())
    text = re.sub(r"(?<![\d.])0+(?=\d)", "", text)
    name, dash, number = text.rpartition("-")
    return f"{SETS_ELSEWHERE.get(name, name)}{dash}{number}"


def normal_printing(text: str) -> str:
    """Return the one spelling of a printing: ``reverse-holofoil`` is ``Reverse Holofoil``."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


class Resolver:
    """Finds the canonical id for an id, an alias or a name."""

    def __init__(self, cards: pd.DataFrame):
        """Index cards (columns ``CARD_COLUMNS``)."""
        self.cards = cards
        self._exact = set(cards["card_id"])
        self._ids = {card_id.lower(): card_id for card_id in cards["card_id"]}
        self._aliases: dict[str, list[str]] = {}
        for card_id, names in zip(cards["card_id"], cards["aliases"], strict=True):
            for name in names if names is not None else []:
                self._aliases.setdefault(normal_alias(name), []).append(card_id)
        products = cards.loc[cards["product_id"].notna(), ["product_id", "card_id"]]
        for product, card_id in products.itertuples(index=False):
            self._aliases.setdefault(str(int(product)), []).append(card_id)

    def __call__(self, text: str) -> str:
        """Return the canonical id of ``text``.

        Raises UsageError for an unknown card (with suggestions) and for an alias or product id
        that has several printings (with the list).
        """
        text = text.strip()
        if text in self._exact:
            return text
        if text.lower() in self._ids:
            return self._ids[text.lower()]
        found = sorted(set(self._aliases.get(normal_alias(text), [])))
        if len(found) == 1:
            return found[0]
        if not found:
            found = self._printed(text)
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(
                f"'{text}' has {len(found)} printings, name one of them: {', '.join(found)}"
            )
        raise UsageError(f"unknown card '{text}': {self._hint(text)}")

    def _printed(self, text: str) -> list[str]:
        """Return the cards of an alias or product id with a printing: ``sv4pt5-1:Holofoil``."""
        alias, colon, printing = text.rpartition(":")
        if not colon:
            return []
        of_alias = self._aliases.get(normal_alias(alias), [])
        return sorted(
            {one for one in of_alias if self._printings.get(one) == normal_printing(printing)}
        )

    @cached_property
    def _printings(self) -> dict[str, str]:
        known = self.cards[self.cards["printing"].notna()]
        names = known["printing"].astype(str).map(normal_printing)
        return dict(zip(known["card_id"], names, strict=True))

    def _hint(self, text: str) -> str:
        like = self.search(text).head(SUGGESTIONS)["card_id"].tolist()
        like = like or self._aliases.get(text.split(":")[0].strip(), [])[:SUGGESTIONS]
        if not like:
            pool = [*self._ids, *self._aliases]
            close = get_close_matches(text.lower(), pool, n=SUGGESTIONS, cutoff=0.75)
            like = [self._ids.get(name, name) for name in close]
        end = "list all with 'pokewatch cards'"
        if not like:
            return f"no card looks like it; {end}"
        return f"{len(like)} cards look like it: {', '.join(like)}; {end}"

    def search(self, text: str) -> pd.DataFrame:
        """Return the cards whose id, alias, name or set contains every word of ``text``."""
        match = pd.Series(True, index=self.cards.index)
        for word in text.casefold().split():
            match &= self._haystack.str.contains(word, regex=False)
        return self.cards[match]

    @cached_property
    def _haystack(self) -> pd.Series:
        if self.cards.empty:
            return pd.Series(dtype="string")
        words = self.cards[["card_id", "name", "set_name", "number"]].astype("string").fillna("")
        aliases = self.cards["aliases"].map(lambda names: " ".join(names) if len(names) else "")
        return words.agg(" ".join, axis=1).add(" ").add(aliases).str.casefold()
