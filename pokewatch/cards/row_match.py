"""From what a collection export says about a card to the one card that it means."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

import pandas as pd

from pokewatch.cards.catalog import Resolver
from pokewatch.cards.spelling import normal_alias, number_of, plain, printing_of
from pokewatch.errors import UsageError
from pokewatch.watchlist.entries import resolved

SHOWN = 5
ENGLISH = {"", "en", "eng", "english", "englisch", "anglais", "ingles", "inglese"}


def full_name(text: str) -> str:
    """Return a name without the number that follows it, as in ``Charizard ex - 223/197``."""
    return plain(re.sub(r"\s+-\s+#?[A-Z]*\d+\w*(/\w+)?(?=\s*(\(|$))", "", text))


def base_name(text: str) -> str:
    """Return a name without what is in brackets."""
    return full_name(re.sub(r"\s*[(\[][^)\]]*[)\]]", "", text)) or full_name(text)


def set_names(text: str) -> set[str]:
    """Return the names of a set: ``SV04: Paradox Rift`` is ``Paradox Rift`` too."""
    return {plain(text), plain(text.partition(": ")[2] or text)}


class Finder:
    """Finds the one card that a row means; a card of another printing is another card."""

    def __init__(self, resolver: Resolver):
        """Index the cards of a resolver."""
        cards = resolver.cards
        self.resolver = resolver
        self._ids = {card_id.casefold(): card_id for card_id in cards["card_id"]}
        text = cards[["card_id", "name", "set_name", "number", "printing"]].astype("object")
        self.cards: list[dict[str, str]] = [
            {str(k): str(v) for k, v in row.items()}
            for row in text.where(text.notna(), "").to_dict("records")
        ]
        self._base: dict[str, list[int]] = defaultdict(list)
        self._sets: dict[str, list[int]] = defaultdict(list)
        self._aliases: dict[str, list[int]] = defaultdict(list)
        for at, card in enumerate(self.cards):
            self._base[base_name(card["name"])].append(at)
            for name in set_names(card["set_name"]):
                self._sets[name].append(at)
        products = cards["product_id"]
        for at, (product, names) in enumerate(zip(products, cards["aliases"], strict=True)):
            if pd.notna(product):
                self._aliases[str(int(product))].append(at)
            for name in names if names is not None else []:
                self._aliases[normal_alias(name)].append(at)

    def __call__(self, row: Mapping[str, str]) -> str:
        """Return the card_id of a row.

        row: any of card, product_id, name, set, set_code, number, printing, language.
        Raises UsageError that says why it is none, or which ones it could be.
        """
        card, product = row.get("card", ""), row.get("product_id", "")
        name, printing = row.get("name", ""), row.get("printing", "")
        number = row.get("number", "")
        if card:
            if card.casefold() in self._ids:
                return self._ids[card.casefold()]
            if at := self._aliases.get(normal_alias(card)):
                return self._one(at, printing, card)
            if name or base_name(card) not in self._base:
                return resolved(self.resolver, card)  # it says what looks like the card
            name = card  # a column named "card" may hold names
        if at := self._aliases.get(re.sub(r"\.0$", "", product), []):
            return self._one(self._called(at, row, f"product id {product!r}"), printing, product)
        if product and not name:
            raise UsageError(f"no card has the product id {product!r}")
        for code in (row.get("set_code", ""), row.get("set", "")):
            alias = normal_alias(f"{code}-{number_of(number)[0]}") if code and number else ""
            if at := self._aliases.get(alias, []):
                return self._one(self._called(at, row, f"'{alias}'"), printing, alias)
        if plain(row.get("language", "")) not in ENGLISH:
            raise UsageError(
                f"language {row['language']!r}: a name finds English cards only, and prices differ "
                "by language; a product id is needed"
            )
        return self._by_name(row, name)

    def _by_name(self, row: Mapping[str, str], name: str) -> str:
        wanted, number = row.get("set", ""), row.get("number", "")
        if name:
            fits = self._base.get(base_name(name), [])
            if re.search(r"[(\[]", name):  # another finish or stamp: never the plain card
                fits = [at for at in fits if self._is(at, name)]
            what = repr(name)
            if not fits:
                raise UsageError(f"no card is named {what}")
        elif wanted and number:
            what, fits = f"number {number!r}", self._sets.get(plain(wanted), [])
            if not fits:
                raise UsageError(f"no set is named {wanted!r}")
        else:
            raise UsageError("it names no card: no id, no name, no set with a number")
        if wanted:
            names = set_names(wanted)
            kept = [at for at in fits if names & set_names(self.cards[at]["set_name"])]
            fits = self._narrowed(fits, kept, f"{what} in the set {wanted!r}", "set_name")
        if number:
            kept = [at for at in fits if _same_number(self.cards[at]["number"], number)]
            fits = self._narrowed(fits, kept, f"{what} with the number {number!r}", "number")
        exact = [at for at in fits if name and self._is(at, name)]
        return self._one(exact or fits, row.get("printing", ""), name or what)

    def _is(self, at: int, name: str) -> bool:
        return full_name(self.cards[at]["name"]) == full_name(name)

    def _called(self, fits: list[int], row: Mapping[str, str], what: str) -> list[int]:
        """Refuse an id of ours that a row gives another name: it may be another market's id."""
        name = set(base_name(row.get("name", "")).split())
        known = set(base_name(self.cards[fits[0]]["name"]).split())
        foreign = plain(row.get("language", "")) not in ENGLISH
        if name and known and not foreign and not (name <= known or known <= name):
            raise UsageError(
                f"{what} is {self.cards[fits[0]]['name']!r} here, and {row['name']!r} in the row"
            )
        return fits

    def _narrowed(self, fits: list[int], kept: list[int], what: str, field: str) -> list[int]:
        if kept:
            return kept
        raise UsageError(f"no {what}: known are {self._listed(fits, field)}")

    def _one(self, fits: list[int], printing: str, what: str) -> str:
        if printing:
            wanted = printing_of(printing)
            kept = [at for at in fits if printing_of(self.cards[at]["printing"]) == wanted]
            fits = self._narrowed(fits, kept, f"printing {printing!r} of {what}", "printing")
        if len(fits) == 1:
            return self.cards[fits[0]]["card_id"]
        raise UsageError(
            f"{len(fits)} cards fit {what}: {self._listed(fits, 'card_id')}; the set, the number "
            "or the printing is needed"
        )

    def _listed(self, fits: list[int], field: str) -> str:
        known = sorted({self.cards[at][field] for at in fits} - {""})
        more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
        return (", ".join(known[:SHOWN]) or "none") + more


def _same_number(ours: str, theirs: str) -> bool:
    (first, total), (other, size) = number_of(ours), number_of(theirs)
    return first == other and (not total or not size or total == size)
