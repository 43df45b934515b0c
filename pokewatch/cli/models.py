"""Commands about the model and its forecasts: signals, predict, train, backtest, model-card."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option, Typer

from pokewatch.cli import options
from pokewatch.cli.options import settings
from pokewatch.cli.rendering import show
from pokewatch.errors import GateError, UsageError

if TYPE_CHECKING:
    import pandas as pd

app = Typer()


@app.command()
def signals(
    date: options.DateOption = None,
    model: options.ModelOption = "champion",
    json: options.JsonFlag = False,
) -> None:
    """Show the day's BUY and SELL, best first, with reasons."""
    from pokewatch.evaluation import predictions

    found = predictions.best_signals(settings(), date, model=model)
    names = ["signal", "card_id", "name", "market_price", "fair_value", "lower", "upper", "reason"]
    table = "no BUY and no SELL: HOLD everything" if found.empty else found[names]
    show(found, json, table, money=options.money())


@app.command()
def predict(
    card: Annotated[list[str] | None, Argument(help="Ids, aliases or names.")] = None,
    all: Annotated[bool, Option("--all", help="Every card; kept in the store.")] = False,
    date: options.DateOption = None,
    horizon: options.HorizonOption = None,
    output: Annotated[Path | None, Option(help="Write to a .parquet, .csv or .json file.")] = None,
    model: options.ModelOption = "champion",
    json: options.JsonFlag = False,
) -> None:
    """Show fair value, interval and signal of some cards, or of all."""
    from pokewatch.evaluation.predictions import predict as predict_some
    from pokewatch.evaluation.predictions import predict_all
    from pokewatch.operations import exports

    if bool(card) == all:
        raise UsageError("name the cards to predict, or say --all")
    if output is not None:
        exports.check_output(output)
    if all:
        predictions = predict_all(settings(), date, horizon, model)
    else:
        predictions = predict_some(settings(), card, date, horizon, model)
    if output is not None:
        exports.write_frame(predictions, output)
        sys.stderr.write(f"{len(predictions):,} predictions written to {output}\n")
    if json or output is None:
        table = predictions.drop(columns=["model", "data_version"])
        show(predictions, json, table, limit=50 if all else None, money=options.money())


@app.command()
def train(
    as_of: Annotated[
        date | None, options.day_option("--as-of", "Use prices up to this day only.")
    ] = None,
    data_version: Annotated[
        int | None, Option(min=0, help="Read the prices as of this version.")
    ] = None,
    jobs: options.JobsOption = options.CORES,
    json: options.JsonFlag = False,
) -> None:
    """Fit the model, score it by walk-forward, and let the gate judge it."""
    import pandas as pd

    from pokewatch.operations import night

    trained = night.train(settings(), as_of, data_version, jobs, progress=sys.stderr.isatty())
    passed, reasons = trained.verdict.passed, trained.verdict.reasons
    because = "; ".join(reasons)
    show(
        {
            "model": trained.name,
            "as_of": trained.as_of,
            "data_version": trained.data_version,
            "champion": passed,
            "reasons": reasons,
            "scores": trained.scores,
        },
        json,
        *score_tables(pd.DataFrame(trained.scores)),
        {"model": trained.name, "champion": passed, "because": because},
    )
    if not passed:
        raise GateError(f"'{trained.name}' is no champion: {because}")


def score_tables(scores: pd.DataFrame) -> list[Any]:
    """Return the score table's main columns as one table or two, for people."""
    if scores.empty:
        return ["nothing could be scored: the history is too short"]
    first = (
        "horizon model n rmae rmae_low rmae_high mape mdape crps rank_ic hit_rate coverage width"
    )
    second = "buy_calls buy_precision buy_lift buy_timing_gain sell_calls sell_precision sell_lift"
    second += " sell_timing_gain"
    tables = [scores.filter(first.split())]
    if "buy_calls" in scores:
        signals = scores[scores["buy_calls"].notna()]
        tables.append(signals.filter(["horizon", *second.split(), "return_after_fees"]))
    return tables


@app.command()
def backtest(
    since: Annotated[date | None, options.day_option("--since", "First scored day.")] = None,
    until: Annotated[date | None, options.day_option("--until", "Last day.")] = None,
    horizon: options.HorizonOption = None,
    output: Annotated[
        Path | None, Option(help="Write every forecast (.parquet, .csv or .json).")
    ] = None,
    jobs: options.JobsOption = options.CORES,
    json: options.JsonFlag = False,
) -> None:
    """Score the model out of sample, beside "no change" and the baseline."""
    from pokewatch.evaluation import backtest as walk
    from pokewatch.models.panel import open_panel, price_sources
    from pokewatch.operations import exports
    from pokewatch.report import model_card
    from pokewatch.schema import HORIZONS

    if output is not None:
        exports.check_output(output)
    panel, version = open_panel(settings())
    progress = sys.stderr.isatty()
    tested = walk.walk_forward(
        panel,
        settings(),
        horizon or HORIZONS,
        since,
        until,
        jobs=jobs,
        progress=progress,
        ledger=True,
        distribution=True,
    )
    scores = tested.scores(settings())
    if output is not None:
        exports.write_frame(tested.forecasts, output)
    if json:
        sources = price_sources(settings(), version)
        show(model_card.record(tested, panel, settings(), sources, version), json)
        return
    show(None, json, *score_tables(scores))
    for missing in tested.unscored():
        sys.stderr.write(
            f"horizon {missing}: nothing scored, {len(panel.dates)} days of history are too few\n"
        )


@app.command()
def record(
    horizon: Annotated[int, Option(min=1, metavar="DAYS", help="Days ahead.")] = 7,
    json: options.JsonFlag = False,
) -> None:
    """Show what past nights really said, and what came of it, beside the walk-forward."""
    from pokewatch.evaluation import track_record
    from pokewatch.models.panel import open_panel, price_sources
    from pokewatch.schema import SIMULATED

    panel, version = open_panel(settings())
    if SIMULATED in price_sources(settings(), version):
        sys.stderr.write("simulated: prices and cards are simulated, not real\n")
    found = track_record.read(settings(), panel, horizon)
    names = "kind month nights n rmae rmae_low rmae_high coverage"
    calls = "buy_calls buy_precision buy_lift sell_calls sell_precision sell_lift"
    nothing = f"no forecast has ended yet: the first one does {horizon} days after its night"
    table = found.filter(f"{names} {calls}".split())
    show(found, json, nothing if found.empty else table, limit=None)


@app.command("model-card")
def model_card(
    backtests: Annotated[
        list[Path], Argument(help="Stored back-tests: what 'backtest --json' printed.")
    ],
    output: Annotated[Path, Option(help="The card whose figures are replaced.")] = Path(
        "docs/model_card.md"
    ),
) -> None:
    """Write the figures of stored back-tests into a model card."""
    from pokewatch.report import model_card as cards

    cards.write(output, backtests)
    sys.stdout.write(f"{output}\n")
