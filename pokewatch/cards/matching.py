"""From what a row of a collection export says about a card to the one card that it means."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from pokewatch.cards.catalog import Catalog, listed, rows_of
from pokewatch.cards.columns import ENGLISH
from pokewatch.cards.spelling import normal_alias, normal_set, number_of, plain, set_of, unpadded
from pokewatch.errors import UsageError

SHOWN = 5
# Codes that name one set at TCGplayer and another one in the ids of TCGdex: G1 is Gym Heroes there.
OTHER_SETS = {"g1"}
NUMBER = re.compile(r"\s+(?:-\s+#?|#)([A-Z]*\d+\w*(?:/\w+)?)(?=\s*(?:\(|$))")
SERIES = re.compile(
    r"^(scarlet violet|sword shield|sun moon|xy|black white|heartgold soulsilver|platinum"
    r"|diamond pearl|mega evolution|ex) (?=.)"
)


def full_name(text: str) -> str:
    """Return a name without the number that follows it, as in ``Charizard ex - 223/197``."""
    return plain(NUMBER.sub("", text))


def number_in(name: str) -> str:
    """Return the number that follows a name, as in ``Charizard ex #125``, or ""."""
    found = NUMBER.search(name)
    return found[1] if found else ""


def base_name(text: str) -> str:
    """Return a name without what is in brackets."""
    return full_name(re.sub(r"\s*[(\[][^)\]]*[)\]]", "", text)) or full_name(text)


def set_names(text: str) -> list[str]:
    """Return the names of a set, the full one first.

    ``SV: Scarlet & Violet 151`` is ``Scarlet & Violet 151`` and ``151`` too, and all sets are
    Pokémon's.
    """
    full, short = (
        unpadded(re.sub(r"^pokemon (?=.)", "", plain(one)))
        for one in (text, text.partition(": ")[2] or text)
    )
    return [full, short, SERIES.sub("", short)]


def same_set(ours: str, theirs: str) -> bool:
    """Return whether two names may mean one set: one of them is a name of the other."""
    first, second = set_names(ours), set_names(theirs)
    return first[0] in second or second[0] in first


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
        """Return the card_id of a row: no id outranks what else the row says.

        row: any of card, product_id, name, set, set_code, number, printing, language.
        Raises UsageError that says why it is none, or which ones it could be.
        """
        if plain(row.get("language", "")) not in ENGLISH:
            raise UsageError(
                f"language {row['language']!r}: prices here are of English cards; of a card that "
                "the store knows in this language leave the language blank"
            )
        card, product = row.get("card", ""), row.get("product_id", "")
        name, printing = row.get("name", ""), row.get("printing", "")
        inner = number_in(name)
        number = row.get("number", "") or inner
        if inner and not _same_number(inner, number):
            raise UsageError(f"its name says {inner!r}, its number is {number!r}")
        row = {**row, "number": number}
        if card:
            fits = self.catalog.of_id(card) or self.catalog.of_alias(card)
            if not fits and (name or base_name(card) not in self._names):
                fits = self.catalog.rows(card)
                if not fits:
                    self.catalog.resolve(card)  # the error lists what looks like the card
            if fits:
                return self._one(self._agreeing(fits, row, repr(card)), printing, card)
            name = card  # a column named "card" may hold names
        if fits := self.catalog.of_alias(re.sub(r"\.0$", "", product)):
            return self._one(
                self._agreeing(fits, row, f"product id {product!r}"), printing, product
            )
        if product and not name:
            raise UsageError(f"no card has the product id {product!r}")
        for code in (row.get("set_code", ""), row.get("set", "")):
            alias = normal_alias(f"{code}-{number_of(number)[0]}") if code and number else ""
            fits = self.catalog.of_alias(alias)
            doubtful = code.casefold() in OTHER_SETS and not (name or row.get("set", ""))
            if not fits or doubtful:
                continue
            try:
                fits = self._agreeing(fits, row, f"'{alias}'", code)
            except UsageError:
                if not name or row.get("set", "") in ("", code):
                    raise
                continue  # another market's code: name and set say which card it is
            return self._one(fits, printing, alias)
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
            named = {at for one in set_names(wanted) for at in self._sets.get(one, [])}
            fits = {at for at in named if same_set(text["set_name"][at], wanted)}
            what = f"number {number!r}"
            if not fits:
                raise UsageError(f"no set is named {wanted!r}")
        else:
            raise UsageError("it names no card: no id, no name, no set with a number")
        if wanted:
            kept = {at for at in fits if same_set(text["set_name"][at], wanted)}
            fits = self._narrowed(fits, kept, f"{what} in the set {wanted!r}", "set_name")
        if number:
            kept = {at for at in fits if _same_number(text["number"][at], number)}
            fits = self._narrowed(fits, kept, f"{what} with the number {number!r}", "number")
        return self._one(fits & exact or fits, row.get("printing", ""), name or what)

    def _is(self, at: int, name: str) -> bool:
        return full_name(self.catalog.text["name"][at]) == full_name(name)

    def _agreeing(
        self, fits: set[int], row: Mapping[str, str], what: str, code: str = ""
    ) -> set[int]:
        """Return the cards of an id that the rest of the row does not contradict.

        code: what was read as the set's id; it need not be a set's name as well.
        Raises UsageError where none is left: the id may be another market's.
        """
        text, number = self.catalog.text, row["number"]
        wanted = "" if row.get("set", "") == code else row.get("set", "")
        told = {"number": number, "set_name": wanted, "name": row.get("name", "")}
        for field, theirs in told.items():
            if not theirs:
                continue
            kept = {at for at in fits if self._same(field, at, theirs, told)}
            if not kept:
                ours = _shown(text[field], fits)
                raise UsageError(f"{what} is {ours!r} here, and {theirs!r} in the row")
            fits = kept
        named = {at for at in fits if self._is(at, row.get("name", ""))}
        return named or fits

    def _same(self, field: str, at: int, theirs: str, told: Mapping[str, str]) -> bool:
        """Return whether a card's field may be what a row tells; an unknown one may be anything."""
        ours = self.catalog.text[field][at]
        if not ours:
            return True
        if field == "number":
            return _same_number(ours, theirs)
        if field == "set_name":
            ids = {set_of(one) for one in listed(self.catalog.cards["aliases"].iloc[at])}
            if same_set(ours, theirs) or normal_set(theirs) in ids:
                return True
            # A name of another set, or of a part of one, is no other spelling of this one's.
            other = set_names(theirs)[0] in self._sets or re.search(r"[(\[]", theirs)
            return bool(not other and told["name"] and told["number"])
        if re.search(r"[(\[]", theirs):  # another finish or stamp
            return full_name(ours) == full_name(theirs)
        first, second = base_name(ours), base_name(theirs)
        words, others = set(first.split()), set(second.split())
        if first == second or not (told["number"] and others):
            return first == second
        return words <= others or others <= words

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


def _shown(texts: list[str], rows: Iterable[int]) -> str:
    known = sorted({texts[row] for row in rows} - {""})
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return (", ".join(known[:SHOWN]) or "none") + more


def _same_number(ours: str, theirs: str) -> bool:
    (first, total), (other, size) = number_of(ours), number_of(theirs)
    return first == other and (not total or not size or total == size)
