"""A day's predictions: which model speaks for it, and what it says of each card."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import date

import numpy as np
import pandas as pd

from pokewatch.cards.catalog import Catalog
from pokewatch.errors import PokewatchError, UsageError
from pokewatch.evaluation import registry, stored
from pokewatch.evaluation.registry import TrainedModel
from pokewatch.evaluation.stored import LOOK_BACK
from pokewatch.models.panel import Panel, open_panel
from pokewatch.schema import HORIZONS, PREDICTION_COLUMNS, PRIOR, SIGNAL_HORIZON
from pokewatch.settings import Settings
from pokewatch.sources import ecb
from pokewatch.store.tables import Store

log = logging.getLogger(__name__)


def predict(
    settings: Settings,
    cards: Sequence[str] | None = None,
    on: date | None = None,
    horizons: Sequence[int] | None = None,
    model: str = "champion",
    data_version: int | None = None,
    fresh: bool = False,
    calls: bool = False,
) -> pd.DataFrame:
    """Return fair value, interval and signal, columns ``PREDICTION_COLUMNS``.

    cards: ids or aliases (default: every card with a price). Without a champion the forecast is
    naive with intervals, or of some cards the prior's, and its ``model`` says so. What the night
    stored answers where the model would say the same. fresh: ask the model all the same; calls:
    only signals matter.
    """
    said = None if fresh or data_version is not None else stored.of_day(settings, on, model)
    if said is not None:
        wanted = None if cards is None else resolve(settings, cards)
        if (found := said.rows(horizons, wanted, calls)) is not None:
            if said.model == "naive":
                _tell_naive(said.day)
            return found
    panel, version = open_panel(settings, on, data_version)
    wanted = None if cards is None else resolve(settings, cards)
    trained = model_for(settings, model, panel.dates[-1])
    return predict_panel(settings, panel, version, trained, horizons, wanted)


def _tell_naive(day: date, by_prior: int = 0) -> None:
    log.warning(
        "no model that beats no change was known on %s: fair values are naive%s, every signal HOLD",
        f"{day:%Y-%m-%d}",
        f", those of {by_prior} cards the prior's" if by_prior else "",
    )


def predict_panel(
    settings: Settings,
    panel: Panel,
    version: int,
    trained: TrainedModel | None,
    horizons: Sequence[int] | None = None,
    card_ids: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return predictions for the last day of a panel, as ``predict`` does; None: naive."""
    from pokewatch.models import prior, reasons, signals
    from pokewatch.models.fair_value import FairValueModel

    if trained is None:
        fitted = FairValueModel(horizons or HORIZONS, settings.seed, learn=False).fit(panel)
        name, rules = "naive", {}
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
    if trained is None:
        speaks = prior_names(settings, panel)
        forecast = prior.apply(forecast, panel, speaks, fitted.intervals, settings.stale_days)
        by_prior = forecast["model"].str.startswith(PRIOR)
        _tell_naive(panel.dates[-1], forecast.loc[by_prior, "card_id"].nunique())
    if card_ids is not None:
        unpriced = sorted(set(card_ids) - set(forecast["card_id"]))
        if unpriced:
            day = f"{panel.dates[-1]:%Y-%m-%d}"
            raise UsageError(f"no accepted price up to {day} for {', '.join(unpriced)}")
        forecast = forecast[forecast["card_id"].isin(card_ids)].reset_index(drop=True)
    # A call that was given may stay: that matters to some cards only.
    open_cards = forecast.loc[signals.wavering(forecast, rules), "card_id"].unique()
    before = last_signals(settings, panel.dates[-1], open_cards) if len(open_cards) else None
    return reasons.decide(forecast, panel, rules, settings, name, version, before)


