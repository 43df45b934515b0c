"""Walk-forward back-test: fitted on what was known, scored on what came after."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from joblib import delayed
from tqdm import tqdm

from pokewatch import parallel
from pokewatch.errors import UsageError
from pokewatch.evaluation import metrics
from pokewatch.models import features, signals
from pokewatch.models.baseline import rolling_mean
from pokewatch.models.fair_value import (
    Cases,
    FairValueModel,
    cases_at,
    forecast_frame,
    inputs,
)
from pokewatch.models.intervals import Bands
from pokewatch.models.panel import Panel
from pokewatch.schema import HORIZONS
from pokewatch.settings import Settings

MODEL = "fair_value"
STEP = 14  # days between two fits
FIRST = 0.4  # share of the history before the first fit
ORIGINS_AT_LEAST = 6
MAX_SCORED = 150_000  # forecasts a horizon; beyond it only every n-th day is scored
MOST_SCORED = 300_000  # forecasts a horizon; beyond it only a drawn part of the cards is scored
PRICE_BANDS = {"< 1": 0, "1-5": 1, "5-20": 5, "20-100": 20, "> 100": 100}  # USD, from
MAX_AGE = 3  # days; older prices are no fair start or end of a scored change


@dataclass(frozen=True)
class Backtest:
    """Out-of-sample forecasts of the model, naive and the baseline on the same rows.

    forecasts: columns card_id, date, horizon, price, y, y_hat, lower, upper, volatility, origin,
    model, signal, strength.
    """

    forecasts: pd.DataFrame
    horizons: list[int]

    def scores(self, settings: Settings) -> pd.DataFrame:
        """Return one row a horizon and model with every score of ``metrics``."""
        return score_table(self.forecasts, settings)

    def unscored(self) -> list[int]:
        """Return the horizons without a single scored forecast."""
        seen = set(self.forecasts["horizon"].unique())
        return [horizon for horizon in self.horizons if horizon not in seen]


def walk_forward(
    panel: Panel,
    settings: Settings,
    horizons: Sequence[int] = HORIZONS,
    since: date | None = None,
    until: date | None = None,
    jobs: int = 1,
    progress: bool = False,
) -> Backtest:
    """Fit at origins every two weeks and forecast the days up to the next origin.

    At an origin the model sees the panel up to that day only, so every target it learns from was
    known by then. since and until narrow the scored days.
    """
    if since and until and since > until:
        raise UsageError(f"--since {since} lies after --until {until}")
    for day in (since, until):
        if day is not None:
            panel.day(day)  # says what the store covers where the day lies outside
    horizons = sorted(set(horizons))
    total = len(panel.dates)
    first = (
        int(total * FIRST)
        if since is None
        else max(panel.dates.searchsorted(pd.Timestamp(since)), 2)
    )
    last = (
        total - 1 if until is None else int(panel.dates.searchsorted(pd.Timestamp(until), "right"))
    )
    step = int(np.clip((last - first) // ORIGINS_AT_LEAST, 1, STEP))
    origins = list(range(int(first), last, step))
    alive = (~np.isnan(panel.price[first:last])).sum()
    stride = int(np.ceil(alive / MAX_SCORED)) if len(origins) else 1
    stride = min(stride, step)
    days = {
        origin: [
            row for row in range(origin, min(origin + step, last)) if not (row - first) % stride
        ]
        for origin in origins
    }
    days = {origin: rows for origin, rows in days.items() if rows}
    if not days:
        return Backtest(_no_forecasts(), list(horizons))
    scored = _scored_cards(panel, [row for rows in days.values() for row in rows], settings.seed)
    parts = _forecasts(panel, days, scored, list(horizons), settings, jobs, progress)
    frames = [part for part in parts if len(part)]
    if not frames:
        return Backtest(_no_forecasts(), list(horizons))
    own = with_intervals(pd.concat(frames, ignore_index=True), panel, horizons)
    return Backtest(beside_naive(with_signals(own, settings), panel), list(horizons))


def _scored_cards(panel: Panel, rows: list[int], seed: int) -> np.ndarray:
    """Return which cards are scored: all, or a drawn part where even one day an origin is much.

    Cards move together: more of them than this tell next to nothing that the others do not.
    """
    cards = np.ones(len(panel.card_ids), dtype=bool)
    forecasts = int((~np.isnan(panel.price[rows])).sum())
    if forecasts > MOST_SCORED:
        size = int(len(cards) * MOST_SCORED / forecasts)
        chosen = np.random.default_rng([seed, len(cards)]).choice(len(cards), size, replace=False)
        cards[:] = False
        cards[chosen] = True
    return cards


def _forecasts(
    panel: Panel,
    days: dict[int, list[int]],
    scored: np.ndarray,
    horizons: list[int],
    settings: Settings,
    jobs: int,
    progress: bool,
) -> Iterator[pd.DataFrame]:
    """Yield each origin's forecasts with their truth, intervals still missing.

    What all origins learn from and forecast is looked up in one pass over the features.
    """
    drawn = [cases_at(panel, horizon, list(days), settings.seed) for horizon in horizons]
    used = [
        {horizon: one for horizon, one in zip(horizons, of_origin, strict=True) if one is not None}
        for of_origin in zip(*drawn, strict=True)
    ]
    pairs = []
    for rows in days.values():
        position, card = np.nonzero(~np.isnan(panel.price[rows]) & scored)
        pairs.append((np.asarray(rows)[position], card))
    flat = [sample for of_origin in used for sample in of_origin.values()]
    asked = [Cases(day, card, card, card, 0) for day, card in pairs]
    found = inputs(panel, [*flat, *asked], jobs)
    learnt, ahead = iter(found[: len(flat)]), found[len(flat) :]
    tasks = [
        delayed(_origin)(
            horizons, settings.seed, of_origin, {horizon: next(learnt) for horizon in of_origin}, x
        )
        for of_origin, x in zip(used, ahead, strict=True)
    ]
    with parallel.pool(settings, jobs) as run:
        fits = run(tasks)
        centers = list(tqdm(fits, "walk-forward", len(tasks), unit="fit", disable=not progress))
    for origin, (day, card), x, center in zip(days, pairs, ahead, centers, strict=True):
        forecast = forecast_frame(panel, day, card, x, dict(zip(horizons, center.T, strict=True)))
        truth = attach_truth(forecast.assign(lower=np.nan, upper=np.nan), panel, horizons)
        yield truth.assign(origin=panel.dates[origin], model=MODEL)


def _origin(
    horizons: list[int],
    seed: int,
    used: dict[int, Cases],
    inputs_of: dict[int, np.ndarray],
    x: np.ndarray,
) -> np.ndarray:
    """Return the forecast log changes of one origin, shape (cases, horizons)."""
    model = FairValueModel(horizons, seed)
    model.fit_cases(used, inputs_of)
    return np.stack([model.center(horizon, x) for horizon in horizons], axis=1)


def _no_forecasts() -> pd.DataFrame:
    names = ["card_id", "date", "horizon", "price", "y", "y_hat", "lower", "upper"]
    return pd.DataFrame(columns=[*names, "volatility", "origin", "model", "signal", "strength"])


def finished(forecasts: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
    """Return the forecasts whose outcome was known at the end of a day."""
    return forecasts[forecasts["date"] + pd.to_timedelta(forecasts["horizon"], unit="D") <= day]


def with_intervals(own: pd.DataFrame, panel: Panel, horizons: Sequence[int]) -> pd.DataFrame:
    """Set each origin's intervals from the errors that were known by then.

    Horizons without enough finished forecasts take the spread of the price changes before.
    """
    out = own.copy()
    usual: np.ndarray | None = None
    for origin, rows in own.groupby("origin"):
        bands = Bands().learn(finished(own, origin), origin)
        missing = sorted(set(rows["horizon"]) - set(bands.bands))
        if missing:
            usual = features.volatility(panel) if usual is None else usual
            row = panel.day(origin)
            known, before = panel.until(row), usual[: row + 1]
            start = Bands.from_changes(known, before, missing)
            if set(missing) - set(start.bands):  # then the other horizons' widths are needed
                start = Bands.from_changes(known, before, horizons)
        for part, found in ((False, bands), (True, start if missing else bands)):
            here = rows[rows["horizon"].isin(missing) == part]
            if len(here):
                bounds = found.apply(here.rename(columns={"y_hat": "fair_value"}))
                out.loc[here.index, ["lower", "upper"]] = bounds[["lower", "upper"]]
    return out


def beside_naive(own: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    """Return the model's forecasts, and naive's and the baseline's for the same rows."""
    mean = rolling_mean(panel.price)
    row = panel.dates.get_indexer(pd.DatetimeIndex(own["date"]))
    column = pd.Index(panel.card_ids).get_indexer(own["card_id"])
    others = own.assign(lower=np.nan, upper=np.nan, signal="HOLD", strength=np.nan)
    frames = [
        own,
        others.assign(model="naive", y_hat=own["price"]),
        others.assign(model="baseline", y_hat=mean[row, column]),
    ]
    return pd.concat(frames, ignore_index=True)


