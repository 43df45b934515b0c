"""The jobs of a night, one function each; command line, notebooks and pipeline call these."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.dataset as ds

from pokewatch.cards.catalog import Resolver
from pokewatch.errors import PokewatchError, UsageError
from pokewatch.evaluation import backtest, registry
from pokewatch.evaluation.registry import TrainedModel, Verdict
from pokewatch.files import atomic_write
from pokewatch.models import reasons as advice
from pokewatch.models import signals
from pokewatch.models.fair_value import SHORT_HISTORY, FairValueModel
from pokewatch.models.panel import PANEL_COLUMNS, Panel
from pokewatch.operations import tracking
from pokewatch.quality import completeness
from pokewatch.quality.ingest import Counts, backfill, collect
from pokewatch.schema import HORIZONS, PREDICTION_COLUMNS
from pokewatch.settings import Settings
from pokewatch.store.tables import Store
from pokewatch.watchlist import alerts

log = logging.getLogger(__name__)

SIGNAL_HORIZON = 7
LOOK_BACK = 14  # days over which a call can be kept without being given anew
MISSED_NIGHTS = timedelta(days=60)  # as many are caught up
AHEAD = timedelta(days=30)  # after the last price there is nothing to say about a day


def open_panel(
    settings: Settings, until: date | None = None, data_version: int | None = None
) -> tuple[Panel, int]:
    """Return the panel of all prices up to a day, and the data version it was read at."""
    store = Store.from_settings(settings)
    snapshot = store.snapshot("prices", data_version)
    panel = Panel.from_tables(snapshot.by_month(PANEL_COLUMNS, until), store.cards(), until)
    last = panel.dates[panel.last_priced()].date()
    if until is not None and until > last + AHEAD:
        raise UsageError(
            f"{until} lies more than {AHEAD.days} days after the last price ({last}): collect "
            "newer prices first"
        )
    return panel, snapshot.version


def collect_night(
    settings: Settings,
    source: str | None = None,
    on: date | None = None,
    path: Path | None = None,
    jobs: int = 1,
) -> Counts:
    """Collect tonight's prices, and from tcgcsv's archive the days that were missed.

    Archives that cannot be had are told of and asked for again the next night.
    """
    missed = Counts(source or settings.source)
    yesterday = datetime.now(tz=UTC).date() - timedelta(days=1)
    if missed.source == "tcgcsv" and on is None and (since := first_gap(settings, yesterday)):
        try:
            for day, counts in backfill(settings, since, yesterday, jobs=jobs):
                missed.add(counts)
                if counts.accepted:
                    missed.notes.append(f"{day} was missed, and filled from the archive")
        except PokewatchError as error:
            log.warning("missed days from %s on could not be filled: %s", since, error)
    missed.add(collect(settings, source, on=on, path=path))
    return missed


def first_gap(settings: Settings, until: date) -> date | None:
    """Return the first recent day up to ``until`` that tcgcsv's archive has to fill, if any is.

    Such a day has no prices, though earlier ones have some, or lies below the coverage floor.
    """
    store, first = Store.from_settings(settings), until - MISSED_NIGHTS
    lead = first - timedelta(completeness.LOOK_BACK)
    rows = store.prices(["card_id", "date", "source"], since=lead, until=until)
    rows = rows[rows["source"] == "tcgcsv"]
    if rows.empty:
        older = store.last_day(lead, [ds.field("source") == "tcgcsv"])
        return first if older else None
    stored = set(rows["date"].dt.date) - set(completeness.short_days(rows, settings.coverage_floor))
    wanted = pd.date_range(max(first, rows["date"].min().date()), until).date
    return min(set(wanted) - stored, default=None)


def train(
    settings: Settings,
    as_of: date | None = None,
    data_version: int | None = None,
    jobs: int = 1,
    progress: bool = False,
) -> TrainedModel:
    """Fit and score a challenger, let the gate judge it, and make it champion if it passed.

    The model is always saved. The three steps are ``fit``, ``validate`` and ``promote``.
    """
    panel, version = open_panel(settings, as_of, data_version)
    trained = _fit(settings, panel, version, jobs, progress)
    trained = validate(settings, trained.name, panel)
    promote(settings, trained.name, panel)
    return trained


def fit(
    settings: Settings,
    as_of: date | None = None,
    data_version: int | None = None,
    jobs: int = 1,
    progress: bool = False,
) -> TrainedModel:
    """Score by walk-forward, fit on everything up to ``as_of``, save; nothing is judged yet."""
    panel, version = open_panel(settings, as_of, data_version)
    return _fit(settings, panel, version, jobs, progress)


def _fit(settings: Settings, panel: Panel, version: int, jobs: int, progress: bool) -> TrainedModel:
    panel = panel.until(panel.last_priced())
    tested = backtest.walk_forward(panel, settings, HORIZONS, jobs=jobs, progress=progress)
    own = tested.forecasts[tested.forecasts["model"] == backtest.MODEL]
    last = f"{panel.dates[-1]:%Y-%m-%d}"
    rules = signals.as_given(signals.learn(own, settings), own, settings)
    model = FairValueModel(HORIZONS, settings.seed).fit(panel, jobs=jobs, intervals=False)
    model.learn_from_past(own, panel.dates[-1], panel)
    trained = TrainedModel(
        name=f"fair-value-{last}-v{version}",
        model=model,
        rules=rules,
        as_of=last,
        data_version=version,
        sources=sources(settings, version),
        scores=tested.scores(settings).to_dict("records"),
        verdict=Verdict(False, ["not judged yet"]),
        code_version=registry.code_version(),
    )
    registry.save(settings, trained, own)
    return trained


def validate(settings: Settings, name: str, panel: Panel | None = None) -> TrainedModel:
    """Let the gate judge a fitted model against "no change" and the present champion.

    panel: the one it was fitted on, where the caller has it. The verdict is kept with the model.
    """
    trained = registry.load(settings, name)
    verdict = registry.judge(
        pd.DataFrame(trained.scores),
        registry.past_forecasts(settings, name),
        _panel_of(settings, trained, panel),
        registry.champion(settings),
    )
    return registry.keep_verdict(settings, trained, verdict)


def promote(settings: Settings, name: str, panel: Panel | None = None) -> bool:
    """Make a model champion if its verdict says so, and log the training to MLflow.

    Returns whether it became champion.
    """
    trained = registry.load(settings, name)
    if trained.verdict.passed:
        registry.promote(settings, name, trained.verdict.reasons)
    if settings.tracking:
        past = registry.past_forecasts(settings, name)
        tracking.log_training(settings, trained, past, _panel_of(settings, trained, panel))
    return trained.verdict.passed


def _panel_of(settings: Settings, trained: TrainedModel, panel: Panel | None) -> Panel:
    if panel is None:
        until = date.fromisoformat(trained.as_of)
        panel, _ = open_panel(settings, until, trained.data_version)
    return panel


def sources(settings: Settings, data_version: int | None = None) -> list[str]:
    """Return the names of the sources whose prices are in the store."""
    store = Store.from_settings(settings)
    return sorted(store.sources(store.snapshot("prices", data_version)))


def predict(
    settings: Settings,
    cards: Sequence[str] | None = None,
    on: date | None = None,
    horizons: Sequence[int] | None = None,
    model: str = "champion",
    data_version: int | None = None,
) -> pd.DataFrame:
    """Return fair value, interval and signal, columns ``PREDICTION_COLUMNS``.

    cards: ids or aliases (default: every card with a price). Without a champion the forecast is
    naive with intervals, and its ``model`` says so.
    """
    panel, version = open_panel(settings, on, data_version)
    wanted = None if cards is None else resolve(settings, cards)
    trained = _model(settings, model, panel.dates[-1])
    return predict_panel(settings, panel, version, trained, horizons, wanted)


def predict_panel(
    settings: Settings,
    panel: Panel,
    version: int,
    trained: TrainedModel | None,
    horizons: Sequence[int] | None = None,
    card_ids: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return predictions for the last day of a panel, as ``predict`` does; None: naive."""
    if trained is None:
        fitted = FairValueModel(horizons or HORIZONS, settings.seed, learn=False).fit(panel)
        name, rules = "naive", {}
        log.warning(
            "no model that beats no change was known on %s: fair values are naive, every signal "
            "HOLD",
            f"{panel.dates[-1]:%Y-%m-%d}",
        )
    else:
        fitted, name, rules = trained.model, trained.name, trained.rules
        if panel.dates[-1] < pd.Timestamp(trained.as_of):
            log.warning(
                "model '%s' has seen prices up to %s, after %s: this is no honest forecast; train "
                "with --as-of first",
                name,
                trained.as_of,
                f"{panel.dates[-1]:%Y-%m-%d}",
            )
    today = len(panel.dates) - 1
    forecast = fitted.predict_days(panel, [today], horizons)
    if card_ids is not None:
        unpriced = sorted(set(card_ids) - set(forecast["card_id"]))
        if unpriced:
            day = f"{panel.dates[-1]:%Y-%m-%d}"
            raise UsageError(f"no accepted price up to {day} for {', '.join(unpriced)}")
        forecast = forecast[forecast["card_id"].isin(card_ids)].reset_index(drop=True)
    # A call of yesterday may stay: the cards this matters for are forecast for some days before.
    open_cards = forecast.loc[signals.wavering(forecast, rules), "card_id"].unique()
    before = range(max(today - LOOK_BACK, 0), today)
    earlier = None
    if len(open_cards) and len(before):
        earlier = fitted.predict_days(panel, before, horizons, card_ids=open_cards)
    return advice.decide(forecast, panel, rules, settings, name, version, SHORT_HISTORY, earlier)


