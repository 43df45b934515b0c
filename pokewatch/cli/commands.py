"""The commands of the command line, each a call into the package plus its printing."""

from __future__ import annotations

import os
import re
import sys
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pokewatch.errors import GateError, UsageError
from pokewatch.settings import get_settings

if TYPE_CHECKING:
    from pokewatch.quality.ingest import Counts

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
DateOption = Annotated[
    str | None, typer.Option("--date", metavar="YYYY-MM-DD", help="The day; default: the last.")
]
JobsOption = Annotated[int, typer.Option("--jobs", min=1, help="Parallel processes.")]
CORES = os.cpu_count() or 1
HorizonOption = Annotated[
    list[int] | None, typer.Option("--horizon", min=1, help="Days ahead; may be repeated.")
]
ModelOption = Annotated[str, typer.Option("--model", help="A trained model's name.")]
VersionOption = Annotated[
    int | None, typer.Option("--data-version", min=0, help="Read the prices as of this version.")
]


class QuarantineAction(StrEnum):
    """What to do with quarantined rows."""

    list = "list"
    release = "release"
    drop = "drop"


app = typer.Typer(
    help="Watches Pokémon trading-card prices: fair values, signals and an honest back-test.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Take the options that belong to no command."""


def day(text: str | None, option: str) -> date | None:
    """Return the date of an option; UsageError names a value that is none."""
    if text is None:
        return None
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        raise UsageError(f"{option} '{text}' is no date: write it as YYYY-MM-DD")
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError as error:
        raise UsageError(f"{option} '{text}' is no day of the calendar") from error


def columns_of(pairs: list[str] | None) -> dict[str, str]:
    """Return what --map names: our column -> theirs; UsageError for a pair that is none."""
    columns: dict[str, str] = {}
    for pair in pairs or []:
        ours, equals, theirs = pair.partition("=")
        if not equals or not ours or not theirs:
            raise UsageError(f"--map '{pair}' must read OURS=THEIRS, as market_price=price")
        if ours in columns:
            raise UsageError(f"--map names {ours} twice")
        columns[ours] = theirs
    return columns


def on_terminal() -> bool:
    """Return whether progress bars have somebody to look at them."""
    return sys.stderr.isatty()


def show_counts(counts: Counts, as_json: bool) -> None:
    """Print what became of a delivery."""
    from pokewatch.cli import rendering

    if as_json:
        rendering.show_json(counts.as_dict())
        return
    shown: dict[str, Any] = {
        name: getattr(counts, name)
        for name in ("source", "received", "accepted", "quarantined", "unchanged")
    }
    if counts.released:
        shown["released"] = counts.released
    if counts.superseded:
        shown["superseded"] = counts.superseded
    shown["reasons"] = counts.reasons
    if counts.notes:
        shown["notes"] = "; ".join(counts.notes)
    shown["data version"] = counts.data_version
    rendering.show_pairs(shown)


def require_complete(incomplete: str) -> None:
    """Raise GateError for a day below the coverage floor, after all else is done."""
    if incomplete:
        raise GateError(incomplete)


@app.command()
def collect(
    source: Annotated[
        str | None, typer.Option(help="Where prices come from: see 'pokewatch sources'.")
    ] = None,
    fallback: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE", help="Asked for what the source did not deliver; repeat."),
    ] = None,
    path: Annotated[
        Path | None, typer.Option(help="The file of source 'file', or a folder of them.")
    ] = None,
    date: DateOption = None,
    map: Annotated[
        list[str] | None,
        typer.Option(metavar="OURS=THEIRS", help="A file's column for one of ours; repeat."),
    ] = None,
    id: Annotated[
        str | None, typer.Option(metavar="TEMPLATE", help="Build card ids: '{set}|{name}'.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Bring one snapshot, or a file, through quality into the store."""
    from pokewatch.quality.ingest import collect as collect_delivery

    counts = collect_delivery(
        get_settings(),
        source,
        fallback,
        on=day(date, "--date"),
        path=path,
        columns=columns_of(map),
        id_template=id,
        progress=on_terminal(),
    )
    show_counts(counts, json)
    require_complete(counts.incomplete)


@app.command()
def backfill(
    since: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="First day.")],
    until: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="Last day; default: yesterday.")
    ] = None,
    path: Annotated[
        Path | None, typer.Option(help="Folder of archives already downloaded.")
    ] = None,
    jobs: JobsOption = CORES,
    again: Annotated[
        bool, typer.Option("--again", help="Read days that are stored, too: for a new category.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Fill the store from tcgcsv's daily archives; interrupted, it goes on where it stopped."""
    from datetime import UTC, timedelta

    from pokewatch.cli import rendering
    from pokewatch.quality.ingest import Counts
    from pokewatch.quality.ingest import backfill as backfill_days

    first = day(since, "--since")
    last = day(until, "--until") or datetime.now(tz=UTC).date() - timedelta(days=1)
    total = Counts(source="tcgcsv")
    days: dict[str, dict[str, Any]] = {}
    if first is not None:
        for stored, counts in backfill_days(
            get_settings(), first, last, path, jobs, progress=on_terminal(), again=again
        ):
            total.add(counts)
            days[f"{stored:%Y-%m-%d}"] = {
                name: getattr(counts, name)
                for name in ("received", "accepted", "quarantined", "unchanged")
            }
    if json:
        rendering.show_json({**total.as_dict(), "days": days})
        return
    for name, one in days.items():
        sys.stdout.write(
            f"{name}  received {one['received']:,}  accepted {one['accepted']:,}  quarantined "
            f"{one['quarantined']:,}  unchanged {one['unchanged']:,}\n"
        )
    if days:
        show_counts(total, False)
    else:
        sys.stdout.write(f"nothing to do: every archived day from {first} to {last} is stored\n")


@app.command()
def status(json: JsonFlag = False) -> None:
    """Show coverage, freshness, quarantine, data version and the champion's score."""
    from pokewatch.cli import rendering
    from pokewatch.operations import night

    found = night.status(get_settings())
    if json:
        rendering.show_json(found)
    else:
        rendering.show_pairs({name.replace("_", " "): value for name, value in found.items()})


@app.command()
def quarantine(
    action: Annotated[QuarantineAction, typer.Argument(help="list, release or drop.")],
    ids: Annotated[
        list[str] | None, typer.Argument(help="Ids as 'list' shows them; beginnings do.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="All rows refused for this reason.")] = None,
    card: Annotated[str | None, typer.Option(help="All rows of this card.")] = None,
    json: JsonFlag = False,
) -> None:
    """Look at what was refused, and overrule it: accept it after all, or drop it for good."""
    import pandas as pd

    from pokewatch.cli import rendering
    from pokewatch.operations import night
    from pokewatch.quality import quarantine as shelf
    from pokewatch.store.tables import Store

    store = Store.from_settings(get_settings())
    if card is not None and card not in set(store.quarantine()["card_id"]):
        card = night.resolve(get_settings(), [card])[0]
    rows = shelf.select(store, ids or [], reason, card)
    if action is QuarantineAction.list:
        shown = rows[
            ["quarantine_id", "card_id", "date", "market_price", "raw", "reason", "status"]
        ].sort_values(["reason", "card_id", "date"])
        if json:
            rendering.show_json(rows)
        else:
            rendering.show_table(shown, limit=50)
            counts = rows["reason"].value_counts().sort_index()
            rendering.show_pairs({"rows": len(rows), **{str(k): int(v) for k, v in counts.items()}})
        return
    if not ids and reason is None and card is None:
        raise UsageError(f"name what to {action.value}: ids, --reason or --card")
    if action is QuarantineAction.release:
        done = shelf.release(store, rows, pd.Timestamp.now(tz="UTC"))
    else:
        done = shelf.drop(store, rows)
    if json:
        rendering.show_json({"action": action.value, "rows": done})
    else:
        sys.stdout.write(f"{action.value}: {done} rows\n")


@app.command()
def train(
    as_of: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="Use prices up to this day only.")
    ] = None,
    data_version: VersionOption = None,
    jobs: JobsOption = CORES,
    json: JsonFlag = False,
) -> None:
    """Fit the model, score it by walk-forward, and let the gate decide who is champion."""
    import pandas as pd

    from pokewatch.cli import rendering
    from pokewatch.operations import night

    trained = night.train(
        get_settings(), day(as_of, "--as-of"), data_version, jobs, progress=on_terminal()
    )
    if json:
        rendering.show_json(
            {
                "model": trained.name,
                "as_of": trained.as_of,
                "data_version": trained.data_version,
                "champion": trained.verdict.passed,
                "reasons": trained.verdict.reasons,
                "scores": trained.scores,
            }
        )
    else:
        show_scores(pd.DataFrame(trained.scores))
        rendering.show_pairs(
            {
                "model": trained.name,
                "champion": trained.verdict.passed,
                "because": "; ".join(trained.verdict.reasons),
            }
        )
    if not trained.verdict.passed:
        raise GateError(f"'{trained.name}' is no champion: {'; '.join(trained.verdict.reasons)}")


def show_scores(scores: Any) -> None:
    """Print the score table's main columns."""
    from pokewatch.cli import rendering

    if scores.empty:
        sys.stdout.write("nothing could be scored: the history is too short\n")
        return
    names = [
        "horizon model n rmae rmae_low rmae_high mape mdape rank_ic hit_rate coverage width",
        "buy_calls buy_precision buy_lift sell_calls sell_precision sell_lift return_after_fees",
    ]
    first, second = (line.split() for line in names)
    rendering.show_table(scores[[name for name in first if name in scores]])
    if "buy_calls" in scores:
        own = scores[scores["buy_calls"].notna()]
        rendering.show_table(own[["horizon", *[name for name in second if name in own]]])


@app.command()
def backtest(
    since: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="First scored day.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="Last day.")] = None,
    horizon: HorizonOption = None,
    output: Annotated[
        Path | None, typer.Option(help="Write every forecast (.parquet, .csv or .json).")
    ] = None,
    jobs: JobsOption = CORES,
    json: JsonFlag = False,
) -> None:
    """Score the model out of sample, walking forward, beside naive and the baseline."""
    from pokewatch.cli import rendering as out
    from pokewatch.evaluation import backtest as walk
    from pokewatch.operations import night
    from pokewatch.report import model_card
    from pokewatch.schema import HORIZONS

    settings = get_settings()
    if output is not None:
        night.check_output(output)
    panel, version = night.open_panel(settings)
    tested = walk.walk_forward(
        panel,
        settings,
        horizon or HORIZONS,
        since=day(since, "--since"),
        until=day(until, "--until"),
        jobs=jobs,
        progress=on_terminal(),
    )
    scores = tested.scores(settings)
    if output is not None:
        night.write_frame(tested.forecasts, output)
    if json:
        sources = night.sources(settings, version)
        out.show_json(model_card.record(tested, panel, settings, sources, version))
        return
    show_scores(scores)
    for missing in tested.unscored():
        sys.stderr.write(
            f"horizon {missing}: nothing scored, {len(panel.dates)} days of history are too few\n"
        )


@app.command("model-card")
def model_card(
    backtests: Annotated[
        list[Path], typer.Argument(help="Stored back-tests: what 'backtest --json' printed.")
    ],
    output: Annotated[Path, typer.Option(help="The card whose figures are replaced.")] = Path(
        "docs/model_card.md"
    ),
) -> None:
    """Write the figures of stored back-tests into a model card."""
    from pokewatch.report import model_card as cards

    cards.write(output, backtests)
    sys.stdout.write(f"{output}\n")


@app.command()
def predict(
    card: Annotated[list[str] | None, typer.Argument(help="Ids, aliases or names.")] = None,
    all: Annotated[bool, typer.Option("--all", help="Every card; kept in the store.")] = False,
    date: DateOption = None,
    horizon: HorizonOption = None,
    output: Annotated[
        Path | None, typer.Option(help="Write to a .parquet, .csv or .json file.")
    ] = None,
    model: ModelOption = "champion",
    json: JsonFlag = False,
) -> None:
    """Show fair value, interval and signal of some cards, or of all."""
    from pokewatch.cli import rendering as out
    from pokewatch.operations import night

    settings = get_settings()
    if bool(card) == all:
        raise UsageError("name the cards to predict, or say --all")
    if output is not None:
        night.check_output(output)
    on = day(date, "--date")
    if all:
        predictions = night.predict_all(settings, on, horizon, model)
    else:
        predictions = night.predict(settings, card, on, horizon, model)
    if output is not None:
        night.write_frame(predictions, output)
        sys.stderr.write(f"{len(predictions):,} predictions written to {output}\n")
    if json:
        out.show_json(predictions)
    elif output is None:
        out.show_table(
            predictions.drop(columns=["model", "data_version"]), limit=50 if all else None
        )


@app.command()
def signals(
    date: DateOption = None, model: ModelOption = "champion", json: JsonFlag = False
) -> None:
    """Show the day's BUY and SELL, best first, with reasons."""
    from pokewatch.cli import rendering as out
    from pokewatch.operations import night

    found = night.best_signals(get_settings(), day(date, "--date"), model=model)
    if json:
        out.show_json(found)
    elif found.empty:
        sys.stdout.write("no BUY and no SELL: HOLD everything\n")
    else:
        names = ["signal", "card_id", "name", "market_price", "fair_value", "lower", "upper"]
        out.show_table(found[[*names, "reason"]], limit=50)


@app.command()
def runs(
    run: Annotated[
        str | None, typer.Argument(metavar="ID", help="One run: its id, or the beginning of it.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many runs to list.")] = 10,
    json: JsonFlag = False,
) -> None:
    """Show the pipeline's last runs, or one of them with its steps."""
    import pandas as pd

    from pokewatch.cli import rendering as out
    from pokewatch.operations import runs as remembered

    if run is None:
        listed = remembered.list_runs(get_settings(), limit)
        if json:
            out.show_json(listed)
        elif listed:
            names = ["run", "status", "started", "seconds", "data_version", "model"]
            out.show_table(pd.DataFrame(listed)[names])
        else:
            sys.stdout.write("no run yet: start one with 'python pipelines/ml_pipeline.py'\n")
        return
    found = remembered.show_run(get_settings(), run)
    if json:
        out.show_json(found)
        return
    out.show_pairs({key: value for key, value in found.items() if key != "steps"})
    out.show_table(pd.DataFrame(found["steps"]))


@app.command()
def report(
    date: DateOption = None,
    output: Annotated[Path | None, typer.Option(help="Also copy the HTML file here.")] = None,
    json: JsonFlag = False,
) -> None:
    """Write the nightly report: one self-contained HTML file."""
    from pokewatch.cli import rendering as out
    from pokewatch.report import page as reports

    written = reports.write_report(
        get_settings(), day(date, "--date"), copy_to=output, progress=on_terminal()
    )
    if json:
        out.show_json({"report": str(written), "latest": str(written.parent / "latest.html")})
    else:
        sys.stdout.write(f"{written}\n")


@app.command()
def cards(
    text: Annotated[str | None, typer.Argument(help="Words of an id, alias, name or set.")] = None,
    names: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Add a file's names and aliases to the known cards."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """List or search cards: id, aliases, name, set, printing, last price."""
    from pokewatch.cli import rendering as out
    from pokewatch.operations import night

    if names is not None:
        from pokewatch.cards.import_names import add_names

        named = add_names(get_settings(), names)
        out.show_json(named) if json else out.show_pairs(named)
        return
    found = night.list_cards(get_settings(), text)
    if json:
        out.show_json(found)
    else:
        out.show_table(found, limit=50)


@app.command()
def notebook(
    name: Annotated[str, typer.Argument(help="A notebook's name, as 04_nightly_report.")],
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="KEY=VALUE", help="A parameter; repeat."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Run a notebook through papermill, its parameters checked first."""
    from pokewatch.cli import rendering as out
    from pokewatch.report import page as reports

    parameters = reports.parse_parameters(parameter or [])
    written = reports.run_notebook(get_settings(), name, parameters, progress=on_terminal())
    if json:
        out.show_json({"notebook": str(written)})
    else:
        sys.stdout.write(f"{written}\n")


@app.command()
def run(
    source: Annotated[str | None, typer.Option(help="Where prices come from.")] = None,
    path: Annotated[
        Path | None, typer.Option(help="The file of source 'file', or a folder of them.")
    ] = None,
    date: DateOption = None,
    no_train: Annotated[
        bool, typer.Option("--no-train", help="Forecast with the champion as it is.")
    ] = False,
    jobs: JobsOption = CORES,
    json: JsonFlag = False,
) -> None:
    """Do the whole night in one process: collect, train, predict, report."""
    from pokewatch.cli import rendering as out
    from pokewatch.operations import night

    done = night.run(
        get_settings(),
        source,
        day(date, "--date"),
        jobs,
        progress=on_terminal(),
        path=path,
        training=not no_train,
    )
    if json:
        out.show_json(done)
    else:
        sys.stdout.write(f"{done['report']}\n")
    require_complete(done["incomplete"])
