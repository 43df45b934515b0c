"""Questions an analyst asks more than once: momentum, seasons, importance, following signals."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from pokewatch import api
from pokewatch.analysis.market import Market, columns, marked
from pokewatch.errors import UsageError
from pokewatch.evaluation import backtest, metrics
from pokewatch.models import features
from pokewatch.models.fair_value import FairValueModel
from pokewatch.models.panel import Panel
from pokewatch.operations import night
from pokewatch.report.facts import FLOOR
from pokewatch.schema import MODEL, SIMULATED
from pokewatch.settings import get_settings
from pokewatch.store.tables import Store

DATES_AT_MOST = 60  # dates a rank correlation is averaged over
CARDS_AT_MOST = 400  # cards on which features are shuffled
DAYS_SCORED = 8
SHORTEST = 60  # days of history before an importance can be told
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SEASONS = ("month", "weekday")


def momentum(market: Market | None = None, days: Sequence[int] = (1, 7, 14, 30)) -> pd.DataFrame:
    """Return rank correlations of past and next changes: look-back x days ahead.

    Means over non-overlapping dates, cards of $1 and more. Above 0 is momentum, below 0 mean
    reversion; NaN where the history is too short.

    >>> import pokewatch as pw
    >>> pw.momentum(days=[1, 7]).shape
    (2, 2)
    """
    market = api.market() if market is None else market
    panel = market.panel
    table = pd.DataFrame(
        index=pd.Index(days, name="look_back"), columns=pd.Index(days, name="ahead")
    )
    for ahead in days:
        for back in days:
            table.loc[back, ahead] = _rank_correlation(panel, market.first, back, ahead)
    return marked(table.astype(float), market.simulated)


def _rank_correlation(panel: Panel, first: int, back: int, ahead: int) -> float:
    total = len(panel.dates)
    days = np.arange(first + back, total - ahead, ahead)
    if not len(days):
        return float("nan")
    days = days[:: int(np.ceil(len(days) / DATES_AT_MOST))]
    past, later = np.exp(panel.target(back)[days - back]), np.exp(panel.target(ahead)[days])
    day, card = np.nonzero(~np.isnan(past) & ~np.isnan(later) & (panel.price[days] >= FLOOR))
    rows = pd.DataFrame(
        {"date": panel.dates[days[day]], "y_hat": past[day, card], "y": later[day, card]}
    ).assign(price=1.0, horizon=ahead)
    return metrics.rank_ic(rows) if len(rows) else float("nan")


def seasons(market: Market | None = None, by: str = "month") -> pd.DataFrame:
    """Return how the market's index moved in each month of the record, or on each weekday.

    Columns: the group, change (whole months: from end to end; weekdays: mean of a day), rising
    (share of days), days. Raises UsageError for another grouping.

    >>> import pokewatch as pw
    >>> pw.seasons(by="weekday")["weekday"].tolist()[0]
    'Monday'
    """
    if by not in SEASONS:
        raise UsageError(f"by={by!r} is unknown: choose among {', '.join(SEASONS)}")
    market = api.market() if market is None else market
    moves = np.log(market.index()).diff().dropna()
    month = by == "month"
    key = moves.index.strftime("%Y-%m") if month else moves.index.dayofweek
    groups = moves.groupby(key)
    change = np.expm1(groups.sum() if month else groups.mean())
    table = pd.DataFrame({"change": change, "rising": groups.apply(lambda part: (part > 0).mean())})
    table["days"] = groups.size()
    table.insert(0, by, [name if month else WEEKDAYS[int(name)] for name in table.index])
    return marked(table.reset_index(drop=True), market.simulated)


def importance(horizon: int = 7, days: int = 42, repeats: int = 3) -> pd.DataFrame:
    """Return how much accuracy is lost when a family of features is shuffled, out of sample.

    A model is fitted on all but the last ``days`` days; on those days each family (all spans of one
    kind together, since they tell much the same) is shuffled over cards and days (Breiman 2001).
    Columns family, features, importance (added error as a share of naive's), spread (standard
    deviation over ``repeats``); the largest first. Raises UsageError for a short history.

    >>> import pokewatch as pw
    >>> list(pw.importance(days=21, repeats=1).columns)
    ['family', 'features', 'importance', 'spread']
    """
    settings = get_settings()
    panel, version = night.open_panel(settings)
    last = len(panel.dates) - 1 - horizon
    origin = last - days
    if origin < min(SHORTEST, horizon * 4) or days < 1:
        raise UsageError(
            f"{len(panel.dates)} days are too few for days={days} and horizon={horizon}: lower them"
        )
    built = features.build(panel)
    model = FairValueModel([horizon], settings.seed)
    model.fit(panel.until(origin), features.until(built, origin))
    rng = np.random.default_rng(settings.seed)
    known = np.flatnonzero(~np.isnan(panel.price[origin]))
    cards = np.sort(rng.choice(known, min(len(known), CARDS_AT_MOST), replace=False))
    part = columns(panel, cards)
    own = {name: matrix[:, cards] for name, matrix in built.items()}
    rows = np.unique(np.linspace(origin, last, DAYS_SCORED).astype(int))

    def error(inputs: features.Features) -> tuple[float, float]:
        forecast = model.predict_days(part, rows.tolist(), [horizon], inputs)
        scored = backtest.attach_truth(forecast, part)
        naive = metrics.log_error(scored.assign(y_hat=scored["price"])).mean()
        return float(metrics.log_error(scored).mean()), float(naive)

    base, naive = error(own)
    families: dict[str, list[str]] = {}
    for name in own:
        families.setdefault(re.sub(r"_\d+$", "", name).replace("_", " "), []).append(name)
    table = []
    for family, names in families.items():
        losses = [
            (error(own | shuffled(own, names, rows, rng))[0] - base) / max(naive, 1e-12)
            for _ in range(repeats)
        ]
        table.append((family, len(names), float(np.mean(losses)), float(np.std(losses))))
    out = pd.DataFrame(table, columns=["family", "features", "importance", "spread"])
    out = out.sort_values("importance", ascending=False, kind="stable").reset_index(drop=True)
    return marked(out, SIMULATED in night.sources(settings, version))


def shuffled(
    built: features.Features, names: Sequence[str], rows: np.ndarray, rng: np.random.Generator
) -> features.Features:
    """Return some features with the values of these days shuffled together over days and cards."""
    shape = built[names[0]][rows].shape
    order = rng.permutation(shape[0] * shape[1])
    out = {}
    for name in names:
        matrix = built[name].copy()
        matrix[rows] = matrix[rows].ravel()[order].reshape(shape)
        out[name] = matrix
    return out


def following(
    forecasts: pd.DataFrame | None = None, horizon: int = 7, least_price: float = FLOOR
) -> pd.DataFrame:
    """Return the equity of following every BUY beside holding the market, 100 at the start.

    At dates ``horizon`` days apart the money is spread evenly over the BUY of that day, sold at the
    end of the horizon and the fee paid; without a BUY it lies idle. Columns date (of the sale),
    calls, followed (after fees), before_fees, held (all scored cards in equal parts, no fee);
    cards of ``least_price`` USD and more.

    >>> import pokewatch as pw
    >>> pw.following()[["followed", "held"]].iloc[0].tolist()
    [100.0, 100.0]
    """
    settings = get_settings()
    rows = api.backtest(horizons=horizon) if forecasts is None else forecasts
    own = rows[(rows["model"] == MODEL) & (rows["horizon"] == horizon)]
    own = own[own["price"] >= least_price]
    days: list[pd.Timestamp] = []
    step = pd.Timedelta(days=horizon)
    for day in sorted(own["date"].unique()):
        if not days or day - days[-1] >= step:
            days.append(pd.Timestamp(day))
    own = own[own["date"].isin(days)]
    move = own["y"] / own["price"] - 1
    bought = move[own["signal"] == "BUY"].groupby(own["date"])
    table = pd.DataFrame(index=pd.DatetimeIndex(days))
    calls = bought.size().reindex(table.index, fill_value=0)
    gain = bought.mean().reindex(table.index).fillna(0.0)
    kept = np.where(calls > 0, (1 + gain) * (1 - settings.fee), 1.0)
    grown = pd.DataFrame(
        {
            "followed": kept,
            "before_fees": 1 + gain,
            "held": 1 + move.groupby(own["date"]).mean().reindex(table.index),
        }
    ).cumprod()
    start = pd.DataFrame(dict.fromkeys(grown, 1.0), index=pd.DatetimeIndex(days[:1]))
    equity = 100 * pd.concat([start, grown.set_index(grown.index + step)])
    equity.insert(0, "calls", [*[0] * len(start), *calls])
    out = equity.rename_axis("date").reset_index()
    return marked(out, bool(rows.attrs.get("simulated")))


def track_record(
    forecasts: pd.DataFrame | None = None, horizon: int = 7, worst: int | None = None
) -> pd.DataFrame:
    """Return every BUY and SELL as it would have been given, with what came of it.

    Columns card_id, name, set_name, date, signal, price, y (USD, at the end of the horizon), move,
    gain (BUY: after the fee; SELL: the fall that was avoided, a rise is a loss), right (moved by
    ``good_move`` that way). worst=n: the n largest losses, one a card.

    >>> import pokewatch as pw
    >>> "gain" in pw.track_record(worst=3)
    True
    """
    settings = get_settings()
    rows = api.backtest(horizons=horizon) if forecasts is None else forecasts
    mine = (rows["model"] == MODEL) & (rows["horizon"] == horizon)
    own = rows[mine & (rows["signal"] != "HOLD")]
    buy = own["signal"] == "BUY"
    move = own["y"] / own["price"] - 1
    table = own[["card_id", "date", "signal", "price", "y"]].assign(
        move=move,
        gain=((1 + move) * (1 - settings.fee) - 1).where(buy, -move),
        right=move.where(buy, -move) >= settings.good_move,
    )
    names = Store.from_settings(settings).cards()[["card_id", "name", "set_name"]]
    table = table.merge(names, on="card_id", how="left")
    if worst is None:
        table = table.sort_values(["date", "card_id"], kind="stable")
    else:
        table = table.sort_values("gain", kind="stable").drop_duplicates("card_id").head(worst)
    order = ["card_id", "name", "set_name", "date", "signal", "price", "y", "move", "gain", "right"]
    return marked(table[order].reset_index(drop=True), bool(rows.attrs.get("simulated")))