def _model(settings: Settings, name: str, day: pd.Timestamp) -> TrainedModel | None:
    if name == "champion":
        return registry.known_on(settings, day)
    return registry.load(settings, name)


def resolve(settings: Settings, cards: Sequence[str]) -> list[str]:
    """Return canonical ids for what a user typed."""
    resolver = Resolver(Store.from_settings(settings).cards())
    return [resolver(text) for text in cards]


def predict_all(
    settings: Settings,
    on: date | None = None,
    horizons: Sequence[int] | None = None,
    model: str = "champion",
) -> pd.DataFrame:
    """Predict every card and keep the predictions in the store."""
    predictions = predict(settings, None, on, horizons, model)
    Store.from_settings(settings).save_predictions(predictions)
    return predictions


def best_signals(
    settings: Settings,
    on: date | None = None,
    horizon: int = SIGNAL_HORIZON,
    model: str = "champion",
) -> pd.DataFrame:
    """Return a day's BUY and SELL, the largest expected moves first, with names."""
    predictions = predict(settings, on=on, horizons=[horizon], model=model)
    called = predictions[predictions["signal"] != "HOLD"]
    order = (called["fair_value"] / called["market_price"] - 1).abs().sort_values(ascending=False)
    names = Store.from_settings(settings).cards()[["card_id", "name", "set_name", "printing"]]
    listed = called.loc[order.index].merge(names, on="card_id", how="left")
    return listed[[*PREDICTION_COLUMNS, "name", "set_name", "printing"]]


