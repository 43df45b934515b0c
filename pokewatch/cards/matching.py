"""From what a row of a collection export says about a card to the one card that it means."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from pokewatch.cards.catalog import Catalog, rows_of
from pokewatch.cards.spelling import normal_alias, number_of, plain
from pokewatch.errors import UsageError

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


class RowMatcher:
    """Finds the one card of a catalog that a row means; another printing is another card."""

    def __init__(self, catalog: Catalog):
        self.catalog = catalog
        self._names: dict[str, list[int]] = defaultdict(list)
        for text, rows in rows_of(catalog.text["name"]).items():
            self._names[base_name(text)] += rows
        self._sets: dict[str, list[int]] = defaultdict(list)
        for text, rows in rows_of(catalog.text["set_name"]).items():
            for name in set_names(text):
                self._sets[name] += rows

    def __call__(self, row: Mapping[str, str]) -> str:
        """Return the card_id of a row.

        row: any of card, product_id, name, set, set_code, number, printing, language.
        Raises UsageError that says why it is none, or which ones it could be.
        """
        card, product = row.get("card", ""), row.get("product_id", "")
        name, printing = row.get("name", ""), row.get("printing", "")
        number = row.get("number", "")
        if card:
            if len(fits := self.catalog.of_id(card)) == 1:
                return self.catalog.ids[fits.pop()]
            if fits := self.catalog.of_alias(card):
                return self._one(fits, printing, card)
            if name or base_name(card) not in self._names:
                return self.catalog.resolve(card)  # the error lists what looks like the card
            name = card  # a column named "card" may hold names
        if fits := self.catalog.of_alias(re.sub(r"\.0$", "", product)):
            self._check_name(fits, row, f"product id {product!r}")
            return self._one(fits, printing, product)
        if product and not name:
            raise UsageError(f"no card has the product id {product!r}")
        for code in (row.get("set_code", ""), row.get("set", "")):
            alias = normal_alias(f"{code}-{number_of(number)[0]}") if code and number else ""
            if fits := self.catalog.of_alias(alias):
                self._check_name(fits, row, f"'{alias}'")
                return self._one(fits, printing, alias)
        if not _is_english(row):
            raise UsageError(
                f"language {row['language']!r}: a name finds English cards only, and prices differ "
                "by language; a product id is needed"
            )
        return self._by_name(row, name)

    def _by_name(self, row: Mapping[str, str], name: str) -> str:
        text, wanted, number = self.catalog.text, row.get("set", ""), row.get("number", "")
        exact = {at for at in self._names.get(base_name(name), []) if self._is(at, name)}
        if name:
            fits = set(self._names.get(base_name(name), []))
            if re.search(r"[(\[]", name):  # another finish or stamp: never the plain card
                fits = exact
            what = repr(name)
            if not fits:
                raise UsageError(f"no card is named {what}")
        elif wanted and number:
            what, fits = f"number {number!r}", set(self._sets.get(plain(wanted), []))
            if not fits:
                raise UsageError(f"no set is named {wanted!r}")
        else:
            raise UsageError("it names no card: no id, no name, no set with a number")
        if wanted:
            names = set_names(wanted)
            kept = {at for at in fits if names & set_names(text["set_name"][at])}
            fits = self._narrowed(fits, kept, f"{what} in the set {wanted!r}", "set_name")
        if number:
            kept = {at for at in fits if _same_number(text["number"][at], number)}
            fits = self._narrowed(fits, kept, f"{what} with the number {number!r}", "number")
        return self._one(fits & exact or fits, row.get("printing", ""), name or what)

    def _is(self, at: int, name: str) -> bool:
        return full_name(self.catalog.text["name"][at]) == full_name(name)

    def _check_name(self, fits: set[int], row: Mapping[str, str], what: str) -> None:
        """Refuse an id of ours that a row gives another name: it may be another market's id."""
        ours = self.catalog.text["name"][min(fits)]
        name, known = set(base_name(row.get("name", "")).split()), set(base_name(ours).split())
        if name and known and _is_english(row) and not (name <= known or known <= name):
            raise UsageError(f"{what} is {ours!r} here, and {row['name']!r} in the row")

    def _narrowed(self, fits: set[int], kept: set[int], what: str, field: str) -> set[int]:
        if kept:
            return kept
        raise UsageError(f"no {what}: known are {_shown(self.catalog.text[field], fits)}")

    def _one(self, fits: set[int], printing: str, what: str) -> str:
        if printing:
            kept = fits & self.catalog.of_printing(printing)
            fits = self._narrowed(fits, kept, f"printing {printing!r} of {what}", "printing")
        if len(fits) == 1:
            return self.catalog.ids[min(fits)]
        raise UsageError(
            f"{len(fits)} cards fit {what}: {_shown(self.catalog.ids, fits)}; the set, the number "
            "or the printing is needed"
        )


def _is_english(row: Mapping[str, str]) -> bool:
    return plain(row.get("language", "")) in ENGLISH


def _shown(texts: list[str], rows: Iterable[int]) -> str:
    known = sorted({texts[row] for row in rows} - {""})
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return (", ".join(known[:SHOWN]) or "none") + more


def _same_number(ours: str, theirs: str) -> bool:
    (first, total), (other, size) = number_of(ours), number_of(theirs)
    return first == other and (not total or not size or total == size)
