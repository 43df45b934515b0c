"""The commands of ``pokewatch watch``: the user's own cards, added, removed, valued, imported."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option, Typer

from pokewatch.cards.spelling import printable
from pokewatch.cli import options
from pokewatch.cli.options import settings
from pokewatch.cli.rendering import records, show
from pokewatch.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from pokewatch.cards.catalog import Catalog
    from pokewatch.formatting import Money
    from pokewatch.watchlist.importers import Imported

app = Typer(help="Keep the list of your cards, and see what they are worth.", no_args_is_help=True)
ConditionOption = Annotated[
    str | None, Option(metavar="NM|LP|MP|HP|DMG", help="The copies' condition.")
]
GradeOption = Annotated[
    str | None, Option(metavar="GRADE", help="Graded copies, such as 'PSA 10'.")
]
LotOption = Annotated[
    str | None, Option("--lot", metavar="ID", help="Of this lot only, as 'watch history' shows it.")
]
IgnoreOption = Annotated[
    list[str] | None, Option(metavar="COLUMN", help="Leave a column unread; repeat.")
]
StrictOption = Annotated[
    bool, Option("--strict", help="Take nothing unless every row is understood.")
]


def known_cards() -> Catalog:
    """Return the catalog of the store's cards."""
    from pokewatch.cards.catalog import Catalog
    from pokewatch.store.tables import Store

    return Catalog(Store.from_settings(settings()).cards())


@app.command()
def add(
    card: Annotated[str, Argument(help="Id, alias or name.")],
    quantity: Annotated[int, Option(help="Copies.")] = 1,
    cost: Annotated[
        float | None, Option(help="What one copy cost, in the currency of your prices.")
    ] = None,
    condition: ConditionOption = None,
    grade: GradeOption = None,
    above: Annotated[float | None, Option(help="Tell me at this price or more.")] = None,
    below: Annotated[float | None, Option(help="Tell me at this price or less.")] = None,
    note: Annotated[str, Option(help="Whatever you want to remember.")] = "",
    unchecked: Annotated[
        bool, Option("--unchecked", help="Keep a card that the store does not know.")
    ] = False,
) -> None:
    """Add copies of a card: another cost, condition or grade is a new lot, else the lot grows."""
    from pokewatch.watchlist import edit, entries
    from pokewatch.watchlist.lots import described

    path, catalog = settings().watchlist, known_cards()
    try:
        card = catalog.resolve(card)
    except UsageError as error:
        if not unchecked:
            raise UsageError(f"{error}; --unchecked keeps it as it is written") from error
    fields = {
        "card": card,
        "quantity": quantity,
        "cost": cost,
        "condition": condition,
        "grade": grade,
        "target_above": above,
        "target_below": below,
        "note": " ".join(note.split()),
    }
    new = entries.entry("this card", fields)
    before = entries.load(path) if path.exists() else []
    others = "; ".join(described(before[at]) for at in edit.matching(before, card, catalog))
    merged = edit.add(path, [new], catalog)
    how = "more copies of the lot that was there" if merged else "a new lot"
    sys.stdout.write(f"{path.name}: {described(new)}; {how}\n")
    if others and not merged:
        sys.stderr.write(f"there are other copies of this card: {others}\n")


@app.command()
def remove(
    card: Annotated[str, Argument(help="Id, alias or name.")],
    cost: Annotated[
        str | None, Option(metavar="AMOUNT|none", help="Only copies that cost this.")
    ] = None,
    lot: LotOption = None,
    condition: ConditionOption = None,
    grade: GradeOption = None,
    all: Annotated[bool, Option("--all", help="Every entry of the card.")] = False,
) -> None:
    """Remove an entry, all its copies; where a card has several, say which."""
    from pokewatch.watchlist import edit, entries
    from pokewatch.watchlist.lots import chosen, described

    path = settings().watchlist
    listed = entries.parse(entries.read(path), path.name)
    wanted = entries.entry("this card", {"card": card, "condition": condition})
    mine = {at: listed[at] for at in edit.matching(listed, card, known_cards())}
    if not mine:
        raise UsageError(
            f"'{path.name}' has no entry of '{card}': 'pokewatch watch list' shows all"
        )
    held = "; ".join(map(described, mine.values()))
    found = chosen(mine, wanted.condition if condition else None, grade, lot)
    if cost is not None:
        try:
            paid = None if cost.casefold() == "none" else float(cost)
        except ValueError as error:
            raise UsageError(f"--cost '{cost}' is no amount: write 12.50, or none") from error
        found = {at: one for at, one in found.items() if one.cost == paid}
    if not found:
        raise UsageError(f"no such entry of '{card}': there are {held}")
    if len(found) > 1 and not all:
        raise UsageError(
            f"'{card}' has {len(found)} entries: {held}; say which with --lot, --cost or "
            "--condition, or --all"
        )
    edit.remove(path, found)
    for one in found.values():
        sys.stdout.write(f"{path.name}: removed {described(one)}\n")


