"""More commands of ``pokewatch watch``: buys and sales, sets to complete, files for other apps."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Option

from pokewatch.cli import options
from pokewatch.cli.options import settings
from pokewatch.cli.rendering import printable_lines, show
from pokewatch.cli.watch import (
    ConditionOption,
    GradeOption,
    IgnoreOption,
    LotOption,
    StrictOption,
    app,
    known_cards,
    loaded,
    report,
)
from pokewatch.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

CardArgument = Annotated[str, Argument(help="Id, alias or name.")]
PriceOption = Annotated[
    float, Option("--price", help="Of one copy, in the currency of your prices.")
]
DayOption = Annotated[date | None, options.day_option("--date", "The day; default: today.")]
NoteOption = Annotated[str, Option(help="Whatever you want to remember.")]
OutputOption = Annotated[
    Path | None, Option("--output", help="Write a .csv, .json or .parquet file.")
]


def today() -> date:
    """Return the day of a trade for which none is named."""
    return datetime.now(tz=UTC).date()


@app.command()
def buy(
    card: CardArgument,
    price: PriceOption,
    quantity: Annotated[int, Option(help="Copies.")] = 1,
    date: DayOption = None,
    fees: Annotated[float | None, Option(help="What all cost on top: shipping, tax.")] = None,
    condition: ConditionOption = None,
    grade: GradeOption = None,
    note: NoteOption = "",
    json: options.JsonFlag = False,
) -> None:
    """Add copies that you bought: a lot with its day, price and fees."""
    from pokewatch.watchlist import edit, entries, lots

    path, catalog = settings().watchlist, known_cards()
    entries.exact_cents("--price", price)
    fields = {"card": catalog.resolve(card), "quantity": quantity, "cost": price}
    fields |= {"bought": date or today(), "buy_fees": fees, "condition": condition, "grade": grade}
    new = entries.entry("this buy", fields | {"note": " ".join(note.split())})
    merged = edit.add(path, [new], catalog)
    table = lots.lots([new], catalog)[["card_id", "quantity", "lot", "paid"]]
    show(table, json, money=options.money())
    if not json:
        how = "more copies of that lot" if merged else "a new entry"
        sys.stderr.write(f"{path.name}: {how}\n")


@app.command()
def sell(
    card: CardArgument,
    price: PriceOption,
    quantity: Annotated[int, Option(min=1, help="Copies.")] = 1,
    date: DayOption = None,
    fees: Annotated[float, Option(min=0, help="What the whole sale cost you.")] = 0.0,
    lot: LotOption = None,
    condition: ConditionOption = None,
    grade: GradeOption = None,
    note: NoteOption = "",
    json: options.JsonFlag = False,
) -> None:
    """Take copies that you sold out of your list, the oldest first; keep what they brought."""
    from pokewatch.watchlist import edit, entries, lots

    path, catalog = settings().watchlist, known_cards()
    before = entries.read(path)
    have = entries.parse(before, path.name)
    wanted = entries.entry("this sale", {"card": card, "condition": condition})
    now = lots.sell(
        have,
        catalog,
        card,
        quantity,
        price,
        date or today(),
        fees,
        lot,
        wanted.condition if condition else None,
        grade,
        " ".join(note.split()),
    )
    edit.write(path, before, have, now)
    sales = lots.lots([one for one in now if one], catalog).tail(len(now) - len(have))
    table = sales[["card_id", "quantity", "lot", "price", "sale_fees", "received", "paid", "gain"]]
    show(table, json, money=options.money())
    if not json:
        left = edit.matching(now, card, catalog)
        count = sum(one.quantity for at in left if (one := now[at]))
        sys.stderr.write(f"{path.name}: {count} copies of it left\n")


@app.command()
def history(
    card: Annotated[str | None, Argument(help="Only of this card: id, alias or name.")] = None,
    output: OutputOption = None,
    json: options.JsonFlag = False,
) -> None:
    """Show what you bought and sold, day by day, and what the sales brought."""
    from pokewatch.operations.exports import check_output, write_frame
    from pokewatch.watchlist import edit, entries, lots

    if output:
        check_output(output)
    path, catalog = settings().watchlist, known_cards()
    listed = entries.parse(entries.read(path), path.name)
    if card and card.strip():
        wanted = edit.card_of(entries.Entry(card=card), catalog)
        listed = [one for one in listed if edit.card_of(one, catalog) == wanted]
        if not listed:
            catalog.resolve(card)  # the error lists what looks like it
            raise UsageError(f"'{path.name}' has no copy of '{card}', held or sold")
    table = lots.transactions(lots.lots(listed, catalog))
    names = catalog.cards.drop_duplicates("card_id").set_index("card_id")["name"]
    table.insert(4, "name", table["card_id"].map(names))
    if output:
        write_frame(table, output)
        sys.stderr.write(f"{len(table)} buys and sales written to {output}\n")
        if not json:
            return
    bought, sold = table[table["type"] != "sell"], table[table["type"] == "sell"]
    sums = {
        "paid": lots.total(-bought["amount"]),
        "received": lots.total(sold["amount"]),
        "realised gain": lots.total(sold["gain"]),
    }
    if unknown := int(bought["amount"].isna().sum()):
        sums["lots without a cost, in neither paid nor realised gain"] = unknown
    shown = table.drop(columns=["card_id"]).replace({"grade": {"": None}, "note": {"": None}})
    people = (shown.dropna(axis=1, how="all"), sums)
    show(table, json, *people, limit=None, money=options.money())


@app.command("import-sales")
def import_sales(
    file: Annotated[Path, Argument(help="A log of sales, or of buys and sales, as CSV.")],
    gone: Annotated[
        bool, Option("--gone", help="The copies are in your list no more: take none out of it.")
    ] = False,
    map: options.MapOption = None,
    ignore: IgnoreOption = None,
    currency: options.CurrencyOption = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Show it, write nothing.")] = False,
    strict: StrictOption = False,
    json: options.JsonFlag = False,
) -> None:
    """Take sales from a CSV log out of your list: columns date, card, price, quantity, fees."""
    from pokewatch.watchlist import edit, entries, lots

    path, catalog = settings().watchlist, known_cards()
    before = entries.read(path) if path.exists() else ""
    have = entries.parse(before, path.name)
    found = loaded(file, catalog, map, ignore, currency, sales=True)
    now, refused = lots.apply(have, found.entries, catalog, gone)
    found.problems += [(found.lines[at], reason) for at, reason in refused.items()]
    taken = [one for at, one in enumerate(found.entries) if at not in refused]
    sales = [one for one in taken if isinstance(one, entries.Sale)]
    if not gone and any(one.cost is not None for one in sales):
        sys.stderr.write("costs in the file are not taken: those of your own lots count\n")
    known = {
        (edit.card_of(one, catalog), one.price, one.date)
        for one in have
        if isinstance(one, entries.Sale)
    }
    again = sum((edit.card_of(one, catalog), one.price, one.date) in known for one in sales)
    reasons = report(found, file, strict, len(taken))
    edit.write(path, before, have, now, dry=dry_run)
    new = sum(one is not None for one in now[len(have) :])
    table = lots.lots([one for one in now if one], catalog).tail(new)
    table = table[table["sold"].notna()]
    table = table[["sold", "card_id", "quantity", "lot", "price", "received", "paid", "gain"]]
    counts = {
        "sales": len(sales),
        "buys": len(taken) - len(sales),
        "left_out": len(found.problems) + len(found.skipped),
        "received": lots.total(table["received"]),
        "realised_gain": lots.total(table["gain"]),
        "written": not dry_run,
    }
    people = {name.replace("_", " "): value for name, value in counts.items()}
    rows = {"rows": table.assign(sold=table["sold"].dt.strftime("%Y-%m-%d"))}
    show({**counts, **rows, **reasons}, json, table, people, money=options.money())
    if again and not json:
        sys.stderr.write(
            f"{again} sales with the card, day and price of one that was there: a file imported "
            "twice counts twice\n"
        )


@app.command("set")
def set_(
    name: Annotated[str, Argument(metavar="SET", help="Its name or code, such as sv4pt5.")],
    horizon: Annotated[
        int | None, Option(min=1, help="Days ahead of the forecasts; default: those of signals.")
    ] = None,
    output: OutputOption = None,
    json: options.JsonFlag = False,
) -> None:
    """Show what you have and lack of a set, what that costs, and what can wait."""
    from pokewatch.analysis.collection import complete_set
    from pokewatch.operations.exports import check_output, write_frame
    from pokewatch.schema import SIGNAL_HORIZON

    if output:
        check_output(output)
    horizon = horizon or SIGNAL_HORIZON
    table = complete_set(settings(), name, horizon)
    about = {key: value for key, value in table.attrs.items() if key != "unclear"}
    table.attrs, unclear = {}, table.attrs["unclear"]
    if output:
        write_frame(table, output)
        sys.stderr.write(f"{len(table)} printings written to {output}\n")
        if not json:
            return
    predicted = about["predicted_on"]
    about["predicted_on"] = None if predicted is None else f"{predicted:%Y-%m-%d}"
    lacking = table[table["have"] == 0].drop(columns=["have"])
    shown = lacking.assign(expected=[_change(one) for one in lacking["expected"]])
    people: list[Any] = [shown] if len(lacking) else ["nothing is lacking"]
    totals = {key.replace("_", " "): value for key, value in about.items() if key != "simulated"}
    totals["cost (of all that lacks)"] = totals.pop("cost")
    value = {**about, "horizon": horizon, "cards": table}
    show(value, json, *people, totals, limit=None, money=options.money())
    if unclear:
        sys.stderr.write(
            f"{unclear} entries of your list name no one card and are not counted: "
            "'pokewatch watch list' says which\n"
        )
    if predicted is None:
        sys.stderr.write("nothing is predicted yet: run 'pokewatch predict --all'\n")


def _change(value: float) -> str | None:
    """Return an expected change for people."""
    return None if value != value else f"{value:+.1%}"


@app.command("export")
def export_(
    style: Annotated[
        Literal["csv", "tcgplayer", "collectr", "cardmarket", "insurance"],
        Option("--format", help="Whose columns; insurance: a list for your insurer."),
    ] = "csv",
    output: Annotated[
        Path | None, Option("--output", help="Write this file; default: to the terminal.")
    ] = None,
) -> None:
    """Write your cards as a CSV file that other apps import."""
    from pokewatch.files import atomic_write
    from pokewatch.operations.exports import no_formulas
    from pokewatch.sources import ecb
    from pokewatch.store.tables import Store
    from pokewatch.watchlist import entries, exporters, graded, lots, portfolio

    listed = entries.load(settings().watchlist)
    held, day = entries.valued(settings(), listed)
    cards = Store.from_settings(settings()).cards()
    table: pd.DataFrame
    if style == "insurance":
        last = held["price"].set_axis([*map(graded.name, held["card_id"], held["grade"])]).dropna()
        last = last[~last.index.duplicated()]
        table = portfolio.insurance(lots.lots(listed, known_cards()), cards, last)
    else:
        table = exporters.exported(held, cards, style, day, ecb.stored_currency(settings()))
    separator = exporters.DELIMITERS.get(style, ",")
    text = no_formulas(table).to_csv(index=False, sep=separator, date_format="%Y-%m-%d")
    if output is None:
        sys.stdout.write(printable_lines(text))
    else:
        with atomic_write(output) as draft:
            draft.write_bytes(text.encode("utf-8"))
    if len(table) < len(held):
        sys.stderr.write(
            f"{len(held) - len(table)} entries of graded copies left out: "
            f"{style} has no column for a grade\n"
        )
