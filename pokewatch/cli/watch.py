"""The commands of ``pokewatch watch``, each a call into the package plus its printing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pokewatch.cli.commands import JsonFlag, columns_of
from pokewatch.errors import UsageError
from pokewatch.settings import get_settings

if TYPE_CHECKING:
    import pandas as pd

    from pokewatch.cards.catalog import Catalog
    from pokewatch.watchlist.entries import Entry
    from pokewatch.watchlist.importers import Imported

NEAR_MINT = "prices are the market's near-mint prices"
watch = typer.Typer(
    help="Keep the list of your cards, and see what they are worth.",
    no_args_is_help=True,
    add_completion=False,
)
ConditionOption = Annotated[
    str | None, typer.Option(metavar="NM|LP|MP|HP|DMG", help="The copies' condition.")
]


def known_cards() -> Catalog:
    """Return the catalog of the store's cards."""
    from pokewatch.cards.catalog import Catalog
    from pokewatch.store.tables import Store

    return Catalog(Store.from_settings(get_settings()).cards())


@watch.command()
def add(
    card: Annotated[str, typer.Argument(help="Id, alias or name.")],
    quantity: Annotated[int, typer.Option(help="Copies.")] = 1,
    cost: Annotated[float | None, typer.Option(help="USD that one copy cost.")] = None,
    condition: ConditionOption = None,
    above: Annotated[float | None, typer.Option(help="Tell me at this USD or more.")] = None,
    below: Annotated[float | None, typer.Option(help="Tell me at this USD or less.")] = None,
    note: Annotated[str, typer.Option(help="Whatever you want to remember.")] = "",
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Keep a card that the store does not know.")
    ] = False,
) -> None:
    """Add copies of a card; the same card, condition and cost become one entry."""
    from pokewatch.watchlist import edit
    from pokewatch.watchlist import entries as watchlist

    path, catalog = get_settings().watchlist, known_cards()
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
        "target_above": above,
        "target_below": below,
        "note": " ".join(note.split()),
    }
    made = watchlist.entry("this card", fields)
    have = watchlist.load(path) if path.exists() else []
    others = [have[at] for at in edit.matching(have, card, catalog)]
    merged = edit.add(path, [made], catalog)
    how = "more copies of the entry that was there" if merged else "a new entry"
    sys.stdout.write(f"{path.name}: {described(made)}; {how}\n")
    if others and not merged:
        lots = "; ".join(described(one) for one in others)
        sys.stderr.write(f"there are other copies of this card: {lots}\n")


@watch.command()
def remove(
    card: Annotated[str, typer.Argument(help="Id, alias or name.")],
    cost: Annotated[
        str | None, typer.Option(metavar="USD|none", help="Only copies that cost this.")
    ] = None,
    condition: ConditionOption = None,
    all: Annotated[bool, typer.Option("--all", help="Every entry of the card.")] = False,
) -> None:
    """Remove an entry, all its copies; where a card has several, say which."""
    from pokewatch.watchlist import edit
    from pokewatch.watchlist import entries as watchlist

    path, catalog = get_settings().watchlist, known_cards()
    entries = watchlist.load(path)
    wanted = watchlist.entry("this card", {"card": card, "condition": condition})
    found = edit.matching(entries, card, catalog)
    if not found:
        raise UsageError(
            f"'{path.name}' has no entry of '{card}': 'pokewatch watch list' shows all"
        )
    lots = "; ".join(described(entries[at]) for at in found)
    if cost is not None:
        try:
            paid = None if cost.casefold() == "none" else float(cost)
        except ValueError as error:
            raise UsageError(f"--cost '{cost}' is no amount: write 12.50, or none") from error
        found = [at for at in found if entries[at].cost == paid]
    if condition is not None:
        found = [at for at in found if entries[at].condition is wanted.condition]
    if not found:
        raise UsageError(f"no such entry of '{card}': there are {lots}")
    if len(found) > 1 and not all:
        raise UsageError(
            f"'{card}' has {len(found)} entries: {lots}; say which with --cost (or --condition), "
            "or --all"
        )
    edit.remove(path, found)
    for at in found:
        sys.stdout.write(f"{path.name}: removed {described(entries[at])}\n")


