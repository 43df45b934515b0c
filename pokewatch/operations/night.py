"""The steps of a night, one function each, and ``run``, which does them all."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.dataset as ds

from pokewatch.errors import PokewatchError, SourceError, UsageError
from pokewatch.evaluation import registry, training
from pokewatch.evaluation.predictions import predict_all, signal_counts
from pokewatch.evaluation.registry import GateVerdict, TrainedModel
from pokewatch.evaluation.training import set_aside_loser
from pokewatch.models import reasons
from pokewatch.models.panel import Panel, open_panel
from pokewatch.operations import graded, notify, tracking
from pokewatch.quality import completeness
from pokewatch.quality.ingest import Counts, backfill, collect, newest_day
from pokewatch.settings import Settings
from pokewatch.sources import ecb, home_of
from pokewatch.store.tables import Store

log = logging.getLogger(__name__)

REHEARSED = 30  # nights of a simulated market
MISSED_NIGHTS = timedelta(days=60)  # older gaps are not filled


def collect_night(
    settings: Settings,
    source: str | None = None,
    on: date | None = None,
    path: Path | None = None,
    jobs: int = 1,
) -> Counts:
    """Collect tonight's prices, and from archives of tcgcsv the days that were missed.

    Missed is a day before the one that the service serves now, by its own clock. Archives that
    cannot be fetched are warned of and tried again the next night; where the service refuses them,
    a note says that the days are lost, and no night of the next weeks asks for them. Raises
    UsageError for prices in EUR outside their home, whose other steps would read USD.
    """
    counts = Counts(source or settings.source)
    check_home(settings, counts.source)
    if counts.source == "tcgcsv" and on is None:
        fill_missed(settings, counts, jobs)
    counts.add(collect(settings, source, on=on, path=path))
    ecb.refresh(settings)
    graded.refresh(settings)
    return counts


def check_home(settings: Settings, source: str) -> None:
    """Raise UsageError for a source whose prices go to another home than the night's."""
    if (home := home_of(source, [], settings).home) != settings.home:
        raise UsageError(f"a night of '{source}' needs its own home: set POKEWATCH_HOME={home}")


