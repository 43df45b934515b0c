"""The walk-forward back-test: models fitted on what was known, scored on what came after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from joblib import delayed
from tqdm import tqdm

from pokewatch import parallel
from pokewatch.errors import PokewatchError, UsageError
from pokewatch.evaluation import metrics
from pokewatch.evaluation.ledger import Ledger
from pokewatch.models import features, signals
from pokewatch.models.baseline import rolling_mean
from pokewatch.models.fair_value import (
    AHEAD,
    FEWEST_ROWS,
    VOLATILITY,
    Cases,
    FairValueModel,
    cases_at,
    forecast_frame,
    inputs,
)
from pokewatch.models.intervals import COVERAGE, ConformalIntervals
from pokewatch.models.panel import Panel, outcome_age
from pokewatch.schema import CHANCES, HORIZONS, MODEL, typed
from pokewatch.settings import Settings

STEP = 14  # days between two fits
STEPS = (1, 2, 4, 7, STEP, 2 * STEP)
OFTEN = range(500, 5_000)  # cards; fewer or more are fitted half as often, which tells little less
FIRST = 0.4  # share of the history before the first fit
MIN_ORIGINS = 6
EVERY_DAY = 150_000  # forecasts a horizon; beyond it only every n-th day is scored
EVERY_CARD = 300_000  # forecasts a horizon; beyond it only a random sample of cards is scored
# USD: the lowest price of each band, which belongs to it.
PRICE_BANDS = {"< 1": 0, "1-5": 1, "5-20": 5, "20-100": 20, "> 100": 100}
GROUPS = ("month", "price_band", "kind", "set_name")  # that ``breakdown`` knows
COLUMNS: list[str] = ["card_id", "date", "horizon", "price", "y", "y_hat"]
COLUMNS += ["lower", "upper", "volatility", *AHEAD[1:]]
FORECASTS: dict[str, str] = {
    **dict.fromkeys(COLUMNS, "float64"),
    **{"card_id": "object", "date": "datetime64[us]", "horizon": "int64"},
    **{"origin": "datetime64[us]", "model": "object", "signal": "object", "strength": "float64"},
    **{"candidate": "object", "candidate_strength": "float64"},
    **dict.fromkeys([*CHANCES, *metrics.DISTRIBUTION], "float64"),
}
SCORE_TABLE = {
    **{"horizon": "int64", "model": "object"},
    **dict.fromkeys(metrics.COUNTS, "int64"),
    **dict.fromkeys([*metrics.SCORES, *metrics.SIGNAL_SCORES], "float64"),
}
BREAKDOWN: dict[str, str] = {
    **{"horizon": "int64", "group": "object", "n": "int64", "rmae": "float64"},
    "coverage": "float64",
}


@dataclass(frozen=True)
class Backtest:
    """Out-of-sample forecasts of the model, naive and the baseline on the same rows.

    forecasts: columns card_id, date, horizon, price, y, y_hat, lower, upper, volatility, fall, rise
    and half_width (see ``FairValueModel.ahead``), origin, model, signal, strength; candidate and
    candidate_strength: the call of the thresholds alone, given only where such calls had a record
    by then; where distributions were scored, ``metrics.DISTRIBUTION``.
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
    ledger: bool = False,
    distribution: bool = False,
) -> Backtest:
    """Fit at origins some days apart (at most two ``STEP``) and forecast up to the next origin.

    At an origin the model sees the panel up to that day only. since and until narrow the scored
    days. ledger: read origins fitted on the same before from the data home, and keep new ones
    there. distribution: score nine quantiles as well.
    """
    if since and until and since > until:
        raise UsageError(f"--since {since} lies after --until {until}")
    for day in (since, until):
        if day is not None:
            panel.day(day)  # says what the store covers where the day lies outside
    horizons = sorted(set(horizons))
    total = len(panel.dates)
    first, last = int(total * FIRST), total - 1
    if since is not None:
        first = max(int(panel.dates.searchsorted(pd.Timestamp(since))), 2)
    if until is not None:
        last = int(panel.dates.searchsorted(pd.Timestamp(until), "right"))
    small = int((~np.isnan(panel.price)).sum()) <= FEWEST_ROWS
    longest = STEP if small or len(panel.card_ids) in OFTEN else 2 * STEP
    step = max(one for one in STEPS if one <= np.clip((last - first) // MIN_ORIGINS, 1, longest))
    alive = int((~np.isnan(panel.price[first:last])).sum())
    stride = min(max(-(-alive // EVERY_DAY), 1), step)
    # On fixed days of the calendar, so that the next night has the same origins and days.
    ordinal = panel.dates.to_numpy().astype("datetime64[D]").astype(int)
    rows = [row for row in range(first, last) if ordinal[row] % stride == 0]
    days: dict[int, list[int]] = {}  # the same by the origin of their forecasts
    for row in rows:
        days.setdefault(max(row - int(ordinal[row] % step), 0), []).append(row)
    forecasts = typed([], FORECASTS)
    if rows:
        scored = _scored_cards(panel, rows, settings.seed)
        kept = Ledger(settings, panel, horizons) if ledger else None
        parts = _forecasts(panel, days, scored, horizons, settings, jobs, progress, kept)
        found = pd.concat(parts, ignore_index=True)
        found = with_signals(with_intervals(found, panel, horizons), settings)
        if distribution:
            found = found.join(distribution_scores(found, panel, horizons))
        found = found.loc[has_truth(found), [name for name in FORECASTS if name in found]]
        if len(found):
            forecasts = beside_naive(found.reset_index(drop=True), panel)
    return Backtest(forecasts, horizons)


def _scored_cards(panel: Panel, rows: list[int], seed: int) -> np.ndarray:
    """Return which cards are scored: all, or a random sample where there are too many.

    Cards move together: more of them than this tell next to nothing that the others do not.
    """
    cards = np.ones(len(panel.card_ids), dtype=bool)
    forecasts = int((~np.isnan(panel.price[rows])).sum())
    if forecasts > EVERY_CARD:
        # By a hash of their ids: the next night, and with new cards, the same ones are scored.
        share = 2.0 ** np.floor(np.log2(EVERY_CARD / forecasts))
        drawn = pd.util.hash_array(panel.card_ids.astype(object), hash_key=f"{seed:016d}"[-16:])
        cards = drawn < share * 2.0**64
    return cards


def _forecasts(
    panel: Panel,
    days: dict[int, list[int]],
    scored: np.ndarray,
    horizons: list[int],
    settings: Settings,
    jobs: int,
    progress: bool,
    ledger: Ledger | None,
) -> list[pd.DataFrame]:
    """Return each origin's forecasts with what came of them, intervals still missing.

    What all origins learn from and forecast is looked up in one pass over the features.
    """
    names = ["volatility", *(f"{name}_{horizon}" for horizon in horizons for name in AHEAD)]
    pairs, kept, paths = [], {}, {}
    for number, (origin, rows) in enumerate(days.items()):
        alive = ~np.isnan(panel.price[rows]) & scored
        position, card = np.nonzero(alive)
        pairs.append((np.asarray(rows)[position], card))
        # The last origin gets another day every night.
        if ledger is not None and number < len(days) - 1:
            paths[number] = ledger.path(origin, rows, alive[:, ~np.isnan(panel.price[rows[-1]])])
            found = ledger.read(paths[number], len(card), names)
            if found is not None:
                kept[number] = found
    todo = [number for number in range(len(days)) if number not in kept]
    origins = list(days)
    samples = [
        cases_at(panel, horizon, [origins[number] for number in todo], settings.seed)
        for horizon in horizons
    ]
    used = [
        {horizon: one for horizon, one in zip(horizons, of_origin, strict=True) if one is not None}
        for of_origin in zip(*samples, strict=True)
    ]
    learnt = [(one.day, one.card) for of_origin in used for one in of_origin.values()]
    inputs_of = inputs(panel, [*learnt, *(pairs[number] for number in todo)], jobs)
    known, ahead = iter(inputs_of[: len(learnt)]), inputs_of[len(learnt) :]
    tasks = [
        delayed(_origin)(
            FairValueModel(horizons, settings.seed, good_move=settings.good_move),
            of_origin,
            {horizon: next(known) for horizon in of_origin},
            x,
        )
        for of_origin, x in zip(used, ahead, strict=True)
    ]
    # A night whose ledger has all but the last origin starts no second process: that takes seconds.
    with parallel.pool(settings, jobs if len(tasks) > 1 else 1) as run:
        fits = run(tasks)
        aheads = list(tqdm(fits, "walk-forward", len(tasks), unit="fit", disable=not progress))
    volatility = features.names().index(VOLATILITY)
    for number, x, found in zip(todo, ahead, aheads, strict=True):
        values = np.column_stack([x[:, volatility].astype(float), found])
        kept[number] = pd.DataFrame(values, columns=names)
        if ledger is not None and number in paths:
            ledger.write(paths[number], kept[number])
    if ledger is not None:
        ledger.tidy()
    out = []
    for number, (day, card) in enumerate(pairs):
        values = kept[number]
        ahead_of = {
            horizon: values[[f"{name}_{horizon}" for name in AHEAD]].to_numpy()
            for horizon in horizons
        }
        forecast = forecast_frame(panel, day, card, values["volatility"].to_numpy(), ahead_of)
        ended = with_truth(forecast.assign(lower=np.nan, upper=np.nan), panel)
        out.append(ended.assign(origin=panel.dates[origins[number]], model=MODEL))
    return out


def _origin(
    model: FairValueModel, used: dict[int, Cases], inputs_of: dict[int, np.ndarray], x: np.ndarray
) -> np.ndarray:
    """Return what lies ahead at one origin, shape (cases, horizons x ``AHEAD``)."""
    model.fit_cases(used, inputs_of)
    return np.concatenate([model.ahead(horizon, x) for horizon in model.horizons], axis=1)


def finished(forecasts: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
    """Return the forecasts whose outcome was known at the end of a day."""
    ended = forecasts["date"] + pd.to_timedelta(forecasts["horizon"], unit="D") <= day
    return forecasts[ended & has_truth(forecasts)]


def has_truth(forecasts: pd.DataFrame) -> pd.Series:
    """Return which forecasts started from a price of that very day, and have ended at one."""
    return (forecasts["age"] == 0) & forecasts["y"].notna()


def distribution_scores(
    forecasts: pd.DataFrame, panel: Panel, horizons: Sequence[int]
) -> pd.DataFrame:
    """Return ``metrics.DISTRIBUTION`` of forecasts, whose quantiles are bounds of intervals."""
    bounds = [forecasts[["lower", "upper"]].to_numpy()]
    for coverage in (0.6, 0.4, 0.2):
        found = with_intervals(forecasts, panel, horizons, coverage)
        bounds.append(found[["lower", "upper"]].to_numpy())
    quantiles = np.column_stack([*bounds, forecasts["y_hat"]])
    return metrics.distribution(forecasts, np.sort(quantiles, axis=1))


def with_intervals(
    forecasts: pd.DataFrame, panel: Panel, horizons: Sequence[int], coverage: float = COVERAGE
) -> pd.DataFrame:
    """Set each origin's intervals from the errors that were known by then.

    Horizons without enough finished forecasts take the spread of the price changes before.
    """
    out = forecasts.copy()
    volatility: np.ndarray | None = None
    for origin, rows in forecasts.groupby("origin"):
        learnt = ConformalIntervals(coverage=coverage).learn(finished(forecasts, origin), origin)
        missing = sorted(set(rows["horizon"]) - set(learnt.quantiles))
        start = learnt
        if missing:
            volatility = features.volatility(panel) if volatility is None else volatility
            row = panel.day(origin)
            known, before = panel.until(row), volatility[: row + 1]
            start = ConformalIntervals.from_changes(known, before, missing, coverage)
            if set(missing) - set(start.quantiles):  # then the other horizons' widths are needed
                start = ConformalIntervals.from_changes(known, before, horizons, coverage)
        for part, found in ((False, learnt), (True, start)):
            here = rows[rows["horizon"].isin(missing) == part]
            if len(here):
                bounds = found.apply(here.rename(columns={"y_hat": "fair_value"}))
                out.loc[here.index, ["lower", "upper"]] = bounds[["lower", "upper"]]
    return out


def beside_naive(forecasts: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    """Return the model's forecasts, and naive's and the baseline's for the same rows."""
    mean = rolling_mean(panel.price)
    row = panel.dates.get_indexer(pd.DatetimeIndex(forecasts["date"]))
    column = pd.Index(panel.card_ids).get_indexer(forecasts["card_id"])
    unknown = ["lower", "upper", "strength", "candidate_strength", *AHEAD[1:], *CHANCES]
    silent = dict.fromkeys(unknown, np.nan) | {"signal": "HOLD", "candidate": "HOLD"}
    others = forecasts.assign(**silent)
    frames = [forecasts]
    for model, y_hat in (("naive", forecasts["price"]), ("baseline", mean[row, column])):
        points = others.assign(model=model, y_hat=y_hat)
        if set(metrics.DISTRIBUTION) <= set(forecasts):
            points = points.assign(**metrics.distribution(points, np.tile(points[["y_hat"]], 9)))
        frames.append(points)
    return pd.concat(frames, ignore_index=True)


def with_truth(forecast: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    """Return forecasts with the price at the end of the horizon as ``y``, NaN where unknown.

    It must have been observed after the forecast, not too long before its day (``outcome_age``).
    """
    column = pd.Index(panel.card_ids).get_indexer(forecast["card_id"])
    later = panel.dates.get_indexer(forecast["date"]) + forecast["horizon"].to_numpy()
    inside = later < len(panel.dates)
    safe = np.minimum(later, len(panel.dates) - 1)
    fresh = panel.age[safe, column] <= outcome_age(forecast["horizon"].to_numpy())
    truth = np.where(inside & fresh, panel.price[safe, column], np.nan)
    return forecast.assign(y=truth).rename(columns={"market_price": "price", "fair_value": "y_hat"})


def attach_truth(forecast: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    """Return the forecasts that can be scored, as ``has_truth`` tells, columns ``COLUMNS``."""
    ended = with_truth(forecast, panel)
    return ended.loc[has_truth(ended), COLUMNS]


def with_signals(forecasts: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Add the signal that each forecast would have got, and its strength, by the live rules.

    Thresholds come from earlier, finished cases only; a call given the day before may stay; a side
    is silent while the calls of its thresholds (``candidate``) have no record, as it is live.
    """
    origins = list(forecasts["origin"].unique())
    rules = {day: signals.learn(finished(forecasts, day), settings) for day in origins}
    found = signals.call_days(forecasts, rules, "origin", settings)
    forecasts = forecasts.assign(
        candidate=found["signal"].to_numpy(), candidate_strength=found["strength"].to_numpy()
    )
    given = {
        day: signals.as_given(rules[day], finished(forecasts, day), settings) for day in origins
    }
    return forecasts.join(signals.call_days(forecasts, given, "origin", settings))  # and chances


def score_table(forecasts: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Return one row a horizon and model, the model's signals scored in its rows.

    Raises PokewatchError for a forecast that is no number, and for models that did not forecast
    the same cases: their errors could not be compared.
    """
    check_finite(forecasts)
    check_same_cases(forecasts)
    rows = []
    for (horizon, model), group in forecasts.groupby(["horizon", "model"], sort=True):
        row = {"horizon": int(horizon), "model": model, **metrics.score(group)}
        if model == MODEL:
            row |= metrics.signal_scores(group, settings.good_move, settings.fee)
        rows.append(row)
    rank = {MODEL: 0, "naive": 1, "baseline": 2}
    rows.sort(key=lambda row: (row["horizon"], rank.get(row["model"], len(rank))))
    return typed(rows, SCORE_TABLE)


def check_finite(forecasts: pd.DataFrame) -> None:
    """Raise PokewatchError for forecasts or prices that are no numbers: scores would skip them."""
    bad = forecasts[~np.isfinite(forecasts[["price", "y", "y_hat"]].to_numpy(float)).all(axis=1)]
    if len(bad):
        first = bad.iloc[0]
        raise PokewatchError(
            f"{len(bad)} forecasts of '{first['model']}' cannot be scored, the first for "
            f"{first['card_id']} on {first['date']:%Y-%m-%d}, {first['horizon']} days ahead: "
            f"price {first['price']}, later {first['y']}, forecast {first['y_hat']}"
        )


def check_same_cases(forecasts: pd.DataFrame) -> None:
    """Raise PokewatchError unless all models have forecast equally many cases of a horizon."""
    cases = forecasts.groupby(["horizon", "model"]).size()
    for horizon, counts in cases.groupby("horizon"):
        if counts.nunique() > 1:
            listed = ", ".join(f"{model} {n}" for (_, model), n in counts.items())
            raise PokewatchError(
                f"the models forecast different cases {horizon} days ahead ({listed}): score them "
                "on the same ones"
            )


def breakdown(
    forecasts: pd.DataFrame,
    by: str | pd.Series,
    cards: pd.DataFrame | None = None,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """Return the model's scores for every horizon and group of forecasts.

    by: one of ``GROUPS``, or a group for each forecast; cards: indexed by card_id, with
    product_kind and set_name, which the last two need. Columns horizon, group, n, rmae, coverage
    and, given settings, those of ``metrics.signal_scores``; price bands (USD) in their order.
    Raises UsageError for another by, PokewatchError for a forecast that is no number.
    """
    forecasts = forecasts[forecasts["model"] == MODEL]
    check_finite(forecasts)
    if isinstance(by, pd.Series):
        group = by.reindex(forecasts.index)
    elif by == "month":
        group = forecasts["date"].dt.strftime("%Y-%m")
    elif by == "price_band":
        group = pd.cut(
            forecasts["price"],
            [*PRICE_BANDS.values(), np.inf],
            labels=list(PRICE_BANDS),
            right=False,
        )
    elif by in GROUPS and cards is not None:
        column = "product_kind" if by == "kind" else by
        group = forecasts["card_id"].map(cards[column]).fillna("unknown")
    else:
        raise UsageError(f"by={by!r} is unknown: choose among {', '.join(GROUPS)}")
    rows = []
    for (horizon, name), part in forecasts.groupby([forecasts["horizon"], group], observed=True):
        row = {"horizon": int(horizon), "group": str(name), "n": len(part)}
        row |= {"rmae": metrics.rmae(part), "coverage": metrics.coverage(part)}
        if settings is not None:
            row |= metrics.signal_scores(part, settings.good_move, settings.fee)
        rows.append(row)
    calls = {} if settings is None else dict.fromkeys(metrics.SIGNAL_SCORES, "float64")
    return typed(rows, BREAKDOWN | calls)
