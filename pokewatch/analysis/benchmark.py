"""Accuracy and speed side by side: classical methods, latency, cost against number of cards."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from time import perf_counter
from typing import Any, cast

import numpy as np
import pandas as pd

from pokewatch import api
from pokewatch.analysis.market import columns, marked
from pokewatch.models import features
from pokewatch.models.baseline import BaselineFairPriceModel
from pokewatch.models.fair_value import FairValueModel
from pokewatch.models.panel import Panel
from pokewatch.operations import night
from pokewatch.report.facts import FLOOR
from pokewatch.schema import MODEL
from pokewatch.settings import get_settings
from pokewatch.store.tables import Store

HISTORY = 180  # days that a classical method sees of a card
CLASSICAL = ("AutoETS", "AutoTheta", "DampedETS")


def installed() -> bool:
    """Return whether the extra ``bench`` (statsforecast) is installed."""
    return find_spec("statsforecast") is not None


def sample(
    forecasts: pd.DataFrame, cards: int = 30, dates: int = 6, horizon: int = 7
) -> pd.DataFrame:
    """Return the forecasts of some cards at some non-overlapping dates, the last ones.

    Cards of $1 and more, drawn with the seed of the settings; all models' rows of each.
    """
    rows = forecasts[forecasts["horizon"] == horizon]
    step = pd.Timedelta(days=horizon)
    days: list[pd.Timestamp] = []
    for day in sorted(rows["date"].unique(), reverse=True):
        if len(days) < dates and (not days or days[-1] - day >= step):
            days.append(pd.Timestamp(day))
    part = rows[rows["date"].isin(days) & (rows["price"] >= FLOOR)]
    known = np.sort(part["card_id"].unique())
    rng = np.random.default_rng(get_settings().seed)
    chosen = rng.choice(known, min(cards, len(known)), replace=False)
    out = part[part["card_id"].isin(chosen)].reset_index(drop=True)
    return marked(out, bool(forecasts.attrs.get("simulated")))


def classical(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return rows (as ``sample`` gives them) with statsforecast's methods, and seconds of each.

    Each method is fitted anew for every card and date on the ``HISTORY`` days before. Without the
    extra ``bench`` the rows come back as they are.
    """
    if not installed():
        return rows, {}
    os.environ.setdefault("NIXTLA_ID_AS_COL", "1")
    from statsforecast import StatsForecast
    from statsforecast.models import AutoETS, AutoTheta, Naive

    makers: dict[str, Callable[[], Any]] = {
        "AutoETS": lambda: AutoETS(season_length=1, alias="AutoETS"),
        "AutoTheta": lambda: AutoTheta(season_length=1, alias="AutoTheta"),
        "DampedETS": lambda: AutoETS(season_length=1, damped=True, alias="DampedETS"),
    }
    panel, _ = night.open_panel(get_settings())
    own = rows[rows["model"] == MODEL]
    blank = own.assign(lower=np.nan, upper=np.nan, signal="HOLD", strength=np.nan)
    frames, seconds = [rows], {}
    horizon = int(own["horizon"].iloc[0])
    for name in CLASSICAL:
        started = perf_counter()
        found = []
        for day, group in blank.groupby("date"):
            series = _series(panel, pd.Timestamp(day), group["card_id"])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                engine = StatsForecast([makers[name]()], freq="D", fallback_model=Naive())
                ahead = cast(pd.DataFrame, engine.forecast(h=horizon, df=series))
            last = ahead.groupby("unique_id")[name].last()
            hat = group["card_id"].map(last)
            found.append(group.assign(model=name, y_hat=hat.where(hat > 0, group["price"])))
        seconds[name] = perf_counter() - started
        frames.append(pd.concat(found))
    out = pd.concat(frames, ignore_index=True)
    return marked(out, bool(rows.attrs.get("simulated"))), seconds


def _series(panel: Panel, day: pd.Timestamp, card_ids: pd.Series) -> pd.DataFrame:
    row = panel.day(day)
    first = max(row - HISTORY + 1, 0)
    column = pd.Index(panel.card_ids).get_indexer(card_ids)
    prices = pd.DataFrame(panel.price[first : row + 1, column], panel.dates[first : row + 1])
    long = prices.set_axis(card_ids.tolist(), axis=1).rename_axis("ds").reset_index()
    return long.melt("ds", var_name="unique_id", value_name="y").dropna(subset="y")


def latency(cards: int = 100) -> pd.DataFrame:
    """Return seconds of a prediction, cold and warm: columns what, cold, warm, cards.

    The baseline answers from its cache when it is asked again; a fair value is computed anew from
    the store each time.
    """
    settings = get_settings()
    store = Store.from_settings(settings)
    model = BaselineFairPriceModel()
    prices = store.prices(["card_id", "date", "market_price"])
    last = prices["date"].max()
    ids = prices.loc[prices["date"] == last, "card_id"].head(cards).tolist()
    model.fit(prices)

    def asked() -> None:
        for card_id in ids:
            model.predict(card_id)

    cold, warm = _timed(asked) / len(ids), min(_timed(asked) for _ in range(5)) / len(ids)
    rows: list[tuple[str, float, float, int]] = [("baseline, one card", cold, warm, 1)]
    jobs: tuple[tuple[str, Callable[[], object], int], ...] = (
        ("fair value, one card", lambda: api.fair_value(ids[0], horizons=7), 1),
        ("fair value, all cards", lambda: api.fair_value(horizons=7), prices["card_id"].nunique()),
    )
    for what, job, number in jobs:
        rows.append((what, _timed(job), _timed(job), number))
    return pd.DataFrame(rows, columns=["what", "cold", "warm", "cards"])


def cost(largest: int = 4000, horizon: int = 7) -> pd.DataFrame:
    """Return seconds for markets up to a size: columns cards, build (features), fit, forecast.

    A larger market than the stored one is made by repeating its cards.
    """
    settings = get_settings()
    panel, version = night.open_panel(settings)
    rows = []
    for size in sorted({max(largest // part, 10) for part in (64, 16, 4, 1)}):
        part = columns(panel, np.resize(np.arange(len(panel.card_ids)), size))
        started = perf_counter()
        built = features.build(part)
        done = perf_counter()
        model = FairValueModel([horizon], settings.seed).fit(part, built)
        fitted = perf_counter()
        model.predict_days(part, [len(part.dates) - 1], [horizon], built)
        rows.append((size, done - started, fitted - done, perf_counter() - fitted))
    table = pd.DataFrame(rows, columns=["cards", "build", "fit", "forecast"])
    return marked(table, "simulated" in night.sources(settings, version))


def _timed(job: Callable[[], object]) -> float:
    started = perf_counter()
    job()
    return perf_counter() - started