def fill_missed(settings: Settings, total: Counts, jobs: int) -> None:
    """Add what archives of tcgcsv have of the days before the one that it serves now."""
    from pokewatch.sources import tcgcsv

    try:
        served = newest_day(settings, "tcgcsv")
    except SourceError:
        return  # it is away, which the collection that follows says
    last = served and served - timedelta(days=1)
    since = last and first_gap(settings, last)
    if not since or not last:
        return
    try:
        given = settings.home / "archives" if tcgcsv.is_closed(settings) else None
        for day, counts in backfill(settings, since, last, given, jobs):
            total.add(counts)
            if counts.accepted:
                total.notes.append(f"{day} was missed, and filled from the archive")
    except PokewatchError as error:
        log.warning("missed days from %s on could not be filled: %s", since, error)
    if tcgcsv.is_closed(settings) and (gap := first_gap(settings, last)):
        total.notes.append(
            f"days from {gap} on are missing or short and cannot be had: tcgcsv's archive is closed"
        )


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

    The model is always saved. The steps: ``training.fit``, ``training.validate``, ``promote``.
    """
    panel, version = open_panel(settings, as_of, data_version)
    trained = training.fit_panel(settings, panel, version, jobs, progress)
    trained = training.validate(settings, trained.name, panel)
    promote(settings, trained.name, panel)
    return trained


def promote(settings: Settings, name: str, panel: Panel | None = None) -> bool:
    """Make a model champion if its verdict says so, and log the training to MLflow.

    Returns whether it became champion.
    """
    trained = registry.load(settings, name)
    if trained.verdict.passed:
        registry.promote(settings, name, trained.verdict.reasons)
    if settings.tracking:
        past = registry.past_forecasts(settings, name)
        tracking.log_training(
            settings, trained, past, training.training_panel(settings, trained, panel)
        )
    return trained.verdict.passed


def rehearse(settings: Settings, on: date | None = None, jobs: int = 1) -> int:
    """Live through the last nights of a simulated market that has not been predicted yet.

    A model that had seen the days before them speaks, so that the record of published forecasts
    has something to show. Returns how many nights: 0 for real prices, and where there is a record.
    """
    store = Store.from_settings(settings)
    if store.snapshot("predictions").version >= 0 or not store.snapshot("prices").simulated():
        return 0
    panel, version = open_panel(settings, on)
    first = len(panel.dates) - REHEARSED
    if first < REHEARSED:
        return 0
    untracked = settings.model_copy(update={"tracking": False})
    trained = train(untracked, panel.dates[first - 1].date(), jobs=jobs)
    if not trained.verdict.passed:
        return 0
    nights = list(range(first, len(panel.dates)))
    forecast = trained.model.predict_days(panel, nights, jobs=jobs)
    said: list[pd.DataFrame] = []
    for _, tonight in forecast.groupby("date"):
        args = (panel, trained.rules, settings, trained.name, version)
        before = said[-1] if said else None
        said.append(reasons.decide(tonight.reset_index(drop=True), *args, before))
    store.save_predictions(pd.concat(said, ignore_index=True))
    return len(nights)


def predict(
    settings: Settings, on: date | None = None, horizons: Sequence[int] | None = None
) -> pd.DataFrame:
    """Predict every card and keep it in the store, columns ``PREDICTION_COLUMNS``.

    A champion that has lost to "no change" is set aside first, and that is told.
    """
    last = Store.from_settings(settings).last_day()
    newest = on is None or last is None or on >= last
    if newest and registry.champion(settings):
        reason = set_aside_loser(settings, open_panel(settings, on)[0])
        notify.tell_trouble(reason, "")
    if why := registry.why_none(settings):
        log.warning("no model speaks: %s", why)
    return predict_all(settings, on, horizons)


def run(
    settings: Settings,
    source: str | None = None,
    on: date | None = None,
    jobs: int = 1,
    progress: bool = False,
    path: Path | None = None,
    training: bool = True,
) -> dict[str, Any]:
    """Collect, train, predict and report; return the results as plain values.

    path: the file or folder of source ``file``. training: without it the champion forecasts as it
    is; a model of last week is hardly worse, and a large market trains for minutes.

    A model that the gate refuses is no error: the champion stays, and ``reasons`` has the causes.
    Nor is a day below the coverage floor, or a champion that cannot be used: ``incomplete`` and
    ``champion_problem`` then have a text, else "".
    """
    from pokewatch.report import page as reports

    started = time.monotonic()

    def log_step(text: str) -> None:
        log.info("%5.1f s  %s", time.monotonic() - started, text)

    counts = collect_night(settings, source, on, path, jobs)
    crossings = notify.check_targets(settings, on)
    log_step(
        f"collected from {counts.source}: {counts.received} received, {counts.accepted} accepted, "
        f"{counts.quarantined} quarantined, {counts.unchanged} unchanged"
    )
    verdict, model = GateVerdict(False, ["nothing was trained tonight"]), None
    if training:
        if nights := rehearse(settings, on, jobs):
            log_step(f"lived through the simulated market's last {nights} nights")
        trained = train(settings, on, jobs=jobs, progress=progress)
        verdict, model = trained.verdict, trained.name
        log_step(f"trained {model}; champion: {'; '.join(verdict.reasons)}")
    predictions = predict(settings, on)
    signals = signal_counts(predictions)
    listed = ", ".join(f"{number} {name}" for name, number in signals.items())
    log_step(f"predicted {predictions['card_id'].nunique()} cards: {listed}")
    _, problem = registry.try_champion(settings)
    notify.tell_trouble(problem, counts.incomplete)
    written = reports.write_report(settings, on)
    log_step("report written")
    return {
        "collected": counts.as_dict(),
        "incomplete": counts.incomplete,
        "model": model,
        "champion": verdict.passed,
        "champion_problem": problem,
        "reasons": verdict.reasons,
        "signals": signals,
        "alerts": len(crossings),
        "report": str(written),
    }
