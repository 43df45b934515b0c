"""The known cards, and the one way to a canonical card id from what people and services write."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property, lru_cache
from typing import Any

import pandas as pd
from rapidfuzz import process
from rapidfuzz.distance import OSA

from pokewatch.cards.spelling import (
    NORMAL_PRINTINGS,
    normal_alias,
    normal_printing,
    printable,
    printing_of,
    unaccented,
    words_of,
)
from pokewatch.errors import UsageError

FIELDS = ["name", "set_name", "number", "printing"]
SUGGESTIONS = 5
LISTED = 10  # cards to choose from; a longer list is narrowed with more words
LONGEST = 200  # letters; no id or name is longer
PRINTING_WORDS = 3  # 1st Edition Holofoil
CLOSE = 0.65  # share of a suggestion's letters that were typed right


class Catalog:
    """Finds cards by id, alias, product id, printing and words; each index is made when needed.

    cards: columns ``CARD_COLUMNS``. Rows are positions in it.
    """

    def __init__(self, cards: pd.DataFrame):
        self.cards = cards

    def resolve(self, text: str) -> str:
        """Return the canonical id of what a person typed.

        text: a card_id, which always means its own card; an id in other case, a product id or an
        alias in any spelling, each also followed by a printing (``sv4pt5-1:Reverse Holofoil``);
        or words of name, set, number and printing (``Charizard ex 054/091``). Raises UsageError
        if several cards fit (with the list to choose from) or none does (with similar ones).
        """
        text = str(text).strip()
        shown = printable(text[:LONGEST])
        if len(text) > LONGEST:
            raise UsageError(f"unknown card '{shown}...': no id and no name is that long")
        rows = sorted(self.rows(text))
        if len(rows) == 1:
            return self.ids[rows[0]]
        if not rows:
            raise UsageError(f"unknown card '{shown}': {self._hint(text)}")
        products = self.cards["product_id"].iloc[rows]
        one = products.notna().all() and products.nunique() == 1
        fits = f"has {len(rows)} printings" if one else f"fits {len(rows)} cards"
        listed = "; ".join(map(self.describe, self._plainest(rows, text)[:LISTED]))
        more = f"; and {len(rows) - LISTED} more" if len(rows) > LISTED else ""
        raise UsageError(f"'{shown}' {fits}, name one of them: {listed}{more}")

    def rows(self, text: str) -> set[int]:
        """Return the rows of the cards that fit a text, as ``resolve`` reads it.

        All of them: a card that comes later can make a text ambiguous, never mean another card.
        """
        if text in self._row:
            return {self._row[text]}
        found = set() if is_id(text) else self._of_words(text)
        alias, colon, printing = text.rpartition(":")
        if colon:
            found |= self.of_alias(alias) & self.of_printing(printing)
        return found | self.of_id(text) | self.of_alias(text)

    def search(self, text: str) -> pd.DataFrame:
        """Return the cards whose id, alias, name or set contains every word of ``text``.

        A word that is an alias in another spelling finds its cards too.
        """
        match = pd.Series(True, index=self.cards.index)
        for word in text.split():
            found = self._haystack.str.contains(unaccented(word), regex=False)
            found.iloc[sorted(self.of_alias(word))] = True
            match &= found
        return self.cards[match]

    def describe(self, row: int) -> str:
        """Return a card's id with its name, set, number and printing, in one line."""
        facts = ", ".join(self.text[name][row] for name in FIELDS if self.text[name][row])
        return printable(f"{self.ids[row]} ({facts})" if facts else self.ids[row])

    def card_id(self, alias: str, printing: str) -> str:
        """Return the id of the one known card, else the alias with the printing."""
        alias = normal_alias(alias)
        rows = set(self._aliases.get(alias, ())) & self.of_printing(printing)
        made = f"{alias}:{printing}"
        found = {self.ids[row] for row in rows} - {made}
        return found.pop() if len(found) == 1 else made

    def only_card(self, alias: str) -> str | None:
        """Return the id of an alias's card if that has one printing only."""
        found = {self.ids[row] for row in self._aliases.get(normal_alias(alias), ())}
        return found.pop() if len(found) == 1 else None

    def printings(self, product: int) -> set[str]:
        """Return the known printings of a product, as ``PRINTINGS`` spells them."""
        rows = self._products.get(product, ())
        return {one for row in rows if (one := printing_of(self.text["printing"][row]))}

    def of_id(self, text: str) -> set[int]:
        """Return the rows of an id in any case."""
        return set(self._lower_ids.get(text.lower(), ()))

    def of_alias(self, text: str) -> set[int]:
        """Return the rows of an alias in any spelling, or of a product id."""
        alias = normal_alias(text)
        rows = set(self._aliases.get(alias, ()))
        if re.fullmatch(r"\d{1,15}", alias, re.ASCII):
            rows.update(self._products.get(int(alias), ()))
        return rows

    def of_printing(self, text: str) -> set[int]:
        """Return the rows of a printing in any spelling."""
        return self._printings.get(normal_printing(text), set())

    def forget(self, alias: str, rows: set[int]) -> None:
        """Let an alias mean none of these rows any more."""
        alias = normal_alias(alias)
        kept = [row for row in self._aliases.get(alias, ()) if row not in rows]
        self._aliases[alias] = kept

    @cached_property
    def ids(self) -> list[str]:
        """The card_id of each row."""
        return self.cards["card_id"].tolist()

    @cached_property
    def text(self) -> dict[str, list[str]]:
        """The texts of name, set_name, number and printing, a row each, "" where unknown."""
        columns = {name: self.cards[name].astype("object") for name in FIELDS}
        return {
            name: column.where(column.notna(), "").map(str).tolist()
            for name, column in columns.items()
        }

    @cached_property
    def _row(self) -> dict[str, int]:
        return {card_id: row for row, card_id in enumerate(self.ids)}

    @cached_property
    def _lower_ids(self) -> dict[str, list[int]]:
        return rows_of(card_id.lower() for card_id in self.ids)

    @cached_property
    def _products(self) -> dict[int, list[int]]:
        known = self.cards["product_id"].notna()
        products = zip(self.cards["product_id"], known, strict=True)
        return rows_of(int(one) if is_known else None for one, is_known in products)

    @cached_property
    def _aliases(self) -> dict[str, list[int]]:
        found = defaultdict(list)
        spelt = lru_cache(maxsize=None)(normal_alias)  # printings share their aliases
        for row, names in enumerate(self.cards["aliases"].tolist()):
            for name in {spelt(name) for name in listed(names)}:
                found[name].append(row)
        return dict(found)

    @cached_property
    def _printings(self) -> dict[str, set[int]]:
        found: dict[str, set[int]] = {one: set() for one in NORMAL_PRINTINGS.values()}
        for text, rows in rows_of(self.text["printing"]).items():
            found.setdefault(normal_printing(text), set()).update(rows)
        return found

    @cached_property
    def _words(self) -> tuple[dict[str, set[int]], dict[str, set[int]]]:
        """The rows of every word, and those of every word with a letter that is in a name."""
        found, named = defaultdict(set), defaultdict(set)
        for field in ("name", "set_name", "number"):
            for text, rows in rows_of(self.text[field]).items():
                for word in set(words_of(text)):
                    for one in {word, word.partition("/")[0]}:  # the number alone too
                        found[one].update(rows)
                    if field == "name" and re.search(r"[^\W\d]", word):
                        named[word].update(rows)
        for alias, rows in self._aliases.items():
            for word in alias.rpartition("-")[::2]:
                found[word].update(rows)
        return dict(found), dict(named)

    @cached_property
    def _haystack(self) -> pd.Series:
        fields = [self.ids, *(self.text[name] for name in FIELDS[:3])]
        aliases = [" ".join(listed(names)) for names in self.cards["aliases"]]
        lines = [" ".join(line) for line in zip(*fields, aliases, strict=True)]
        return pd.Series(map(unaccented, lines), index=self.cards.index, dtype="object")

    def _of_words(self, text: str) -> set[int]:
        """Return the rows that have every word of ``text``, one of them in the name.

        A printing at the end (``Mew ex reverse holo``) is no word but means that printing alone.
        """
        words = words_of(text)
        found = self._having(words)
        for length in range(min(PRINTING_WORDS, len(words) - 1), 0, -1):
            if rows := self.of_printing(" ".join(words[-length:])):
                found |= self._having(words[:-length]) & rows
        return found

    def _having(self, words: list[str]) -> set[int]:
        found, named = self._words
        in_names = [named[word] for word in words if word in named]
        if not in_names:
            return set()
        return set.intersection(*(found.get(word, set()) for word in words), set().union(*in_names))

    def _hint(self, text: str) -> str:
        end = "list all with 'pokewatch cards'"
        if self.cards.empty:
            end = "no card is known yet, run 'pokewatch collect'"
        alias = text.partition(":")[0]
        rows = sorted(self.of_alias(alias))
        if not rows and not is_id(text):
            rows = self._nearest(text)
        elif not rows and "-" in alias:
            rows = [self._aliases[one][0] for one in similar(normal_alias(alias), self._aliases, 5)]
        rows = rows[:SUGGESTIONS]
        if not rows:
            return f"no card looks like it; {end}"
        return f"{len(rows)} cards look like it: {'; '.join(map(self.describe, rows))}; {end}"

    def _nearest(self, text: str) -> list[int]:
        """Return the rows that have most of the words, or words spelt much like them."""
        found, named = self._words
        votes: dict[int, int] = defaultdict(int)
        in_names: set[int] = set()
        for word in words_of(text)[:10]:
            like = [word] if word in found else []
            if not like and len(word) >= 3 and not re.search(r"\d", word):  # no other number
                like = similar(word, found, 3)
            for row in set().union(*(found[one] for one in like)):
                votes[row] += 1
            in_names.update(*(named.get(one, ()) for one in like))
        most = max((votes[row] for row in in_names), default=0)
        return self._plainest([row for row in in_names if votes[row] == most], text)

    def _plainest(self, rows: list[int], text: str) -> list[int]:
        """Return rows with the plainest names first: those with the fewest words not asked for."""
        asked = set(words_of(text))
        extra = {row: len({*words_of(self.text["name"][row])} - asked) for row in rows}
        return sorted(rows, key=lambda row: (extra[row], self.ids[row]))


def similar(text: str, texts: Iterable[str], limit: int) -> list[str]:
    """Return the texts spelt much like another one, the likest first."""
    likeness = OSA.normalized_similarity
    found = process.extract(text, list(texts), scorer=likeness, limit=limit, score_cutoff=CLOSE)
    return [one for one, _, _ in found]


def rows_of(values: Iterable[Any]) -> dict[Any, list[int]]:
    """Return the rows in which each value stands; what is empty stands nowhere."""
    found = defaultdict(list)
    for row, value in enumerate(values):
        if value is not None and value != "":
            found[value].append(row)
    return dict(found)


def listed(aliases: Any) -> list[str]:
    """Return a card's aliases, whatever holds them; none where nothing does."""
    return list(aliases) if hasattr(aliases, "__len__") else []


def is_id(text: str) -> bool:
    """Return whether a text can only be an id or alias, never the words of a name."""
    return bool(re.fullmatch(r"\d+|(?=\S*\d)\S*[-:|]\S*", text))
