"""How a model does lately, and whether the market still looks like the one it was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pokewatch.evaluation import backtest, metrics, registry
from pokewatch.models.intervals import COVERAGE
from pokewatch.models.panel import Panel
from pokewatch.operations import night as nightly
from pokewatch.report.facts import Night
from pokewatch.store.tables import Store

MONTHS = 6
RECORD_DAYS = 30
LEAST = 50  # forecasts of a month that say something
SLACK = 0.1  # how far a month's coverage may lie from the promise
REFERENCE_DAYS, PRESENT_DAYS = 90, 7
STABLE, CHANGED = 0.1, 0.25  # usual bounds of the population stability index (Siddiqi 2006)
BINS = 10


def by_month(night: Night) -> pd.DataFrame:
    """Return the walk-forward record of the last months at the signal horizon.

    Columns group (YYYY-MM), n, rmae, coverage; forecasts whose end the report's day has not seen
    are left out.
    """
    empty = pd.DataFrame(columns=["group", "n", "rmae", "coverage"])
    if night.scored is None:
        return empty
    past = registry.past_forecasts(night.settings, night.scored.name)
    past = past[past["horizon"] == nightly.SIGNAL_HORIZON]
    past = past[past["date"] + pd.Timedelta(days=nightly.SIGNAL_HORIZON) <= night.on]
    if past.empty:
        return empty
    months = backtest.breakdown(past, "month")
    return months[months["n"] >= LEAST].tail(MONTHS).reset_index(drop=True)


@dataclass(frozen=True)
class OwnRecord:
    """How the forecasts of past nights, as they were given, turned out."""

    nights: int
    forecasts: int
    rmae: float
    coverage: float


def own_record(night: Night) -> OwnRecord | None:
    """Return the record of the last nights' stored forecasts whose end has been seen.

    A night counts only if its model had seen nothing after it (its name tells up to which day);
    naive forecasts, and prices more than ``MAX_AGE`` days old at the end, do not. None without
    ``LEAST`` forecasts.
    """
    horizon = nightly.SIGNAL_HORIZON
    until = night.on - pd.Timedelta(days=horizon)
    since = until - pd.Timedelta(days=RECORD_DAYS)
    rows = Store.from_settings(night.settings).predictions(
        since=since.date(), until=until.date(), horizon=horizon
    )
    seen = rows["model"].str.extract(r"^fair-value-(\d{4}-\d{2}-\d{2})-v", expand=False)
    rows = rows[pd.to_datetime(seen, errors="coerce") <= rows["date"]]
    columns = {card_id: number for number, card_id in enumerate(night.panel.card_ids)}
    rows = rows[rows["card_id"].isin(columns) & rows["date"].isin(night.panel.dates)]
    if len(rows) < LEAST:
        return None
    ends = night.panel.dates.get_indexer(rows["date"] + pd.Timedelta(days=horizon))
    column = rows["card_id"].map(columns).to_numpy()
    fresh = (ends >= 0) & (night.panel.age[ends, column] <= backtest.MAX_AGE)
    ended = rows.assign(y=night.panel.price[ends, column])[fresh & ~rows["stale"].to_numpy()]
    ended = ended.rename(columns={"market_price": "price", "fair_value": "y_hat"})
    if len(ended) < LEAST:
        return None
    error, inside = metrics.rmae(ended), metrics.coverage(ended)
    return OwnRecord(ended["date"].nunique(), len(ended), error, inside)


def psi(reference: np.ndarray, present: np.ndarray, bins: int = BINS) -> float:
    """Return the population stability index: sum of (p - q) ln(p / q) over bins of ``reference``.

    Bins are its quantiles; NaN where either side is empty. A bin without cases counts as half one.
    """
    reference = reference[np.isfinite(reference)]
    present = present[np.isfinite(present)]
    if not len(reference) or not len(present):
        return float("nan")
    cuts = np.unique(np.quantile(reference, np.linspace(0, 1, bins + 1)[1:-1]))
    shares = []
    for values in (present, reference):
        counts = np.bincount(np.searchsorted(cuts, values), minlength=len(cuts) + 1)
        shares.append(np.maximum(counts, 0.5) / len(values))
    p, q = shares
    return float(((p - q) * np.log(p / q)).sum())


def drift(panel: Panel, as_of: pd.Timestamp) -> pd.DataFrame:
    """Return how the model's main inputs moved since training: columns input, psi.

    Compares the last ``PRESENT_DAYS`` days with the ``REFERENCE_DAYS`` before them that end with
    the training's last day; without such days there are no rows.
    """
    last = len(panel.dates)
    trained = int(panel.dates.searchsorted(as_of, side="right"))
    end = min(trained, last - PRESENT_DAYS)
    start = max(end - REFERENCE_DAYS, 0)
    if end - start < PRESENT_DAYS:
        return pd.DataFrame(columns=["input", "psi"])
    with np.errstate(divide="ignore", invalid="ignore"):
        price = np.log(panel.price[max(start - 30, 0) :])
    daily = np.diff(price, axis=0, prepend=np.nan)
    week = np.full(price.shape, np.nan)
    week[7:] = price[7:] - price[:-7]
    inputs = {
        "price level": price,
        "change over a day": daily,
        "change over a week": week,
        "days since the last price": panel.age[max(start - 30, 0) :],
    }
    offset = max(start - 30, 0)
    then, now = slice(start - offset, end - offset), slice(last - PRESENT_DAYS - offset, None)
    return pd.DataFrame(
        [
            {"input": name, "psi": psi(values[then].ravel(), values[now].ravel())}
            for name, values in inputs.items()
        ]
    ).dropna()


def judged(value: float) -> str:
    """Return a population stability index in a word."""
    return "stable" if value < STABLE else "drifting" if value <= CHANGED else "changed"


def verdict(
    months: pd.DataFrame, moved: pd.DataFrame, nights: OwnRecord | None = None
) -> list[str]:
    """Return what the figures mean, in sentences."""
    said = []
    if len(months):
        won = int((months["rmae"] < 1).sum())
        held = int(((months["coverage"] - COVERAGE).abs() <= SLACK).sum())
        of = f"of the last {len(months)} months" if len(months) > 1 else "in the only month scored"
        said.append(
            f"It beat “no change” in {won} {of}, and its intervals kept their promise, within "
            f"{100 * SLACK:.0f} points, in {held}."
        )
    else:
        said.append("No month has enough finished forecasts yet.")
    if nights is not None and np.isfinite(nights.rmae):
        saved = 100 * (1 - nights.rmae)
        size = "smaller" if saved >= 0 else "larger"
        count = f"{nights.nights} night{'s' * (nights.nights != 1)}"
        said.append(
            f"Its own forecasts of the last {count} that have ended erred {abs(saved):.1f} % "
            f"{size} than “no change”, with {100 * nights.coverage:.0f} % inside the interval."
        )
    worst = moved.loc[moved["psi"].idxmax()] if len(moved) else None
    if worst is None:
        said.append("Too few days to compare today's market with that of the training.")
    elif worst["psi"] < STABLE:
        said.append("Today's market looks like the one it was trained on.")
    else:
        how = "has moved away from" if worst["psi"] <= CHANGED else "is unlike"
        said.append(
            f"Today's market {how} the one it was trained on, most of all in {worst['input']}: "
            "trust the forecasts less until it is trained anew."
        )
    return said
