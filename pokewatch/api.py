"""What ``import pokewatch as pw`` offers: frames out of the store and the trained models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pokewatch.analysis.market import Day, Market, as_day, marked
from pokewatch.errors import UsageError
from pokewatch.evaluation import backtest as walk_forward
from pokewatch.evaluation import registry
from pokewatch.evaluation.registry import TrainedModel
from pokewatch.operations import night
from pokewatch.report import facts
from pokewatch.schema import HORIZONS, SIMULATED
from pokewatch.settings import Settings, get_settings
from pokewatch.store.tables import Store


def market(
    since: Day = None,
    until: Day = None,
    sets: str | Sequence[str] | None = None,
    kind: str | None = None,
    data_version: int | None = None,
) -> Market:
    """Return the stored market: all of it, or some days, sets (names) or one kind.

    since and until are inclusive; kind: single or sealed; data_version: an older state of the
    store. Raises UsageError for a date, set, kind or version that is not there.

    >>> import pokewatch as pw
    >>> pw.market(until="2999-12-31").prices.shape[1] > 0
    True
    """
    settings = get_settings()
    panel, version = night.open_panel(settings, data_version=data_version)
    store = Store.from_settings(settings)
    known = store.cards().set_index("card_id").reindex(panel.card_ids).rename_axis("card_id")
    known["aliases"] = [
        [] if names is None or names is np.nan else names for names in known["aliases"]
    ]
    sources = tuple(night.sources(settings, version))
    whole = Market(settings, panel, known.reset_index(), 0, version, sources)
    part = whole if since is None and until is None else whole.between(since, until)
    return part if sets is None and kind is None else part.only(sets, kind)


def fair_value(
    cards: str | Sequence[str] | None = None,
    date: Day = None,
    horizons: int | Sequence[int] | None = None,
    model: str = "champion",
) -> pd.DataFrame:
    """Return fair value, 80 % interval (USD) and signal, a row a card and horizon (days).

    cards: ids or aliases, default all; date: the last day that is known (default: the newest);
    columns ``PREDICTION_COLUMNS``. Raises UsageError for an unknown card, model or horizon and for
    a day without prices.

    >>> import pokewatch as pw
    >>> rows = pw.fair_value(horizons=7)
    >>> bool((rows["lower"] <= rows["upper"]).all())
    True
    """
    settings = get_settings()
    wanted = [cards] if isinstance(cards, str) else cards
    if wanted is not None and not len(wanted):
        raise UsageError("cards=[] names no card: leave it out for all of them")
    days = [horizons] if isinstance(horizons, int) else horizons
    rows = night.predict(settings, wanted, as_day(date, "date"), days, model)
    return marked(rows, _simulated(settings))


def signals(date: Day = None, horizon: int = 7, model: str = "champion") -> pd.DataFrame:
    """Return a day's BUY and SELL, the largest expected moves first, each with its reason.

    Columns ``PREDICTION_COLUMNS`` and name, set_name, printing; errors as ``fair_value``.

    >>> import pokewatch as pw
    >>> set(pw.signals()["signal"]) <= {"BUY", "SELL"}
    True
    """
    settings = get_settings()
    rows = night.best_signals(settings, as_day(date, "date"), horizon, model)
    return marked(rows, _simulated(settings))


def backtest(
    model: str | None = None,
    fresh: bool = False,
    since: Day = None,
    until: Day = None,
    horizons: int | Sequence[int] | None = None,
    jobs: int = 1,
) -> pd.DataFrame:
    """Return out-of-sample forecasts of the model, naive and the baseline on the same rows.

    model: a name, "champion" or "newest"; default: the champion, without one the newest. Its
    stored walk-forward is read, which is quick; fresh=True does a new one (minutes on a large
    store). Columns card_id, date, horizon (days), price, y, y_hat, lower, upper (USD), volatility,
    origin, model, signal, strength. Raises UsageError for an unknown model, date or horizon.

    >>> import pokewatch as pw
    >>> sorted(pw.backtest(horizons=7)["model"].unique())
    ['baseline', 'fair_value', 'naive']
    """
    settings = get_settings()
    start, end = as_day(since, "since"), as_day(until, "until")
    days = [horizons] if isinstance(horizons, int) else horizons
    panel, version = night.open_panel(settings)
    if fresh:
        if model is not None:
            raise UsageError(f"fresh=True fits anew: leave model={model!r} out")
        tested = walk_forward.walk_forward(panel, settings, days or HORIZONS, start, end, jobs)
        return marked(tested.forecasts, _simulated(settings, version))
    name = _trained(settings, model)
    own = registry.past_forecasts(settings, name)
    known = sorted(own["horizon"].unique().tolist())
    if unknown := sorted(set(days or []) - set(known)):
        raise UsageError(f"'{name}' has no forecasts {unknown} days ahead: choose among {known}")
    keep = own["card_id"].isin(panel.card_ids) & own["date"].isin(panel.dates)
    keep &= own["horizon"].isin(days or known)
    keep &= (own["date"] >= pd.Timestamp(start)) if start else True
    keep &= (own["date"] <= pd.Timestamp(end)) if end else True
    if len(own) and not keep.any():
        first, last = own["date"].min(), own["date"].max()
        covers = f"its back-test covers {first:%Y-%m-%d} to {last:%Y-%m-%d}"
        raise UsageError(f"'{name}' has no forecasts from {since} to {until}: {covers}")
    rows = walk_forward.beside_naive(own[keep].reset_index(drop=True), panel)
    return marked(rows, _simulated(settings, version))


def score(forecasts: pd.DataFrame | None = None, by: str | None = None) -> pd.DataFrame:
    """Return the score table of forecasts (default: ``backtest()``), a row a horizon and model.

    Scores as in ``pokewatch.evaluation.metrics``: rmae below 1 is better than "no change", coverage
    should be 0.8; the model's rows tell precision, base rate and lift of its calls. by: month,
    price_band (USD), kind or set_name gives the model's scores for each group instead.

    >>> import pokewatch as pw
    >>> {"horizon", "model", "rmae", "coverage"} <= set(pw.score())
    True
    """
    settings = get_settings()
    rows = backtest() if forecasts is None else forecasts
    simulated = bool(rows.attrs.get("simulated"))
    if by is None:
        return marked(walk_forward.score_table(rows, settings), simulated)
    cards = Store.from_settings(settings).cards().set_index("card_id")
    return marked(walk_forward.breakdown(rows, by, cards, settings), simulated)


def train(as_of: Day = None, data_version: int | None = None, jobs: int = 1) -> TrainedModel:
    """Train on the stored prices as the nightly run does: fit, score, gate, perhaps promote.

    Takes minutes on a large store; ``trial`` does the same on the side and promotes nothing.

    >>> import pokewatch as pw
    >>> pw.train().verdict.reasons != []
    True
    """
    return night.train(get_settings(), as_day(as_of, "as_of"), data_version, jobs)


def status() -> dict[str, Any]:
    """Return coverage, freshness, quarantine counts, data version and the champion's score.

    >>> import pokewatch as pw
    >>> pw.status()["cards"] > 0
    True
    """
    return night.status(get_settings())


def _trained(settings: Settings, name: str | None) -> str:
    """Return the name of the trained model that is meant."""
    present = registry.champion_name(settings)
    if name is None and present is not None:
        return present
    if name in (None, "newest"):
        newest = facts.last_trained(settings)
        if newest is None:
            raise UsageError("no model has been trained yet: run 'pokewatch train' or pw.train()")
        return newest.name
    return registry.load(settings, str(name)).name


def _simulated(settings: Settings, version: int | None = None) -> bool:
    return SIMULATED in night.sources(settings, version)
