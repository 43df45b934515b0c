"""Reads collection exports and sale logs (CSV) into entries; each row left out says why."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pokewatch.cards.catalog import Catalog
from pokewatch.cards.columns import GRADE, UNGRADED, kind_of, told
from pokewatch.cards.matching import RowMatcher
from pokewatch.cards.spelling import plain
from pokewatch.csv_files import (
    BLANK,
    Table,
    amount,
    currency_in,
    currency_of,
    day,
    day_order,
    decimal_mark,
    read,
    without_currency,
)
from pokewatch.errors import UsageError
from pokewatch.sources.file import one_currency
from pokewatch.watchlist.entries import AMOUNTS, Condition, Entry, condition_of, entry

# Our field: how exports spell its header, the best first, without case, blanks and signs.
# Left out on purpose: prices of the day are no cost, "TCGplayer Id" is a SKU of one condition,
# and Cardmarket's idProduct is its own number.
HEADERS = {
    "card": "cardid card tcgdexid pokemontcgid pokewatchid",
    "product_id": "productid tcgplayerproductid tcgproductid",
    "name": "name productname cardname englishname simplename pokemon nom title",
    "set": "set setname expansion expansionname expname edition editionname serie series extension "
    "consolename",
    "set_code": "setcode setid expansioncode editioncode exp",
    "number": "cardnumber number collectornumber cardno no num localid numero nummer",
    "printing": "printing variant variance finish version treatment foil",
    "quantity": "quantity qty count amount copies totalquantity owned numberowned "
    "quantityowned ownedquantity quantite anzahl menge cantidad",
    "added": "addtoquantity",
    "condition": "condition cardcondition etat zustand",
    "cost": "cost averagecostpaid purchaseprice pricepaid buyprice pricebought costbasis "
    "averagecost avgcost unitcost paid prixdachat kaufpreis",
    "currency": "currency purchasepricecurrency costcurrency devise",
    "language": "language lang langue sprache",
    "grade": "grade grading graded gradingcompany gradecompany grader gradevalue",
    "collected": "collected have obtained inhand",
    "game": "game category productline",
    "reverse": "reverseholo isreverseholo isreverse",
    "first_edition": "firstedition firsted isfirsted isfirstedition",
    "target_above": "targetabove",
    "target_below": "targetbelow",
    "note": "note notes comment comments remarks commentaire",
    "bought": "bought boughton datebought purchasedate dateofpurchase datepurchased purchased "
    "acquired acquireddate dateacquired kaufdatum",
    "buy_fees": "buyfees",
}
# What logs of sales have besides; amounts of copies of one's own are those of the lots they leave.
SALES = {
    "date": "date saledate datesold solddate soldon dateofsale orderdate transactiondate "
    "datum verkaufsdatum",
    "price": "price saleprice soldprice soldfor unitprice itemprice priceeach sellingprice "
    "verkaufspreis",
    "sale_fees": "salefees fees fee sellingfees totalfees marketplacefees ebayfees commission "
    "finalvaluefee gebuhren provision",
    "type": "type side action transaction transactiontype",
}
TRADED = ("price", "sale_fees", "buy_fees")  # amounts without which a trade is left out
BUYS, SELLS = {"buy", "bought", "purchase", "kauf"}, {"", "sell", "sold", "sale", "verkauf"}
# Counts that are no copies beside the quantity.
ASIDE = {"tradelistcount", "tradequantity", "wishlistcount", "deckscountbuilt", "deckscountall"}
SEVERAL = ("grade",)  # fields that may stand in several columns, read together
CONDITION_WORDS = {
    "mint": Condition.near_mint,
    "m": Condition.near_mint,
    "unopened": Condition.near_mint,
    "sealed": Condition.near_mint,
    "lightplayed": Condition.lightly_played,
    "slightlyplayed": Condition.lightly_played,
    "goodlightlyplayed": Condition.lightly_played,  # this and the next two are Deckbox's
    "played": Condition.moderately_played,
    "poor": Condition.damaged,
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


@dataclass
class Imported:
    """What a file holds: entries, and by line why a row, or a part of it, was left out.

    problems: rows that could not be understood; skipped: rows that are no copy of a card here
    (quantity 0, another game); remarks: rows that were taken without a part; unused: columns that
    were not read; free: how many costs of 0 were taken as not told; lines: on which each entry
    starts.
    """

    entries: list[Entry] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)
    skipped: list[tuple[int, str]] = field(default_factory=list)
    remarks: list[tuple[int, str]] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    free: int = 0


class _SkippedError(Exception):
    """A row that is no copy of a card; its text says why."""


def load(
    path: Path,
    catalog: Catalog,
    columns: dict[str, str] | None = None,
    ignore: Iterable[str] = (),
    currency: str = "",
    eur_usd: float = 0.0,
    sales: bool = False,
    stored: str = "USD",
) -> Imported:
    """Read an export; sales: a log of sales, or of sales and buys: its entries are ``Sale``s too.

    columns: our field -> the file's column, for headers that are not known; ignore: columns that
    are not to be read. currency: that of amounts which name none; eur_usd: USD for one EUR, 0:
    none is converted. stored: the currency of the home's prices, and so of the entries; that of all
    amounts for which nothing names another. Amounts that cannot be converted to it are left out.
    Raises UsageError for a file that cannot be read, names no cards, or has a column that changes
    what its rows are worth and is not understood.
    """
    columns, ignored = columns or {}, set(ignore)
    headers = HEADERS | SALES if sales else HEADERS
    spellings = set(" ".join(headers.values()).split())
    table = read(path, lambda name: name in columns.values() or _word(name) in spellings)
    if absent := sorted(ignored - set(table.header)):
        raise UsageError(f"--ignore names {absent[0]}, which '{path}' does not have")
    header = [name for name in table.header if name not in ignored]
    mapping = columns_of(header, columns, path, headers)
    if sales and (absent := sorted({"date", "price"} - set(mapping))):
        raise UsageError(
            f"'{path}' has no column with the {absent[0]} of the sales among "
            f"{', '.join(map(repr, header))}: name it with --map {absent[0]}=THEIRS"
        )
    used = {name for names in mapping.values() for name in names}
    unused = [name for name in header if name not in used]
    _check_unused(table, mapping, columns, unused, path)
    places = {ours: [table.header.index(one) for one in names] for ours, names in mapping.items()}
    lines = [
        (number, {ours: _joined(cells, at) for ours, at in places.items()})
        for number, cells in table.rows
    ]
    texts = {"card", "product_id", "name", "set", "set_code", "number", "note"}
    numbers = [name for name in header if not any(name in mapping.get(ours, ()) for ours in texts)]
    words = {_word(cells.get("condition", "")) for _, cells in lines}
    headings = {_word(name) for name in header}
    deckbox = "goodlightlyplayed" in words or "tradelistcount" in headings
    reader = _Reader(
        RowMatcher(catalog),
        cardmarket=not deckbox
        and bool(
            words & (set(CARDMARKET) - {"lp", "lightplayed"})
            or headings & {"idproduct", "idarticle"}
        ),
        decimal=decimal_mark(map(table.column, numbers)),
        currency=_currency(table, mapping, currency, path) or stored,
        stored=stored,
        eur_usd=eur_usd,
        ours="pokewatchid" in headings,
        orders={
            ours: day_order(table.column(mapping[ours][0]))
            for ours in ("bought", "date")
            if ours in mapping
        },
    )
    out = Imported(problems=list(table.problems), skipped=list(table.comments), unused=unused)
    for number, named in lines:
        try:
            made, remark = reader.trade(named) if sales else reader(named)
        except UsageError as error:
            out.problems.append((number, str(error)))
        except _SkippedError as error:
            out.skipped.append((number, str(error)))
        else:
            out.entries.append(made)
            out.lines.append(number)
            if remark:
                out.remarks.append((number, remark))
    out.problems.sort()
    out.free = reader.free
    return out


def _joined(cells: list[str], places: list[int]) -> str:
    """Return the cell of a field; of several columns all that say something."""
    found = [cells[at] for at in places]
    if len(found) > 1:
        found = [one for one in found if plain(one) not in UNGRADED]
    return " ".join(found)


def _check_unused(
    table: Table,
    mapping: dict[str, list[str]],
    columns: dict[str, str],
    unused: list[str],
    path: Path,
) -> None:
    """Refuse a column that changes what rows are worth and is not understood."""
    for name in unused:
        cells = table.column(name)
        kind = kind_of(name, cells)
        if not kind or kind in columns or _word(name) in ASIDE:
            continue
        granted = None
        if kind == "quantity" and kind in mapping:
            if cells == table.column(mapping[kind][0]):
                continue
            granted = {"", *NO}
        if found := told(kind, cells, granted):
            raise UsageError(
                f"column '{name}' of '{path}' says {found!r}, looks like {kind} and is not "
                f"understood: name it with --map {kind}='{name}', or leave it out with "
                f"--ignore '{name}'"
            )


def _currency(table: Table, mapping: dict[str, list[str]], currency: str, path: Path) -> str:
    """Return the currency that the user, a header or a comment says, "" where none does."""
    amounts = [name for ours in (*AMOUNTS, *TRADED) for name in mapping.get(ours, ())]
    said = {table.currency, *map(currency_in, amounts)}
    return one_currency(currency, said, f"amounts of '{path}'")


@dataclass
class _Reader:
    """Makes entries of rows; knows what only all rows together show.

    ours: our own export, which writes what it means: a cost of 0, a grade in a note.
    """

    find: RowMatcher
    cardmarket: bool
    decimal: str
    currency: str = "USD"
    stored: str = "USD"
    eur_usd: float = 0.0
    ours: bool = False
    orders: dict[str, str] = field(default_factory=dict)
    free: int = 0

    def __call__(self, row: dict[str, str]) -> tuple[Entry, str]:
        """Return a row as an entry, and what is to be said of its amounts."""
        fields = self._copies(row)
        amounts, remark = self._amounts(row, AMOUNTS)
        return entry(fields["card"], fields | amounts), remark

    def trade(self, row: dict[str, str]) -> tuple[Entry, str]:
        """Return a row of a log as a sale, or as an entry where its type says that it is a buy."""
        fields = self._copies(row)
        kind = plain(row.get("type", ""))
        if kind not in BUYS | SELLS:
            raise UsageError(f"type {row['type']!r} is neither buy nor sell")
        if not row.get("condition"):
            del fields["condition"]  # of whichever copies are there
        row = row | {"sale_fees": row.get("sale_fees", "").lstrip("-")}
        amounts, remark = self._amounts(row, TRADED if kind in BUYS else (*TRADED, "cost"), TRADED)
        if "price" not in amounts:
            raise UsageError("no amount")
        card, on = fields["card"], day(row["date"], self.orders["date"])
        if kind in BUYS:
            fees = amounts.get("buy_fees") or amounts.get("sale_fees")
            if fees and amounts.get("sale_fees", fees) not in (0, fees):
                raise UsageError(f"fees {row['buy_fees']} and {row['sale_fees']}: one is meant")
            fields |= {"cost": amounts["price"], "bought": on, "buy_fees": fees}
        else:
            fields |= {"sold": fields.pop("card"), "date": on, **amounts}
        return entry(card, fields), remark

    def _copies(self, row: dict[str, str]) -> dict[str, Any]:
        """Return the fields that say which copies a row has, and since when."""
        game = plain(row.get("game", ""))
        if game and "pokemon" not in game:
            raise _SkippedError(f"{row['game']!r} is not Pokémon")
        quantity = self._quantity(row)
        grade = row.get("grade", "")
        if plain(grade) in UNGRADED:
            grade = ""
        elif not self.ours:
            raise UsageError(
                f"graded {grade!r}: prices here are of ungraded cards; "
                "keep it with 'pokewatch watch add CARD --grade'"
            )
        graded = next(filter(None, map(GRADE.search, row.values())), None)
        if graded and not grade and not self.ours:
            raise UsageError(f"it says {graded[0]!r}: prices here are of ungraded cards")
        condition, printing = self._condition(row.get("condition", ""))
        card_id = self._card(row, _printing(row) or printing)
        note = " ".join(row.get("note", "").split())
        fields: dict[str, Any] = {
            "card": card_id,
            "quantity": quantity,
            "condition": condition,
            "note": note if self.ours or re.search(r"\w", note) else "",
        }
        if grade:
            fields["grade"] = grade
        if row.get("bought", "").casefold() not in BLANK:
            fields["bought"] = day(row["bought"], self.orders["bought"])
        return fields

    def _card(self, row: dict[str, str], printing: str) -> str:
        # A column of first editions that says no tells an unlimited card from one.
        first = row.get("first_edition", "")
        if plain(first) not in YES | NO | {""}:
            raise UsageError(f"first edition {first!r} is neither yes nor no")
        if "first_edition" in row and "1st Edition" not in printing:
            with suppress(UsageError):
                return self.find(row | {"printing": f"Unlimited {printing}".strip()})
        return self.find(row | {"printing": printing})

    def _quantity(self, row: dict[str, str]) -> int:
        if plain(row.get("collected", "")) in NO:
            raise _SkippedError(f"collected is {row['collected']!r}: not owned")
        given = {name: row[name] for name in ("quantity", "added") if name in row}
        counts = {
            name: self._count(text) for name, text in given.items() if text.casefold() not in BLANK
        }
        if given and not counts:
            raise _SkippedError("the quantity is blank: not owned")
        if len(counts) > 1 and min(counts.values()):
            raise UsageError(
                f"quantity {given['quantity']!r} and {given['added']!r} to be added: which are "
                "owned is not clear"
            )
        quantity = max(counts.values(), default=1)
        if quantity == 0:
            raise _SkippedError("the quantity is 0: not owned")
        return quantity

    def _count(self, text: str) -> int:
        try:
            found = amount(text, self.decimal)
        except UsageError as error:
            raise UsageError(f"quantity {error}") from error
        if currency_of(text)[0] or found % 1:
            raise UsageError(f"quantity {text!r} is no whole number")
        return int(found)

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

    def _amounts(
        self, row: dict[str, str], names: Iterable[str], needed: Iterable[str] = ()
    ) -> tuple[dict[str, float], str]:
        """Return the amounts that a row tells, and which were converted or left out.

        needed: UsageError where one of these cannot be converted. A cost of 0 is how exports write
        that it is not told.
        """
        found, remarks = dict[str, float](), []
        rates = {self.stored: 1.0}
        if self.eur_usd:
            rates |= {"USD": 1 / self.eur_usd} if self.stored == "EUR" else {"EUR": self.eur_usd}
        column = row.get("currency", "").strip()
        for name in names:
            text = row.get(name, "")
            if text.casefold() in BLANK:
                continue
            beside, number = currency_of(text)
            named = {currency_in(column) or column.upper()} if plain(column) or column else set()
            named |= {beside} - {""}
            code = " ".join(sorted(named)) or self.currency
            value, said = amount(number, self.decimal), name.replace("_", " ")
            told = text if beside else f"{text} {code}"
            shown = f"its {said} {told!r}: amounts are in {self.stored}"
            if name == "cost" and not value and not self.ours:
                self.free += 1
            elif code == self.stored:
                found[name] = value
            elif code in rates:
                found[name] = round(value * rates[code], 2)
                remarks.append(f"{said} {text!r} converted at {rates[code]:g} {self.stored}")
            elif name in needed:
                raise UsageError(shown)
            else:
                remarks.append(f"taken without {shown}")
        return found, "; ".join(remarks)


def columns_of(
    header: list[str], columns: dict[str, str], path: Path, headers: dict[str, str]
) -> dict[str, list[str]]:
    """Return our field -> the file's columns; what ``columns`` names wins.

    Raises UsageError for an unknown field, a column that is not there, and a file without cards.
    """
    listed = ", ".join(repr(name) for name in header if name)
    for ours, theirs in columns.items():
        if ours not in headers:
            raise UsageError(
                f"--map names the unknown field {ours}: known are {', '.join(headers)}"
            )
        if theirs not in header:
            raise UsageError(f"--map names {theirs}, which '{path}' does not have: it has {listed}")
    words: dict[str, str] = {}
    for name in header:
        if name not in columns.values():
            words.setdefault(_word(name), name)
    for name in header:  # "Purchase Price (EUR)" is a purchase price
        if name not in columns.values() and currency_in(name):
            words.setdefault(_word(without_currency(name)), name)
    mapping: dict[str, list[str]] = {}
    for ours, spelt in headers.items():
        found = [words[word] for word in spelt.split() if word in words]
        if ours in columns:
            mapping[ours] = [columns[ours]]
        elif found:
            mapping[ours] = found if ours in SEVERAL else found[:1]
    if not {"card", "product_id", "name"} & set(mapping) and not (
        "number" in mapping and {"set", "set_code"} & set(mapping)
    ):
        raise UsageError(
            f"'{path}' has no column that names cards among {listed}: name it with --map OURS="
            f"THEIRS, where OURS is one of {', '.join(headers)}"
        )
    return mapping


def _printing(row: dict[str, str]) -> str:
    """Return the printing that a row names, or marks in columns of yes and no."""
    text = row.get("printing", "")
    if plain(text) not in YES | NO | {""}:
        return text
    marks = {"first_edition": "1st Edition", "reverse": "Reverse", "printing": "Holofoil"}
    named = [name for field, name in marks.items() if plain(row.get(field, "")) in YES]
    return " ".join(named) + " Holofoil" * (named[-1:] == ["Reverse"])


def _word(text: str) -> str:
    return plain(text).replace(" ", "")