@app.command("list")
def list_(json: options.JsonFlag = False) -> None:
    """Show your cards with what they are worth, and which targets are crossed."""
    from pokewatch.store.tables import Store
    from pokewatch.watchlist import entries, lots

    path = settings().watchlist
    listed = entries.parse(entries.read(path), path.name)
    held, day = entries.valued(settings(), entries.held(listed))
    names = Store.from_settings(settings()).cards().set_index("card_id")["name"]
    held.insert(2, "name", held["card_id"].map(names))
    held["crossed"] = entries.crossed(held)
    held["stale"] = held["age"] > settings().stale_days
    counted = held[held["grade"] == ""]
    played = int((counted["condition"] != "near_mint").sum())
    prices = "prices are the market's near-mint prices"
    if played:
        prices += f", for the {played} in another condition too: those will bring less"
    if ((held["grade"] != "") & held["price"].notna()).any():
        prices += "; graded copies are worth the median of their grade's sales on eBay"
    total = entries.totals(held, day)
    sold = [one for one in listed if isinstance(one, entries.Sale)]
    if sold:
        total["realised"] = lots.total(lots.lots(sold, known_cards())["gain"])
    if json:
        show({**total, "prices": prices, "entries": records(held)}, json)
    elif held.empty:
        show(f"{path.name} lists no card yet: {entries.EXAMPLE}", json)
    else:
        total["gain (where price and cost are known)"] = total.pop("gain")
        if sold:
            total["realised gain ('pokewatch watch history')"] = total.pop("realised")
        if "graded" in total:
            total["graded copies, not valued"] = total.pop("graded")
        money = options.money()
        people = (table(held, money), total | {"prices": prices})
        show(None, json, *people, limit=None, money=money)
        for problem in held["problem"].dropna():
            sys.stderr.write(f"no value: {printable(problem)}\n")


def table(held: pd.DataFrame, money: Money) -> pd.DataFrame:
    """Return the rows for people: targets in words, stale prices marked, no empty columns."""
    import pandas as pd

    written = "{:,.2f}".format if money.plain else money

    def targets(row: pd.Series) -> str | None:
        return ", ".join(
            f"{side} {written(row[f'target_{side}'])}{' CROSSED' if row['crossed'] == side else ''}"
            for side in ("above", "below")
            if pd.notna(row[f"target_{side}"])
        )

    names = ["card", "name", "quantity", "condition", "grade", "cost", "price", "value", "gain"]
    shown = held[names].replace({"grade": {"": None}})
    shown["bought"] = held["bought"]
    shown["target"] = held.apply(targets, axis=1).replace("", None)
    shown["stale"] = held["stale"].map({True: "stale", False: None})
    shown["note"] = held["note"].replace("", None)
    return shown.loc[:, shown.notna().any() | shown.columns.isin(["price", "value"])]


@app.command("import")
def import_(
    file: Annotated[Path, Argument(help="A collection app's CSV export.")],
    map: options.MapOption = None,
    ignore: IgnoreOption = None,
    currency: options.CurrencyOption = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Show it, write nothing.")] = False,
    strict: StrictOption = False,
    json: options.JsonFlag = False,
) -> None:
    """Add the cards of a collection export: TCGplayer, Collectr, Dex, Cardmarket or any CSV."""
    import pandas as pd

    from pokewatch.watchlist import edit

    path, catalog = settings().watchlist, known_cards()
    found = loaded(file, catalog, map, ignore, currency)
    reasons = report(found, file, strict, len(found.entries))
    merged = edit.add(path, found.entries, catalog, dry=dry_run)
    counts = {
        "imported": len(found.entries),
        "copies": sum(one.quantity for one in found.entries),
        "left_out": len(found.problems) + len(found.skipped),
        "entries_grown": merged,
        "written": not dry_run,
    }
    rows = [one.model_dump(mode="json") for one in found.entries]
    people: list[Any] = [{name.replace("_", " "): value for name, value in counts.items()}]
    if dry_run:
        people.insert(0, pd.DataFrame(rows).drop(columns=["target_above", "target_below"]))
    show({**counts, "entries": rows, **reasons}, json, *people, money=options.money())
    if merged and not json:
        sys.stderr.write(
            f"{merged} entries were there already and have more copies now: a file imported twice "
            "counts twice\n"
        )


def loaded(
    file: Path,
    catalog: Catalog,
    map: list[str] | None,
    ignore: list[str] | None,
    currency: str | None,
    sales: bool = False,
) -> Imported:
    """Return what a file of cards, or of sales, holds, read as the options say."""
    from pokewatch.sources.ecb import stored_currency
    from pokewatch.watchlist import importers

    return importers.load(
        file,
        catalog,
        options.columns_of(map),
        ignore or [],
        currency or "",
        settings().eur_usd,
        sales,
        stored_currency(settings()),
    )


def report(found: Imported, file: Path, strict: bool, taken: int) -> dict[str, Any]:
    """Say on stderr what of a file was not taken and why, and return it for programs.

    taken: how many rows were; none is a UsageError, as is a row that is not understood, if strict.
    """
    notes = [(line, f"left out: {reason}") for line, reason in found.problems]
    notes += [(line, f"skipped: {reason}") for line, reason in found.skipped]
    for line, note in sorted(notes + found.remarks):
        sys.stderr.write(f"line {line}: {printable(note)}\n")
    if found.unused:
        sys.stderr.write(f"columns not used: {', '.join(printable(one) for one in found.unused)}\n")
    if found.free:
        sys.stderr.write(
            f"{found.free} costs of 0 taken as not told: where a card was free, write 'cost: 0'\n"
        )
    if strict and found.problems:
        raise UsageError(
            f"--strict: {len(found.problems)} rows of '{file}' are not understood; nothing taken"
        )
    if not taken:
        left = len(found.problems) + len(found.skipped)
        raise UsageError(f"no row of '{file}' could be taken, {left} were left out")
    return {"columns_not_used": found.unused} | {
        kind: [{"line": line, "reason": reason} for line, reason in sorted(getattr(found, kind))]
        for kind in ("problems", "skipped", "remarks")
    }