@watch.command("list")
def list_(json: JsonFlag = False) -> None:
    """Show your cards with what they are worth, and which targets are crossed."""
    import pandas as pd

    from pokewatch.cli import rendering
    from pokewatch.store.tables import Store
    from pokewatch.watchlist import entries as watchlist

    settings = get_settings()
    entries = watchlist.load(settings.watchlist)
    held, day = watchlist.valued(settings, entries)
    names = Store.from_settings(settings).cards().set_index("card_id")["name"]
    held.insert(2, "name", held["card_id"].map(names))
    held["crossed"] = watchlist.crossed(held)
    held["stale"] = held["age"] > settings.stale_days
    total = {
        "date": f"{day:%Y-%m-%d}",
        "copies": int(held["quantity"].sum()),
        "value": held["value"].sum(min_count=1),
        "cost": (held["cost"] * held["quantity"]).sum(min_count=1),
        "gain": held["gain"].sum(min_count=1),
        "prices": price_note(held),
    }
    total = {name: None if pd.isna(value) else value for name, value in total.items()}
    if json:
        rendering.show_json({**total, "entries": rendering.records(held)})
        return
    if held.empty:
        sys.stdout.write(f"{settings.watchlist.name} lists no card yet: {watchlist.EXAMPLE}\n")
        return
    rendering.show_table(table(held))
    gain = {
        "gain (where price and cost are known)": total.pop("gain"),
        "prices": total.pop("prices"),
    }
    rendering.show_pairs(total | gain)
    for problem in held["problem"].dropna():
        sys.stderr.write(f"no value: {clean(problem)}\n")


def price_note(held: pd.DataFrame) -> str:
    """Say what the prices are, and of how many entries they are not the price."""
    played = int((held["condition"] != "near_mint").sum())
    if not played:
        return NEAR_MINT
    return f"{NEAR_MINT}, for the {played} in another condition too: those will bring less"


def table(held: pd.DataFrame) -> pd.DataFrame:
    """Return the rows for people: short, targets in words, what is stale marked."""
    import pandas as pd

    def targets(row: Any) -> str | None:
        sides = [(side, row[f"target_{side}"]) for side in ("above", "below")]
        said = [
            f"{side} {usd:,.2f}{' CROSSED' if row['crossed'] == side else ''}"
            for side, usd in sides
            if pd.notna(usd)
        ]
        return ", ".join(said) or None

    shown = held[["card", "name", "quantity", "condition", "cost", "price", "value", "gain"]].copy()
    shown["target"] = held.apply(targets, axis=1)
    shown["stale"] = held["stale"].map({True: "stale", False: None})
    shown["note"] = held["note"].replace("", None)
    for name in ("card", "name", "note"):
        shown[name] = shown[name].map(clean, na_action="ignore")
    return shown.loc[
        :, [name for name in shown if name in ("price", "value") or shown[name].notna().any()]
    ]


def clean(text: str) -> str:
    """Return a text without signs that a terminal would act on."""
    return "".join(sign if sign.isprintable() else " " for sign in str(text))


def described(one: Entry) -> str:
    """Return an entry in a few words."""
    paid = "no cost" if one.cost is None else f"cost {one.cost:,.2f}"
    return f"{one.quantity} x {clean(one.card)} ({one.condition.replace('_', ' ')}, {paid})"


@watch.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A collection app's CSV export.")],
    map: Annotated[
        list[str] | None,
        typer.Option(metavar="OURS=THEIRS", help="The file's column for a field; repeat."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show it, write nothing.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Take nothing unless every row is understood.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Add the cards of a collection export: TCGplayer, Collectr, Dex, Cardmarket or any CSV."""
    import pandas as pd

    from pokewatch.cli import rendering
    from pokewatch.watchlist import edit, importers

    path, catalog = get_settings().watchlist, known_cards()
    found = importers.load(file, catalog, columns_of(map))
    left = len(found.problems) + len(found.skipped)
    tell(found)
    if strict and found.problems:
        raise UsageError(
            f"--strict: {len(found.problems)} rows of '{file}' are not understood; nothing taken"
        )
    if not found.entries:
        raise UsageError(f"no row of '{file}' could be taken, {left} were left out")
    merged = edit.add(path, found.entries, catalog, dry=dry_run)
    counts = {
        "imported": len(found.entries),
        "copies": sum(one.quantity for one in found.entries),
        "left_out": left,
        "entries_grown": merged,
        "written": not dry_run,
    }
    rows = [one.model_dump(mode="json") for one in found.entries]
    if json:
        reasons = {
            kind: [{"line": line, "reason": reason} for line, reason in getattr(found, kind)]
            for kind in ("problems", "skipped", "remarks")
        }
        rendering.show_json({**counts, "entries": rows, **reasons})
        return
    if dry_run:
        frame = pd.DataFrame(rows).drop(columns=["target_above", "target_below"])
        rendering.show_table(frame, limit=50)
    rendering.show_pairs({name.replace("_", " "): value for name, value in counts.items()})
    if merged:
        sys.stderr.write(
            f"{merged} entries were there already and have more copies now: a file imported twice "
            "counts twice\n"
        )


def tell(found: Imported) -> None:
    """Say on stderr by line what was left out, and why."""
    said = [
        *((line, f"left out: {reason}") for line, reason in found.problems),
        *((line, f"skipped: {reason}") for line, reason in found.skipped),
        *found.remarks,
    ]
    for line, reason in sorted(said):
        sys.stderr.write(f"line {line}: {reason}\n")
