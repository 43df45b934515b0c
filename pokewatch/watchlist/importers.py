"""Reads collection exports (CSV) into watchlist entries; each row that is left out says why."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from pokewatch.cards.catalog import Catalog
from pokewatch.cards.matching import RowMatcher
from pokewatch.cards.spelling import plain
from pokewatch.errors import UsageError
from pokewatch.watchlist.csv_files import amount, decimal_mark, read
from pokewatch.watchlist.entries import Condition, Entry, condition_of, entry

# Our field: how exports spell its header, the best first, without case, blanks and signs.
# Left out on purpose: prices of the day are no cost, "TCGplayer Id" is a SKU of one condition,
# and Cardmarket's idProduct is its own number.
HEADERS = {
    "card": "cardid card tcgdexid pokemontcgid pokewatchid",
    "product_id": "productid tcgplayerproductid tcgproductid",
    "name": "name productname cardname englishname simplename pokemon nom title",
    "set": "set setname expansion expansionname expname edition editionname serie series extension",
    "set_code": "setcode setid expansioncode editioncode exp",
    "number": "cardnumber number collectornumber cardno no num localid numero nummer",
    "printing": "printing variant variance finish version treatment foil",
    "quantity": "quantity qty count amount copies totalquantity owned quantite anzahl cantidad",
    "condition": "condition cardcondition etat zustand",
    "cost": "cost averagecostpaid purchaseprice pricepaid buyprice pricebought costbasis "
    "averagecost avgcost unitcost paid prixdachat kaufpreis",
    "currency": "currency purchasepricecurrency costcurrency devise",
    "language": "language lang langue sprache",
    "grade": "grade gradingcompany grader graded",
    "game": "game category productline",
    "reverse": "reverseholo isreverseholo isreverse",
    "first_edition": "firstedition firsted isfirsted isfirstedition",
    "target_above": "targetabove",
    "target_below": "targetbelow",
    "note": "note notes comment comments remarks commentaire",
}
CONDITION_WORDS = {
    "mint": Condition.near_mint,
    "m": Condition.near_mint,
    "unopened": Condition.near_mint,
    "sealed": Condition.near_mint,
    "lightplayed": Condition.lightly_played,
    "slightlyplayed": Condition.lightly_played,
    "d": Condition.damaged,
}
# Cardmarket's grades are other ones; its LP is worse than the American LP.
CARDMARKET = {
    "mt": Condition.near_mint,
    "ex": Condition.lightly_played,
    "excellent": Condition.lightly_played,
    "gd": Condition.moderately_played,
    "good": Condition.moderately_played,
    "lp": Condition.moderately_played,
    "lightplayed": Condition.moderately_played,
    "pl": Condition.heavily_played,
    "played": Condition.heavily_played,
    "po": Condition.damaged,
    "poor": Condition.damaged,
}
YES = {"1", "true", "yes", "y", "x", "ja", "oui", "si"}
NO = {"0", "false", "no", "n", "nein", "non", "none"}
UNGRADED = {"", "ungraded", "raw", "none", "no", "na", "n a", "0", "false"}
BLANK = {"", "-", "n/a", "na", "null", "none"}


@dataclass
class Imported:
    """What a file holds: entries, and by line why a row, or a part of it, was left out.

    problems: rows that could not be understood; skipped: rows that are no copy of a card here
    (quantity 0, another game); remarks: rows that were taken without a part.
    """

    entries: list[Entry] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)
    skipped: list[tuple[int, str]] = field(default_factory=list)
    remarks: list[tuple[int, str]] = field(default_factory=list)


class _SkippedError(Exception):
    """A row that is no copy of a card; its text says why."""


def load(path: Path, catalog: Catalog, columns: dict[str, str] | None = None) -> Imported:
    """Read an export.

    columns: our field -> the file's column, for headers that are not known.
    Raises UsageError for a file that cannot be read or names no cards.
    """
    columns = columns or {}
    spellings = set(" ".join(HEADERS.values()).split())
    table = read(path, lambda name: name in columns.values() or _word(name) in spellings)
    header = table.header
    mapping = columns_of(header, columns, path)
    lines = [
        (number, {ours: table.cell(cells, theirs) for ours, theirs in mapping.items()}, cells)
        for number, cells in table.rows
    ]
    words = {_word(cells.get("condition", "")) for _, cells, _ in lines}
    costs = [cells.get("cost", "") for _, cells, _ in lines]
    reader = _Reader(
        RowMatcher(catalog),
        cardmarket=bool(
            words & (set(CARDMARKET) - {"lp", "lightplayed"})
            or {_word(name) for name in header} & {"idproduct", "idarticle"}
        ),
        decimal=decimal_mark(costs, "," if table.delimiter == ";" else "."),
    )
    out = Imported()
    for number, named, cells in lines:
        try:
            if len(cells) > len(header) and any(cells[len(header) :]):
                raise UsageError(f"it has {len(cells)} cells, the header {len(header)}")
            made, remark = reader(named)
        except UsageError as error:
            out.problems.append((number, str(error)))
        except _SkippedError as error:
            out.skipped.append((number, str(error)))
        else:
            out.entries.append(made)
            if remark:
                out.remarks.append((number, remark))
    return out


@dataclass
class _Reader:
    """Makes entries of rows; knows what only all rows together show."""

    find: RowMatcher
    cardmarket: bool
    decimal: str

    def __call__(self, row: dict[str, str]) -> tuple[Entry, str]:
        game = plain(row.get("game", ""))
        if game and "pokemon" not in game:
            raise _SkippedError(f"{row['game']!r} is not Pokémon")
        quantity = self._quantity(row)
        if plain(row.get("grade", "")) not in UNGRADED:
            raise UsageError(f"graded {row['grade']!r}: prices here are of ungraded cards")
        condition, printing = self._condition(row.get("condition", ""))
        card_id = self.find(row | {"printing": _printing(row) or printing})
        cost, remark = self._cost(row)
        fields = {
            "card": card_id,
            "quantity": quantity,
            "condition": condition,
            "cost": cost,
            "note": " ".join(row.get("note", "").split()),
        }
        for name in ("target_above", "target_below"):
            if row.get(name, "").casefold() not in BLANK:
                fields[name] = amount(row[name], self.decimal)
        return entry(card_id, fields), remark

    def _quantity(self, row: dict[str, str]) -> int:
        text = row.get("quantity", "1")
        if text.casefold() in BLANK:
            raise _SkippedError("the quantity is blank: not owned")
        found = re.fullmatch(r"(\d{1,3}(?:[.,]\d{3})+|\d+)(?:[.,]0{1,2})?", text)
        if not found:
            raise UsageError(f"quantity {text!r} is no whole number")
        quantity = int(re.sub(r"\D", "", found[1]))
        if quantity == 0:
            raise _SkippedError("the quantity is 0: not owned")
        return quantity

    def _condition(self, text: str) -> tuple[Condition, str]:
        """Return the condition, and the printing that may follow it."""
        words = text.split()
        for end in range(len(words), 0, -1):
            word = _word(" ".join(words[:end]))
            found = (CARDMARKET.get(word) if self.cardmarket else None) or (
                condition_of(word) or CONDITION_WORDS.get(word)
            )
            if found:
                return found, " ".join(words[end:])
        if words:
            raise UsageError(f"condition {text!r} is none of {', '.join(Condition)}")
        return Condition.near_mint, ""

    def _cost(self, row: dict[str, str]) -> tuple[float | None, str]:
        text, currency = row.get("cost", ""), row.get("currency", "").upper()
        if text.casefold() in BLANK:
            return None, ""
        sign = re.sub(r"USD|US\$|\$|[\d.,'’\s]", "", text.upper())
        if currency not in ("", "USD", "$", "US$") or re.fullmatch(r"[€£¥]|[A-Z]{2,3}", sign):
            shown = text if sign else f"{text} {currency}"
            return None, f"taken without its cost {shown!r}: costs are in USD"
        return amount(text, self.decimal), ""


def columns_of(header: list[str], columns: dict[str, str], path: Path) -> dict[str, str]:
    """Return our field -> the file's column; what ``columns`` names wins.

    Raises UsageError for an unknown field, a column that is not there, and a file without cards.
    """
    listed = ", ".join(repr(name) for name in header if name)
    for ours, theirs in columns.items():
        if ours not in HEADERS:
            raise UsageError(
                f"--map names the unknown field {ours}: known are {', '.join(HEADERS)}"
            )
        if theirs not in header:
            raise UsageError(f"--map names {theirs}, which '{path}' does not have: it has {listed}")
    words = {_word(name): name for name in reversed(header) if name not in columns.values()}
    found = {
        ours: next((words[word] for word in spelt.split() if word in words), "")
        for ours, spelt in HEADERS.items()
    }
    mapping = {ours: theirs for ours, theirs in found.items() if theirs} | columns
    if not {"card", "product_id", "name"} & set(mapping) and not (
        "number" in mapping and {"set", "set_code"} & set(mapping)
    ):
        raise UsageError(
            f"'{path}' has no column that names cards among {listed}: name it with --map OURS="
            f"THEIRS, where OURS is one of {', '.join(HEADERS)}"
        )
    return mapping


def _printing(row: dict[str, str]) -> str:
    """Return the printing that a row names, or marks in columns of yes and no."""
    text = row.get("printing", "")
    word = plain(text)
    if word in YES:
        return "Holofoil"
    if word and word not in NO:
        return text
    marks = {"first_edition": "1st Edition", "reverse": "Reverse Holofoil"}
    return " ".join(name for field, name in marks.items() if plain(row.get(field, "")) in YES)


def _word(text: str) -> str:
    return plain(text).replace(" ", "")
