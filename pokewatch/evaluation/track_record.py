"""How past forecasts and signals turned out: month by month, trade by trade, as equity."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pokewatch.errors import PokewatchError
from pokewatch.evaluation import backtest, metrics, registry
from pokewatch.models import signals
from pokewatch.models.panel import Panel
from pokewatch.schema import CHANCES, PRIOR, SIGNAL_HORIZON, typed
from pokewatch.settings import Settings
from pokewatch.store.tables import Store

MONTHS = 6
RECORD_DAYS = 30
MIN_FORECASTS = 50  # of a month, or of the last nights, to be judged
NO_MONTHS = typed([], backtest.BREAKDOWN)
OF_FORECAST = {"volatility", *backtest.AHEAD}  # which predictions do not carry
LIVE = {name: backtest.FORECASTS[name] for name in backtest.COLUMNS if name not in OF_FORECAST}
LIVE |= {"model": "object", "signal": "object", **dict.fromkeys(CHANCES, "float64")}
SAID = ["card_id", "date", "horizon", "market_price", "fair_value", "lower", "upper", "signal"]
SAID += ["model", *CHANCES]
IN_RECORD = ["rmae", "rmae_low", "rmae_high", "coverage", *metrics.SIGNAL_SCORES]
RECORD = {"kind": "object", "month": "object", "nights": "int64", "n": "int64"}
RECORD |= dict.fromkeys(IN_RECORD, "float64")


def by_month(past: pd.DataFrame, horizon: int, on: pd.Timestamp) -> pd.DataFrame:
    """Return a walk-forward's record of the last ``MONTHS`` months at one horizon.

    past: columns as ``Backtest.forecasts``, the model's own; forecasts that end after ``on`` are
    left out. Columns group (YYYY-MM), n, rmae, coverage.
    """
    ends = pd.to_datetime(past["date"]) + pd.Timedelta(days=horizon)
    past = past[(past["horizon"] == horizon) & (ends <= on)]
    if past.empty:
        return NO_MONTHS
    months = backtest.breakdown(past, "month")
    return months[months["n"] >= MIN_FORECASTS].tail(MONTHS).reset_index(drop=True)


def live_rows(predictions: pd.DataFrame, panel: Panel, prior: str = "") -> pd.DataFrame:
    """Return what past nights said, where it has ended: columns ``LIVE``, the night's model named.

    predictions: stored ones, the first of each date, columns ``SAID``. A night counts
    only if its model had seen nothing after it (its name says up to which day); naive forecasts do
    not count. As in the walk-forward, a price was observed on the day and at the end. prior: what
    models of this beginning said instead, see ``models.prior``.
    """
    seen = predictions["model"].str.extract(r"^fair-value-(\d{4}-\d{2}-\d{2})-v", expand=False)
    own = pd.to_datetime(seen, errors="coerce") <= predictions["date"]
    rows = predictions[predictions["model"].str.startswith(prior) if prior else own]
    ids = pd.Index(panel.card_ids)
    rows = rows[rows["card_id"].isin(ids) & rows["date"].isin(panel.dates)]
    day = panel.dates.get_indexer(pd.DatetimeIndex(rows["date"]))
    age = panel.age[day, ids.get_indexer(rows["card_id"])]
    ended = backtest.with_truth(rows.assign(age=age), panel)
    ended = ended.assign(
        **ended.reindex(columns=[*CHANCES]).astype(float)
    )  # older nights have none
    return typed(ended.loc[backtest.has_truth(ended), list(LIVE)], LIVE).reset_index(drop=True)


def live(
    settings: Settings, panel: Panel, horizon: int, days: int | None = None, prior: str = ""
) -> pd.DataFrame:
    """Return ``live_rows`` of the nights of which the panel knows the end, the last ``days``.

    What was predicted for a day long after it was not said then; only the simulated market's nights
    are lived through at once.
    """
    until = panel.dates[-1] - pd.Timedelta(days=horizon)
    since = None if days is None else (until - pd.Timedelta(days=days)).date()
    store = Store.from_settings(settings)
    stored = store.predictions(
        since=since,
        until=until.date(),
        horizon=horizon,
        first=True,
        columns=SAID,
        in_time=not store.snapshot("prices").simulated(),
    )
    return live_rows(stored, panel, prior)


def prior_lost(settings: Settings, panel: Panel, name: str) -> str:
    """Return why a prior's published forecasts are worth nothing here, "" where they may be."""
    said = live(settings, panel, SIGNAL_HORIZON, prior=name)
    if len(said) < MIN_FORECASTS or said["date"].nunique() < SIGNAL_HORIZON:
        return ""
    error = metrics.rmae(said)
    where = f"{SIGNAL_HORIZON}-day rMAE {error:.3f} on {len(said):,} of its published forecasts"
    return where if error > 1 else ""


