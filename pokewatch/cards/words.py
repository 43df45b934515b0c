"""Finds cards by the words of their name, set, number and printing."""

from __future__ import annotations

import re
from difflib import get_close_matches

import pandas as pd

from pokewatch.cards.spelling import (
    PRINTINGS,
    SIGNS,
    normal_alias,
    number_of,
    plain,
    printing_of,
)

FIELDS = ["name", "set_name", "number", "printing"]
SLASHED = re.compile(r"#?[a-z]*\d+[a-z]*/[a-z]*\d+[a-z]*", re.IGNORECASE)
PRINTING_WORDS = 3  # 1st Edition Holofoil
CLOSE = 0.75


def words_of(text: str) -> list[str]:
    """Return a text's words in order: ``Charizard ex - 054/091`` is charizard, ex, 54/91."""
    text = text.translate(SIGNS)
    words = []
    for part in re.split(rf"({SLASHED.pattern})", text, flags=re.IGNORECASE):
        if SLASHED.fullmatch(part):
            words.append("/".join(number_of(part)))
        else:
            words += [re.sub(r"(?<!\d)0+(?=\d)", "", word) for word in plain(part).split()]
    return words


def described(card: dict[str, object]) -> str:
    """Return a card's id with its name, set, number and printing, in one line."""
    facts = [str(card[name]) for name in FIELDS if pd.notna(card[name]) and card[name]]
    line = f"{card['card_id']} ({', '.join(facts)})" if facts else str(card["card_id"])
    return "".join(sign if sign.isprintable() else " " for sign in line)


class WordIndex:
    """The words of cards (columns ``CARD_COLUMNS``); rows are named by their position."""

    def __init__(self, cards: pd.DataFrame):
        """Index the cards."""
        self._cards = cards[["card_id", *FIELDS]].reset_index(drop=True)
        self._rows: dict[str, set[int]] = {}
        self._named: dict[str, set[int]] = {}
        for field in ("name", "set_name", "number"):
            for text, group in self._cards.groupby(field, sort=False).indices.items():
                rows = group.tolist()
                for word in set(words_of(str(text))):
                    spelt = {word, word.partition("/")[0]}  # a number without the set's size too
                    for one in spelt:
                        self._rows.setdefault(one, set()).update(rows)
                    if field == "name" and re.search(r"[^\W\d]", word):
                        self._named.setdefault(word, set()).update(rows)
        for row, names in enumerate(cards["aliases"].tolist()):
            for name in names if names is not None else []:
                for word in normal_alias(name).rpartition("-")[::2]:
                    self._rows.setdefault(word, set()).add(row)
        printings = self._cards["printing"]
        spelt_as = {text: printing_of(str(text)) for text in printings.dropna().unique()}
        self._printings = printings.map(spelt_as).tolist()
        self._known_printings = {*spelt_as.values(), *PRINTINGS.values()}

    def find(self, text: str) -> set[int]:
        """Return the rows that have every word of ``text``, one of them in the name.

        A printing at the end (``Mew ex reverse holo``) is no word but means that printing alone.
        """
        words = words_of(text)
        found = self._having(words)
        for length in range(min(PRINTING_WORDS, len(words) - 1), 0, -1):
            printing = printing_of(" ".join(words[-length:]))
            if printing in self._known_printings:
                rows = self._having(words[:-length])
                found |= {row for row in rows if self._printings[row] == printing}
        return found

    def _having(self, words: list[str]) -> set[int]:
        found = [self._rows.get(word, set()) for word in words]
        named = [self._named[word] for word in words if word in self._named]
        if not named:
            return set()
        return set.intersection(*found) & {row for rows in named for row in rows}

    def nearest(self, text: str) -> list[int]:
        """Return the rows that have most of the words, or words spelt much like them."""
        votes: dict[int, int] = {}
        named: set[int] = set()
        for word in words_of(text)[:10]:
            close = [word] if word in self._rows else self._close(word)
            for row in {row for one in close for row in self._rows[one]}:
                votes[row] = votes.get(row, 0) + 1
            named.update(*(self._named.get(one, ()) for one in close))
        votes = {row: count for row, count in votes.items() if row in named}
        most = max(votes.values(), default=0)
        return self.in_order([row for row, count in votes.items() if count == most], text)

    def _close(self, word: str) -> list[str]:
        if len(word) < 3 or re.search(r"\d", word):  # a number that is close is another card
            return []
        return get_close_matches(word, self._rows, n=3, cutoff=CLOSE)

    def in_order(self, rows: list[int], text: str) -> list[int]:
        """Return rows with the plainest names first: those with the fewest words not asked for."""
        asked = set(words_of(text))
        names = self._cards["name"].iloc[rows].fillna("").astype(str)
        extra = {row: len({*words_of(name)} - asked) for row, name in zip(rows, names, strict=True)}
        ids = self._cards["card_id"]
        return sorted(rows, key=lambda row: (extra[row], ids[row]))

    def describe(self, rows: list[int]) -> list[str]:
        """Return each row as ``described`` does."""
        return [described(card) for card in self._cards.iloc[rows].to_dict("records")]