def attach_truth(forecast: pd.DataFrame, panel: Panel, horizons: Sequence[int]) -> pd.DataFrame:
    """Return forecasts whose price at the end of the horizon is known, with it as ``y``.

    Only rows count whose price at the origin was observed that very day and whose later price
    was observed at most ``MAX_AGE`` days before its day.
    """
    column = pd.Index(panel.card_ids).get_indexer(forecast["card_id"])
    later = panel.dates.get_indexer(forecast["date"]) + forecast["horizon"].to_numpy()
    inside = later < len(panel.dates)
    safe = np.minimum(later, len(panel.dates) - 1)
    truth = np.where(
        inside & (panel.age[safe, column] <= MAX_AGE), panel.price[safe, column], np.nan
    )
    out = forecast.assign(y=truth)
    out = out[(out["age"] == 0) & out["y"].notna()]
    out = out.rename(columns={"market_price": "price", "fair_value": "y_hat"})
    names = ["card_id", "date", "horizon", "price", "y", "y_hat", "lower", "upper", "volatility"]
    return out[names]


def with_signals(own: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Add the signal each forecast would have got, and its strength.

    Rules come from earlier, finished cases only; a call of the day before may stay.
    """
    rules = {
        origin: signals.learn(finished(own, origin), settings) for origin in own["origin"].unique()
    }
    return own.join(signals.call_days(own, rules, "origin"))


def score_table(forecasts: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Return one row a horizon and model, the model's signals scored in its rows."""
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean of no rows is reported as NaN
        for (horizon, model), group in forecasts.groupby(["horizon", "model"], sort=True):
            row = {"horizon": int(horizon), "model": model, **metrics.score(group, settings.seed)}
            if model == MODEL:
                row |= metrics.signal_scores(group, settings.good_move, settings.fee)
            rows.append(row)
    table = pd.DataFrame(rows)
    if table.empty:
        return table
    rank = table["model"].map({MODEL: 0, "naive": 1, "baseline": 2})
    ordered = table.assign(rank=rank).sort_values(["horizon", "rank"])
    return ordered.drop(columns="rank").reset_index(drop=True)


def breakdown(forecasts: pd.DataFrame, by: pd.Series) -> pd.DataFrame:
    """Return rMAE and coverage of the model for every group of ``by`` (aligned) and horizon."""
    own = forecasts[forecasts["model"] == MODEL]
    keys = by.reindex(own.index)
    return pd.DataFrame(
        [
            {
                "horizon": int(horizon),
                "group": str(name),
                "n": len(rows),
                "rmae": metrics.rmae(rows),
                "coverage": metrics.coverage(rows),
            }
            for (horizon, name), rows in own.groupby([own["horizon"], keys])
        ]
    )


def breakdowns(forecasts: pd.DataFrame, panel: Panel) -> dict[str, list[dict[str, object]]]:
    """Return rMAE and coverage by month, price band (USD) and product kind."""
    edges = [*PRICE_BANDS.values(), np.inf]
    band = pd.cut(forecasts["price"], edges, labels=list(PRICE_BANDS)).astype(str)
    kind = forecasts["card_id"].map(panel.cards["product_kind"]).fillna("unknown")
    groups = {"month": forecasts["date"].dt.strftime("%Y-%m"), "price_band": band, "kind": kind}
    return {
        name: breakdown(forecasts, by).to_dict("records")
        for name, by in (groups.items() if len(forecasts) else ())
    }