def list_cards(settings: Settings, text: str | None = None) -> pd.DataFrame:
    """Return cards that match ``text`` with their last accepted price and its date."""
    store = Store.from_settings(settings)
    known = store.cards()
    found = Resolver(known).search(text) if text else known
    prices = store.prices(["card_id", "date", "market_price"], card_ids=found["card_id"])
    last = (
        prices.groupby("card_id")
        .tail(1)
        .rename(columns={"market_price": "last_price", "date": "last_date"})
    )
    columns = ["card_id", "aliases", "name", "set_name", "printing", "last_price", "last_date"]
    return found.merge(last, on="card_id", how="left")[columns]


FORMULA = tuple("=+-@\t\n\uff1d\uff0b\uff0d\uff20")  # beginnings that a spreadsheet runs


def no_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with a ' before every text that a spreadsheet would run as a formula."""
    texts = frame.select_dtypes(["object", "string", "category"])
    return frame.assign(**{name: texts[name].map(_inert, na_action="ignore") for name in texts})


def _inert(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    # Left unquoted by the writer, a carriage return would begin a row, and a formula in it.
    value = value.replace("\r", " ")
    return f"'{value}" if value.startswith(FORMULA) else value


WRITERS = {
    ".parquet": lambda frame, to: frame.to_parquet(to, index=False),
    ".csv": lambda frame, to: no_formulas(frame).to_csv(to, index=False, date_format="%Y-%m-%d"),
    ".json": lambda frame, to: frame.to_json(to, orient="records", date_format="iso", indent=1),
}


def check_output(path: Path) -> None:
    """Raise UsageError for a file name whose format is not known, before any work is done."""
    if path.suffix.lower() not in WRITERS:
        raise UsageError(f"--output '{path}' must end in {', '.join(WRITERS)}")


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame as .parquet, .csv or .json, complete or not at all."""
    check_output(path)
    with atomic_write(path) as part:
        WRITERS[path.suffix.lower()](frame, part)


def status(settings: Settings) -> dict[str, Any]:
    """Return coverage, freshness, quarantine counts, data version and the champion's score."""
    store = Store.from_settings(settings)
    snapshot = store.snapshot("prices")
    quarantined = store.quarantine(["held", "refused"])
    reasons = quarantined["reason"].value_counts().sort_index()
    present = registry.champion(settings)
    sizes = store.sources(snapshot)
    out: dict[str, Any] = {
        "home": str(settings.home),
        "store": store.root,
        "data_version": snapshot.version,
        "observations": sum(sizes.values()),
        "cards": 0,
        "cards_known": len(store.cards()),
        "sources": sizes,
        "first_date": None,
        "last_date": None,
        "days_old": None,
        "coverage": None,
        "last_day": None,
        "repeated_days": [],
        "quarantined": {str(reason): int(count) for reason, count in reasons.items()},
        "held": int((quarantined["status"] == "held").sum()),
        "champion": None,
    }
    if sizes:
        tables = snapshot.by_month(["card_id", "date", "market_price"])
        panel = Panel.from_tables(tables, store.cards())
        last = panel.dates[-1]
        alive = (panel.age[-completeness.LOOK_BACK :] == 0).any(axis=0)
        covered = completeness.latest(store, snapshot, settings.coverage_floor)
        today = pd.Timestamp.now(tz="UTC").tz_localize(None).normalize()
        out |= {
            "cards": len(panel.card_ids),
            "first_date": f"{panel.dates[0]:%Y-%m-%d}",
            "last_date": f"{last:%Y-%m-%d}",
            "days_old": int((today - last).days),
            "coverage": float((panel.age[-1] == 0).sum() / max(int(alive.sum()), 1)),
            "last_day": covered.as_dict() if covered else None,
            "repeated_days": [f"{day:%Y-%m-%d}" for day in panel.repeated_days()],
        }
    if present is not None:
        row = present.score(registry.GATE_HORIZON)
        out["champion"] = {
            "name": present.name,
            "as_of": present.as_of,
            "data_version": present.data_version,
            **{name: row.get(name) for name in ("rmae", "rmae_low", "rmae_high", "coverage")},
        }
    return out


def run(
    settings: Settings,
    source: str | None = None,
    on: date | None = None,
    jobs: int = 1,
    progress: bool = False,
    path: Path | None = None,
    training: bool = True,
) -> dict[str, Any]:
    """Do the whole night: collect, train, predict, report; return what each step said.

    path: the file or folder of source ``file``. training: without it the champion forecasts as it
    is; a model of last week is hardly worse, and a large market trains for minutes.

    A model that the gate refuses is part of a normal night: the champion stays, and the result
    tells why. So is a day below the coverage floor: ``incomplete`` tells of it.
    """
    from pokewatch.report import page as reports

    started = time.monotonic()

    def said(text: str, *values: Any) -> None:
        log.info("%5.1f s  " + text, time.monotonic() - started, *values)

    counts = collect_night(settings, source, on, path, jobs)
    said(
        "collected from %s: %d received, %d accepted, %d quarantined, %d unchanged",
        counts.source,
        counts.received,
        counts.accepted,
        counts.quarantined,
        counts.unchanged,
    )
    verdict, model = Verdict(False, ["nothing was trained tonight"]), None
    if training:
        trained = train(settings, on, jobs=jobs, progress=progress)
        verdict, model = trained.verdict, trained.name
        said("trained %s; champion: %s", model, "; ".join(verdict.reasons))
    predictions = predict_all(settings, on)
    calls = predictions.loc[predictions["horizon"] == SIGNAL_HORIZON, "signal"].value_counts()
    listed = ", ".join(f"{number} {name}" for name, number in calls.items())
    said("predicted %d cards: %s", predictions["card_id"].nunique(), listed)
    crossings = alerts.check(settings, on)
    written = reports.write_report(settings, on)
    said("report written")
    return {
        "collected": counts.as_dict(),
        "incomplete": counts.incomplete,
        "model": model,
        "champion": verdict.passed,
        "reasons": verdict.reasons,
        "signals": {str(name): int(number) for name, number in calls.items()},
        "alerts": len(crossings),
        "report": str(written),
    }
