"""Commands about prices: collect, backfill, sources, quarantine and simulate."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Option, Typer

from pokewatch.cli import options
from pokewatch.cli.options import settings
from pokewatch.cli.rendering import show
from pokewatch.errors import GateError, UsageError

if TYPE_CHECKING:
    from pokewatch.quality.ingest import Counts

app = Typer()
ROWS = ("received", "accepted", "quarantined", "unchanged")


@app.command()
def collect(
    source: Annotated[
        str | None, Option(help="Where prices come from: see 'pokewatch sources'.")
    ] = None,
    fallback: Annotated[
        list[str] | None,
        Option(metavar="SOURCE", help="Asked for what the source did not deliver; repeat."),
    ] = None,
    path: options.PathOption = None,
    date: options.DateOption = None,
    map: options.MapOption = None,
    id: Annotated[
        str | None,
        Option(
            metavar="TEMPLATE",
            help="Build card ids: '{set}|{name}', lower-cased, or '{product_id}:{printing}'.",
        ),
    ] = None,
    currency: options.CurrencyOption = None,
    json: options.JsonFlag = False,
) -> None:
    """Bring one snapshot, or a file, through quality into the store."""
    from pokewatch.operations import graded
    from pokewatch.quality import ingest
    from pokewatch.sources import ecb, home_of

    counts = ingest.collect(
        settings(),
        source,
        fallback,
        on=date,
        path=path,
        columns=options.columns_of(map),
        id_template=id,
        currency=currency,
        progress=sys.stderr.isatty(),
    )
    ecb.refresh(home_of(counts.source, [], settings()))
    graded.refresh(settings())
    show(counts.as_dict(), json, summary(counts))
    if counts.incomplete:
        raise GateError(counts.incomplete)


def summary(counts: Counts) -> dict[str, Any]:
    """Return what became of a delivery, for people."""
    values = counts.as_dict() | {"notes": "; ".join(counts.notes)}
    rare = ["released", "superseded", "notes"]
    names = ["source", *ROWS, *rare[:2], "reasons", "notes", "data_version"]
    return {
        name.replace("_", " "): values[name] for name in names if values[name] or name not in rare
    }


@app.command()
def backfill(
    since: Annotated[date | None, options.day_option("--since", "First day.")] = None,
    until: Annotated[
        date | None, options.day_option("--until", "Last day; default: yesterday.")
    ] = None,
    path: Annotated[Path | None, Option(help="Folder of archives that you have.")] = None,
    jobs: options.JobsOption = options.CORES,
    again: Annotated[
        bool, Option("--again", help="Read days that are stored, too: for a new category.")
    ] = False,
    watchlist: Annotated[
        bool, Option("--watchlist", help="Your cards' last 30 days instead, by product.")
    ] = False,
    json: options.JsonFlag = False,
) -> None:
    """Fill the store from archives of tcgcsv's days; run again, it goes on."""
    from pokewatch.quality import ingest

    if watchlist:
        if since or until or path or again:
            raise UsageError("--watchlist takes no --since, --until, --path or --again")
        fill_watchlist(json)
        return
    if since is None:
        raise UsageError("--since is missing: name the first day, or say --watchlist")
    last = until or datetime.now(tz=UTC).date() - timedelta(days=1)
    total = ingest.Counts(source="tcgcsv")
    days: dict[str, dict[str, int]] = {}
    for stored, counts in ingest.backfill(
        settings(), since, last, path, jobs, progress=sys.stderr.isatty(), again=again
    ):
        total.add(counts)
        days[f"{stored:%Y-%m-%d}"] = {name: getattr(counts, name) for name in ROWS}
    people: list[Any] = [
        "  ".join([name, *(f"{kind} {rows:,}" for kind, rows in one.items())])
        for name, one in days.items()
    ]
    people.append(
        summary(total)
        if days
        else f"nothing to do: every archived day from {since} to {last} is stored"
    )
    show({**total.as_dict(), "days": days}, json, *people)