def prior_names(settings: Settings, panel: Panel) -> np.ndarray:
    """Return for which cards of a panel the prior speaks, as ``prior.names``.

    Nowhere where it is switched off, on prices that are simulated or in another currency, nor of a
    kind of which its own published forecasts lost to "no change". A prior that cannot be read is
    silent, and that is told.
    """
    from pokewatch.evaluation import track_record
    from pokewatch.models import prior

    nobody = np.full(len(panel.card_ids), "", dtype=object)
    if not settings.prior or ecb.stored_currency(settings) != "USD":
        return nobody
    try:
        names = prior.names(panel)
        if not names.any() or Store.from_settings(settings).snapshot("prices").simulated():
            return nobody
        prior.model()
    except (PokewatchError, OSError, ValueError, KeyError) as error:
        log.warning("the prior cannot be used: %s", error)
        return nobody
    for name in sorted(set(names) - {""}):
        if reason := track_record.prior_lost(settings, panel, name):
            log.warning("%s is set aside: %s", name, reason)
            names[names == name] = ""
    return names


def last_signals(
    settings: Settings, day: pd.Timestamp, card_ids: Sequence[str] | np.ndarray
) -> pd.DataFrame:
    """Return the signals that were given last before a day, at most ``LOOK_BACK`` days ago.

    Columns card_id, date, horizon, signal, one row a card and horizon.
    """
    first, last = (day - pd.Timedelta(days=ago) for ago in (LOOK_BACK, 1))
    stored = Store.from_settings(settings).predictions(
        since=first.date(),
        until=last.date(),
        card_ids=card_ids,
        first=True,
        columns=["card_id", "date", "horizon", "signal"],
    )
    return stored.sort_values("date").drop_duplicates(["card_id", "horizon"], keep="last")


def model_for(settings: Settings, name: str, day: pd.Timestamp) -> TrainedModel | None:
    """Return the model that forecasts a day; UsageError for an unknown name.

    "champion": the champion, or where it has seen later days the newest proved model that has not;
    None where there is none.
    """
    if name != "champion":
        return registry.load(settings, name)
    champion = registry.champion(settings)
    if champion is None or pd.Timestamp(champion.as_of) <= day:
        return champion
    return registry.last_trained(settings, day, proved=True)


def signal_counts(predictions: pd.DataFrame) -> dict[str, int]:
    """Return how many cards have each 7-day signal, the most frequent first."""
    week = predictions.loc[predictions["horizon"] == SIGNAL_HORIZON, "signal"]
    return {str(name): int(number) for name, number in week.value_counts().items()}


def resolve(settings: Settings, cards: Sequence[str]) -> list[str]:
    """Return canonical ids for what a user typed."""
    catalog = Catalog(Store.from_settings(settings).cards())
    return [catalog.resolve(text) for text in cards]


def predict_all(
    settings: Settings,
    on: date | None = None,
    horizons: Sequence[int] | None = None,
    model: str = "champion",
) -> pd.DataFrame:
    """Predict every card and keep the predictions in the store."""
    store = Store.from_settings(settings)
    day = on or store.last_day()
    made_of = stored.basis(settings, day, model) if day and not horizons else None
    kept = predictions = predict(settings, None, on, horizons, model, fresh=True)
    if day and made_of and made_of == stored.basis(settings, day, model):
        spoke = predictions["model"].eq(made_of[1]).all()  # else it could not be used
        kept = predictions.assign(basis=made_of[0] if spoke else None)
    store.save_predictions(kept)
    return predictions


def best_signals(
    settings: Settings,
    on: date | None = None,
    horizon: int = SIGNAL_HORIZON,
    model: str = "champion",
) -> pd.DataFrame:
    """Return a day's BUY and SELL, the largest expected moves first, with names."""
    predictions = predict(settings, None, on, [horizon], model, calls=True)
    called = predictions[predictions["signal"] != "HOLD"]
    order = (called["fair_value"] / called["market_price"] - 1).abs().sort_values(ascending=False)
    names = Store.from_settings(settings).cards()[["card_id", "name", "set_name", "printing"]]
    listed = called.loc[order.index].merge(names, on="card_id", how="left")
    return listed[[*PREDICTION_COLUMNS, "name", "set_name", "printing"]]