def record(
    said: pd.DataFrame,
    tested: pd.DataFrame,
    settings: Settings,
    of_prior: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return what nights really said, month by month, beside the walk-forward, columns ``RECORD``.

    said: columns ``LIVE``; tested: the walk-forward at the same horizon, columns as
    ``Backtest.forecasts``; of_prior: as said. kind: "live", "prior" or "walk-forward"; month:
    YYYY-MM, or "all".
    """
    rows = []
    for kind, part in (("live", said), ("prior", of_prior), ("walk-forward", tested)):
        if part is None or part.empty:
            continue
        month = part["date"].dt.strftime("%Y-%m")
        groups = [("all", part), *part.groupby(month)]
        for name, group in groups:
            low, high = metrics.rmae_interval(group)
            rows.append(
                {"kind": kind, "month": name, "nights": group["date"].nunique(), "n": len(group)}
                | {"rmae": metrics.rmae(group), "rmae_low": low, "rmae_high": high}
                | {"coverage": metrics.coverage(group)}
                | metrics.signal_scores(group, settings.good_move, settings.fee)
            )
    return typed(rows, RECORD)


def read(settings: Settings, panel: Panel, horizon: int) -> pd.DataFrame:
    """Return ``record`` of all that was published, beside the champion's or last walk-forward."""
    tested = typed([], backtest.FORECASTS)
    scored = "champion"
    if registry.champion(settings) is None:
        newest = registry.last_trained(settings)
        scored = newest.name if newest else ""
    if scored:
        with suppress(PokewatchError):  # back-tests of old models are not kept
            tested = _at_horizon(registry.past_forecasts(settings, scored), horizon)
    of_prior = live(settings, panel, horizon, prior=PRIOR)
    return record(live(settings, panel, horizon), tested, settings, of_prior)


@dataclass(frozen=True)
class NightlyRecord:
    """How the forecasts of past nights, as they were given, turned out: counts and scores."""

    nights: int
    forecasts: int
    rmae: float
    coverage: float


def of_nights(ended: pd.DataFrame) -> NightlyRecord | None:
    """Return the record of ``live_rows``; None without ``MIN_FORECASTS`` of them."""
    if len(ended) < MIN_FORECASTS:
        return None
    error, inside = metrics.rmae(ended), metrics.coverage(ended)
    return NightlyRecord(ended["date"].nunique(), len(ended), error, inside)


def trade_log(
    forecasts: pd.DataFrame,
    cards: pd.DataFrame,
    horizon: int,
    fee: float,
    good_move: float,
    worst: int | None = None,
) -> pd.DataFrame:
    """Return every BUY and SELL as it would have been given, with its outcome.

    Columns are those of ``pw.trade_log``. forecasts: columns as ``Backtest.forecasts``; cards:
    columns card_id, name, set_name; fee: share of the price that selling costs; good_move: change
    (a fraction) from which on a call is right; worst=n: the n largest losses, one a card.
    """
    given = _at_horizon(forecasts, horizon)
    given = given[given["signal"] != "HOLD"]
    buy = given["signal"] == "BUY"
    move = signals.moves(given)
    table = given[["card_id", "date", "signal", "price", "y"]].assign(
        move=move,
        gain=((1 + move) * (1 - fee) - 1).where(buy, -move),
        right=move.where(buy, -move) >= good_move,
    )
    table = table.merge(cards[["card_id", "name", "set_name"]], on="card_id", how="left")
    if worst is None:
        table = table.sort_values(["date", "card_id"], kind="stable")
    else:
        table = table.sort_values("gain", kind="stable").drop_duplicates("card_id").head(worst)
    order = ["card_id", "name", "set_name", "date", "signal", "price", "y", "move", "gain", "right"]
    return table[order].reset_index(drop=True)


def equity_curve(
    forecasts: pd.DataFrame, horizon: int, fee: float, min_price: float
) -> pd.DataFrame:
    """Return the equity of buying at every BUY beside holding the market, 100 at the start.

    Rules and columns are those of ``pw.equity_curve``. forecasts: columns as
    ``Backtest.forecasts``; fee: share of the price that selling costs; min_price: USD.
    """
    known = _at_horizon(forecasts, horizon)
    scored = known[known["price"] >= min_price]
    days = pd.DatetimeIndex(metrics.non_overlapping(sorted(scored["date"].unique()), horizon))
    scored = scored[scored["date"].isin(days)]
    move = scored["y"] / scored["price"] - 1
    bought = move[scored["signal"] == "BUY"].groupby(scored["date"])
    calls = bought.size().reindex(days, fill_value=0)
    gain = bought.mean().reindex(days).fillna(0.0)
    grown = pd.DataFrame(
        {"followed": np.where(calls > 0, (1 + gain) * (1 - fee), 1.0), "before_fees": 1 + gain}
    ).cumprod()
    later = known[known["date"].isin(days)]
    table = later.pivot(index="date", columns="card_id", values="y").reindex(days).ffill()
    bought_at = scored[scored["date"].isin(days[:1])].set_index("card_id")["price"]
    grown["held"] = (table[bought_at.index] / bought_at).mean(axis=1) * (1 - fee)
    start = pd.DataFrame(dict.fromkeys(grown, 1.0), index=days[:1])
    equity = 100 * pd.concat([start, grown.set_index(days + pd.Timedelta(days=horizon))])
    equity.insert(0, "calls", [*[0] * len(start), *calls])
    return equity.rename_axis("date").reset_index()


def _at_horizon(forecasts: pd.DataFrame, horizon: int) -> pd.DataFrame:
    own = forecasts["model"] == backtest.MODEL
    return forecasts[own & (forecasts["horizon"] == horizon)]