def fill_watchlist(json: bool) -> None:
    """Fill the past of the watchlist's cards, and say what came and what did not."""
    from pokewatch.operations.watch_history import fill

    found = fill(settings(), progress=sys.stderr.isatty())
    people: list[Any] = [f"{card}  days {days}" for card, days in found.cards.items()]
    people += [f"{card}  nothing is missing" for card in found.before]
    missed = {"failed": found.failed, "left": found.left}
    causes = [f"not filled: {card}: {why}" for one in missed.values() for card, why in one.items()]
    told = {"cards": found.cards, "before": found.before, **missed}
    show({**found.counts.as_dict(), **told}, json, *people, summary(found.counts), *causes)
    if error := found.error():
        raise error


@app.command()
def rates(json: options.JsonFlag = False) -> None:
    """Ask for the day's exchange rates, once a day, and show how amounts are converted."""
    from pokewatch.sources import ecb

    found, money = ecb.update(settings()), options.money()
    value = {
        "date": f"{found.day}",
        "asked": found.asked.isoformat(timespec="seconds"),
        "for_one_eur": found.rates,
        "stored": money.stored,
        "shown": money.currency,
        "rate": money.rate,
    }
    show(value, json, value, money.note or f"Amounts are shown in {money.currency}.")


@app.command()
def sources(
    check: Annotated[
        bool, Option("--check", help="Ask each service once whether it answers.")
    ] = False,
    json: options.JsonFlag = False,
) -> None:
    """List where prices come from, what each source needs, and what came so far."""
    import pandas as pd

    from pokewatch.operations.source_status import source_status

    found = source_status(settings(), check)
    people: list[Any] = [
        pd.DataFrame(found)[["source", "key", "rows", "newest", "currency", "history"]]
    ]
    for one in found:
        people.append(f"\n{one['source']}: {one['serves']}\n  limits: {one['limits']}")
        if one["notice"]:
            people.append(f"  {one['notice']}: use another source")
        if one["key"] == "missing":
            people.append(f"  needs a key: set {one['key_setting']} in .env")
        if check:
            people.append(f"  check: {one['check']}")
    show(found, json, *people)


@app.command()
def quarantine(
    action: Annotated[Literal["list", "release", "drop"], Argument(help="list, release or drop.")],
    ids: Annotated[
        list[str] | None, Argument(help="Ids as 'list' shows them; beginnings do.")
    ] = None,
    reason: Annotated[str | None, Option(help="All rows refused for this reason.")] = None,
    card: Annotated[str | None, Option(help="All rows of this card.")] = None,
    json: options.JsonFlag = False,
) -> None:
    """List what was refused; release it after all, or drop it for good."""
    import pandas as pd

    from pokewatch.evaluation import predictions
    from pokewatch.quality import quarantine as refused
    from pokewatch.store.tables import Store

    store = Store.from_settings(settings())
    if card is not None and card not in set(store.quarantine()["card_id"]):
        card = predictions.resolve(settings(), [card])[0]
    rows = refused.select(store, ids or [], reason, card)
    if action == "list":
        columns = ["quarantine_id", "card_id", "date", "market_price", "raw", "reason", "status"]
        counts = rows["reason"].value_counts().sort_index()
        table = rows[columns].sort_values(["reason", "card_id", "date"])
        show(rows, json, table, {"rows": len(rows), **counts.to_dict()})
        return
    if not ids and reason is None and card is None:
        raise UsageError(f"name what to {action}: ids, --reason or --card")
    if action == "release":
        done = refused.release(store, rows, pd.Timestamp.now(tz="UTC"))
    else:
        done = refused.drop(store, rows)
    show({"action": action, "rows": done}, json, f"{action}: {done} rows")


@app.command()
def simulate(
    cards: Annotated[int, Option(min=1, help="Price series.")],
    days: Annotated[int, Option(min=1, help="Days of history.")],
    output: Annotated[Path, Option(help="A new folder for the Parquet files.")],
    until: Annotated[
        date | None, options.day_option("--until", "Last day; default: today.")
    ] = None,
    seed: Annotated[int, Option(min=0, help="Another seed is another market.")] = 7,
    json: options.JsonFlag = False,
) -> None:
    """Write an invented market of any size: files for 'collect --source file'."""
    from pokewatch.sources.simulated import large

    show(large.write(output, cards, days, until, seed, sys.stderr.isatty()), json)
    if not json:
        sys.stderr.write(f"store it with: pokewatch collect --source file --path {output}\n")
