"""Which card a price belongs to, for services that know cards by alias; never by a guess."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pokewatch.cards import spelling
from pokewatch.cards.spelling import normal_alias

PRINTINGS = (
    "Normal",
    "Holofoil",
    "Reverse Holofoil",
    "Unlimited",
    "Unlimited Holofoil",
    "1st Edition",
    "1st Edition Holofoil",
)
_printings = {spelling.printing_of(name): name for name in PRINTINGS} | {
    "1steditionnormal": "1st Edition",
    "unlimitednormal": "Unlimited",
}


def printing_of(name: Any) -> str | None:
    """Return the printing that a service's ``reverse-holofoil`` means, None if none does."""
    return _printings.get(spelling.printing_of(name)) if isinstance(name, str) else None


def normal_set(set_id: str) -> str:
    """Return the one spelling of a set's id: ``sv4pt5`` and ``sv04.5`` are ``sv4.5``."""
    return set_of(f"{set_id}-1")


def set_of(alias: str) -> str:
    """Return the normal id of the set that an alias such as ``sv4pt5-001`` lies in."""
    return normal_alias(alias).rpartition("-")[0]


def listed(aliases: Any) -> list[str]:
    """Return a card's aliases, whatever holds them; none where nothing does."""
    return list(aliases) if hasattr(aliases, "__len__") else []


class KnownCards:
    """Finds the known card of an alias and a printing.

    cards: columns ``card_id, printing, product_id, aliases``.
    """

    def __init__(self, cards: pd.DataFrame):
        self._cards: dict[tuple[str, str], set[str]] = {}
        self._of_alias: dict[str, set[str]] = {}
        self._of_product: dict[int, set[str]] = {}
        rows = cards[["card_id", "printing", "product_id", "aliases"]]
        for card_id, printing, product, aliases in rows.itertuples(index=False):
            name = printing_of(printing)
            for alias in listed(aliases):
                self._of_alias.setdefault(normal_alias(alias), set()).add(card_id)
                self._cards.setdefault((normal_alias(alias), name or ""), set()).add(card_id)
            if pd.notna(product) and name is not None:
                self._of_product.setdefault(int(product), set()).add(name)

    def card_id(self, alias: str, printing: str) -> str:
        """Return the id of the one known card, else the alias with the printing."""
        made = f"{normal_alias(alias)}:{printing}"
        found = self._cards.get((normal_alias(alias), printing), set()) - {made}
        return found.pop() if len(found) == 1 else made

    def only_card(self, alias: str) -> str | None:
        """Return the id of an alias's card if that has one printing only."""
        found = self._of_alias.get(normal_alias(alias), set())
        return next(iter(found)) if len(found) == 1 else None

    def printings(self, product: int) -> set[str]:
        """Return the known printings of a product."""
        return self._of_product.get(product, set())
