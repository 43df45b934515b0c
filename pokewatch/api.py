"""What ``import pokewatch as pw`` offers: functions on the stored prices and trained models.

They read the settings of the process and fetch what the rooms below take as frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from pokewatch.analysis.market import MIN_PRICE, Day, as_day, as_days, marked
from pokewatch.analysis.market import market as market  # what charts fetch by default
from pokewatch.analysis.patterns import momentum as momentum
from pokewatch.analysis.patterns import seasons as seasons
from pokewatch.errors import UsageError
from pokewatch.evaluation import backtest as backtests
from pokewatch.evaluation import predictions, registry
from pokewatch.evaluation import track_record as records
from pokewatch.evaluation.registry import TrainedModel
from pokewatch.models.panel import open_panel, price_sources
from pokewatch.operations import night
from pokewatch.operations import status as states
from pokewatch.schema import HORIZONS, SIMULATED
from pokewatch.settings import Settings, get_settings
from pokewatch.store.tables import Store


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
    days = as_days(horizons)
    rows = predictions.predict(settings, wanted, as_day(date, "date"), days, model)
    return marked(rows, _simulated(settings))


def signals(date: Day = None, horizon: int = 7, model: str = "champion") -> pd.DataFrame:
    """Return a day's BUY and SELL, the largest expected moves first, each with its reason.

    Columns ``PREDICTION_COLUMNS`` and name, set_name, printing; errors as ``fair_value``.

    >>> import pokewatch as pw
    >>> set(pw.signals()["signal"]) <= {"BUY", "SELL"}
    True
    """
    settings = get_settings()
    rows = predictions.best_signals(settings, as_day(date, "date"), horizon, model)
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
    days = as_days(horizons)
    panel, version = open_panel(settings)
    if fresh:
        if model is not None:
            raise UsageError(f"fresh=True fits anew: leave model={model!r} out")
        tested = backtests.walk_forward(panel, settings, days or HORIZONS, start, end, jobs)
        return marked(tested.forecasts, _simulated(settings, version))
    name = _trained(settings, model)
    own = registry.past_forecasts(settings, name)
    known = sorted(own["horizon"].unique().tolist())
    if unknown := sorted(set(days or []) - {*HORIZONS, *known}):
        listed = sorted({*HORIZONS, *known})
        raise UsageError(f"'{name}' has no forecasts {unknown} days ahead: choose among {listed}")
    keep = own["card_id"].isin(panel.card_ids) & own["date"].isin(panel.dates)
    keep &= own["horizon"].isin(days or known)
    keep &= (own["date"] >= pd.Timestamp(start)) if start else True
    keep &= (own["date"] <= pd.Timestamp(end)) if end else True
    if (start or end) and len(own) and not keep.any():
        first, last = own["date"].min(), own["date"].max()
        covers = f"its back-test covers {first:%Y-%m-%d} to {last:%Y-%m-%d}"
        raise UsageError(f"'{name}' has no forecasts from {since} to {until}: {covers}")
    rows = backtests.beside_naive(own[keep].reset_index(drop=True), panel)
    return marked(rows, _simulated(settings, version))


def score(forecasts: pd.DataFrame | None = None, by: str | None = None) -> pd.DataFrame:
    """Return the score table of forecasts (default: ``backtest()``), a row a horizon and model.

    Scores as in ``pokewatch.evaluation.metrics``: rmae below 1 is better than "no change", coverage
    should be 0.8; the model's rows have precision, base rate and lift of its calls. by: month,
    price_band (USD), kind or set_name gives the model's scores for each group instead.

    >>> import pokewatch as pw
    >>> {"horizon", "model", "rmae", "coverage"} <= set(pw.score())
    True
    """
    settings = get_settings()
    rows = backtest() if forecasts is None else forecasts
    simulated = bool(rows.attrs.get("simulated"))
    if by is None:
        return marked(backtests.score_table(rows, settings), simulated)
    cards = Store.from_settings(settings).cards().set_index("card_id")
    return marked(backtests.breakdown(rows, by, cards, settings), simulated)


def train(as_of: Day = None, data_version: int | None = None, jobs: int = 1) -> TrainedModel:
    """Train on the stored prices as the nightly run does: fit, score, gate, perhaps promote.

    Takes minutes on a large store; ``experiment`` does the same beside it and promotes nothing.

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
    return states.status(get_settings())


def equity_curve(
    forecasts: pd.DataFrame | None = None, horizon: int = 7, min_price: float = MIN_PRICE
) -> pd.DataFrame:
    """Return the equity of buying at every BUY beside holding the market, 100 at the start.

    forecasts: default ``backtest()``. At dates ``horizon`` days apart the money is spread evenly
    over the BUY of that day, sold at the end of the horizon and the fee paid; without a BUY it lies
    idle. Columns date (of the sale), calls, followed (after fees), before_fees, held (all cards of
    the first day in equal parts, bought once, as if sold on that date, the fee paid); cards of
    ``min_price`` USD and more.

    >>> import pokewatch as pw
    >>> pw.equity_curve()[["followed", "held"]].iloc[0].tolist()
    [100.0, 100.0]
    """
    rows = backtest(horizons=horizon) if forecasts is None else forecasts
    curve = records.equity_curve(rows, horizon, get_settings().fee, min_price)
    return marked(curve, bool(rows.attrs.get("simulated")))


def trade_log(
    forecasts: pd.DataFrame | None = None, horizon: int = 7, worst: int | None = None
) -> pd.DataFrame:
    """Return every BUY and SELL as it would have been given, with its outcome.

    forecasts: default ``backtest()``. Columns card_id, name, set_name, date, signal, price, y (USD,
    at the end of the horizon), move, gain (BUY: after the fee; SELL: the fall that was avoided, a
    rise is a loss), right (moved by ``good_move`` that way). worst=n: the n largest losses, one a
    card.

    >>> import pokewatch as pw
    >>> "gain" in pw.trade_log(worst=3)
    True
    """
    settings = get_settings()
    rows = backtest(horizons=horizon) if forecasts is None else forecasts
    cards = Store.from_settings(settings).cards()
    log = records.trade_log(rows, cards, horizon, settings.fee, settings.good_move, worst)
    return marked(log, bool(rows.attrs.get("simulated")))


def track_record(horizon: int = 7) -> pd.DataFrame:
    """Return what nights really said and what came of it, by month, beside the walk-forward.

    A night's first forecasts count, as they were stored, where its model had seen nothing after it;
    naive nights are left out. Columns kind (live, prior: see ``models.prior``, walk-forward: of the
    champion, or the model trained last), month (YYYY-MM, or all), nights, n, rmae, rmae_low,
    rmae_high (95 %), coverage and how BUY and SELL did, as in ``score``. Scored like the
    walk-forward.

    >>> import pokewatch as pw
    >>> set(pw.track_record()["kind"]) <= {"live", "prior", "walk-forward"}
    True
    """
    settings = get_settings()
    panel, version = open_panel(settings)
    return marked(records.read(settings, panel, horizon), _simulated(settings, version))


def _trained(settings: Settings, name: str | None) -> str:
    """Return the name of the trained model that is meant: "champion", or its own."""
    if name in (None, "champion") and registry.champion_name(settings) is not None:
        return "champion"
    if name in (None, "newest"):
        newest = registry.last_trained(settings)
        if newest is None:
            raise UsageError("no model has been trained yet: run 'pokewatch train' or pw.train()")
        return newest.name
    return registry.load(settings, str(name)).name


def _simulated(settings: Settings, version: int | None = None) -> bool:
    return SIMULATED in price_sources(settings, version)
